"""The operations of a step, recorded once on memory that stays, and then only called: by NumPy on the host, by PyTorch elsewhere.

At some hundred chains an operation costs what it takes to start it. NumPy starts one on contiguous arrays of one shape in a
quarter of the time that PyTorch takes; where it has to broadcast or to stride, it takes as long. So what PyTorch does in one broadcast
is done on the host row by row, if the rows are few. What is recorded does not depend on that, nor do the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

Calls = list[Callable[[], Any]]
"""What a recorded operation is: calls without arguments, in order."""

FEW = 3  # so many operations on rows start in the time of one that broadcasts


def add(a: Tensor, b: Tensor, out: Tensor) -> Calls:
    """a + b into out, whose shape both are broadcast to; out may be a or b. So for the others."""
    return _record(np.add, torch.add, a, b, out)


def subtract(a: Tensor, b: Tensor, out: Tensor) -> Calls:
    return _record(np.subtract, torch.sub, a, b, out)


def multiply(a: Tensor, b: Tensor, out: Tensor) -> Calls:
    return _record(np.multiply, torch.mul, a, b, out)


def add_product(x: Tensor, a: Tensor, b: Tensor, room: Tensor, out: Tensor, sign: int = 1) -> Calls:
    """x + sign a b; room: what the product may be written into, where it is not one operation."""
    if out.device.type == "cpu":
        return [*multiply(a, b, room), *(add if sign > 0 else subtract)(x, room, out)]
    return [partial(torch.addcmul, x, a, b, value=sign, out=out)]


def divide(a: Tensor, b: Tensor, out: Tensor) -> Calls:
    return _record(np.divide, torch.div, a, b, out)


def sqrt(a: Tensor, out: Tensor) -> Calls:
    return _record(np.sqrt, torch.sqrt, a, out)


def tanh(a: Tensor, out: Tensor) -> Calls:
    return _record(np.tanh, torch.tanh, a, out)


def copy(a: Tensor, out: Tensor) -> Calls:
    return _record(np.positive, torch.positive, a, out) if out.device.type == "cpu" else [partial(out.copy_, a)]


def fold(buffer: Tensor) -> tuple[Calls, Tensor]:
    """(what adds up the leading axis of a buffer (L, ...), where the sum then lies); the buffer is lost.

    Halves are added to each other, so that zeros that pad L to a power of two leave every bit as it is (links.fold).
    """
    size, calls = len(buffer), []
    while size > 1:
        half = size // 2
        calls += add(buffer[:half], buffer[size - half : size], buffer[:half])
        size -= half
    return calls, buffer[0]


def perform(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        call()


def quiet(device: torch.device) -> AbstractContextManager:
    """Within it NumPy does not warn: a chain that blows up is recorded as diverged."""
    return np.errstate(all="ignore") if device.type == "cpu" else nullcontext()


def _record(host: Callable, device: Callable, *arrays: Tensor) -> Calls:
    *given, out = arrays
    given = [x.expand(out.shape) for x in given]
    if out.device.type != "cpu":
        return [partial(device, *given, out=out)]
    return [partial(host, *_merged(each)) for each in _rows([x.detach().numpy() for x in (*given, out)])]


def _merged(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """One object for what is the same memory: NumPy then need not find out that writing there does no harm, which takes as long as adding."""
    known: dict[Any, np.ndarray] = {}
    return [known.setdefault((x.__array_interface__["data"], x.shape, x.strides), x) for x in arrays]


def _rows(arrays: list[np.ndarray]) -> list[list[np.ndarray]]:
    """The arguments of the same operation on contiguous arrays, where FEW such do; else as they are. arrays: of one shape."""
    if all(x.flags.c_contiguous for x in arrays):
        return [arrays]
    size = len(arrays[0])
    if size <= FEW and arrays[0].ndim > 1:
        parts = [part for i in range(size) for part in _rows([x[i] for x in arrays])]
        if len(parts) <= FEW and all(x.flags.c_contiguous for part in parts for x in part):
            return parts
    return [arrays]
