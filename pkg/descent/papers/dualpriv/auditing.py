"""Audit and membership inference of trained models.

Audit: m extra scenes with random code words as answers, each put into the private set with probability 1/2; after
training, a low loss is taken as a sign of having been in (one run, Steinke et al. 2023). Membership inference: loss of
private training scenes against loss of fresh scenes of the SAME generator and pool, so that nothing but membership
separates them.

Only counts, bounds and areas are recorded: no index, label, loss or coin of a single record leaves the job.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.job import Job, Variant
from descent.papers.dualpriv.model import Encoded
from descent.papers.dualpriv.problem import Features, answers
from descent.papers.dualpriv.scenes import code_words
from descent.papers.dualpriv.training import Run, fusion_std, record_ledger, tokens_of, train
from descent.papers.dualpriv.world import FIXED, Split, World
from descent.privacy.audit import auc, one_run_bound, one_run_correct
from descent.records import Records

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
    train_records = done.problem.train
    others = world.split("others", p["attacked"])
    outside = tokens_of(world, others, done.plan, p, fusion_std(done.ledger, done.plan, p))
    inside = _first(train_records, p["attacked"])
    canaries = Features(*(z[-m:] for z in train_records))
    with torch.no_grad():
        losses = [answers(done.problem, done.theta, part)[1].cpu().numpy() for part in (canaries, inside, outside)]
    found: dict[str, list[float]] = {}
    curves = []
    for coin, canary, member, other in zip(coins, *losses, strict=True):
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


def _roc(member: np.ndarray, other: np.ndarray) -> np.ndarray:
    """True positive rate of the threshold attack at the false positive rates ROC_POINTS."""
    thresholds = np.quantile(other, ROC_POINTS)
    return (member[:, None] <= thresholds).mean(0)


def _joined(first: Split, second: Split) -> Split:
    both = Encoded(*(torch.cat(pair) for pair in zip(first.encoded, second.encoded, strict=True)))
    rest: list[Tensor] = [torch.cat(pair) for pair in zip(first[2:], second[2:], strict=True)]
    return Split(f"{first.name}+{second.name}", both, *rest)


def _first(records: Features, count: int) -> Features:
    return Features(*(z[:count] for z in records))
