"""The learning experiments: every method of a block and all its seeds in one lock-step batch.

E-win and E-est (`window`), E-base (`base`), E-eq (`equal`), LQR-train (`lqr_train`), InvertedPendulum (`pendulum`), Swimmer
(`swimmer`) and HalfCheetah (`cheetah`). The step of a record is the number of trajectories that the seed has collected so far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.method import Acting
from descent.core.records import Records
from descent.papers.rpg.linear import LinearGaussian
from descent.papers.rpg.lockstep import Curves, Entry, ascend
from descent.papers.rpg.method import Policy
from descent.papers.rpg.network import NetworkGaussian
from descent.papers.rpg.on_policy import gpomdp
from descent.papers.rpg.physics import Gymnasium
from descent.papers.rpg.problem import LQR, CartPole, Problem
from descent.papers.rpg.reuse import bh, mis, rpg
from descent.papers.rpg.variance_reduced import defensive, page, srvrpg, storm, svrpg

METHODS: dict[str, Callable[..., Acting]] = {
    "rpg": rpg,
    "mis": mis,
    "bh": bh,
    "gpomdp": gpomdp,
    "svrpg": svrpg,
    "srvrpg": srvrpg,
    "storm": storm,
    "page": page,
    "def": defensive,
}


def run(job: Job, context: Context) -> Records:
    """One lock-step batch for each problem and policy among the job's variants (a block normally has one)."""
    records = Records()
    groups: dict[tuple, list[Variant]] = {}
    for variant in job.variants:
        shared = ("environment", "horizon", "discount", "variance", "policy", "hidden", "block")
        groups.setdefault(tuple(variant.params[name] for name in shared), []).append(variant)
    for number, variants in enumerate(groups.values()):
        together(variants, context, records, f"ascend{number}")
    return records


def together(variants: list[Variant], context: Context, records: Records, name: str) -> None:
    """Run variants that share their problem and policy."""
    params = variants[0].params
    problem = problem_of(params, context.device)
    policy = policy_of(params, problem, context.device)
    entries = [
        Entry(v.key, method_of(v, policy), v.seeds, v.params["budget"], start_of(policy, context, v.seeds))
        for v in variants
    ]
    watch = _regret(problem, params["variance"]) if isinstance(problem, LQR) else None
    curves = ascend(context, problem, policy, entries, block=params["block"], name=name, watch=watch)
    comparable = len({v.params["budget"] for v in variants}) == 1
    for variant in variants:
        record(records, variant, curves[variant.key], area=comparable)


def problem_of(params: Mapping[str, Any], device: torch.device) -> Problem:
    """The problem that `environment` names."""
    shared = {"horizon": params["horizon"], "discount": params["discount"]}
    kinds = {"cartpole": CartPole, "lqr": LQR}
    if params["environment"] in kinds:
        return kinds[params["environment"]](**shared, device=device)
    return Gymnasium(params["environment"], **shared)


def policy_of(params: Mapping[str, Any], problem: Problem, device: torch.device) -> Policy:
    """A linear policy, or a network."""
    size = problem.state_size, problem.action_size
    if params["policy"] == "linear":
        return LinearGaussian(*size, variance=params["variance"], device=device)
    return NetworkGaussian(*size, hidden=params["hidden"], variance=params["variance"])


def method_of(variant: Variant, policy: Policy) -> Acting:
    """The variant's method with its settings."""
    return METHODS[variant.method](policy, **variant.own)


def start_of(policy: Policy, context: Context, seeds: tuple[int, ...]) -> Tensor:
    """theta_0 (S, d): zero for a linear policy, Xavier-uniform for a network (shared by all methods)."""
    if isinstance(policy, NetworkGaussian):
        return policy.start(context.streams, seeds)
    return torch.zeros((len(seeds), policy.size), dtype=torch.float64)


def record(records: Records, variant: Variant, curves: Curves, *, area: bool) -> None:
    """`mean_return`, `fresh` (and `regret`) at every update; seeds whose schedules differ have steps of their own.

    Once a seed, for the tables: `final_return`, the mean return of the last tenth of its trajectories, and `auc`, of all of them,
    where `area` says that all variants have the same budget (over different ones it could not be compared).
    """
    schedule = curves.schedule
    values = {**curves.values, "fresh": schedule.sizes}
    same = (schedule.sizes == schedule.sizes[:, :1]).all()
    groups = [slice(None)] if same else [slice(i, i + 1) for i in range(len(variant.seeds))]
    for rows in groups:
        used = int(schedule.updates[rows][0])
        collected = schedule.collected[:used, rows][:, 0]
        for metric, table in values.items():
            records.add(variant, metric, table[:used, rows], step=collected, seeds=variant.seeds[rows])
        late = collected > 0.9 * collected[-1]
        for metric, kept in (*([("auc", slice(None))] if area else []), ("final_return", late)):
            weights = schedule.sizes[:used, rows][kept]
            mean = (values["mean_return"][:used, rows][kept] * weights).sum(0) / weights.sum(0)
            records.add(variant, metric, mean, step=int(collected[-1]), seeds=variant.seeds[rows])


def _regret(problem: LQR, variance: float) -> Callable[[Tensor], dict[str, Tensor]]:
    best = float(problem.value(problem.optimum(variance), variance))
    return lambda theta: {"regret": best - problem.value(theta, variance)}
