"""Peak memory of a piece of torch code, counted, not sampled.

`LiveStorages` sees every operator, adds the bytes of each storage that one creates and takes them off when the storage
dies. The count depends on the program alone: it is the same on every machine, the same on `device="meta"` (which holds
no data, so a 7B-shaped step is counted in a second) and may be a metric. It holds tensors only: what a kernel borrows
inside one operator, the allocator's rounding and the library's workspaces are not in it. On a GPU `cuda_peak` reads
the allocator instead.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class LiveStorages(TorchDispatchMode):
    """`with LiveStorages(held=[weights]) as memory: step()`; then `memory.peak`, in bytes.

    held: tensors made before that count from the start (weights, optimiser state, inputs). Other tensors made before
    are not counted. A storage counts once however many views it has, with the size it had when first seen.
    """

    def __init__(self, held: Iterable[torch.Tensor] = ()):
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known: dict[int, int] = {}
        for tensor in held:
            self._see(tensor, counts=True)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        for tensor in _tensors((*args, *kwargs.values())):
            self._see(tensor, counts=False)
        out = func(*args, **kwargs)
        for tensor in _tensors((out,)):
            self._see(tensor, counts=True)
        return out

    def _see(self, tensor: torch.Tensor, counts: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes() if counts else 0
        self._known[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key).atexit = False

    def _forget(self, key: int) -> None:
        self.live -= self._known.pop(key)


def cuda_peak(work: Callable[[], Any], device: torch.device) -> int:
    """Largest number of bytes that tensors held on a CUDA `device` while `work()` ran."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among an operator's arguments or results, which nest lists and tuples only."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
