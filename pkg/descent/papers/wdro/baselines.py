"""The baselines at the same budget: the exact worst-case risk of theta against the evaluations of the loss that it took.

`step` of these records counts evaluations of f at a drawn point, with its gradient: b m a step of the projected method, n m an
evaluation of SAA or a step of the library's method, n a step of the latter's first phase. The measure is the exact
min over lam of F(theta, lam), less F*, so that no method is judged by its own lam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.papers.wdro.instances import distance, problem_of
from descent.papers.wdro.library_steps import defaults, first_phase, library
from descent.papers.wdro.newton import limit
from descent.papers.wdro.point import Point
from descent.papers.wdro.projected import Schedule, psgd
from descent.papers.wdro.regression import Regression, least_squares
from descent.papers.wdro.sample_average import saa
from descent.toolbox.capture import captured


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        problem = problem_of(variant.params, context.data).to(context.device)
        if not isinstance(problem, Regression):
            raise ValueError("baselines measures the worst-case risk by its closed form: problem must be a regression")
        {"psgd": _psgd, "saa": _saa, "library": _library, "erm": _erm}[variant.method](
            variant, problem, context, records
        )
    return records


def _measure(problem: Regression) -> Callable[[Point], dict[str, Tensor]]:
    """What is recorded of a point (S, 1, d): (S,) each."""
    best = limit(problem)

    def measure(point: Point) -> dict[str, Tensor]:
        return {
            "risk_gap": (problem.worst_case(point)[0] - best.value).flatten(),
            "distance": distance(point, best.point).flatten(),
            "lam": point.lam.flatten(),
        }

    return measure


def _psgd(variant: Variant, problem: Regression, context: Context, records: Records) -> None:
    p, measure = variant.params, _measure(problem)
    schedule = Schedule(p["epsilon"], p["decay"], p["floor"])
    method = psgd(
        problem, [schedule], variant.seeds, context.streams, samples=p["samples"], block=p["block"], **variant.own
    )
    each = p["batch"] * p["samples"]
    _loop(
        variant,
        context,
        records,
        method,
        method.init(),
        p["evaluations"] // each,
        p["block"],
        each,
        lambda s: measure(s.point),
    )


def _saa(variant: Variant, problem: Regression, context: Context, records: Records) -> None:
    p, measure = variant.params, _measure(problem)
    method, point_of = saa(problem, [p["epsilon"]], variant.seeds, context.streams, samples=p["samples"], **variant.own)
    each = len(problem.labels) * p["samples"]
    steps = max(p["evaluations"] // each - 1, 0)  # init evaluates once
    _loop(
        variant,
        context,
        records,
        method,
        method.init(),
        steps,
        p["block"],
        each,
        lambda s: measure(point_of(s.x)),
        each,
    )


def _library(variant: Variant, problem: Regression, context: Context, records: Records) -> None:
    p, measure, n = variant.params, _measure(problem), len(problem.labels)
    deviation, epsilon = defaults(p["radius"])
    own = problem.__class__(problem.features, problem.labels, problem.radius, deviation, problem.intercept)
    warm = min(p["first_steps"], p["evaluations"] // n)
    first = first_phase(own, variant.seeds, **variant.own)

    def look(state):
        return measure(Point.of(state.x, own.intercept))

    state = _loop(variant, context, records, first, first.init(), warm, p["block"], n, look, name="first")
    second = library(
        own, variant.seeds, context.streams, epsilon=epsilon, samples=p["samples"],
        block=p["block"], **variant.own,
    )  # fmt: skip
    each = n * p["samples"]
    steps = (p["evaluations"] - warm * n) // each
    _loop(variant, context, records, second, second.init(state), steps, p["block"], each, look, warm * n, "second")


def _erm(variant: Variant, problem: Regression, context: Context, records: Records) -> None:
    point = least_squares(problem)
    lam = problem.worst_case(point)[1]
    for metric, value in _measure(problem)(
        Point(point.weight[None, None], point.intercept.reshape(1, 1), lam.reshape(1, 1))
    ).items():
        records.add(variant, metric, value.expand(len(variant.seeds)))


def _loop(
    variant: Variant,
    context: Context,
    records: Records,
    method: Method,
    state: Any,
    steps: int,
    block: int,
    each: int,
    look: Callable[[Any], dict[str, Tensor]],
    spent: int = 0,
    name: str = "",
) -> Any:
    """Run the method and record it against evaluations: `spent` before the first step, `each` a step."""
    quick = Method(method.init, captured(method.step), method.draw)
    at = [k for k in log_grid(steps, variant.params["points"]) if k > 0 or (spent and not name)]
    state, trace = iterate(
        context, f"{variant.key} {name}".strip(), state, quick, steps=steps, block=block,
        measure=lambda state, info: look(state), at=at,
    )  # fmt: skip
    if trace.values:
        records.add_trace(variant, Trace(np.asarray(trace.steps) * each + spent, trace.values))
    return state
