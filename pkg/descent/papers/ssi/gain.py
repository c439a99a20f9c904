"""What tying the tokens' vectors gains: first passages of tied, plain and trace-attention students (E1, E1b, E2, E6, E9).

All lengths and seeds of a method are one batch, padded to the longest. Tied and plain chains of a seed see the same
sequences. The same module records curves where `points` asks for them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.ssi import plain, single
from descent.papers.ssi.chains import Model, run_chains
from descent.papers.ssi.links import (
    Sequence,
    coefficients,
    fold,
    long_trace_slope,
    network_slope,
    neuron_slope,
    padded,
    target_value,
)
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.rows import add_times, column, curve_points, plan_of, programs, slices


class Constants(NamedTuple):
    """Row constants: kappa = lr/d (R,), root = sqrt L (R,), and the network's."""

    kappa: Tensor
    root: Tensor
    on: Sequence


def run(job: Job, context: Context) -> Records:
    records = Records()
    for group in programs(job.variants, _program):
        _together(group, context, records)
    return records


def _program(variant: Variant) -> tuple:
    p = variant.params
    link = coefficients(p["target"], p["length"])[1]
    # Softmax over the tokens knows no padding, so trace attention runs a length at a time.
    length = p["length"] if variant.method == "trace" else 0
    return variant.method, link, p["activation"], length, p["steps"], p["block"], p["chunk"], p["noise"], p["points"]


def kappa(length: int, *, dimension: int, rate: float, rate_scaling: str) -> float:
    """lr/d of a student of `length` tokens, by which its learning rate may be scaled: length, or root for its square root."""
    scale = {"one": 1.0, "length": float(length), "root": length**0.5}[rate_scaling]
    return single.kappa(dimension=dimension, rate=rate * scale)


def sequence(variants: list[Variant], tokens: int, device: torch.device) -> Sequence:
    """The constants of `variants` on `tokens` padded tokens."""
    weight, mask = [], []
    for v in variants:
        length = v.params["length"]
        c = coefficients(v.params["target"], length)[0]
        weight += [c + [0.0] * (tokens - length)] * len(v.seeds)
        mask += [[1.0] * length + [0.0] * (tokens - length)] * len(v.seeds)
    table = lambda rows: torch.tensor(rows, dtype=torch.float64).T.contiguous().to(device)  # noqa: E731
    return Sequence(table(weight), column(variants, lambda v: v.params["length"] ** -0.5, device), table(mask))


def model_of(variants: list[Variant], tokens: int) -> Model:
    """The student of a program on `tokens` tokens."""
    method, p = variants[0].method, variants[0].params
    link, activation = coefficients(p["target"], p["length"])[1], p["activation"]
    target = lambda z, c: target_value(z, c.on.weight, link)  # noqa: E731
    if method == "plain":
        return plain.plain_network(target, lambda s, y, c: network_slope(s, y, c.on, activation), tokens)
    if method == "trace":
        return single.single_vector(target, lambda s, y, c: long_trace_slope(s, y), tokens, positional=False)
    # A tied network sees L^{-1/2} sum_l x_l and nothing else of the tokens: it is a student of that one token.
    return single.single_vector(
        target,
        lambda u, y, c: neuron_slope(u, y, activation),
        tokens,
        positional=False,
        mean=lambda z, c: fold(z) * c.on.inverse,
    )


def _together(variants: list[Variant], context: Context, records: Records) -> None:
    p, method, device = variants[0].params, variants[0].method, context.device
    longest = max(v.params["length"] for v in variants)
    tokens = longest if method == "trace" else padded(longest)
    model, on = model_of(variants, tokens), sequence(variants, tokens, device)
    start = column(variants, lambda v: v.params["start"] * v.params["dimension"] ** -0.5, device)
    body = plain.start(start, on.mask) if method == "plain" else single.start(start)
    plan = plan_of(variants)
    chains = [
        Chain(seed, (v.params["target"], v.params["length"], v.params["dimension"]), v.params["length"], v.params["dimension"])
        for v in variants for seed in v.seeds
    ]  # fmt: skip
    unit = {"one": lambda v: 1.0, "root": lambda v: v.params["dimension"] ** -0.5}[p["level_unit"]]
    curves = p["points"] > 0
    passages = run_chains(
        context, "-".join(map(str, _program(variants[0]))), model, chains, body,
        Constants(column(variants, lambda v: kappa(v.params["length"], **v.own), device), 1 / on.inverse, on), plan,
        threshold=column(variants, lambda v: v.params["level"] * unit(v), device),
        measure=(lambda state: {"overlap": model.overlap(state)}) if curves else None,
        at=curve_points(plan, p["points"]) if curves else (),
    )  # fmt: skip
    for variant, rows in slices(variants):
        add_times(records, variant, passages.time[rows])
        if passages.trace is not None:
            records.add_trace(variant, passages.trace, rows)
