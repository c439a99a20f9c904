"""Mechanism 2: keep the parameter blocks whose noisy update is largest, and drop the others' update.

The choice is a function of the update after noise was drawn for EVERY coordinate, so it is post-processing: epsilon is
what it was, for any share kept and any score. Choosing on the clean sum, or drawing noise for the kept blocks only,
would leak (the mask game in the tests shows it).

Axes: S rows (seeds), p parameters, M blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.dualpriv.lora import Layout


class BlockMap(NamedTuple):
    """Which block each parameter belongs to."""

    sizes: tuple[int, ...]  # M block sizes, in the order in which the blocks lie
    of_parameter: Tensor  # (p,) int64


def block_map(layout: Layout, device: torch.device | None = None) -> BlockMap:
    """The blocks of a layout: one LoRA matrix each."""
    return contiguous_blocks([block.size for block in layout.blocks], device)


def contiguous_blocks(sizes: Sequence[int], device: torch.device | None = None) -> BlockMap:
    """Blocks of the given sizes, one after another."""
    of_parameter = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return BlockMap(tuple(sizes), of_parameter.to(device))


def scores(blocks: BlockMap, update: Tensor, kind: str = "rms") -> Tensor:
    """Score (S, M) of each block of update (S, p): its norm over the root of its size ("rms"), or its norm ("l2").

    The noise alone has norm about sqrt(size), so "l2" favours large blocks whatever their signal.
    """
    parts = zip(update.split(blocks.sizes, -1), blocks.sizes, strict=True)
    power = 0.5 if kind == "rms" else 0.0
    return torch.stack([torch.linalg.vector_norm(part, dim=-1) / size**power for part, size in parts], -1)


def largest(score: Tensor, keep: float) -> Tensor:
    """Mask (S, M), 1 for the round(keep * M) blocks of largest score; a tie goes to the lower block."""
    count = round(keep * score.shape[1])
    order = score.argsort(dim=-1, descending=True, stable=True)
    return torch.zeros_like(score).scatter(1, order[:, :count], 1.0)


def masked(blocks: BlockMap, update: Tensor, mask: Tensor) -> Tensor:
    """The update (S, p) with the dropped blocks set to 0."""
    return update * mask[:, blocks.of_parameter]
