"""What a training round costs (E3): every method's round on the same participants and minibatches, drawn beforehand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import torch

from descent.core.context import Context
from descent.core.job import Job
from descent.core.tree import on_device, tree_map
from descent.papers.pfedsop.comparison import own_settings
from descent.papers.pfedsop.methods import built
from descent.papers.pfedsop.problem import world

WARM = 2
"""Rounds before timing, so that nobody takes part for the first time in all that is timed."""
USED = 20
"""Rounds whose draws are used in turn."""


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """Index of the variant -> one round. Each call goes on from where the last one ended."""
    first = job.variants[0]
    rounds = min(first.params["rounds"], USED)
    found = world(context.streams, context.data, first.seeds, first.params, context.device)
    calls = {}
    for number, variant in enumerate(job.variants):
        federation = found.federation(1, variant.params["local_step_size"])
        method = built(variant.method, federation, (), **own_settings([variant]))
        assert method.draw is not None, "every method has rounds"
        noise = [
            tree_map(lambda x: x[0], on_device(method.draw(k, 1), context.device))
            for k in range(min(WARM, rounds), rounds)
        ]
        calls[number] = _round(method, noise)
    return calls


def _round(method: Any, noise: list[Any]) -> Callable[[], object]:
    kept = [method.init()]
    turn = count()

    def call() -> object:
        with torch.no_grad():
            kept[0], _ = method.step(kept[0], noise[next(turn) % len(noise)])
        return kept[0]

    return call
