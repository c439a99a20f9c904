"""KSIVI: minimises a kernel Stein discrepancy of the semi-implicit family; the paper's main baseline.

Cheng et al., ICML 2024, as in their code. Two independent samples, both differentiated; with f = c grad log p(z) + eta / sigma,

    loss = mean_ij <f_i, f'_j> k(z_i, z'_j),

and the gradient flows through the target's score (second derivatives of log p), eta / sigma, the kernel and its bandwidth,
the median included. The adjoint is written out: with A_ij = <f_i, f'_j> / (B K) and r_ij = ||z_i - z'_j||^2,

    d loss / d f_i = sum_j k_ij f'_j / (B K),   d loss / d r_ij = A_ij dk/dr + [r_ij is the median] dh/dr sum(A dk/dh).
"""

from __future__ import annotations

from math import log
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.kpgsivi.family import Family, Points, square_distances
from descent.papers.kpgsivi.kernelised import Noise, split, two_samples
from descent.papers.kpgsivi.optimiser import Descent, Optimiser, State, lost, start
from descent.papers.kpgsivi.order_statistics import lower_median
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.targets import Target


class Info(NamedTuple):
    discrepancy: Tensor  # (R,) the estimated loss
    diverged: Tensor  # (R,) bool


def ksivi(
    problem: Problem, *, batch: int, latents: int | None = None, kernel: str = "gaussian", **descent: Unpack[Descent]
) -> Method:
    """kernel: gaussian (the study's for all methods) or imq (KSIVI's own on the two-mode target). Raises SettingError."""
    expect_problem("ksivi", problem)
    optimiser = Optimiser.of("ksivi", descent, batch=batch, latents=latents, kernel=kernel)

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        heat = optimiser.heat(state)
        value, gradient = discrepancy(problem.family, problem.target, state.params, noise, heat, batch, kernel)
        new = State(*optimiser.move(state, gradient))
        return new, Info(value, lost(new.params))

    return Method(start, step, two_samples(problem, batch, latents or batch))


def discrepancy(
    family: Family, target: Target, params: Tensor, noise: Noise, heat: Tensor | float, batch: int, kernel: str
) -> tuple[Tensor, Tensor]:
    """The loss (R,) and its gradient (R, P)."""
    points = family.points(params, noise.latents, noise.eta)
    here, there = split(points, batch)
    force = target.score(points.z) * heat - points.score
    near, far = force[:, :batch], force[:, batch:]
    squares = square_distances(here.z, there.z)
    count = squares[0].numel()
    k, by_square, by_median, median = _KERNELS[kernel](squares, batch)
    inner = torch.bmm(near, far.mT) / count
    by_force = torch.cat([torch.bmm(k, far), torch.bmm(k.mT, near)], dim=1) / count
    at_median = squares == median[:, None, None]
    lift = (inner * by_median).sum((1, 2)) / at_median.sum((1, 2))
    slope = inner * by_square + at_median * lift[:, None, None]
    by_points = 2 * torch.cat(
        [
            slope.sum(2, keepdim=True) * here.z - torch.bmm(slope, there.z),
            slope.sum(1)[..., None] * there.z - torch.bmm(slope.mT, here.z),
        ],
        dim=1,
    )
    by_points = by_points + target.score_pull(points.z, by_force) * heat
    return (inner * k).sum((1, 2)), family.pull(params, points, by_points, by_scale(points, by_force))


def by_scale(points: Points, slope: Tensor) -> Tensor:
    """Gradient (R, d) of sum(slope * eta / sigma) in log sigma."""
    return (slope * points.score).sum(1)


def _gaussian(squares: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """k, dk / d r, dk / d median and the median: k = exp(-r ln(n + 1) / median)."""
    median = lower_median(squares.flatten(1))
    rate = (log(n + 1) / median)[:, None, None]
    k = torch.exp(-squares * rate)
    return k, -rate * k, k * squares * rate / median[:, None, None], median


def _imq(squares: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same of k = (1 + r / h)^(-1/2), h = median / ln(n + 1)."""
    median = lower_median(squares.flatten(1))
    rate = (log(n + 1) / median)[:, None, None]
    k = torch.rsqrt(1 + squares * rate)
    cubed = k**3
    return k, -0.5 * rate * cubed, 0.5 * cubed * squares * rate / median[:, None, None], median


_KERNELS = {"gaussian": _gaussian, "imq": _imq}
