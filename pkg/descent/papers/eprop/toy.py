"""A scalar linear network trained by both rules from the same start (E6): do they end at the same weight?

h_t = w h_{t-1} + x_t with an impulse at t = 1 is h_t = w^{t-1}; the target is the response of w*. L = sum (h_t - target_t)^2 / 2.
BPTT: sum_t (w^{t-1} - w*^{t-1}) (t-1) w^{t-2}; e-prop takes h_{t-1} as given: sum_t (w^{t-1} - w*^{t-1}) w^{t-2}. For w, w* > 0 every
term has the sign of w - w*, so both vanish at w* alone: docs/papers/eprop.md. No randomness.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job
from descent.core.method import Method
from descent.core.records import Records


class Weight(NamedTuple):
    w: Tensor  # (K,) float64


class Slope(NamedTuple):
    slope: Tensor  # (K,) the rule's gradient


def scalar_slope(rule: str, w: Tensor, wanted: float, steps: int) -> Tensor:
    """The gradient by rule bptt or eprop, term by term; w: (K,)."""
    slope = torch.zeros_like(w)
    for t in range(2, steps + 1):
        times = t - 1 if rule == "bptt" else 1
        slope = slope + (w ** (t - 1) - wanted ** (t - 1)) * times * w ** (t - 2)
    return slope


def scalar(rule: str, *, wanted: float = 0.8, steps: int = 5, lr: float = 0.02) -> Method:
    """Gradient descent on the scalar network."""

    def step(state: Weight, noise) -> tuple[Weight, Slope]:
        slope = scalar_slope(rule, state.w, wanted, steps)
        return Weight(state.w - lr * slope), Slope(slope)

    return Method(lambda starts: Weight(starts), step)


def run(job: Job, context: Context) -> Records:
    records = Records()
    for rule in dict.fromkeys(v.method for v in job.variants):
        own = [v for v in job.variants if v.method == rule]
        p, starts = (
            own[0].params,
            torch.tensor([v.params["start"] for v in own], dtype=torch.float64, device=context.device),
        )
        method = scalar(rule, wanted=p["wanted"], steps=p["steps"], lr=p["lr"])
        at = sorted({*range(0, p["updates"] + 1, p["every"]), p["updates"]})
        measure = lambda state, info: {"weight": state.w}  # noqa: E731
        _, trace = iterate(
            context, rule, method.init(starts), method, steps=p["updates"], block=p["block"], measure=measure, at=at
        )
        for i, variant in enumerate(own):
            rows = [i] * len(variant.seeds)
            records.add(variant, "weight", trace.values["weight"][:, rows], step=trace.steps)
            records.add(variant, "weight_gap", abs(trace.last("weight")[rows] - p["wanted"]))
    return records
