"""Mante's context-dependent decision: motion or colour, as the context says. 72 trials without noise, the same every update.

Two contexts, six coherences of motion, six of colour. Nine inputs: fixation, left, right, red, green, context (two), order of
the colour targets (two), each step's vector scaled to length 1; three classes: 0 until the decision, then 1 or 2 by the sign
of the relevant coherence. As in the official code; Mante et al., Nature 503 (2013).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.eprop.tasks import Batch, Task, cross_entropy

COHERENCES = (-0.5, -0.17, -0.06, 0.06, 0.17, 0.5)


class Periods(NamedTuple):
    """Steps of each period of a trial."""

    fixation: int
    stimulus: int
    delay: int
    decision: int


def mante_trials(periods: Periods, *, device: torch.device | str = "cpu", dtype=torch.float32) -> Batch:
    """All 72 trials: inputs (1, T, 72, 9), classes as targets (1, T, 72, 3), mask of ones."""
    levels = torch.tensor(COHERENCES, dtype=dtype)
    context, motion, colour = (
        part.flatten() for part in torch.meshgrid(torch.arange(2.0, dtype=dtype), levels, levels, indexing="ij")
    )
    T, B = sum(periods), len(motion)
    decides = torch.arange(T) >= T - periods.decision  # (T,)
    shown = (torch.arange(T) >= periods.fixation) & (torch.arange(T) < periods.fixation + periods.stimulus)
    x = torch.zeros(T, B, 9, dtype=dtype)
    x[~decides, :, 0] = 1
    seen = torch.stack([1 - motion, 1 + motion, 1 - colour, 1 + colour], dim=-1) / 2
    x[shown, :, 1:5] = seen
    x[~decides, :, 5:7] = torch.stack([context == 0, context == 1], dim=-1).to(dtype)
    x[..., 8] = 1
    x = x / x.norm(dim=-1, keepdim=True)
    relevant = torch.where(context == 0, motion, colour)
    kind = torch.where(decides[:, None], torch.where(relevant > 0, 2, 1), 0)  # (T, B)
    target = torch.stack([kind == c for c in range(3)], dim=-1).to(dtype)
    return Batch(*(part[None].to(device) for part in (x, target, torch.ones(T, B, dtype=dtype))))


def mante_task(periods: Periods, *, device: torch.device | str = "cpu") -> Task:
    """The task: every update sees all trials."""
    trials = mante_trials(periods, device=device)
    return Task(9, 3, lambda noise: trials, cross_entropy)


def decision_accuracy(output: Tensor, batch: Batch, decision: int) -> Tensor:
    """(K,) share of the steps of the decision period, over trials, whose likeliest class is the right one."""
    right = output[:, -decision:].argmax(-1) == batch.target[:, -decision:].argmax(-1)
    return right.to(output.dtype).mean((1, 2))
