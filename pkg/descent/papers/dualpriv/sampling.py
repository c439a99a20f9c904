"""Poisson batches: every record enters independently with probability q, so a batch's size is random and may be 0.

Batches of several seeds are padded to one width; a padded place has weight 0. Each seed draws from its own stream, so
its batches do not depend on the others of its batch of seeds, and never from the stream of its noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams


class Counts(NamedTuple):
    """Realised batch sizes of a block of steps, plain numbers, so that a step can leave padding out without asking the
    device. They are as private as the batches: never recorded."""

    first: int  # number of the block's first step
    rows: tuple[tuple[int, ...], ...]  # (count, S)

    def at(self, step: int) -> tuple[int, ...]:
        """The sizes (S) of step number `step`."""
        return self.rows[step - self.first]


class Batches(NamedTuple):
    """Batches of `count` steps, on the host."""

    index: Tensor  # (count, S, b) int64  # pyright: ignore[reportIncompatibleMethodOverride]: tuple.index is not used
    present: Tensor  # (count, S, b) float: 1 for a record, 0 for padding
    counts: Counts | None  # None: every place is computed, padding too


def graph_width(device: torch.device) -> int | None:
    """Multiple to which batches are padded where steps are captured as graphs, which serve one width each; else None."""
    return 32 if device.type == "cuda" else None


def poisson_batches(
    streams: Streams,
    seeds: Sequence[int],
    records: int,
    rate: float,
    k: int,
    count: int,
    block: int,
    dtype: torch.dtype = torch.float32,
    members: np.ndarray | None = None,
    multiple: int | None = None,
) -> Batches:
    """The batches of the `count` steps of block `k`, which begins at step k * block.

    records: N; rate: the paper's q, in [0, 1].

    members: (S, N) bool, the records that exist for each seed (an audit inserts some by coins); all by default. It
    changes no other record's draws. multiple: pad to a multiple of it, and give no counts: see `graph_width`.
    """
    chosen = [streams.numpy("batches", seed, k).random((count, records)) < rate for seed in seeds]
    chosen = np.stack(chosen, 1)  # (count, S, N)
    if members is not None:
        chosen &= members
    sizes = chosen.sum(-1)
    width = -(-max(1, int(sizes.max())) // (multiple or 1)) * (multiple or 1)
    place = np.arange(width)
    # Records in order, padding after them: the padded places point at record 0 and weigh nothing.
    present = place < sizes[..., None]
    index = np.zeros((count, len(seeds), width), dtype=np.int64)
    index[present] = np.nonzero(chosen)[-1]
    counts = None if multiple else Counts(k * block, tuple(tuple(int(n) for n in row) for row in sizes))
    return Batches(torch.from_numpy(index), torch.from_numpy(present).to(dtype), counts)
