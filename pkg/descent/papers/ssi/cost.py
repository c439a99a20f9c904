"""What a step costs: the reduced simulator against the d-dimensional one, closed form and autograd (measured on request).

Every baseline advances the same number of chains by `chunk` steps on the attention model, its fresh noise included, so
the recorded times compare a chain-step with a chain-step. The official code runs one chain at a time; here its stand-in
is batched as well, which is to its advantage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.tree import on_device, tree_map
from descent.papers.ssi import single
from descent.papers.ssi.chains import descending
from descent.papers.ssi.direct import Direct
from descent.papers.ssi.links import SIGNS, attention_against, attention_loss, teacher_diagonal
from descent.papers.ssi.noise import Chain, HostNoise, Plan
from descent.papers.ssi.transition import attention_model, constants_of, teacher_of


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """A callable a variant: `chunk` steps of `chains` chains."""
    return {i: workload(variant, context) for i, variant in enumerate(job.variants)}


def workload(variant: Variant, context: Context) -> Callable[[], object]:
    """`chunk` steps of `chains` chains of the variant's method, noise drawn inside."""
    p, device = variant.params, context.device
    seeds = tuple(range(504, 504 + p["chains"]))  # whole tiles of noise, as the study's
    rows = replace(variant, seeds=seeds)
    teacher = teacher_of([rows], device)
    m = torch.full((p["chains"],), 0.3, dtype=torch.float64, device=device)
    steps = p["chunk"]
    if variant.method == "sgd":
        model = attention_model([rows])
        chains = [Chain(seed, (), 2, p["dimension"]) for seed in rows.seeds]
        drawing = HostNoise(context, model, chains, Plan(steps, steps, min(steps, 50)), 0)
        method = descending(model, constants_of([rows], device), None, drawing)

        def reduced() -> object:
            state, noise = method.init(single.start(m, m)), on_device(drawing.draw(0, -(-steps // 50)), device)
            for i in range(len(noise.z)):
                state = method.update(state, tree_map(lambda x, i=i: x[i], noise))
            return state

        return reduced
    signs = torch.tensor(SIGNS, dtype=torch.float64, device=device)
    direct = Direct(attention_against(teacher), signs, **variant.own)
    rng = context.streams.torch("bench", 0)
    shape = (p["chains"], 2, p["dimension"])
    drawn, tokens = torch.empty(shape, dtype=torch.float32), torch.empty(shape, dtype=torch.float64)

    def full() -> object:
        state = direct.start(m, m)
        for _ in range(steps):
            torch.randn(shape, generator=rng, out=drawn)
            x = tokens.copy_(drawn).to(device)
            if variant.method == "direct":
                state = direct.step(state, x)
            else:
                state = direct.autograd_step(state, x, lambda s, z: attention_loss(s, teacher_diagonal(z, teacher)))
        return state

    return full
