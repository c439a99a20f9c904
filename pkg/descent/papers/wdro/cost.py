"""What an evaluation of the loss costs each method: steps worth `evaluations`, random numbers included (measured on request)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.tree import on_device, tree_map
from descent.papers.wdro.instances import problem_of
from descent.papers.wdro.library_steps import defaults, first_phase, library
from descent.papers.wdro.projected import Schedule, psgd
from descent.papers.wdro.regression import Regression
from descent.papers.wdro.sample_average import saa


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """Index of the variant -> a call that spends about `evaluations` of each seed's budget, all seeds in one batch."""
    calls = {}
    for number, variant in enumerate(job.variants):
        method, state, each = workload(variant, context)
        calls[number] = _stepping(
            method, state, max(variant.params["evaluations"] // each, 1), variant.params["block"], context
        )
    return calls


def workload(variant: Variant, context: Context) -> tuple[Method, Any, int]:
    """The method as in the experiment `baselines`, a state to go on from, and the evaluations of one of its steps."""
    p = variant.params
    problem = problem_of(p, context.data).to(context.device)
    n, streams = len(problem.labels), context.streams
    if variant.method == "psgd":
        schedule = Schedule(p["epsilon"], p["decay"], p["floor"])
        method = psgd(
            problem, [schedule], variant.seeds, streams, samples=p["samples"], block=p["block"], **variant.own
        )
        return method, method.init(), p["batch"] * p["samples"]
    if variant.method == "saa":
        method, _ = saa(problem, [p["epsilon"]], variant.seeds, streams, samples=p["samples"], **variant.own)
        return method, method.init(), n * p["samples"]
    deviation, epsilon = defaults(p["radius"])
    own = Regression(problem.features, problem.labels, problem.radius, deviation, problem.intercept)
    first = first_phase(own, variant.seeds, **variant.own)
    state = first.init()
    with torch.no_grad():
        for _ in range(p["first_steps"]):
            state, _ = first.step(state, None)
    method = library(
        own, variant.seeds, streams, epsilon=epsilon, samples=p["samples"], block=p["block"], **variant.own
    )
    return method, method.init(state), n * p["samples"]


def _stepping(method: Method, state: Any, steps: int, block: int, context: Context) -> Callable[[], object]:
    """`steps` steps from where the last call ended, random numbers drawn a block at a time as in a run."""
    kept, noise = [state], _noise(method, block, context)

    def call() -> object:
        with torch.no_grad():
            for _ in range(steps):
                kept[0], _ = method.step(kept[0], next(noise))
        return kept[0]

    return call


def _noise(method: Method, block: int, context: Context) -> Iterator[Any]:
    """A step's random numbers after another's."""
    for k in count():
        drawn = None if method.draw is None else on_device(method.draw(k, block), context.device)
        for i in range(block):
            yield None if drawn is None else tree_map(lambda x, i=i: x[i], drawn)
