"""What a step costs: the study's steps on one seed's batch, timed side by side. Weights have no meaning here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from descent.iterate import on_device, tree_map
from descent.job import Job
from descent.papers.dualpriv.first_order import dpsgd
from descent.papers.dualpriv.lora import initial, layout
from descent.papers.dualpriv.model import TEXT, Sizes, freeze, initial_parameters, rotation
from descent.papers.dualpriv.plans import PLANS
from descent.papers.dualpriv.problem import Problem, features
from descent.papers.dualpriv.scenes import VOCABULARY
from descent.papers.dualpriv.zeroth_order import dpzero
from descent.privacy.ledger import Ledger

_POOL = 16  # records, in batches
_DRAWN = 8  # batches, used in turn


def problem_of(visual: int, records: int, rank: int, alpha: float, device: torch.device) -> Problem:
    """The study's decoder on `records` records of `visual` random visual tokens."""
    sizes = Sizes()
    generator = torch.Generator().manual_seed(0)
    weights = {name: z.to(device) for name, z in initial_parameters(sizes, generator).items()}
    frozen = freeze(sizes, weights)
    x = torch.randn(records, visual + TEXT, sizes.width, generator=generator).to(device)
    answer = torch.randint(VOCABULARY, (records,), generator=generator).to(device)
    table = rotation(sizes, "shared", visual, device)
    return Problem(layout(sizes.decoder, rank, alpha), frozen, table, features(frozen, x, answer))


def bench(job: Job, context: Any) -> dict[int, Callable[[], object]]:
    """Index of the variant -> one step."""
    return {number: _step(variant, context) for number, variant in enumerate(job.variants)}


def _step(variant: Any, context: Any) -> Callable[[], object]:
    p, plan = variant.params, PLANS[variant.method]
    batch = p["micro_batch_size"]
    visual = Sizes().patches + 1 if plan.tokens == "all" else 1 + p["dominant"] + p["contextual"]
    problem = problem_of(visual, _POOL * batch, p["rank"], p["alpha"], context.device)
    zeroth = plan.order == "zeroth"
    ledger = Ledger.open(
        budget=3.0, delta=1e-5, records=_POOL * batch, batch=batch, steps=100,
        clip_norm=p["slope_clip"] if zeroth else p["clip_norm"],
    )  # fmt: skip
    if zeroth:
        method = dpzero(problem, ledger, step_size=p["step_size"], probe=p["probe"])
    else:
        method = dpsgd(problem, ledger, step_size=p["step_size"], keep=p["keep"] if plan.blocks else 1.0)
    seed = variant.seeds[0]
    state = method.init(initial(problem.layout, [context.streams.torch("adapter", seed)]).to(context.device))
    noise = on_device(method.draw(context.streams, (seed,), _DRAWN)(0, _DRAWN), context.device)

    def step() -> None:
        nonlocal state
        with torch.no_grad():
            moved = method.step(state, tree_map(lambda z: z[state.step], noise))
        state = moved._replace(step=moved.step % _DRAWN)

    return step
