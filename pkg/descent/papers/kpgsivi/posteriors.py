"""Logistic regression on waveform (E2) and the conditioned diffusion (E3): distances to long HMC, along the run and at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.kpgsivi.fitting import (
    directions,
    evenly,
    fit,
    mean_log_scale,
    normals,
    problem_of,
    target_of,
)
from descent.papers.kpgsivi.measures import (
    Sliced,
    correlation_slope,
    marginal_log_density,
    moments,
    predictive_log_likelihood,
)
from descent.papers.kpgsivi.truth import Truth, size_of, tested, truth_of


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        one(variant, context, records)
    return records


def one(variant: Variant, context: Context, records: Records) -> None:
    """Fit one variant and record it."""
    p, seeds, need = variant.params, variant.seeds, context.needs["truth"]
    target = target_of(p, context)
    problem = problem_of(variant, target, context)
    family, n = problem.family, size_of(p, need)
    truth = truth_of(variant, need, context.streams, context.device, n)
    sliced = Sliced(truth.sample, directions(context, p["directions"], target.dim))
    latents = normals(context, "evaluated latents", seeds, n, family.latent)
    eta = normals(context, "evaluated", seeds, n, target.dim)

    def measure(params: Tensor) -> dict[str, Tensor]:
        z = family.sample(params, latents, eta)
        ratio, off = moments(z, truth.pool)
        return {
            "sliced": sliced(z), "deviation_ratio": ratio, "mean_error": off,
            "log_scale": mean_log_scale(family, params),
        }  # fmt: skip

    params, trace = fit(
        context,
        variant.key,
        variant,
        problem,
        problem.start(p["log_variance"]),
        measure,
        evenly(p["steps"], p["points"]),
    )
    records.add_trace(variant, trace)
    records.add(variant, "floor", sliced(truth.floor), step=p["steps"])
    finish = {"logistic": weights_of_a_regression, "diffusion": path}[p["target"]]
    finish(variant, context, records, truth, family.sample(params, latents, eta), params, problem)


def weights_of_a_regression(
    variant, context: Context, records: Records, truth: Truth, z: Tensor, params, problem
) -> None:
    """Correlations, their floor, and how well the fitted posterior predicts."""
    last = variant.params["steps"]
    for name, value in zip(("correlation_slope", "correlation_error"), correlation_slope(z, truth.pool), strict=True):
        records.add(variant, name, value, step=last)
    records.add(variant, "correlation_floor", correlation_slope(truth.floor, truth.pool)[0], step=last)
    records.add(variant, "log_likelihood", predictive_log_likelihood(z[:, :1000], *tested(context)), step=last)
    i, j = torch.triu_indices(z.shape[-1], z.shape[-1], 1, device=z.device)
    records.array(f"sample {variant.key}", z[0, : variant.params["kept_points"], 1:6])
    records.array(f"correlations {variant.key}", torch.corrcoef(z[0].T)[i, j])


def path(variant, context: Context, records: Records, truth: Truth, z: Tensor, params, problem) -> None:
    """The mean path's error and the authors' marginal density score."""
    p, last, family = variant.params, variant.params["steps"], problem.family
    records.add(variant, "path_error", (z.mean(1) - truth.pool.mean(0)).square().mean(-1).sqrt(), step=last)
    latents = normals(context, "density latents", variant.seeds, p["density_points"], family.latent)
    eta = normals(context, "density", variant.seeds, p["density_points"], family.dim)
    points, wanted = family.sample(params, latents, eta).cpu().numpy(), truth.sample.cpu().numpy()
    scores = [marginal_log_density(mine, want) for mine, want in zip(points, wanted, strict=True)]
    records.add(variant, "mll", scores, step=last)
    levels = torch.tensor([0.025, 0.975], device=z.device)
    band = torch.quantile(z[0], levels, dim=0)
    records.array(f"path {variant.key}", torch.stack([z[0].mean(0), *band]))
