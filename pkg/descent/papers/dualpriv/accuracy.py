"""Accuracy of private fine-tuning: the grid, the ablation, the sweeps and the tuning runs, all through one `run`.

Accuracy is on scenes of the test pool (tuning: on validation scenes), the answer being the likeliest word of the whole
vocabulary. Without training it is 0; the best constant guess of the study's task earns 0.30.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.dualpriv.first_order import PHASES
from descent.papers.dualpriv.lora import initial
from descent.papers.dualpriv.plans import PLANS
from descent.papers.dualpriv.problem import Features, Problem, answers
from descent.papers.dualpriv.scenes import QUESTIONS
from descent.papers.dualpriv.training import adapter, record_ledger, tokens_of, train
from descent.papers.dualpriv.world import TASKS, Split, World


def run(job: Job, context: Any) -> Records:
    """One job: its variants one after another, the seeds of each at once."""
    records = Records()
    task = job.variants[0].params["task"]
    world = World.load(context.needs["base"].arrays, context.data["digits"], context.streams, task, context.device)
    for variant in job.variants:
        params = variant.params
        test = world.split(params["pool"], params["test_records"])
        plan = PLANS[variant.method]
        held_out = tokens_of(world, test, plan, params)
        measure = _measure(held_out, test, task)
        if plan.order == "none":
            _untrained(records, context, world, variant, held_out, measure)
            continue
        private = world.split("private", params["records"])
        steps, parts = params["steps"], params["curve"]
        at = tuple({steps * i // parts for i in range(1, parts + 1)})
        done = train(context, world, variant, private, measure, at)
        records.add_trace(variant, done.trace)
        record_ledger(records, variant, done.ledger)
        if plan.blocks and done.kept is not None:
            records.array(f"kept: {variant.key}", _kept_share(done.kept, steps))
    return records


def _measure(held_out: Features, split: Split, task: str):
    of_question = {q: (split.text[:, 2] == QUESTIONS[q]).to(held_out.x.dtype) for q in TASKS[task][0]}
    shares = {q: mask / mask.sum().clamp(min=1) for q, mask in of_question.items()}

    def measure(problem: Problem, theta: Tensor) -> dict[str, Tensor]:
        right, losses = answers(problem, theta, held_out)
        by_question = {f"{q}_accuracy": right @ share for q, share in shares.items()}
        return {"accuracy": right.mean(-1), **by_question, "loss": losses.mean(-1)}

    return measure


def _untrained(records: Records, context: Any, world: World, variant: Variant, held_out: Features, measure) -> None:
    problem = Problem(adapter(world, variant.params), world.frozen, world.rotation(held_out.x.shape[1]), held_out)
    theta = initial(problem.layout, [context.streams.torch("adapter", seed) for seed in variant.seeds])
    with torch.no_grad():
        values = measure(problem, theta.to(world.device))
    for metric, value in values.items():
        records.add(variant, metric, value)


def _kept_share(kept: Tensor, steps: int) -> np.ndarray:
    """(PHASES, M): share of each phase's steps in which a block was kept, mean over the seeds."""
    numbers = np.floor(np.arange(steps) * PHASES / steps)
    lengths = np.array([(numbers == phase).sum() for phase in range(PHASES)])
    return kept.mean(1).cpu().numpy() / np.maximum(lengths, 1)[:, None]
