"""Exact minimisers: damped Newton steps on the smoothed objective, epsilon lowered along the way.

For the study's references, not a method of it. All rows of a batch step together, a fixed number of times; a row that has
arrived stays. Axes: R rows, p = d + 1 or d + 2 coordinates of a flat `Point`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Evaluation, Point
from descent.papers.wdro.regression import Regression, least_squares

SIZES = (1.0, 0.5, 0.2, 0.05, 0.01, 1e-3, 1e-5)


class Minimum(NamedTuple):
    """A minimiser, its value and the norm of the gradient that is left there."""

    point: Point
    value: Tensor  # (R,)
    left: Tensor  # (R,)


def newton(
    evaluate: Callable[[Point], Evaluation],
    hessian: Callable[[Point], Tensor],
    start: Point,
    intercept: bool,
    steps: int = 50,
    tolerance: float = 1e-13,
) -> Minimum:
    """Newton steps until the gradient's norm is below `tolerance` or no step helps, `steps` at most.

    Each is the longest of SIZES that lowers the value by a hundredth of what it promises and keeps lam positive.
    hessian(point) -> (R, p, p), positive definite.
    """
    x = start.flat(intercept)
    here = evaluate(start)
    for _ in range(steps):
        gradient = here.gradient.flat(intercept)
        left = gradient.norm(dim=-1)
        if bool((left < tolerance).all()):
            break
        move = torch.linalg.solve(hessian(Point.of(x, intercept)), -gradient)
        slope = (gradient * move).sum(-1)
        open_rows, before = left >= tolerance, x
        for size in SIZES:
            trial = before + size * move
            value = evaluate(Point.of(trial, intercept)).value
            good = open_rows & (value <= here.value + 0.01 * size * slope) & (trial[:, -1] > 0)
            x = torch.where(good[:, None], trial, x)
            open_rows = open_rows & ~good
            if not bool(open_rows.any()):
                break
        if torch.equal(x, before):
            break
        here = evaluate(Point.of(x, intercept))
    return Minimum(Point.of(x, intercept), here.value, here.gradient.flat(intercept).norm(dim=-1))


def smoothed_minimum(problem: Regression | Classification, epsilon: float, start: Point) -> Minimum:
    """The minimiser of F^eps from `start` (R rows)."""
    return newton(
        lambda point: problem.smoothed(point, epsilon),
        lambda point: problem.smoothed_hessian(point, epsilon),
        start,
        problem.intercept,
        tolerance=max(1e-13, 1e-16 / epsilon),  # what rounding leaves of (f - lam c) / epsilon
    )


class Limit(NamedTuple):
    """The unregularised problem solved, and the regularised ones on the way there."""

    point: Point  # (d,) argmin of F
    value: Tensor  # () F*
    path: dict[float, Point]  # epsilon -> argmin of F^eps, one row each


def limit(problem: Regression | Classification, epsilons: Sequence[float] = ()) -> Limit:
    """argmin F and F*, with the minimisers of F^eps for `epsilons` as they are met.

    Regression: Newton on F itself. Classification: F has kinks where a flipped label ties, so the best exact F along
    the minimisers of F^eps, epsilon from 1e-1 down to 1e-7 in half decades, each started from the one before.
    """
    point, found = starting_point(problem), {}
    halves = [10 ** (-k / 2) for k in range(2, 15)] if isinstance(problem, Classification) else []
    every = sorted({*halves, *epsilons}, reverse=True)
    for epsilon in every:
        point = found[epsilon] = smoothed_minimum(problem, epsilon, point).point
    kept = {epsilon: found[epsilon] for epsilon in epsilons}
    if isinstance(problem, Regression):
        begin = starting_point(problem)
        best = newton(problem.exact, problem.exact_hessian, begin, problem.intercept)
        return Limit(Point(*(x[0] for x in best.point)), best.value[0], kept)
    points = Point(*(torch.cat(parts) for parts in zip(*(found[epsilon] for epsilon in every), strict=True)))
    values = problem.exact(points).value
    best = values.argmin()
    return Limit(Point(*(x[best] for x in points)), values[best], kept)


def starting_point(problem: Regression | Classification) -> Point:
    """One row from which every minimisation starts: least squares, or a small weight with a large lam."""
    if isinstance(problem, Regression):
        point = least_squares(problem)
        return Point(point.weight[None], point.intercept[None], problem.worst_case(point)[1][None])
    x = problem.features
    weight = (problem.labels[:, None] * x).mean(0, keepdim=True)
    return Point(weight, x.new_zeros(1), x.new_full((1,), 100.0))
