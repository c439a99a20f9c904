"""Two-dimensional targets (E1): every method from the same start, its curve of sliced distances, divergences at the end."""

from __future__ import annotations

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
    uniforms,
)
from descent.papers.kpgsivi.measures import Sliced, forward_divergence, reverse_divergence


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        one(variant, context, records)
    return records


def one(variant: Variant, context: Context, records: Records) -> None:
    """Fit one variant and record it."""
    p, seeds, target = variant.params, variant.seeds, target_of(variant.params, context)
    problem = problem_of(variant, target, context)
    family, n = problem.family, p["evaluated"]

    def drawn(purpose: str, count: int) -> Tensor:
        """Exact draws of the target (S, count, 2)."""
        return target.sample(  # pyright: ignore[reportAttributeAccessIssue]: targets in the plane can be drawn from
            normals(context, purpose, seeds, count, 2), uniforms(context, f"{purpose} kinds", seeds, count)
        )

    sliced = Sliced(drawn("truth", n), directions(context, p["directions"], 2))
    latents, eta = (
        normals(context, "evaluated latents", seeds, n, family.latent),
        normals(context, "evaluated", seeds, n, 2),
    )

    def measure(params: Tensor) -> dict[str, Tensor]:
        z = family.sample(params, latents, eta)
        return {
            "sliced": sliced(z),
            "left_share": (z[..., 0] < 0).to(z.dtype).mean(-1),
            "log_scale": mean_log_scale(family, params),
        }

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
    last, points = p["steps"], drawn("points of the divergence", p["divergence_points"])
    forward = forward_divergence(
        family, params, points, target.log_prob(points),
        normals(context, "components", seeds, p["components"], family.latent),
    )  # fmt: skip
    z = family.sample(params, latents, eta)
    some = z[:, : p["divergence_points"]]
    back = normals(context, "reverse components", seeds, p["reverse_components"], family.latent)
    records.add(variant, "forward_divergence", forward, step=last)
    records.add(
        variant, "reverse_divergence", reverse_divergence(family, params, some, target.log_prob(some), back), step=last
    )
    records.add(variant, "floor", sliced(drawn("floor", n)), step=last)
    records.array(f"sample {variant.key}", z[0, : p["kept_points"]])
