"""What a network is trained on: a task makes batches from random numbers, and says how wrong an output is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Trials. K runs (or 1, the same trials for all), T steps, B trials."""

    x: Tensor  # (K, T, B, I)
    target: Tensor  # (K, T, B, O); for a cross-entropy 1 at the right class
    mask: Tensor  # (K, T, B), 1 where the output counts


Loss = Callable[[Tensor, Batch], tuple[Tensor, Tensor]]
"""(y (K, T, B, O), batch) -> the loss (K,) and its slope in y (K, T, B, O)."""


@dataclass(frozen=True)
class Task:
    """inputs, outputs: I and O. draw(k, count): random numbers of a block's batches, on the host, (count, K, ...). make(one
    step's numbers) -> Batch, on the device. loss: see `Loss`."""

    inputs: int
    outputs: int
    make: Callable[[Any], Batch]
    loss: Loss
    draw: Callable[[int, int], Any] | None = None


def squared_error(output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean square over the entries that count (trial, step and output)."""
    wrong = (output - batch.target) * batch.mask[..., None]
    count = batch.mask.sum((1, 2)) * output.shape[-1]
    return wrong.square().sum((1, 2, 3)) / count, wrong * (2 / count).reshape(-1, 1, 1, 1)


def cross_entropy(output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy over the steps that count."""
    log_share = torch.log_softmax(output, dim=-1)
    count = batch.mask.sum((1, 2))
    loss = -((log_share * batch.target).sum(-1) * batch.mask).sum((1, 2)) / count
    slope = (log_share.exp() - batch.target) * (batch.mask / count.reshape(-1, 1, 1))[..., None]
    return loss, slope


def normalised_error(output: Tensor, batch: Batch) -> Tensor:
    """(K,) NE: squared error over the variance around the mean, where the output counts, a mean over outputs.

    1 is a constant output at the target's mean; an untrained network may lie above. Accuracy is 1 - NE.
    """
    mask = batch.mask[..., None]
    mean = (batch.target * mask).sum((1, 2), keepdim=True) / mask.sum((1, 2), keepdim=True)
    around = ((batch.target - mean) * mask).square().sum((1, 2))
    return (((output - batch.target) * mask).square().sum((1, 2)) / around).mean(-1)
