"""What a step costs (E6): measured time, and matrix products counted, which no machine changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import torch
from torch.utils.flop_counter import FlopCounterMode

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.core.tree import tree_map
from descent.papers.kpgsivi.fitting import method_of, problem_of, target_of


def stepper(variant: Variant, context: Context) -> Callable[[], object]:
    """A call does one step of `rows` seeds from the start, its random numbers drawn anew."""
    first = variant.seeds[0]
    variant = replace(variant, seeds=tuple(range(first, first + variant.params["rows"])))
    problem = problem_of(variant, target_of(variant.params, context), context)
    method = method_of(variant, problem)
    state = method.init(problem.start(variant.params["log_variance"]).to(context.device))
    blocks = count(1)  # the blocks after the first are the rule

    def step() -> object:
        drawn = method.draw(next(blocks), 1)  # pyright: ignore[reportOptionalCall]: every method here draws
        noise = tree_map(lambda x: x[0].to(context.device), drawn)
        with torch.no_grad():
            return method.step(state, noise)

    return step


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """One step of each method."""
    return {i: stepper(variant, context) for i, variant in enumerate(job.variants)}


def run(job: Job, context: Context) -> Records:
    """`work`: floating-point operations of a step's matrix products, a seed."""
    records = Records()
    for variant in job.variants:
        step = stepper(variant, context)
        with FlopCounterMode(display=False) as counter:
            step()
        flops = counter.get_total_flops() / variant.params["rows"]
        records.add(variant, "work", [float(flops)] * len(variant.seeds), step=1)
    return records
