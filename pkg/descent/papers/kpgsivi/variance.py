"""Spread of the gradient (E4), and whether two estimators estimate the same one: KPG against amortised SVGD along a KPG run.

At a checkpoint parameters and bandwidth are held, and the gradient of both estimators is taken again and again on the same points
and the same auxiliary sample. `gradient_variance` is the trace of its covariance over all parameters. At one checkpoint more repeats
measure how far the two means are apart, free of the noise: |mean difference|^2 - tr cov / R is unbiased for the squared distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.kpgsivi.family import square_distances
from descent.papers.kpgsivi.fitting import method_of, normals, problem_of, target_of
from descent.papers.kpgsivi.kernelised import split
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.smoothing import asvgd_difference, bandwidth, gaussian, kpg_difference
from descent.toolbox.capture import captured

CHUNK = 10
"""Repeats of a checkpoint that are done side by side."""


def run(job: Job, context: Context) -> Records:
    """Both methods' variants of a target come from one run of KPG; a variant that is not asked for is not recorded."""
    records = Records()
    for _, group in groupby(sorted(job.variants, key=lambda v: v.params["target"]), key=lambda v: v.params["target"]):
        along(list(group), context, records)
    return records


def along(variants: list[Variant], context: Context, records: Records) -> None:
    """One target."""
    first = replace(variants[0], method="kpg")
    p = first.params
    problem = problem_of(first, target_of(p, context), context)
    method = method_of(first, problem)
    method = replace(method, step=captured(method.step))
    state = method.init(problem.start(p["log_variance"]).to(context.device))
    by_name = {v.method: v for v in variants}
    done = 0
    for number, until in enumerate(checkpoints(p["steps"], p["spacing"])):
        state, _ = iterate(
            context, f"{p['target']} to {until}", state, method, steps=until - done, block=p["block"],
            draw=lambda k, count, number=number: method.draw(k + 100_000 * number, count),  # pyright: ignore[reportOptionalCall]: KPG draws
        )  # fmt: skip
        done = until
        h2 = fresh_bandwidth(problem, state.params, context, p["median_points"], p["batch"], until)
        paired = until == p["paired_at"]
        repeats = p["pairs"] if paired else p["replicates"]
        sums = Sums(repeats)
        for ours, theirs in gradients(problem, state.params, h2, p["batch"], repeats, until):
            sums.add(ours, theirs)
        for name, value in zip(("kpg", "asvgd"), sums.variances(), strict=True):
            if name in by_name:
                records.add(by_name[name], "gradient_variance", value, step=until)
        if "kpg" in by_name:
            scale = problem.family.scale(state.params)[:, 0].log().mean(-1).exp()
            records.add(by_name["kpg"], "scale_over_bandwidth", scale / h2.sqrt(), step=until)
            if paired:
                for metric, value in sums.comparison().items():
                    records.add(by_name["kpg"], metric, value, step=until)


def checkpoints(steps: int, spacing: int) -> list[int]:
    """1, then every `spacing` steps."""
    return [1, *range(spacing, steps + 1, spacing)]


def fresh_bandwidth(problem: Problem, params: Tensor, context: Context, points: int, batch: int, step: int) -> Tensor:
    """h^2 (S,) of the median rule on a fresh sample, its n the batch as in training."""
    family = problem.family
    drawn = normals(context, f"median {step}", problem.seeds, 2 * points, family.latent + family.dim)
    z = family.sample(params, drawn[..., : family.latent], drawn[..., family.latent :])
    return bandwidth(square_distances(z[:, :points], z[:, points:]), batch)


def gradients(
    problem: Problem, params: Tensor, h2: Tensor, batch: int, repeats: int, step: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of repeats of (KPG's, amortised SVGD's) gradient, (chunk, S, P) each, on common random numbers."""
    family, target, seeds = problem.family, problem.target, problem.seeds
    m, d = family.latent, family.dim
    for number, begin in enumerate(range(0, repeats, CHUNK)):
        count = min(CHUNK, repeats - begin)
        noise = problem.normals(f"repeats {step}", number, count, 2 * batch, m + d).flatten(0, 1).to(params.device)
        many = params.repeat(count, 1)  # rows: repeats x seeds
        points = family.points(many, noise[..., :m].contiguous(), noise[..., m:].contiguous())
        here, there = split(points, batch)
        score, wide = target.score(there.z), h2.repeat(count)
        kernel = gaussian(square_distances(here.z, there.z), wide)
        slopes = kpg_difference(kernel, there.score - score), asvgd_difference(kernel, here.z, there.z, score, wide)
        yield tuple(  # type: ignore[misc]
            family.pull(many, here, slope / batch).view(count, len(seeds), -1) for slope in slopes
        )


class Sums:
    """Running sums over paired gradients (chunk, S, P), in float64."""

    def __init__(self, repeats: int):
        self.repeats = repeats
        self.total: dict[str, Tensor] = {}
        self.squares: dict[str, Tensor] = {}

    def add(self, ours: Tensor, theirs: Tensor) -> None:
        ours, theirs = ours.double(), theirs.double()
        for name, x in {"ours": ours, "theirs": theirs, "apart": ours - theirs, "middle": (ours + theirs) / 2}.items():
            self.total[name] = self.total.get(name, 0) + x.sum(0)
            self.squares[name] = self.squares.get(name, 0) + x.square().sum((0, 2))

    def variance(self, name: str) -> Tensor:
        """Trace of the covariance (S,)."""
        mean = self.total[name] / self.repeats
        return (self.squares[name] - self.repeats * mean.square().sum(-1)) / (self.repeats - 1)

    def squared_mean(self, name: str) -> Tensor:
        """Unbiased |E x|^2 (S,); may come out below 0."""
        mean = self.total[name] / self.repeats
        return mean.square().sum(-1) - self.variance(name) / self.repeats

    def variances(self) -> tuple[Tensor, Tensor]:
        return self.variance("ours"), self.variance("theirs")

    def comparison(self) -> dict[str, Tensor]:
        """How far apart the two means are, (S,) each."""
        ours, theirs, apart = (self.total[name] / self.repeats for name in ("ours", "theirs", "apart"))
        return {
            "distance_squared": self.squared_mean("apart"),
            "gradient_squared": self.squared_mean("middle"),
            "cosine": torch.nn.functional.cosine_similarity(ours, theirs, dim=-1),
            "signal_to_noise": theirs.norm(dim=-1) / (self.variance("theirs") / self.repeats).sqrt(),
            "distance_over_noise": apart.square().sum(-1) / (self.variance("apart") / self.repeats),
        }
