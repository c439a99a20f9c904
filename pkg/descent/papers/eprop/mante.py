"""Mante's task by BPTT and e-prop (E5): is it learned, and how fast. No recordings of it can be had, so nothing is compared."""

from __future__ import annotations

import numpy as np

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.eprop.mante_task import Periods, decision_accuracy, mante_task
from descent.papers.eprop.network import Seeds, forward, initial
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.training import learner


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        _trained(variant, context, records)
    return records


def _trained(variant: Variant, context: Context, records: Records) -> None:
    p, seeds = variant.params, variant.seeds
    periods = Periods(p["fixation"], p["stimulus"], p["delay"], p["decision"])
    task = mante_task(periods, device=context.device)
    numbers = Seeds(
        *(x.to(context.device) for x in start_numbers(context.streams, seeds, p["units"], task.inputs, task.outputs))
    )
    network = {"alpha": p["alpha"], "activation": p["activation"]}
    method = learner(task, rule=variant.method, lr=p["lr"], penalty=p["penalty"], **network)
    trials = task.make(None)

    def measure(state, info):
        output = forward(state.parameters, state.parameters.W, trials.x, **network).output
        return {
            "loss": task.loss(output, trials)[0],
            "decision_accuracy": decision_accuracy(output, trials, periods.decision),
        }

    steps = range(0, p["updates"] + 1, p["every"])
    _, trace = iterate(
        context, variant.key, method.init(initial(numbers, gain=p["gain"])), method,
        steps=p["updates"], block=p["block"], measure=measure, at=steps,
    )  # fmt: skip
    records.add_trace(variant, trace)
    there = trace.values["decision_accuracy"] >= p["target_accuracy"]
    needed = np.where(there.any(0), trace.steps[there.argmax(0)], np.inf)
    sound = np.isfinite(trace.values["loss"]).all(0)
    status = ["ok" if r else "censored" if s else "diverged" for r, s in zip(there.any(0), sound, strict=True)]  # pyright: ignore[reportArgumentType]: an array
    records.add(variant, "updates_needed", needed, status=status)
