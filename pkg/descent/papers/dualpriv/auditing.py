"""Audit and membership inference of trained models.

Audit: m extra scenes with random code words as answers, each put into the private set with probability 1/2; after
training, a low loss is taken as a sign of having been in (one run, Steinke et al. 2023). Membership inference: loss of
private training scenes against loss of fresh scenes of the SAME generator and pool, so that nothing but membership
separates them. Every seed attacks scenes of its own, so an interval over seeds covers the choice of scenes as well.

Only counts, bounds and areas are recorded: no index, label, loss or coin of a single record leaves the job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.dualpriv.model import Encoded
from descent.papers.dualpriv.problem import Features, answers
from descent.papers.dualpriv.scenes import code_words
from descent.papers.dualpriv.training import Run, fusion_std, record_ledger, tokens_of, train
from descent.papers.dualpriv.world import FIXED, Split, World
from descent.privacy.audit import auc, one_run_bound, one_run_correct

ROC_POINTS = np.linspace(0, 1, 101)


def run(job: Job, context: Any) -> Records:
    """Each variant trained once a seed, then attacked."""
    records = Records()
    world = World.load(context.needs["base"].arrays, context.data["digits"], context.streams, "content", context.device)
    for variant in job.variants:
        p = variant.params
        inserted = inserted_scenes(world, p["canaries"])
        private = world.split("private", p["records"])
        joined = _joined(private, inserted)
        coins = np.stack([context.streams.numpy("canary coins", s).random(p["canaries"]) < 0.5 for s in variant.seeds])
        members = np.concatenate([np.ones((len(coins), p["records"]), dtype=bool), coins], 1)
        done = train(context, world, variant, joined, members=members)
        record_ledger(records, variant, done.ledger)
        records.add(variant, "nominal_epsilon", np.full(len(coins), float(p["epsilon"])), step=p["steps"])
        _attack(records, variant, world, done, coins)
    return records


def inserted_scenes(world: World, count: int) -> Split:
    """`count` scenes of the private pool with uniformly random code words as answers: nothing but memory explains them."""
    split = world.split("canaries", count)
    words = np.concatenate(code_words())
    drawn = world.streams.numpy("canary answers", FIXED).choice(words, size=count)
    return split._replace(answer=torch.from_numpy(drawn).to(world.device))


def _attack(records: Records, variant: Variant, world: World, done: Run, coins: np.ndarray) -> None:
    p = variant.params
    m, r = p["canaries"], p["guesses"]
    found: dict[str, list[float]] = {}
    curves = []
    for seed, theta, coin in zip(variant.seeds, done.theta.split(1), coins, strict=True):
        attacked = attacked_records(world, done, p, seed)
        canary, member, other = (_losses(done, theta, part) for part in (_places(done, slice(-m, None)), *attacked))
        right = one_run_correct(-canary, coin, r)
        scores = -np.concatenate([member, other])
        area, low, high = auc(scores, np.arange(len(scores)) < len(member))
        row = {
            "audit_correct": right,
            "audit_guesses": r,
            "audit_canaries": m,
            "epsilon_lower_bound": one_run_bound(right, r, m, p["delta"]),
            "mia_auc": area,
            "mia_auc_low": low,
            "mia_auc_high": high,
        }
        for metric, value in row.items():
            found.setdefault(metric, []).append(float(value))
        curves.append(_roc(member, other))
    for metric, values in found.items():
        records.add(variant, metric, np.array(values), step=p["steps"])
    records.array(f"roc: {variant.key}", np.mean(curves, 0))


def attacked_records(world: World, done: Run, params: Mapping[str, Any], seed: int) -> tuple[Features, Features]:
    """(members, others) of one seed's membership inference: private records without replacement, and fresh scenes."""
    count = params["attacked"]
    chosen = world.streams.numpy("attacked", seed).choice(params["records"], size=count, replace=False)
    fresh = world.split(f"others {seed}", count)
    others = tokens_of(world, fresh, done.plan, params, fusion_std(done.ledger, done.plan, params))
    return _places(done, torch.from_numpy(np.sort(chosen)).to(world.device)), others


def _places(done: Run, places: Tensor | slice) -> Features:
    return Features(*(z[places] for z in done.problem.train))


def _losses(done: Run, theta: Tensor, part: Features) -> np.ndarray:
    with torch.no_grad():
        return answers(done.problem, theta, part)[1][0].cpu().numpy()


def _roc(member: np.ndarray, other: np.ndarray) -> np.ndarray:
    """True positive rate of the threshold attack at the false positive rates ROC_POINTS."""
    thresholds = np.quantile(other, ROC_POINTS)
    return (member[:, None] <= thresholds).mean(0)


def _joined(first: Split, second: Split) -> Split:
    both = Encoded(*(torch.cat(pair) for pair in zip(first.encoded, second.encoded, strict=True)))
    rest: list[Tensor] = [torch.cat(pair) for pair in zip(first[2:], second[2:], strict=True)]
    return Split(f"{first.name}+{second.name}", both, *rest)
