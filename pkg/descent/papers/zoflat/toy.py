"""Fig. 1: ZO, its control DD and gradient descent on the test function, every row in one tensor program.

Rows are variants x seeds. All start from the seed's own point, and the random walks share their directions (as the
official script shares its seed), so DD is simply the row without smoothing; they run on the three numbers of
bilinear_reduced.py. Gradient descent runs beside them, on all 2n.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.zoflat.bilinear import Bilinear
from descent.papers.zoflat.bilinear_reduced import Draw, ReducedBilinear, draws, reduced
from descent.papers.zoflat.gradient_descent import gd
from descent.papers.zoflat.two_point import walks


def run(job: Job, context: Context) -> Records:
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        _together(list(group), context, records)
    return records


def _program(variant: Variant) -> tuple:
    """Variants that agree on this are rows of one program."""
    p = variant.params
    return variant.method == "gd", p["steps"], p["half_dimension"], p["block"], p["step_size"], variant.seeds


def _together(variants: Sequence[Variant], context: Context, records: Records) -> None:
    """Run variants that differ in their smoothing alone."""
    params, seeds = variants[0].params, variants[0].seeds
    n, steps = params["half_dimension"], params["steps"]
    start = context.streams.normal("start", seeds, (2 * n,)).to(context.device)
    x = start.expand(len(variants), *start.shape).clone()  # (V, S, 2n)
    if variants[0].method == "gd":
        problem, draw = Bilinear(), None  # pyright: ignore[reportAssignmentType] (a problem that draws nothing)
        update = gd(problem, step_size=params["step_size"]).update  # pyright: ignore[reportArgumentType, reportAssignmentType] (names of arguments differ)
    else:
        problem = ReducedBilinear()
        smoothings = [v.params.get("smoothing") for v in variants]  # DD has none
        method = walks(problem, step_size=params["step_size"], smoothings=smoothings, device=context.device)  # pyright: ignore[reportArgumentType] (it has what a walk uses)
        x = reduced(x)

        def draw(k: int, count: int) -> Draw:
            return draws(context.streams, seeds, n, k, count)

        def update(x: Tensor, noise: Draw) -> Tensor:
            return method.update(x, problem.seen(x, noise))

    def measure(state: tuple[Tensor]) -> dict[str, Tensor]:
        return {"train_loss": problem.loss(state[0]).flatten(), "trace": problem.trace(state[0]).flatten()}

    curve = {*log_grid(steps, params["points"]), min(params["reference_step"], steps)}
    tail = range(max(0, steps - params["tail"] + 1), steps + 1)
    _, trace = iterate(
        context, variants[0].key, (x,), lambda state, noise: (update(state[0], noise),),
        steps=steps, block=params["block"], draw=draw, measure=measure, at={*curve, *tail},
    )  # fmt: skip
    on_curve = [t in curve for t in trace.steps.tolist()]
    for i, variant in enumerate(variants):
        rows = slice(i * len(seeds), (i + 1) * len(seeds))
        records.add(variant, "train_loss", trace.values["train_loss"][:, rows], step=trace.steps)
        records.add(variant, "trace", trace.values["trace"][on_curve, rows], step=trace.steps[on_curve])
