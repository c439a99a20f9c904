"""A tiny world for the room's tests: a small random base, adapters, ledgers."""

from __future__ import annotations

import torch

from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers.dualpriv.decoder import Shape
from descent.papers.dualpriv.lora import initial, layout
from descent.papers.dualpriv.methods import METHODS, Recipe
from descent.papers.dualpriv.model import Sizes, freeze, initial_parameters, rotation
from descent.papers.dualpriv.problem import Features, Problem, features
from descent.papers.dualpriv.room import ROOM
from descent.papers.dualpriv.settings import SETTINGS
from descent.privacy import Ledger

STREAMS = Streams("dualpriv")


def tiny_sizes(layers: int = 2, width: int = 8) -> Sizes:
    return Sizes(width=width, heads=2, layers=layers)


def make_problem(
    records: int = 12,
    tokens: int = 7,
    dtype=torch.float64,
    rank: int = 2,
    sizes: Sizes | None = None,
    seed: int = 0,
    device: torch.device | None = None,
) -> Problem:
    """Random cached inputs, random frozen weights."""
    sizes = sizes or tiny_sizes()
    generator = torch.Generator().manual_seed(seed)
    weights = {name: z.to(dtype) for name, z in initial_parameters(sizes, generator).items()}
    # Norms start at one and zero, where a mistake in them would not show.
    weights = {name: z + 0.1 * torch.randn(z.shape, generator=generator).to(dtype) for name, z in weights.items()}
    frozen = freeze(sizes, {name: z.to(device) for name, z in weights.items()})
    x = torch.randn(records, tokens, sizes.width, generator=generator).to(device, dtype)
    answer = torch.randint(0, 32, (records,), generator=generator).to(device)
    table = rotation(sizes, "shared", tokens - 4, device)
    return Problem(layout(sizes.decoder, rank, 2.0 * rank), frozen, table, features(frozen, x, answer))


def some_theta(problem: Problem, rows: int = 1, seed: int = 1, scale: float = 0.3) -> torch.Tensor:
    """Adapters away from their start, where every gradient is non-zero."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, problem.layout.size, generator=generator).to(problem.train.x)


def subset(problem: Problem, places) -> Problem:
    return problem._replace(train=Features(*(z[places] for z in problem.train)))


def ledger(
    records: int = 12, batch: float = 6, steps: int = 5, budget: float = 3.0, clip_norm: float = 1.0, **more
) -> Ledger:
    return Ledger.open(
        budget=budget, delta=1e-5, records=records, batch=batch, steps=steps, clip_norm=clip_norm, **more
    )


def start(problem: Problem, seeds=(500, 501)) -> torch.Tensor:
    return initial(problem.layout, [STREAMS.torch("adapter", s) for s in seeds], problem.train.x.dtype)


def recipe(name: str, **settings) -> Recipe:
    """The method with these settings, as far as its card lists them; the others are the defaults."""
    return METHODS[name](**{s: settings.get(s, SETTINGS[s].default) for s in ROOM.methods[name].settings})


STUDY = Shape()


def one(noise, i):
    """The i-th step of a block of random numbers."""
    return tree_map(lambda z: z[i], noise)
