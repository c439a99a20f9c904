"""Accuracy of private fine-tuning: the grid, the ablation, the sweeps and the tuning runs, all through one `run`.

Accuracy is on scenes of the test pool (tuning: on validation scenes), the answer being the likeliest word of the whole
vocabulary. Without training it is 0; the best constant guess of the study's task earns 0.30.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.iterate import Trace
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.dualpriv.first_order import PHASES
from descent.papers.dualpriv.lora import initial
from descent.papers.dualpriv.methods import FirstOrder, recipe_of
from descent.papers.dualpriv.problem import Features, Problem, answers
from descent.papers.dualpriv.scenes import QUESTIONS
from descent.papers.dualpriv.training import Run, adapter, joined, record_ledger, tokens_of, train
from descent.papers.dualpriv.world import TASKS, Split, World, bases_of


def run(job: Job, context: Any) -> Records:
    """One job: each base with its seeds, on it the variants one after another, all seeds of one at once."""
    records = Records()
    task = job.variants[0].params["task"]
    arrays = context.needs["base"].arrays
    runs: list[list[tuple[list[int], Run]]] = [[] for _ in job.variants]
    every = tuple(dict.fromkeys(seed for variant in job.variants for seed in variant.seeds))
    for base, seeds in bases_of(arrays, every):
        world = World.load(arrays, context.data["digits"], context.streams, task, context.device, base)
        for found, variant in zip(runs, job.variants, strict=True):
            own = tuple(seed for seed in variant.seeds if seed in seeds)
            if own:
                found.append(([variant.seeds.index(s) for s in own], _one(context, world, variant, own, task)))
    for found, variant in zip(runs, job.variants, strict=True):
        records.add_trace(variant, joined(found, variant.seeds))
        done = found[0][1]
        if done.ledger is None:
            continue
        record_ledger(records, variant, done.ledger)
        if isinstance(done.recipe, FirstOrder) and done.recipe.blocks:
            kept = torch.cat([run.kept for _, run in found if run.kept is not None], 1)
            records.array(f"kept: {variant.key}", _kept_share(kept, variant.params["steps"]))
    return records


def _one(context: Any, world: World, variant: Variant, seeds: tuple[int, ...], task: str) -> Run:
    """The seeds of one variant on one base: trained and measured."""
    params = variant.params
    test = world.split(params["pool"], params["test_records"])
    if variant.method == "zero_shot":
        return _untrained(context, world, variant, seeds, test, task)
    measure = _measure(tokens_of(world, test, recipe_of(variant)), test, task)
    private = world.split("private", params["records"])
    steps, parts = params["steps"], params["curve"]
    at = tuple({steps * i // parts for i in range(1, parts + 1)})
    return train(context, world, variant, private, measure, at, seeds=seeds)


def _measure(held_out: Features, split: Split, task: str):
    of_question = {q: (split.text[:, 2] == QUESTIONS[q]).to(held_out.x.dtype) for q in TASKS[task][0]}
    shares = {q: mask / mask.sum().clamp(min=1) for q, mask in of_question.items()}

    def measure(problem: Problem, theta: Tensor) -> dict[str, Tensor]:
        right, losses = answers(problem, theta, held_out)
        by_question = {f"{q}_accuracy": right @ share for q, share in shares.items()}
        return {"accuracy": right.mean(-1), **by_question, "loss": losses.mean(-1)}

    return measure


def _untrained(context: Any, world: World, variant: Variant, seeds: tuple[int, ...], test: Split, task: str) -> Run:
    held_out = world.inputs(test)
    problem = Problem(adapter(world, variant.params), world.frozen, world.rotation(held_out.x.shape[1]), held_out)
    theta = initial(problem.layout, [context.streams.torch("adapter", seed) for seed in seeds]).to(world.device)
    with torch.no_grad():
        values = _measure(held_out, test, task)(problem, theta)
    trace = Trace(np.zeros(1, dtype=np.int64), {m: v.cpu().numpy().astype(np.float64)[None] for m, v in values.items()})
    return Run(None, None, problem, theta, None, trace)


def _kept_share(kept: Tensor, steps: int) -> np.ndarray:
    """(PHASES, M): share of each phase's steps in which a block was kept, mean over the seeds."""
    numbers = np.floor(np.arange(steps) * PHASES / steps)
    lengths = np.array([(numbers == phase).sum() for phase in range(PHASES)])
    return kept.mean(1).cpu().numpy() / np.maximum(lengths, 1)[:, None]
