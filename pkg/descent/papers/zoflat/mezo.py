"""ZO for language models (MeZO, Malladi et al. 2023): in place, with the direction stored or regenerated.

Algorithm 1 on parameters x in R^d, rows of a flat tensor (R, d). `regenerating` never holds the direction: it is drawn
anew from its seed for each sweep, so training takes the memory of inference. `buffered` keeps it. Both restore and update
in one pass, x <- x + (l - eta c) u (MeZO takes two, for the same numbers), and perturb the same tensors x, so they give
one trajectory up to rounding (x + l u - 2 l u + l u is not x in float32, by about 1e-7 a step).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from descent.core.settings import check
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import evaluate_pair_, shift_
from descent.papers.zoflat.problem import two_point_slope
from descent.papers.zoflat.settings import SETTINGS

Loss = Callable[[Tensor, Any], Tensor]  # (R, d), a batch -> (R,)


class Direction(NamedTuple):
    """The noise of one step of either version."""

    source: Any  # (R, d) normals, or a seed a row
    batch: Any = None  # what both losses of the step are taken on


def buffered(loss: Loss, *, step_size: float, smoothing: float) -> Callable[[Tensor, Direction], Tensor]:
    """step(x, direction) -> x, overwritten; the direction is (R, d) normals. Raises SettingError."""
    check("zo", SETTINGS, step_size=step_size, smoothing=smoothing)

    def step(x: Tensor, direction: Direction) -> Tensor:
        u, batch = direction
        pair = evaluate_pair_(lambda scale: x.add_(u, alpha=scale), lambda: loss(x, batch), smoothing)
        return x.addcmul_(u, (smoothing - step_size * two_point_slope(*pair, smoothing))[:, None])

    return step


def regenerating(
    loss: Loss, layout: Layout, *, step_size: float, smoothing: float
) -> Callable[[Tensor, Direction], Tensor]:
    """step(x, direction) -> x, overwritten; the direction is a seed a row. Raises SettingError."""
    check("zo", SETTINGS, step_size=step_size, smoothing=smoothing)

    def step(x: Tensor, direction: Direction) -> Tensor:
        seeds: Sequence[int] = direction.source
        tensors = [list(layout.split(row).values()) for row in x]

        def shift(scales: Sequence[float | Tensor]) -> None:
            for row, seed, scale in zip(tensors, seeds, scales, strict=True):
                shift_(row, seed, scale)

        pair = evaluate_pair_(lambda scale: shift([scale] * len(x)), lambda: loss(x, direction.batch), smoothing)
        shift(list(smoothing - step_size * two_point_slope(*pair, smoothing)))
        return x

    return step
