"""E4, E5: projected stochastic gradients with constant and falling epsilon, measured on the exact, unregularised F.

All seeds and schedules are one tensor program; schedules share a seed's minibatches and draws. F* and the plateau that a
constant epsilon must end at, F(theta_eps, lam_eps) - F*, come from the exact minimisers of experiment `critical`.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.papers.wdro.instances import problem_of
from descent.papers.wdro.projected import Info, Schedule, State, psgd
from descent.toolbox.capture import captured

SCHEDULE = ("schedule", "epsilon", "decay", "floor")


def run(job: Job, context: Context) -> Records:
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        _together(list(group), context, records)
    return records


def _program(variant: Variant) -> str:
    """Variants that agree on this are one tensor program."""
    same = {name: value for name, value in variant.params.items() if name not in SCHEDULE}
    return f"{sorted(same.items())} {variant.seeds}"


def _together(variants: list[Variant], context: Context, records: Records) -> None:
    p, seeds, count = variants[0].params, variants[0].seeds, len(variants)
    problem = problem_of(p, context.data).to(context.device)
    known = context.needs["critical"].records
    known = known[known["problem"] == p["problem"]]
    best = float(known.loc[known["metric"] == "optimum", "value"].iloc[0])
    schedules = [Schedule(*(v.params[name] for name in SCHEDULE[1:])) for v in variants]
    method = psgd(problem, schedules, seeds, context.streams, samples=p["samples"], block=p["block"], **variants[0].own)
    step = captured(method.step)

    def measure(state: State, info: Info | None) -> dict[str, Tensor]:
        numbers = {
            "gap": problem.exact(state.point).value - best,
            "mean_gap": problem.exact(state.mean).value - best,
            "lam": state.point.lam,
        }
        return {metric: value.flatten() for metric, value in numbers.items()}

    name = variants[0].key  # one a program: a checkpoint goes by it
    _, trace = iterate(
        context, name, method.init(), Method(method.init, step, method.draw), steps=p["steps"],
        block=p["block"], measure=measure, at=[k for k in log_grid(p["steps"], p["points"]) if k > 0],
    )  # fmt: skip
    for i, variant in enumerate(variants):
        records.add_trace(variant, trace, slice(i, None, count))  # rows run over seeds, schedules within
        at = (known["metric"] == "plateau") & np.isclose(known["epsilon"], variant.params["epsilon"])
        same = known.loc[at, "value"]
        if variant.params["decay"] == 0 and len(same):
            records.add(variant, "plateau", np.full(len(seeds), same.iloc[0]))
