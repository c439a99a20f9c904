"""LQR-est: the squared error of the three estimators against the exact gradient, for windows that drift by known steps.

Each replication has a random direction e. The window's policies lie at target + drift (i - omega) e, i = 1 .. omega, the
last one being the target itself; each gives N trajectories, the same ones for every estimator and every window.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.rpg.estimators import balance, log_shares_and_correction, plain, power_mean
from descent.papers.rpg.linear import LinearGaussian, reward_to_go
from descent.papers.rpg.problem import LQR

TARGET = (-0.2, -0.3)
SHARED = ("drift", "batch", "replications", "variance", "horizon", "discount")
"""Settings on which variants agree when they share trajectories."""


def run(job: Job, context: Context) -> Records:
    """Records, per seed: `squared_error` of each replication (the step counts them), the largest weight, the weights'
    mean sum over the window, and for RPG how far its largest weight is from the bound."""
    records = Records()
    groups: dict[tuple, list[Variant]] = {}
    for variant in job.variants:
        groups.setdefault(tuple(variant.params[name] for name in SHARED), []).append(variant)
    for variants in groups.values():
        seeds = list(dict.fromkeys(seed for v in variants for seed in v.seeds))
        found: dict[str, list[dict[str, Tensor]]] = {v.key: [] for v in variants}
        for seed in seeds:
            sample = Sample(variants[0].params, max(v.params["window"] for v in variants), context, seed)
            for v in variants:
                if seed in v.seeds:
                    found[v.key].append(sample.measure(v))
        for v in variants:
            steps = range(v.params["replications"])
            table = torch.stack([one["squared_error"] for one in found[v.key]], 1)
            records.add(v, "squared_error", table, step=list(steps))
            for metric in [name for name in found[v.key][0] if name != "squared_error"]:
                records.add(v, metric, torch.stack([one[metric] for one in found[v.key]]))
    return records


class Sample:
    """The trajectories of one seed: replications x the longest window x N, oldest policy first."""

    def __init__(self, params: Mapping[str, Any], window: int, context: Context, seed: int):
        reps, n, horizon = params["replications"], params["batch"], params["horizon"]
        problem = LQR(horizon=horizon, discount=params["discount"], device=context.device)
        self.policy = LinearGaussian(2, variance=params["variance"], device=context.device)
        normals, uniforms, direction = (x.to(context.device) for x in draw(context, seed, reps, window, n, horizon))
        target = torch.tensor(TARGET, dtype=torch.float64).to(context.device)
        offsets = params["drift"] * torch.arange(1 - window, 1, dtype=torch.float64).to(context.device)
        self.theta = target.expand(reps, 2)
        self.past_theta = target + offsets[:, None] * direction[:, None]
        rows = self.past_theta[:, :, None].expand(-1, -1, n, -1).flatten(0, 2)
        tr = problem.rollout(self.policy.controller(rows), normals, uniforms)
        kept = self.policy.summarise(tr, reward_to_go(tr.rewards))
        self.past = kept.unflatten(0, (reps, window, n))
        self.exact = problem.gradient(target, params["variance"])

    def measure(self, variant: Variant) -> dict[str, Tensor]:
        """squared_error (replications,) of the variant's estimator and window, and scalars about its weights."""
        window, n = variant.params["window"], variant.params["batch"]
        past, past_theta = self.past[:, -window:], self.past_theta[:, -window:]
        ratio, divergence = self.policy.log_ratio_and_divergence(past, self.theta, past_theta)
        found = {}
        if variant.method == "rpg":
            confidence = variant.params["confidence"]
            log_weights = power_mean(ratio, divergence, confidence)
            if window > 1:
                log_a, log_lam = log_shares_and_correction(ratio, divergence, confidence)
                found["bound_excess"] = (log_weights - (log_a - log_lam)[..., None]).amax()
        elif variant.method == "mis":
            log_weights = plain(ratio)
        else:
            log_weights = balance(self.policy.log_likelihoods(past, past_theta))
        weights = log_weights.exp()
        error = self.policy.gradient(past, self.theta, weights) - self.exact
        found["squared_error"] = (error * error).sum(-1)
        found["mean_squared_error"] = found["squared_error"].mean()
        found["largest_weight"] = weights.amax()
        found["weight_sum"] = weights.sum((1, 2)).mean() / n
        return found


def draw(context: Context, seed: int, reps: int, window: int, n: int, horizon: int) -> tuple[Tensor, Tensor, Tensor]:
    """normals (T, 1, R), uniforms (2, R), directions (reps, 2) of length 1; R = reps x window x n.

    Keyed by the window's age, so that the trajectories of the newest policies are the same whatever the longest window.
    """
    streams = context.streams
    normal = [streams.numpy("window", seed, age).standard_normal((horizon, 1, reps, n)) for age in range(window)]
    uniform = [streams.numpy("start", seed, age).random((2, reps, n)) for age in range(window)]
    direction = torch.from_numpy(streams.numpy("direction", seed).standard_normal((reps, 2)))
    stacked = [torch.stack([torch.from_numpy(part) for part in reversed(parts)], -2) for parts in (normal, uniform)]
    return stacked[0].flatten(2), stacked[1].flatten(1), direction / direction.norm(dim=1, keepdim=True)
