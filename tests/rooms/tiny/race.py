"""Descent on f(x) = sum(scale * x^2) / 2, every variant of a block and every seed in one batch."""

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.iterate import iterate, log_grid
from descent.core.records import Records


class State(NamedTuple):
    x: Tensor  # (R, 4): rows = variants x seeds


def step(state, noise, scale, step_size, sigma):
    return State(state.x - step_size * (scale * state.x + sigma * noise))


def loss(state, scale):
    return {"loss": (scale * state.x**2).sum(-1) / 2}


def rows(job, context):
    seeds = [seed for variant in job.variants for seed in variant.seeds]
    each = [variant for variant in job.variants for _ in variant.seeds]

    def column(name):
        return torch.tensor([[v.params.get(name, 0.0)] for v in each], dtype=torch.float64).to(context.device)

    base = context.needs["base"].arrays
    scale = torch.stack([torch.from_numpy(base[f"scale_{v.params['world']}"]) for v in each]).to(context.device)
    start = State(context.streams.normal("init", seeds, (4,)).to(context.device))
    return seeds, start, scale, column("step_size"), column("noise")


def run(job, context):
    seeds, start, scale, step_size, sigma = rows(job, context)
    steps = job.variants[0].params["steps"]
    _, trace = iterate(
        context, "race", start, lambda s, n: step(s, n, scale, step_size, sigma), steps=steps, block=16,
        draw=lambda k, count: context.streams.normal("noise", seeds, (count, 4), k).transpose(0, 1).contiguous(),
        measure=lambda s: loss(s, scale), at=log_grid(steps, 8),
    )  # fmt: skip
    records, first = Records(), 0
    for variant in job.variants:
        records.add_trace(variant, trace, slice(first, first + len(variant.seeds)))
        first += len(variant.seeds)
    return records


def bench(job, context):
    seeds, start, scale, step_size, sigma = rows(job, context)
    noise = context.streams.normal("noise", seeds, (4,), 0).to(context.device)
    return {i: lambda: step(start, noise, scale, step_size, sigma) for i in range(len(job.variants))}
