"""The sequence information exponent (E3): time to a fixed overlap against d, for the targets z_1, z_1 z_2, z_1 z_2 z_3.

Student and target match, so E[yf] = m^k, whose first power k is the exponent. Every order, dimension and seed is a row
of one batch. Beside the chains stands the flow's own escape time, whose slope is the yardstick: at these d both exceed
the asymptotic exponents 1, 1 (with log^2 d) and 2.
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
from descent.papers.ssi.gradient_flow import escape_time
from descent.papers.ssi.links import product, product_slope
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.rows import add_times, column, plan_of, programs, slices

TOKENS = 3


class Constants(NamedTuple):
    """kappa (R,) = lr/d; used (3, R): 1 for the tokens of the product."""

    kappa: Tensor
    used: Tensor


def slowed(decay: str, dimension: int) -> float:
    """What lr is divided by as d grows, which the order asks for."""
    return {"one": 1.0, "log": math.log(dimension), "root": math.sqrt(dimension)}[decay]


def escape(order: int, start: float, level: float, decay: str, *, dimension: int, rate: float) -> float:
    """Steps of the flow from the overlap start / sqrt d to `level` at the slowed rate."""
    lr = rate / slowed(decay, dimension)
    return escape_time(order, start * dimension**-0.5, level, rate=lr, dimension=dimension)


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        if variant.method == "escape":
            p = variant.params
            time = escape(p["order"], p["start"], p["level"], p["rate_decay"], **variant.own)
            records.add(variant, "time", [time] * len(variant.seeds))
    moving = [v for v in job.variants if v.method == "sgd"]
    for group in programs(moving, lambda v: tuple(v.params[n] for n in ("steps", "block", "chunk", "noise"))):
        _together(group, context, records)
    return records


def _together(variants: list[Variant], context: Context, records: Records) -> None:
    device = context.device
    used = torch.stack([column(variants, lambda v, j=j: v.params["order"] > j, device) for j in range(TOKENS)])
    slow = lambda v: slowed(v.params["rate_decay"], v.params["dimension"])  # noqa: E731
    kappa = column(variants, lambda v: single.kappa(**v.own) / slow(v), device)
    model = single.single_vector(
        lambda z, c: product(z, c.used)[1], lambda s, y, c: product_slope(s, y, c.used), TOKENS, positional=False
    )
    chains = [
        Chain(seed, (v.params["order"], v.params["dimension"]), TOKENS, v.params["dimension"])
        for v in variants for seed in v.seeds
    ]  # fmt: skip
    start = column(variants, lambda v: v.params["start"] * v.params["dimension"] ** -0.5, device)
    passages = run_chains(
        context, f"exponent-{variants[0].params['steps']}", model, chains, single.start(start), Constants(kappa, used),
        plan_of(variants), threshold=column(variants, lambda v: v.params["level"], device),
    )  # fmt: skip
    for variant, rows in slices(variants):
        add_times(records, variant, passages.time[rows])
