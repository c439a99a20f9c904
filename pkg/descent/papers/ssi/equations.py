"""The ordinary differential equations that SGD is held against (E5): the population flow, and the flow with V-term.

`step` counts the records; the equations have no steps of their own. The curves are kept as arrays for the chains' job.
"""

from __future__ import annotations

import numpy as np

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.ssi.gradient_flow import flow
from descent.papers.ssi.quadrature import mixed


def name_of(rate: float) -> str:
    """The array that holds the flow with the V-term of `rate`; rate 0 is the population flow."""
    return f"flow_{float(rate)}"


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        p = variant.params
        times = p["time"] * (np.arange(p["records"]) + 1) / p["records"]
        student = mixed(p["omega"], p["width"])
        curve = flow(student, (p["start_m"], p["start_e"]), times.tolist(), n=p["nodes"], **variant.own)
        records.array(name_of(variant.own.get("rate", 0.0)), np.column_stack([times, curve]))
        for i, name in enumerate(("m", "e")):
            values = np.repeat(curve[:, i : i + 1], len(variant.seeds), axis=1)
            records.add(variant, name, values, step=np.arange(len(times)) + 1)
    return records
