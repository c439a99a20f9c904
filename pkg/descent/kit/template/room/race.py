"""The experiment: every method on the same quadratic, from the same start, with the same noise."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.mypaper.descending import descend
from descent.papers.mypaper.momentum import heavy_ball
from descent.papers.mypaper.problem import Quadratic

METHODS = {"heavy_ball": heavy_ball, "descend": descend}


def run(job: Job, context: Context) -> Records:
    """Every variant of the block, all its seeds as rows of one tensor program."""
    records = Records()
    for variant in job.variants:
        p = variant.params
        problem = Quadratic.of(
            dimension=p["dimension"],
            condition=p["condition"],
            noise=p["noise"],
            streams=context.streams,
            seeds=variant.seeds,
            device=context.device,
        )
        method = METHODS[variant.method](problem, **variant.own)

        def measure(state: Any, info: Any, problem: Quadratic = problem) -> dict[str, Tensor]:
            # no step was taken at the start: the gradient there, without noise
            gradient = problem.gradient(state.x).norm(dim=-1) if info is None else info.gradient
            return {
                "loss": problem.loss(state.x),
                "distance": state.x.norm(dim=-1),
                "gradient": gradient,
            }

        _, trace = iterate(
            context,
            variant.key,
            method.init(problem.start()),
            method,
            steps=p["steps"],
            block=p["block"],
            measure=measure,
            at=log_grid(p["steps"], p["points"]),
        )
        records.add_trace(variant, trace)
    return records
