"""E3: the critical points of F^eps against those of F as epsilon falls, and what their exact worst-case risk costs.

Convex problems have one; the wells several, found from a lattice of starts. Nothing is drawn per seed: exact. What is found
here (F*, the plateau of a constant epsilon) is what the other experiments measure against.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.instances import distance, problem_of
from descent.papers.wdro.newton import limit
from descent.papers.wdro.point import Point
from descent.papers.wdro.wells import Wells, clusters, lattice, local_minima

APART = 1e-4  # minima closer than this are one
TIE = 1e-4  # a label whose two branches differ by less ties


def run(job: Job, context: Context) -> Records:
    records = Records()
    for name, group in groupby(sorted(job.variants, key=_problem), key=_problem):
        (_wells if name == "wells" else _convex)(list(group), context, records)
    return records


def _problem(variant: Variant) -> str:
    return str(variant.params["problem"])


def _convex(variants: list[Variant], context: Context, records: Records) -> None:
    name = _problem(variants[0])
    problem = problem_of(variants[0].params, context.data)
    found = limit(problem, sorted({v.params["epsilon"] for v in variants}, reverse=True))
    best = Point(*(x[None] for x in found.point))
    for variant in variants:
        point = found.path[variant.params["epsilon"]]
        numbers = {
            "distance": distance(point, best),
            "lam_distance": (point.lam - best.lam).abs(),
            "lam_smoothed": point.lam,
            "plateau": problem.exact(point).value - found.value,
            "optimum": found.value,
            "lam_optimum": best.lam,
        }
        if isinstance(problem, Classification) and problem.strata == 2:
            gain = problem.branches(best)[0].diff(dim=-1)[:, 0]  # what flipping gains
            numbers |= {"flipped": (gain > TIE).sum(), "tied": (gain.abs() <= TIE).sum()}
            if f"{name}_margin" not in records.arrays:
                records.array(f"{name}_margin", problem.margins(best)[0])
                records.array(f"{name}_gain", gain)
        for metric, value in numbers.items():
            records.add(variant, metric, value.reshape(1).to(torch.float64).expand(len(variant.seeds)))


def _wells(variants: list[Variant], context: Context, records: Records) -> None:
    problem, starts = Wells(*clusters(context.streams)), lattice()
    deep = distinct(*local_minima(problem.exact, starts))
    records.array("wells_minima", deep)
    records.array("wells_features", problem.features)
    records.array("wells_labels", problem.labels)
    side = torch.linspace(-4.5, 4.5, 61, dtype=torch.float64)
    records.array("wells_side", side)
    records.array("wells_surface", problem.exact(torch.cartesian_prod(side, side) + 1e-9).value.reshape(61, 61))
    for variant in variants:
        epsilon = variant.params["epsilon"]
        minima = distinct(*local_minima(lambda w, epsilon=epsilon: problem.smoothed(w, epsilon), starts))
        records.array(f"wells_minima_{epsilon:g}", minima)
        far = torch.cdist(minima, deep).min(1).values.max()
        for metric, value in {"distance": far, "critical_points": len(minima)}.items():
            records.add(variant, metric, torch.as_tensor(value, dtype=torch.float64).expand(len(variant.seeds)))


def distinct(points: Tensor, left: Tensor) -> Tensor:
    """The different ones among `points` (R, 2) at which a search has ended (gradient `left` below 1e-6), in order."""
    kept: list[Tensor] = []
    for point in points[left < 1e-6]:
        if all((point - other).norm() > APART for other in kept):
            kept.append(point)
    return torch.stack(sorted(kept, key=lambda point: point.tolist()))
