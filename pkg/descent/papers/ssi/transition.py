"""Where SGD ends in the positional-semantic model (E4): semantic or positional, against the teacher's omega.

All omegas, both losses and all seeds are rows of one batch. The two losses of a seed share start and sequences; omegas
do not, since a curve is fitted through them as through independent runs.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.ssi import single
from descent.papers.ssi.chains import Model, run_chains
from descent.papers.ssi.links import Mixed, Pair
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.quadrature import level
from descent.papers.ssi.rows import column, even_points, plan_of, programs, slices


class Constants(NamedTuple):
    """kappa (R,) = lr/d, the signs (2, R) of the positional encoding, the teacher."""

    kappa: Tensor
    signs: Tensor
    teacher: Mixed


def run(job: Job, context: Context) -> Records:
    records = Records()
    for group in programs(job.variants, lambda v: tuple(v.params[n] for n in ("steps", "block", "chunk", "noise"))):
        _together(group, context, records)
    return records


def teacher_of(variants: list[Variant], device: torch.device) -> Mixed:
    """The teachers of `variants`, a row a seed."""
    return Mixed(
        column(variants, lambda v: v.params["omega"], device),
        column(variants, lambda v: level(v.params["width"]), device),
        column(variants, lambda v: v.params["loss"] == "fro", device) > 0,
    )


def constants_of(variants: list[Variant], device: torch.device) -> Constants:
    """The row constants of attention variants."""
    kappa = column(variants, lambda v: single.kappa(**v.own), device)
    return Constants(kappa, single.opposite(kappa), teacher_of(variants, device))


def attention_model(variants: list[Variant]) -> Model:
    """The attention matrix of two tokens with the opposite positional encoding, of variants of either loss."""
    some = any(v.params["loss"] == "fro" for v in variants)

    def target(_zstar: Tensor, c: Constants, on: Pair) -> None:
        on.weigh(c.kappa, c.teacher.frobenius)
        on.teach(c.teacher)
        on.aim()

    return single.single_vector(target, None, 2, positional=True, buffers=partial(Pair, frobenius=some))


def _together(variants: list[Variant], context: Context, records: Records) -> None:
    device, p = context.device, variants[0].params
    plan = plan_of(variants)
    keys = [(v, seed, (str(v.params["omega"]), v.params["dimension"])) for v in variants for seed in v.seeds]
    start = [
        context.streams.numpy("start", seed, *key).standard_normal(2)
        * (v.params["dimension"] ** -0.5 if v.params["begin"] == "normal" else 0.0)
        for v, seed, key in keys
    ]
    m, e = torch.from_numpy(np.stack(start, 1)).to(device)
    passages = run_chains(
        context, f"transition-{plan.steps}", attention_model(variants),
        [Chain(seed, key, 2, v.params["dimension"]) for v, seed, key in keys], single.start(m, e),
        constants_of(variants, device), plan,
        measure=lambda state: {name: x.abs() for name, x in single.overlaps(state).items()},
        at=even_points(plan, p["records"]),
    )  # fmt: skip
    trace = passages.trace
    assert trace is not None  # `at` was given
    for variant, rows in slices(variants):
        ends = {name: trace.values[name][-p["tail"] :, rows].mean(0) for name in ("m", "e")}
        records.add(variant, "m_final", ends["m"])
        records.add(variant, "e_final", ends["e"])
        records.add(variant, "positional", (ends["e"] > ends["m"]).astype(float))
