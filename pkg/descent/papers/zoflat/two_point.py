"""ZO, the two-point zeroth-order method (the paper's Algorithm 1), and its control without smoothing.

Zhang et al., arXiv 2506.05454. Per step one direction u ~ N(0, I_d), not normalised:

    c = (f(x + l u) - f(x - l u)) / (2 l),   x <- x - eta c u.

On average this descends f(x) + (l^2 / 2) Tr Hess f(x): it looks for flat minima. DD ("l -> 0" in the paper's Fig. 1)
takes the exact slope <grad f, u>: the same noise without the smoothing, so it separates the two.
No momentum, decay or clipping; the step size is constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.core.settings import check
from descent.papers.zoflat.problem import Direction, Point, Problem, must_have
from descent.papers.zoflat.settings import SETTINGS


class Info(NamedTuple):
    """One step's report."""

    slope: Tensor  # c, one number a row


def zo(problem: Problem, *, step_size: float, smoothing: float) -> Method:
    """step_size: the paper's eta; smoothing: its lambda. Raises SettingError."""
    check("zo", SETTINGS, step_size=step_size, smoothing=smoothing)
    must_have("zo", problem, "slope", "move")
    return _random_walk(problem, step_size, smoothing)


def dd(problem: Problem, *, step_size: float) -> Method:
    """ZO's limit l -> 0: the directional derivative. Raises SettingError."""
    check("dd", SETTINGS, step_size=step_size)
    must_have("dd", problem, "derivative", "move")

    def step(point: Point, direction: Direction) -> tuple[Point, Info]:  # pyright: ignore[reportInvalidTypeVarUse] (the problem's own)
        slope = problem.derivative(point, direction)
        return problem.move(point, direction, -step_size * slope), Info(slope)

    return Method(lambda point: point, step)


def walks(
    problem: Problem, *, step_size: float, smoothings: Sequence[float | None], device: torch.device | str = "cpu"
) -> Method:
    """ZO with each of several smoothings (None: DD), each on rows (V, 1) of its own of one program. Raises SettingError.

    The problem's `slope` must take a smoothing a row; a row of DD needs it exact at 0 (`exact_at_0`), as a closed form is.
    """
    for smoothing in smoothings:
        if smoothing is None:
            check("dd", SETTINGS, step_size=step_size)
        else:
            check("zo", SETTINGS, step_size=step_size, smoothing=smoothing)
    must_have("zo", problem, "slope", "move")
    if None in smoothings and not getattr(problem, "exact_at_0", False):
        raise SettingError(
            f"dd: a row without smoothing needs a slope that is exact at 0, and {type(problem).__name__}'s is not"
        )
    rows = torch.tensor([smoothing or 0.0 for smoothing in smoothings], dtype=torch.float64, device=device)
    return _random_walk(problem, step_size, rows[:, None])


def _random_walk(problem: Problem, step_size: float, smoothing: float | Tensor) -> Method:
    def step(point: Point, direction: Direction) -> tuple[Point, Info]:  # pyright: ignore[reportInvalidTypeVarUse] (the problem's own)
        slope = problem.slope(point, direction, smoothing)
        return problem.move(point, direction, -step_size * slope), Info(slope)

    return Method(lambda point: point, step)
