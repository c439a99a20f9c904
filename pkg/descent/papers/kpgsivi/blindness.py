"""Mode blindness (E5): two modes whose weights are wrong at the start; how fast does each method move mass between them?

Score-based training does not see the weights of modes that hardly overlap. The target is .8 N((-a, 0), I) + .2 N((a, 0), I); every
method starts from the same parameters, which cover both modes evenly. Distances a are copies of one program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.fitting import evenly, fit, normals
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.targets import two_modes


def run(job: Job, context: Context) -> Records:
    records = Records()
    for method, group in groupby(job.variants, key=lambda v: v.method):
        variants = list(group)
        problem, measure = together(variants, context)
        p = variants[0].params
        if p["from_start"]:
            start = problem.start(p["log_variance"])
        else:
            kept = context.needs["pretrain"].arrays
            names = [name_of(v.params["distance"], seed) for v in variants for seed in v.seeds]
            start = torch.stack([torch.from_numpy(kept[name].copy()) for name in names])
        _, trace = fit(context, method, variants[0], problem, start, measure, evenly(p["steps"], p["points"]))
        for i, variant in enumerate(variants):
            records.add_trace(variant, trace, slice(i * len(variant.seeds), (i + 1) * len(variant.seeds)))
    return records


def name_of(distance: float, seed: int) -> str:
    """The array of a pre-trained start."""
    return f"start {distance:g} {seed}"


def together(variants: Sequence[Variant], context: Context) -> tuple[Problem, Callable[[Tensor], dict[str, Tensor]]]:
    """One problem of all distances, rows distances x seeds, and the measure of the left mode's weight."""
    p, seeds = variants[0].params, variants[0].seeds
    distances = [v.params["distance"] for v in variants for _ in v.seeds]
    target = two_modes(p["left"], distances, context.device)
    family = Family(p["latent"], p["hidden"], 2, p["floor"])
    problem = Problem(target, family, seeds, context.streams, copies=len(variants))
    n = p["evaluated"]
    latents = normals(context, "evaluated latents", seeds, n, family.latent).repeat(len(variants), 1, 1)
    eta = normals(context, "evaluated", seeds, n, 2).repeat(len(variants), 1, 1)

    def measure(params: Tensor) -> dict[str, Tensor]:
        left = (family.sample(params, latents, eta)[..., 0] < 0).to(params.dtype).mean(-1)
        return {"left_share": left, "weight_error": (left - p["left"]).abs()}

    return problem, measure
