"""A start that covers both modes of `two_modes` with equal weights (E5): BSIVI on the even mixture, for every distance and seed.

The distances are copies of one program: the same seeds with the same random numbers.
"""

from __future__ import annotations

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.kpgsivi.blindness import name_of, together
from descent.papers.kpgsivi.fitting import fit


def run(job: Job, context: Context) -> Records:
    records = Records()
    problem, measure = together(job.variants, context)
    first = job.variants[0]
    start = problem.start(first.params["log_variance"])
    params, trace = fit(context, "pretrain", first, problem, start, measure, [first.params["steps"]])
    for i, variant in enumerate(job.variants):
        rows = slice(i * len(variant.seeds), (i + 1) * len(variant.seeds))
        records.add_trace(variant, trace, rows)
        for row, seed in zip(params[rows], variant.seeds, strict=True):
            records.array(name_of(variant.params["distance"], seed), row)
    return records
