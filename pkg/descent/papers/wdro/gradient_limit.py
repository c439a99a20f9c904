"""E1: how far the gradient of F^eps is from that of F, the worst over a fixed set of points of K. No sampling: exact."""

from __future__ import annotations

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.wdro.instances import points_of_k, problem_of


def run(job: Job, context: Context) -> Records:
    records, exact = Records(), {}
    for variant in job.variants:
        problem = problem_of(variant.params, context.data).to(context.device)
        points = points_of_k(problem, context.streams, variant.params["compared"]).to(context.device)
        name = variant.params["problem"]
        if name not in exact:
            exact[name] = problem.exact(points)
        value, gradient = problem.smoothed(points, variant.params["epsilon"])
        apart = gradient.flat(True) - exact[name].gradient.flat(True)
        each = [len(variant.seeds)]
        records.add(variant, "gradient_error", apart.norm(dim=-1).max().expand(each))
        records.add(variant, "value_error", (value - exact[name].value).abs().max().expand(each))
    return records
