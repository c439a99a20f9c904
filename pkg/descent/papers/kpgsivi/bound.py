"""SIVI: the surrogate bound of Yin and Zhou, ICML 2018, with K extra latents shared by all points.

log q~(z_i) = log mean of q(z_i | eps_i) and q(z_i | e_1), ..., q(z_i | e_K);  loss = mean_i [log q~(z_i) - c log p(z_i)].
Everything is differentiated. With the posterior weights v_ik of the K + 1 terms, the adjoint is

    in z_i: -sum_k v_ik (z_i - mu_k) / sigma^2 - c grad log p(z_i),   in mu_k: +sum_i v_ik (z_i - mu_k) / sigma^2,
    in log sigma: sum_k v_ik ((z_i - mu_k) / sigma)^2 - 1.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.kpgsivi.family import Family, Points
from descent.papers.kpgsivi.optimiser import Descent, Optimiser, State, lost, start
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.targets import Target


class Noise(NamedTuple):
    points: Tensor  # (R, B, m + d)
    latents: Tensor  # (R, K, m)


class Info(NamedTuple):
    diverged: Tensor  # (R,) bool


def sivi(problem: Problem, *, batch: int, latents: int | None = None, **descent: Unpack[Descent]) -> Method:
    """batch: B; latents: K extra latents, B if empty. Raises SettingError."""
    expect_problem("sivi", problem)
    optimiser = Optimiser.of("sivi", descent, batch=batch, latents=latents)

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        gradient = bound_gradient(problem.family, problem.target, state.params, noise, optimiser.heat(state))
        new = State(*optimiser.move(state, gradient))
        return new, Info(lost(new.params))

    return Method(start, step, points_and_latents(problem, batch, latents or batch))


def bound_gradient(family: Family, target: Target, params: Tensor, noise: Noise, heat: Tensor | float) -> Tensor:
    """Gradient (R, P) of the surrogate loss."""
    m, B = family.latent, noise.points.shape[1]
    eps, eta = noise.points[..., :m], noise.points[..., m:]
    scale = family.scale(params)
    kept = family.network.activations(params, torch.cat([eps, noise.latents], dim=1))
    mean, others = kept[-1][:, :B], kept[-1][:, B:]
    z = torch.addcmul(mean, scale, eta)
    terms = family.log_conditional(params, z, others)
    own = family.log_conditional_at(params, eta)
    both = torch.softmax(torch.cat([terms, own[..., None]], dim=-1), dim=-1)
    v, v_own = both[..., :-1], both[..., -1:]  # (R, B, K), (R, B, 1)
    # sum_k v_ik (z_i - mu_k) / sigma^2 and the like, own term included (its offset is sigma eta)
    variance = scale**2
    away = ((1 - v_own) * z - torch.bmm(v, others)) / variance + v_own * eta / scale
    by_z = -away - heat * target.score(z)
    by_mean = torch.cat([v_own * eta / scale, (torch.bmm(v.mT, z) - v.sum(1)[..., None] * others) / variance], dim=1)
    square = ((1 - v_own) * z * z - 2 * z * torch.bmm(v, others) + torch.bmm(v, others**2)) / variance + v_own * eta**2
    by_log_scale = (square - 1).sum(1)
    slope = by_mean + torch.nn.functional.pad(by_z, (0, 0, 0, noise.latents.shape[1]))
    full_eta = torch.nn.functional.pad(eta, (0, 0, 0, noise.latents.shape[1]))  # extra latents make no points
    points = Points(kept[-1], full_eta, scale, kept)
    # sigma moves z by eta: `pull` sees z's slope through eta, so the own mean's slope is taken out of it again
    by_log_scale = by_log_scale - (by_mean[:, :B] * eta).sum(1) * scale[:, 0]
    return family.pull(params, points, slope / B, by_log_scale / B)


def points_and_latents(problem: Problem, batch: int, latents: int):
    """The draw of methods that take points and bare latents."""
    m, d = problem.family.latent, problem.family.dim

    def draw(k: int, count: int) -> Noise:
        return Noise(
            problem.normals("points", k, count, batch, m + d), problem.normals("latents", k, count, latents, m)
        )

    return draw
