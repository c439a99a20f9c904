"""From a variant of the study to its private training run: ledger, cached tokens, method, loop, and what was really drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.iterate import Trace, iterate
from descent.core.job import Variant
from descent.core.records import Records
from descent.papers.dualpriv.lora import Layout, initial, layout
from descent.papers.dualpriv.methods import Recipe, recipe_of
from descent.papers.dualpriv.problem import Features, Problem, in_a_row
from descent.papers.dualpriv.world import Split, World
from descent.privacy.calibrate import epsilon
from descent.privacy.ledger import Ledger
from descent.privacy.witness import Witness

BLOCK = 10
"""Steps whose random numbers are handed over together; part of the definition of a run."""


class Run(NamedTuple):
    """A trained variant, the seeds of one base."""

    recipe: Recipe | None  # None: not trained
    ledger: Ledger | None
    problem: Problem
    theta: Tensor  # (S, p)
    kept: Tensor | None  # (PHASES, S, M) of a first-order method
    trace: Trace


def open_ledger(recipe: Recipe, params: Mapping[str, Any]) -> Ledger:
    """The privacy of a run of the method in an experiment of these settings. Raises SettingError when noise and budget disagree."""
    return Ledger.open(
        budget=float(params["epsilon"]),
        delta=params["delta"],
        records=params["records"],
        batch=params["batch"],
        steps=params["steps"],
        clip_norm=recipe.clip_norm,
        accountant=params["accountant"],
        noise=params["noise_multiplier"],
    )


def tokens_of(world: World, split: Split, recipe: Recipe, fuse_std: float = 0.0) -> Features:
    """Decoder inputs as the method wants them."""
    return world.inputs(split, recipe.tokens, recipe.dominant, recipe.contextual, fuse_std)


def fusion_std(ledger: Ledger, recipe: Recipe) -> float:
    """Deviation of the paper's fusion noise under each of its readings; 0 where nothing is fused."""
    if not recipe.contextual:
        return 0.0
    return {"none": 0.0, "sigmaC/B": ledger.noise_std / ledger.batch, "sigmaC": ledger.noise_std}[recipe.fuse_noise]


def adapter(world: World, params: Mapping[str, Any]) -> Layout:
    """The layout of the LoRA adapter with these settings."""
    return layout(world.sizes.decoder, params["rank"], params["alpha"])


def watched(draw: Callable[[int, int], Any], witness: Witness) -> Callable[[int, int], Any]:
    """The same draws, seen by a witness."""

    def seen(k: int, count: int) -> Any:
        noise = draw(k, count)
        witness.see(k, noise.index.numpy(), noise.present.numpy(), noise.normal.numpy())
        return noise

    return seen


def of_own_records(draw: Callable[[int, int], Any], records: int) -> Callable[[int, int], Any]:
    """The same draws, row i drawing from the i-th of several sets of `records` records."""

    def moved(k: int, count: int) -> Any:
        noise = draw(k, count)
        first = records * torch.arange(noise.index.shape[1])[:, None]
        return noise._replace(index=noise.index + first)

    return moved


def quieter(draw: Callable[[int, int], Any], share: float) -> Callable[[int, int], Any]:
    """The same draws with `share` of the noise: a planted leak, which every audit must catch."""

    def less(k: int, count: int) -> Any:
        noise = draw(k, count)
        return noise._replace(normal=share * noise.normal)

    return less


def train(
    context: Any,
    world: World,
    variant: Variant,
    train_split: Split | Sequence[Split],
    measure: Callable[[Problem, Tensor], dict[str, Tensor]] | None = None,
    at: tuple[int, ...] = (),
    members: np.ndarray | None = None,
    seeds: Sequence[int] | None = None,
) -> Run:
    """Train `variant` on its seeds (or on these of them) at once, on one base.

    train_split: the private records of all seeds, or one split a seed. measure(problem, theta (S, p)) -> metric: (S,),
    called at the steps `at`. members: (S, N) bool, which records each seed may draw (the audit's coins); all of them by
    default. A variant with a `noise_share` below 1 leaks on purpose; the draws of every other one are held against its
    ledger. Raises SettingError when they are not what it accounts for.
    """
    recipe, params = recipe_of(variant), variant.params
    seeds = variant.seeds if seeds is None else seeds
    ledger = open_ledger(recipe, params)
    splits: Sequence[Split] = [train_split] if isinstance(train_split, Split) else train_split
    std = fusion_std(ledger, recipe)
    parts = [tokens_of(world, split, recipe, std) for split in splits]
    inputs = parts[0] if len(parts) == 1 else in_a_row(parts)
    problem = Problem(adapter(world, params), world.frozen, world.rotation(inputs.x.shape[1]), inputs)
    start = initial(problem.layout, [world.streams.torch("adapter", seed) for seed in seeds])
    method = recipe.on(problem, ledger)
    assert method.drawing is not None
    draw = method.drawing(world.streams, seeds, BLOCK, members)
    share = params.get("noise_share", 1.0)
    witness = Witness(ledger, seeds, BLOCK, None if members is None else members.sum(1))
    draw = watched(draw, witness) if share == 1 else quieter(draw, share)
    draw = draw if len(parts) == 1 else of_own_records(draw, ledger.records)
    state, trace = iterate(
        context,
        f"{variant.key}, base {world.base}, seeds {' '.join(map(str, seeds))}",
        method.init(start.to(world.device)),
        method,
        steps=params["steps"],
        block=BLOCK,
        draw=draw,
        measure=None if measure is None else lambda state, _: measure(problem, state.theta),
        at=at,
    )
    if witness.steps:
        witness.settle()
    return Run(recipe, ledger, problem, state.theta, getattr(state, "kept", None), trace)


def joined(runs: Sequence[tuple[Sequence[int], Run]], seeds: Sequence[int]) -> Trace:
    """The traces of (rows, run) as one, rows in the order of all seeds."""
    order = np.argsort(np.concatenate([np.asarray(rows, dtype=int) for rows, _ in runs]))
    first = runs[0][1].trace
    values = {m: np.concatenate([run.trace.values[m] for _, run in runs], -1)[:, order] for m in first.values}
    if any(len(v[0]) != len(seeds) for v in values.values() if len(v)):
        raise ValueError("a seed belongs to exactly one base")
    return Trace(first.steps, values)


def record_ledger(records: Records, variant: Variant, ledger: Ledger) -> None:
    """The privacy of a run, beside its results: nothing here depends on a private record.

    epsilon = infinity is a number beyond every other: `censored`, as a threshold that is never reached.
    """
    rows = np.ones(len(variant.seeds))
    second = epsilon(ledger.rate, ledger.noise_multiplier, ledger.steps, ledger.delta, "prv")
    for metric, value in {**ledger.entries(), "epsilon_numerical": second}.items():
        status = None if np.isfinite(value) else "censored"
        records.add(variant, metric, value * rows, step=ledger.steps, status=status)
