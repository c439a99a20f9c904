"""SGD against its ordinary differential equations (E5): runs at several d and rates.

`deviation` of a run is the root mean square over the recorded times of the distance of (m, e) to the population flow, a
coordinate: sqrt(mean_t [(m - m_flow)^2 + (e - e_flow)^2] / 2). `deviation_noise` is the same to the flow with V-term.
"""

from __future__ import annotations

import numpy as np
import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.ssi import single
from descent.papers.ssi.chains import run_chains
from descent.papers.ssi.equations import name_of
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.rows import even_points, plan_of
from descent.papers.ssi.transition import attention_model, constants_of


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        _one(variant, context, records)
    return records


def _one(variant: Variant, context: Context, records: Records) -> None:
    p, device = variant.params, context.device
    d, ones = p["dimension"], torch.ones(len(variant.seeds), dtype=torch.float64)
    steps = round(p["time"] * d / p["rate"])
    plan = plan_of([variant], steps - steps % p["chunk"])
    passages = run_chains(
        context, f"trajectory-{d}-{p['rate']}", attention_model([variant]),
        [Chain(seed, (d, str(p["rate"])), 2, d) for seed in variant.seeds],
        single.start((ones * p["start_m"]).to(device), (ones * p["start_e"]).to(device)),
        constants_of([variant], device), plan, measure=single.overlaps, at=even_points(plan, p["records"]),
    )  # fmt: skip
    assert passages.trace is not None  # `at` was given
    m, e = passages.trace.values["m"], passages.trace.values["e"]
    times = passages.trace.steps * p["rate"] / d
    for name, rate in (("deviation", 0.0), ("deviation_noise", p["rate"])):
        curve = context.needs["equations"].arrays[name_of(rate)]
        if len(curve) != len(times) or np.abs(curve[:, 0] - times).max() > p["chunk"] * p["rate"] / d:
            raise ValueError("the flow and the chains are recorded at different times")
        square = (m - curve[:, 1:2]) ** 2 + (e - curve[:, 2:]) ** 2
        records.add(variant, name, np.sqrt(square.mean(0) / 2))
    records.add_trace(variant, passages.trace)
