"""What guesses cost: the official code's way, the same done well, and our samplers (measured on request).

A call of the first three is `batch` guesses of one seed, random numbers included. A call of importance sampling is
`draws` weighted draws, of subset simulation a whole run, of one seed: what comes out is set against time by effective size.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.tree import on_device, tree_map
from descent.papers.guesscheck.factorisation import ACTIVATIONS, Network
from descent.papers.guesscheck.problem import Task, instance
from descent.papers.guesscheck.sampled import Run, guess_check, network_of


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """A callable a variant."""
    return {i: workload(variant, context) for i, variant in enumerate(job.variants)}


def workload(variant: Variant, context: Context) -> Callable[[], object]:
    """One call of the variant's `way` on the first seed's task."""
    p, seeds = variant.params, (500,)
    double = on_device(
        instance(context.streams, seeds, task=p["task"], rank=p["rank"], measurements=p["measurements"]), context.device
    )
    task, network = Task(*(x.float() for x in double)), network_of(p)
    if p["way"] in ("official", "plain"):
        made = official if p["way"] == "official" else plain
        generator = context.streams.torch("bench", 0)
        return lambda: made(task, network, p["batch"], p["tolerance"], generator)
    call = {"literal": {"guesses": p["batch"]}, "importance": {"batch": 500}, "subset": {}}[p["way"]]
    own = {**variant.own, "sampler": p["way"], **call}
    return _stepping(guess_check(double, network, context.streams, seeds, **own), context)


def _stepping(run: Run, context: Context) -> Callable[[], object]:
    """The run from its start, or until finished; fresh numbers at every call."""
    calls, method, draw = count(), run.method, run.method.draw
    assert draw is not None, "every sampler draws"

    def call() -> object:
        first, state = next(calls) * run.steps, method.init()
        with torch.no_grad():
            for k in range(first, first + run.steps):
                noise = tree_map(lambda x: x[0], on_device(draw(k, 1), context.device))
                state, _ = method.step(state, noise)
                if run.finished is not None and bool(run.finished(state).all()):
                    break
        return state

    return call


def _weights(network: Network, guesses: int, generator: torch.Generator) -> list[torch.Tensor]:
    """(N, inputs, outputs) a layer: the plain layout, a candidate a matrix."""
    return [
        torch.randn(guesses, *shape, generator=generator) * scale
        for shape, scale in zip(network.shapes, network.scales, strict=True)
    ]


def _products(network: Network, guesses: int, generator: torch.Generator) -> torch.Tensor:
    first, *rest = _weights(network, guesses, generator)
    h = ACTIVATIONS[network.activation](first)
    for i, w in enumerate(rest):
        h = torch.bmm(h, w)
        if i < len(rest) - 1:
            h = ACTIVATIONS[network.activation](h)
    if network.normalised:
        h = h / (h.norm(dim=(1, 2), keepdim=True) + 1e-6)
    return h.flatten(1)


def official(task: Task, network: Network, guesses: int, tolerance: float, generator: torch.Generator) -> object:
    """The authors' way: residuals by broadcasting guesses against measurements, test losses of every guess."""
    products = _products(network, guesses, generator)
    train = ((products[:, None] * task.seen[0]).sum(-1) - task.labels[0]).square().mean(1)
    test = ((products[:, None] * task.unseen[0]).sum(-1) - task.answers[0]).square().mean(1)
    accepted = train < tolerance
    return accepted.sum(), test[accepted].sum(), test.mean()


def plain(task: Task, network: Network, guesses: int, tolerance: float, generator: torch.Generator) -> object:
    """The same by a careful author: batched products, residuals as one matrix product, test losses of hits only."""
    products = _products(network, guesses, generator)
    train = torch.addmm(task.labels[0], products, task.seen[0].T, beta=-1).square().mean(1)
    hits = products[train < tolerance]
    test = torch.addmm(task.answers[0], hits, task.unseen[0].T, beta=-1).square().mean(1)
    return len(hits), test.sum()
