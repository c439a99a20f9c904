"""KPG, and amortised SVGD: one loop, two estimates of the same smoothed score difference.

Pielok, Bischl, Ruegamer, arXiv 2506.05088. The path gradient of KL(q || p) is E[(dz / d phi)^T D(z)] with
D = grad log q - grad log p, and grad log q is intractable. Smoothed by a kernel it is not: E_{z'}[k(z, z') grad log q(z')]
equals E_{eps', z'}[k(z, z') grad log q(z' | eps')], whose conditional score is -eta' / sigma. One step:

    z_i with gradient; z'_j independent, without;  f_j = -eta'_j / sigma - c_t grad log p(z'_j);
    D_i = mean_j k(z_i, z'_j) f_j;  phi <- Adam(phi, mean_i (dz_i / d phi)^T D_i).

The bandwidth h is the median rule's, a constant of the step. Amortised SVGD (Feng, Wang, Liu 2017) uses the kernel's
gradient in the place of the conditional score (Stein's identity), otherwise the same loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.kpgsivi.family import Points, square_distances
from descent.papers.kpgsivi.optimiser import Descent, Optimiser, State, lost, start
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.smoothing import (
    asvgd_difference,
    bandwidth,
    gaussian,
    kpg_difference,
    released_difference,
)


class Noise(NamedTuple):
    """A step's random numbers: of the points, then of the auxiliary sample, (R, B + K, m) and (R, B + K, d)."""

    latents: Tensor
    eta: Tensor


class Info(NamedTuple):
    """A step's report."""

    bandwidth: Tensor  # (R,) h
    diverged: Tensor  # (R,) bool


Difference = Callable[[Tensor, Points, Points, Tensor, Tensor], Tensor]
"""(kernel (R, B, K), points, auxiliary points, heated target score at the latter (R, K, d), h^2 (R,)) -> D (R, B, d)."""


def kpg(
    problem: Problem, *, batch: int, latents: int | None = None, median_every: int = 1, **descent: Unpack[Descent]
) -> Method:
    """The paper's kernelised path gradient. batch: B; latents: K, B if empty; median_every: 1, or another method. Raises
    SettingError."""

    def difference(kernel: Tensor, here: Points, there: Points, score: Tensor, h2: Tensor) -> Tensor:
        return kpg_difference(kernel, there.score - score)

    return _method("kpg", problem, difference, batch, latents, descent, median_every)


def asvgd(
    problem: Problem, *, batch: int, latents: int | None = None, median_every: int = 1, **descent: Unpack[Descent]
) -> Method:
    """Amortised SVGD. batch: B; latents: K, B if empty; median_every: 1, or another method. Raises SettingError."""

    def difference(kernel: Tensor, here: Points, there: Points, score: Tensor, h2: Tensor) -> Tensor:
        return asvgd_difference(kernel, here.z, there.z, score, h2)

    return _method("asvgd", problem, difference, batch, latents, descent, median_every)


def asvgd_released(problem: Problem, *, batch: int, **descent: Unpack[Descent]) -> Method:
    """Amortised SVGD as the authors' scripts compute it (K = B): not an estimate of the smoothed difference."""

    def difference(kernel: Tensor, here: Points, there: Points, score: Tensor, h2: Tensor) -> Tensor:
        return released_difference(kernel, here.z, there.z, score, h2)

    return _method("asvgd_released", problem, difference, batch, None, descent)


def two_samples(problem: Problem, batch: int, latents: int) -> Callable[[int, int], Noise]:
    """The draw of every method that takes points and an independent auxiliary sample."""
    m, d = problem.family.latent, problem.family.dim

    def draw(k: int, count: int) -> Noise:
        both = [problem.normals(*named, m + d) for named in _blocks(k, count)]
        joined = torch.cat(both, dim=2)
        return Noise(joined[..., :m].contiguous(), joined[..., m:].contiguous())

    def _blocks(k: int, count: int) -> tuple[tuple[str, int, int, int], ...]:
        return ("points", k, count, batch), ("auxiliary", k, count, latents)

    return draw


def split(points: Points, at: int) -> tuple[Points, Points]:
    """The first `at` points and the others."""
    parts = (slice(None, at), slice(at, None))
    return tuple(
        Points(points.z[:, p], points.eta[:, p], points.scale, [layer[:, p] for layer in points.kept]) for p in parts
    )  # type: ignore[return-value]


def _method(
    name: str,
    problem: Problem,
    difference: Difference,
    batch: int,
    latents: int | None,
    descent: Descent,
    every: int = 1,
) -> Method:
    expect_problem(name, problem)
    optimiser = Optimiser.of(name, descent, batch=batch, latents=latents, median_every=every)
    family, target = problem.family, problem.target

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        points = family.points(state.params, noise.latents, noise.eta)
        here, there = split(points, batch)
        score = target.score(there.z) * optimiser.heat(state)
        squares = square_distances(here.z, there.z)
        h2 = bandwidth(squares, batch, every)
        slope = difference(gaussian(squares, h2), here, there, score, h2)
        new = State(*optimiser.move(state, family.pull(state.params, here, slope / batch)))
        return new, Info(h2.sqrt(), lost(new.params))

    return Method(start, step, two_samples(problem, batch, latents or batch))
