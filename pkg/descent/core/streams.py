"""Random numbers by name: every stream is keyed by what it is for, never by when it is asked for.

A stream's key is (paper, purpose, seed, anything else), hashed with SHA-256, so adding a paper, a method or a seed
changes no other number, and a seed draws the same numbers whichever other seeds are in the batch. Noise for long runs
is drawn in blocks, each block a stream of its own: a resumed run needs no generator state.

Methods that share a purpose share its numbers (same data, same start, same minibatches): common random numbers pair them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


class Streams:
    """The random numbers of one paper."""

    def __init__(self, paper: str):
        self.paper = paper

    def entropy(self, purpose: str, seed: int, *key: int | str) -> int:
        """The 128-bit number that seeds the stream; stable across machines, versions and processes."""
        name = "\x1f".join(map(str, (self.paper, purpose, int(seed), *key)))
        return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")

    def numpy(self, purpose: str, seed: int, *key: int | str) -> np.random.Generator:
        """A NumPy generator (SFC64, the fastest of the library for float64 normals)."""
        return np.random.Generator(np.random.SFC64(self.entropy(purpose, seed, *key)))

    def torch(self, purpose: str, seed: int, *key: int | str) -> torch.Generator:
        """A torch generator on the CPU, the faster one for float32. How a draw is cut into calls is part of its
        numbers (torch fills 16 at a time), so draw the same shape whichever other seeds there are."""
        import torch

        return torch.Generator().manual_seed(self.entropy(purpose, seed, *key) % 2**63)

    def normal(
        self, purpose: str, seeds: Sequence[int], shape: Sequence[int], *key: int | str, dtype=None
    ) -> torch.Tensor:
        """Standard normals of shape (len(seeds), *shape) on the host, row s from seed s's own stream.

        float64 (the default) comes from NumPy, float32 from torch.
        """
        import torch

        dtype = dtype or torch.float64
        out = torch.empty((len(seeds), *shape), dtype=dtype)
        if dtype == torch.float64:
            rows = out.numpy()
            for row, seed in enumerate(seeds):
                self.numpy(purpose, seed, *key).standard_normal(out=rows[row : row + 1])
        else:
            for row, seed in enumerate(seeds):
                torch.randn(tuple(shape), generator=self.torch(purpose, seed, *key), out=out[row])
        return out
