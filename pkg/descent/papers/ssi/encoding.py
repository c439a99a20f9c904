"""Positional encoding lowers the sequence information exponent (E7): trace attention with and without it.

The target (z*_1 - z*_2) / sqrt 2 is odd under the exchange of the tokens, trace attention without encoding is even: it
has no signal at all. With the opposite encoding e and m couple, R_em < 0, and both grow.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.ssi import single
from descent.papers.ssi.chains import run_chains
from descent.papers.ssi.links import trace_slope
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.rows import column, curve_points, plan_of, slices


class Constants(NamedTuple):
    """kappa (R,) = lr/d; signs (2, R) of the positional encoding."""

    kappa: Tensor
    signs: Tensor


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        _one(variant, context, records)
    return records


def _one(variant: Variant, context: Context, records: Records) -> None:
    p, device = variant.params, context.device
    positional = variant.method == "attention_pe"
    model = single.single_vector(
        lambda z, c: (z[:, 0] - z[:, 1]) * math.sqrt(0.5), lambda s, y, c: trace_slope(s, y), 2, positional=positional
    )
    begin = torch.full((len(variant.seeds),), p["start"] * p["dimension"] ** -0.5, dtype=torch.float64).to(device)
    kappa, plan = column([variant], lambda v: single.kappa(**v.own), device), plan_of([variant])
    passages = run_chains(
        context, variant.method, model, [Chain(seed, (), 2, p["dimension"]) for seed in variant.seeds],
        single.start(begin, begin if positional else None),
        Constants(kappa, single.opposite(kappa)), plan,
        measure=lambda state: {name: x.abs() for name, x in single.overlaps(state).items()},
        at=curve_points(plan, p["points"]),
    )  # fmt: skip
    for _, rows in slices([variant]):
        records.add_trace(variant, passages.trace, rows)
