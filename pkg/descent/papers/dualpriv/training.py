"""From a variant of the study to its private training run: ledger, cached tokens, method, loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from descent.core.iterate import Trace, iterate
from descent.core.job import Variant
from descent.core.records import Records
from descent.papers.dualpriv.first_order import dpsgd
from descent.papers.dualpriv.lora import Layout, initial, layout
from descent.papers.dualpriv.plans import PLANS, Plan
from descent.papers.dualpriv.problem import Features, Problem
from descent.papers.dualpriv.world import Split, World
from descent.papers.dualpriv.zeroth_order import dpzero
from descent.privacy.calibrate import epsilon
from descent.privacy.ledger import Ledger

BLOCK = 10
"""Steps whose random numbers are handed over together; part of the definition of a run."""


class Run(NamedTuple):
    """A trained variant."""

    plan: Plan
    ledger: Ledger
    problem: Problem
    theta: Tensor  # (S, p)
    kept: Tensor | None  # (PHASES, S, M) of a first-order method
    trace: Trace


def open_ledger(plan: Plan, params: Mapping[str, Any]) -> Ledger:
    """The privacy of a run with these settings. Raises SettingError when noise and budget disagree."""
    return Ledger.open(
        budget=float(params["epsilon"]) if plan.noisy else float("inf"),
        delta=params["delta"],
        records=params["records"],
        batch=params["batch"],
        steps=params["steps"],
        clip_norm=params["slope_clip" if plan.order == "zeroth" else "clip_norm"],
        accountant=params["accountant"],
        noise=params["noise_multiplier"] if plan.noisy else None,
    )


def tokens_of(world: World, split: Split, plan: Plan, params: Mapping[str, Any], fuse_std: float = 0.0) -> Features:
    """Decoder inputs as the plan wants them."""
    if plan.tokens == "all":
        return world.inputs(split)
    return world.inputs(split, plan.tokens, params["dominant"], params["contextual"] if plan.fused else 0, fuse_std)


def fusion_std(ledger: Ledger, plan: Plan, params: Mapping[str, Any]) -> float:
    """Deviation of the paper's fusion noise under each of its readings; 0 where nothing is fused."""
    if plan.tokens == "all" or not plan.fused or not params["contextual"]:
        return 0.0
    return {"none": 0.0, "sigmaC/B": ledger.noise_std / ledger.batch, "sigmaC": ledger.noise_std}[params["fuse_noise"]]


def adapter(world: World, params: Mapping[str, Any]) -> Layout:
    """The layout of the LoRA adapter with these settings."""
    return layout(world.sizes.decoder, params["rank"], params["alpha"])


def train(
    context: Any,
    world: World,
    variant: Variant,
    train_split: Split,
    measure: Callable[[Problem, Tensor], dict[str, Tensor]] | None = None,
    at: tuple[int, ...] = (),
    members: np.ndarray | None = None,
) -> Run:
    """Train `variant` on all its seeds at once.

    measure(problem, theta (S, p)) -> metric: (S,), called at the steps `at`. members: (S, N) bool, which records each
    seed may draw (the audit's coins); all of them by default.
    """
    plan, params = PLANS[variant.method], variant.params
    ledger = open_ledger(plan, params)
    inputs = tokens_of(world, train_split, plan, params, fusion_std(ledger, plan, params))
    problem = Problem(adapter(world, params), world.frozen, world.rotation(inputs.x.shape[1]), inputs)
    if plan.order == "zeroth":
        method = dpzero(problem, ledger, step_size=params["step_size"], probe=params["probe"])
    else:
        pruning = {"keep": params["keep"], "block_score": plan.blocks} if plan.blocks else {}
        method = dpsgd(
            problem,
            ledger,
            step_size=params["step_size"],
            optimiser=plan.optimiser,
            micro_batch=params["micro_batch"],
            **pruning,
        )
    ledger.match(rate=params["batch"] / params["records"], steps=params["steps"], noise_std=ledger.noise_std)
    start = initial(problem.layout, [world.streams.torch("adapter", seed) for seed in variant.seeds])
    method = method.seeded(world.streams, variant.seeds, BLOCK, members)
    state, trace = iterate(
        context,
        variant.key,
        method.init(start.to(world.device)),
        method,
        steps=params["steps"],
        block=BLOCK,
        measure=None if measure is None else lambda state, _: measure(problem, state.theta),
        at=at,
    )
    return Run(plan, ledger, problem, state.theta, getattr(state, "kept", None), trace)


def record_ledger(records: Records, variant: Variant, ledger: Ledger) -> None:
    """The privacy of a run, beside its results: nothing here depends on a private record."""
    rows = np.ones(len(variant.seeds))
    for metric, value in ledger.entries().items():
        records.add(
            variant, metric, value * rows, step=ledger.steps, status=None if np.isfinite(value) else "undefined"
        )
    second = epsilon(ledger.rate, ledger.noise_multiplier, ledger.steps, ledger.delta, "prv")
    status = None if np.isfinite(second) else "undefined"
    records.add(variant, "epsilon_numerical", second * rows, step=ledger.steps, status=status)
