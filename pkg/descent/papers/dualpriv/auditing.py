"""Audit and membership inference of trained models.

The whole private set are canaries: scenes with random code words as answers, which nothing but memory explains, each put
in with probability 1/2. After a real training run a low loss is taken as a sign of having been in. The same losses serve
two attacks: the one-run audit (Steinke et al. 2023), which bounds epsilon from below by counting right guesses, and
loss-threshold membership inference, whose ROC area is 1/2 by chance. Members and others differ in a coin alone.

Few records, many steps and a large learning rate make the run one that memorises where noise does not keep it from it: its
twin without noise shows that both attacks see what there is to see.

Only counts, bounds and areas are recorded: no index, label, loss or coin of a single record leaves the job.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from descent.core.job import Job
from descent.core.records import Records
from descent.papers.dualpriv.methods import recipe_of
from descent.papers.dualpriv.problem import Features, answers
from descent.papers.dualpriv.scenes import code_words
from descent.papers.dualpriv.training import Run, open_ledger, record_ledger, train
from descent.papers.dualpriv.world import World, bases_of
from descent.privacy.audit import auc, one_run_bound, one_run_correct

ROC_POINTS = np.linspace(0, 1, 101)


def run(job: Job, context: Any) -> Records:
    """Each variant trained once a seed, then attacked."""
    records = Records()
    arrays = context.needs["base"].arrays
    for variant in job.variants:
        p = variant.params
        coins = np.stack([context.streams.numpy("canary coins", s).random(p["records"]) < 0.5 for s in variant.seeds])
        found: list[dict[str, float]] = [{} for _ in variant.seeds]
        curves = []
        for base, seeds in bases_of(arrays, variant.seeds):
            world = World.load(arrays, context.data["digits"], context.streams, "content", context.device, base)
            # Every seed has scenes and answers of its own, so an interval over seeds covers their choice.
            rows = [variant.seeds.index(seed) for seed in seeds]
            splits = [canaries(world, p["records"], seed) for seed in seeds]
            done = train(context, world, variant, splits, members=coins[rows], seeds=seeds)
            for row, losses in zip(rows, losses_of(done, p["records"]), strict=True):
                found[row], curve = attacked(losses, coins[row], p["guesses"], p["delta"])
                curves.append(curve)
        record_ledger(records, variant, open_ledger(recipe_of(variant), p))
        records.add(variant, "nominal_epsilon", np.full(len(coins), float(p["epsilon"])), step=p["steps"])
        for metric in found[0]:
            records.add(variant, metric, np.array([row[metric] for row in found]), step=p["steps"])
        records.array(f"roc: {variant.key}", np.mean(curves, 0))
    return records


def canaries(world: World, count: int, seed: int):
    """`count` scenes of the private pool with uniformly random code words as answers: nothing but memory explains them."""
    split = world.split(f"canaries {seed}", count)
    words = np.concatenate(code_words())
    drawn = world.streams.numpy("canary answers", seed).choice(words, size=count)
    return split._replace(answer=torch.from_numpy(drawn).to(world.device))


def losses_of(done: Run, records: int) -> list[np.ndarray]:
    """Of each trained model the losses (N,) on its own records."""
    sets = zip(*(z.split(records) for z in done.problem.train), strict=True)
    with torch.no_grad():
        losses = [
            answers(done.problem, theta, Features(*own))[1][0]
            for theta, own in zip(done.theta.split(1), sets, strict=True)
        ]
    # A diverged model tells nothing of one record more than of another.
    return [torch.nan_to_num(z, nan=torch.inf).cpu().numpy() for z in losses]


def attacked(losses: np.ndarray, coins: np.ndarray, guesses: int, delta: float) -> tuple[dict[str, float], np.ndarray]:
    """What the losses (N,) of one trained model tell about the coins (N,), and the ROC curve at ROC_POINTS."""
    right = one_run_correct(-losses, coins, guesses)
    area, low, high = auc(-losses, coins)
    row = {
        "audit_correct": right, "audit_guesses": guesses, "audit_canaries": len(coins),
        "epsilon_lower_bound": one_run_bound(right, guesses, len(coins), delta),
        "epsilon_cap": one_run_bound(guesses, guesses, len(coins), delta),
        "mia_auc": area, "mia_auc_low": low, "mia_auc_high": high,
    }  # fmt: skip
    return {metric: float(value) for metric, value in row.items()}, _roc(losses[coins], losses[~coins])


def _roc(member: np.ndarray, other: np.ndarray) -> np.ndarray:
    """True positive rate of the threshold attack at the false positive rates ROC_POINTS."""
    thresholds = np.quantile(other, ROC_POINTS)
    return (member[:, None] <= thresholds).mean(0)
