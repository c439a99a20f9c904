"""E2: the sampled gradient against the exact ones, on all the data, over epsilon, the number of draws and the sampler.

Every seed has a point of K and one cloud of draws of its own; smaller m take the first of them, all epsilon and both
samplers the same ones.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.instances import problem_of
from descent.papers.wdro.point import Point
from descent.papers.wdro.regression import Regression
from descent.papers.wdro.sampling import sampled

PIECE = 2**16  # elements of a chunk of data: what stays in the cache


def run(job: Job, context: Context) -> Records:
    records = Records()
    for _, group in groupby(sorted(job.variants, key=_program), key=_program):
        _together(list(group), context, records)
    return records


def _program(variant: Variant) -> str:
    """Variants that agree on this share their draws."""
    p = variant.params
    return f"{p['problem']} {p['rows']} {p['radius']} {p['deviation']} {variant.seeds}"


def _together(variants: list[Variant], context: Context, records: Records) -> None:
    p, seeds = variants[0].params, variants[0].seeds
    problem = problem_of(p, context.data).to(context.device)
    epsilons = sorted({v.params["epsilon"] for v in variants})
    counts = sorted({v.params["samples"] for v in variants})
    found: dict[tuple[str, int], list[Tensor]] = {}
    for seed in seeds:
        point = own_point(problem, context, seed)
        shape = (len(problem.labels), 1, counts[-1], problem.dimension)
        draws = context.streams.normal("cloud", [seed], shape).to(context.device)
        for sampler, own in {v.params["sampler"]: v.own for v in variants}.items():
            for m in counts:
                flat = whole_gradient(problem, point, draws[..., :m, :], epsilons, **own)
                found.setdefault((sampler, m), []).append(_errors(problem, point, flat, epsilons))
    for variant in variants:
        own = torch.stack(found[variant.params["sampler"], variant.params["samples"]])  # (S, 2, C)
        column = own[:, :, epsilons.index(variant.params["epsilon"])]
        records.add(variant, "sampling_error", column[:, 0])
        records.add(variant, "total_error", column[:, 1])


def own_point(problem: Regression | Classification, context: Context, seed: int) -> Point:
    """The seed's point of K (1, 1, d): |w| uniform on (0.2, 0.8) in a uniform direction, lam on (2, 6)."""
    rng = context.streams.numpy("point", seed)
    weight = torch.tensor(rng.standard_normal(problem.dimension))
    norm, lam = torch.tensor(rng.random(2)) * torch.tensor([0.6, 4.0], dtype=torch.float64)
    weight = weight / weight.norm() * (0.2 + norm)
    return Point(weight[None, None], torch.zeros(1, 1, dtype=torch.float64), (2 + lam).reshape(1, 1)).to(context.device)


def whole_gradient(
    problem: Regression | Classification, point: Point, draws: Tensor, epsilons: list[float], *, sampler: str
) -> Tensor:
    """g^{eps,m} (C, p) on all the data; draws (1, n, L, m, d). A chunk of data at a time, whose means add up."""
    C, n = len(epsilons), draws.shape[1]
    rows = Point(point.weight.expand(1, C, -1), point.intercept.expand(1, C), point.lam.expand(1, C))
    epsilon = torch.tensor(epsilons, dtype=draws.dtype).to(draws.device)
    size = max(1, PIECE // (C * draws.shape[2] * draws.shape[3]))
    total = rows.lam.new_zeros(())
    for first in range(0, n, size):
        part = slice(first, first + size)
        gradient = sampled(
            problem, rows, problem.features[None, part], problem.labels[None, part], draws[:, part], epsilon, sampler
        ).gradient
        total = total + gradient.flat(problem.intercept)[0] * len(problem.labels[part])
    # the budget delta^2 stands in every chunk's mean: weighted by its share it comes out once
    return total / n


def _errors(problem: Regression | Classification, point: Point, flat: Tensor, epsilons: list[float]) -> Tensor:
    """(2, C): distances to the gradient of F^eps and to that of F."""
    single = Point(*(x[0] for x in point))
    smooth = torch.cat([problem.smoothed(single, epsilon).gradient.flat(problem.intercept) for epsilon in epsilons])
    exact = problem.exact(single).gradient.flat(problem.intercept)
    return torch.stack([(flat - smooth).norm(dim=-1), (flat - exact).norm(dim=-1)])
