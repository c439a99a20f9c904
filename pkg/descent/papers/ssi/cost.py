"""What a step costs: the reduced simulator against the d-dimensional one, closed form and autograd (measured on request).

Every baseline advances the same number of chains by `chunk` steps on the attention model, its fresh noise included, so
the recorded times compare a chain-step with a chain-step. The official code runs one chain at a time; here its stand-in
is batched as well, which is to its advantage.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.tree import on_device
from descent.papers.ssi import single
from descent.papers.ssi.chains import Chain, HostNoise, Noise, Plan, State, advancing
from descent.papers.ssi.direct import Direct
from descent.papers.ssi.links import SIGNS, attention_loss, attention_slope, teacher_diagonal
from descent.papers.ssi.transition import attention_model, constants_of, teacher_of
from descent.toolbox.capture import captured


def bench(job: Job, context: Context) -> dict[int, Callable[[], object]]:
    """A callable a variant: `chunk` steps of `chains` chains."""
    return {i: workload(variant, context) for i, variant in enumerate(job.variants)}


def workload(variant: Variant, context: Context) -> Callable[[], object]:
    """`chunk` steps of `chains` chains of the variant's method, noise drawn inside."""
    p, device = variant.params, context.device
    rows = Variant(variant.method, variant.setting, p, tuple(range(500, 500 + p["chains"])))
    teacher = teacher_of([rows], device)
    m = torch.full((p["chains"],), 0.3, dtype=torch.float64, device=device)
    steps = p["chunk"]
    if variant.method == "sgd":
        model = attention_model([rows])
        chains = [Chain(seed, (), 2, p["dimension"]) for seed in rows.seeds]
        constants = constants_of([rows], device)
        source = HostNoise(context, model, chains, Plan(steps, steps, steps), 0)

        advance = captured(advancing(model, constants, None, source))
        alive, steps_done = m > 0, torch.zeros_like(m)

        def reduced() -> object:
            noise = on_device(source.draw(0, 1), device)
            return advance(State(single.start(m, m), alive, steps_done), Noise(noise.z[0], noise.chi[0]))

        return reduced
    signs = torch.tensor(SIGNS, dtype=torch.float64, device=device)
    direct = Direct(
        lambda s, z: attention_slope(s, teacher_diagonal(z, teacher)), signs, rate=p["rate"], dimension=p["dimension"]
    )
    rng = context.streams.numpy("bench", 0)
    scale = p["dimension"] ** -0.5

    def full() -> object:
        state = direct.start(m, m)
        for _ in range(steps):
            x = torch.from_numpy(rng.standard_normal((p["chains"], 2, p["dimension"]))).mul_(scale).to(device)
            if variant.method == "direct":
                state = direct.step(state, x)
            else:
                state = direct.autograd_step(state, x, lambda s, z: attention_loss(s, teacher_diagonal(z, teacher)))
        return state

    return full
