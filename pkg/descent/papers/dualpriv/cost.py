"""What a step costs: the study's steps on one seed's batch, timed side by side, and those of a 7B-shaped model.

Weights have no meaning here. At the paper's size the steps are `footprint`'s, in place, one micro-batch each; all of
them share one set of weights, so that they fit on one GPU together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from descent.core.job import Job, Variant
from descent.core.tree import on_device, tree_map
from descent.papers.dualpriv import footprint
from descent.papers.dualpriv.lora import initial, layout
from descent.papers.dualpriv.methods import FirstOrder, recipe_of
from descent.papers.dualpriv.model import TEXT, Sizes, freeze, initial_parameters, rotation
from descent.papers.dualpriv.problem import Problem, features
from descent.papers.dualpriv.scenes import VOCABULARY
from descent.privacy.ledger import Ledger

_POOL = 16  # records, in batches
_DRAWN = 8  # batches, used in turn
_EXPECTED = 128  # batch size that a 7B-shaped step divides by


def problem_of(visual: int, records: int, rank: int, alpha: float, device: torch.device) -> Problem:
    """The study's decoder on `records` records of `visual` random visual tokens."""
    sizes = Sizes()
    generator = torch.Generator().manual_seed(0)
    weights = {name: z.to(device) for name, z in initial_parameters(sizes, generator).items()}
    frozen = freeze(sizes, weights)
    x = torch.randn(records, visual + TEXT, sizes.width, generator=generator, dtype=torch.float32).to(device)
    answer = torch.randint(VOCABULARY, (records,), generator=generator).to(device)
    table = rotation(sizes, "shared", visual, device)
    return Problem(layout(sizes.decoder, rank, alpha), frozen, table, features(frozen, x, answer))


def bench(job: Job, context: Any) -> dict[int, Callable[[], object]]:
    """Index of the variant -> one step."""
    case = None
    steps = {}
    for number, variant in enumerate(job.variants):
        if variant.params["model"] == "small":
            steps[number] = _step(variant, context)
        else:
            case = _large_case(variant, context.device, case)
            steps[number] = _large_step(case, variant)
    return steps


def _large_case(variant: Variant, device: torch.device, shared: footprint.Case | None) -> footprint.Case:
    """The variant's micro-batch on the weights of `shared`, or of a new model."""
    p = variant.params
    counted = footprint.COUNTED[p["counted"]]
    sizes = footprint.visual_tokens(recipe_of(variant), p["model"]), p["micro_batch_size"], counted
    if shared is None:
        return footprint.llava_case(*sizes, device, footprint.LLAVA)
    return footprint.with_inputs(shared, *sizes)


def _large_step(case: footprint.Case, variant: Variant) -> Callable[[], object]:
    """One step with random numbers drawn anew; DPZero draws its direction from a seed at every use of it."""
    recipe = recipe_of(variant)
    generator = torch.Generator(case.theta.device).manual_seed(0)

    def normal(z: Tensor) -> Tensor:
        return torch.empty_like(z).normal_(generator=generator)

    if isinstance(recipe, FirstOrder):
        return lambda: footprint.first_order_step(
            case, keep=recipe.keep, noise_std=1.0, batch=_EXPECTED, step_size=recipe.step_size, normal=normal
        )

    def piece(number: int, z: Tensor) -> Tensor:
        generator.manual_seed(number)
        return normal(z)

    return lambda: footprint.zeroth_order_step(
        case, batch=_EXPECTED, step_size=recipe.step_size, probe=recipe.probe, normal=piece
    )


def _step(variant: Variant, context: Any) -> Callable[[], object]:
    p, recipe = variant.params, recipe_of(variant)
    batch = p["micro_batch_size"]
    problem = problem_of(
        footprint.visual_tokens(recipe, p["model"]), _POOL * batch, p["rank"], p["alpha"], context.device
    )
    ledger = Ledger.open(
        budget=3.0, delta=1e-5, records=_POOL * batch, batch=batch, steps=100,
        clip_norm=recipe.clip_norm,
    )  # fmt: skip
    method = recipe.on(problem, ledger)
    seed = variant.seeds[0]
    state = method.init(initial(problem.layout, [context.streams.torch("adapter", seed)]).to(context.device))
    assert method.drawing is not None
    noise = on_device(method.drawing(context.streams, (seed,), _DRAWN)(0, _DRAWN), context.device)

    def step() -> None:
        nonlocal state
        with torch.no_grad():
            moved = method.update(state, tree_map(lambda z: z[state.step], noise))
        state = moved._replace(step=moved.step % _DRAWN)

    return step
