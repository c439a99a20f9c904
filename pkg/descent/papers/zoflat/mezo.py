"""ZO for language models (MeZO, Malladi et al. 2023): in place, with the direction stored or regenerated.

Algorithm 1 on parameters x in R^d, rows of a flat tensor (R, d). `regenerating` never holds the direction: it is drawn
anew from its seed for each of the four sweeps, so training takes the memory of inference. `buffered` keeps it, and
restores and updates in one pass: x <- x + (l - eta c) u. Both perturb the same tensors x, so they give the same
trajectory up to rounding (x + l u - 2 l u + l u is not x in float32, by about 1e-7 a step).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from descent.core.settings import check
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import shift_, two_point_slope
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
        f_plus = loss(x.add_(u, alpha=smoothing), batch)
        f_minus = loss(x.add_(u, alpha=-2 * smoothing), batch)
        slope = two_point_slope(f_plus, f_minus, smoothing)
        return x.addcmul_(u, (smoothing - step_size * slope)[:, None])

    return step


def regenerating(
    loss: Loss, layout: Layout, *, step_size: float, smoothing: float
) -> Callable[[Tensor, Direction], Tensor]:
    """step(x, direction) -> x, overwritten; the direction is a seed a row. Raises SettingError."""
    check("zo", SETTINGS, step_size=step_size, smoothing=smoothing)

    def step(x: Tensor, direction: Direction) -> Tensor:
        seeds: Sequence[int] = direction.source
        tensors = [list(layout.split(row).values()) for row in x]

        def perturb(scales: Sequence[float | Tensor]) -> None:
            for row, seed, scale in zip(tensors, seeds, scales, strict=True):
                shift_(row, seed, scale)

        perturb([smoothing] * len(x))
        f_plus = loss(x, direction.batch)
        perturb([-2 * smoothing] * len(x))
        f_minus = loss(x, direction.batch)
        perturb([smoothing] * len(x))
        slope = two_point_slope(f_plus, f_minus, smoothing)
        perturb(list(-step_size * slope))
        return x

    return step
