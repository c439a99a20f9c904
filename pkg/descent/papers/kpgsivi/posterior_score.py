"""The plain path gradient of KL(q || p), without a kernel, by three estimates of grad log q.

grad log q(z) is the posterior mean of (mu(eps) - z) / sigma^2 given z. BSIVI weighs K fresh latents of the prior, AISIVI K latents of
a proposal near z (Pielok et al. 2025), UIVI averages a short HMC chain that starts at the latent that generated z (Titsias and
Ruiz 2019). D_i = s_q(z_i) - c grad log p(z_i); the generating latent is not among BSIVI's K.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.kpgsivi.bound import Info, Noise, points_and_latents
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.hmc import transition
from descent.papers.kpgsivi.importance import State as ProposalState
from descent.papers.kpgsivi.optimiser import Descent, Optimiser, State, adam, at_rest, lost, start
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.proposal import Proposal, weights


def bsivi(problem: Problem, *, batch: int, latents: int | None = None, **descent: Unpack[Descent]) -> Method:
    """batch: B; latents: K, B if empty. Raises SettingError."""
    expect_problem("bsivi", problem)
    optimiser = Optimiser.of("bsivi", descent, batch=batch, latents=latents)
    family, target = problem.family, problem.target

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        points = family.points(state.params, noise.points[..., : family.latent], noise.points[..., family.latent :])
        score = prior_score(family, state.params, points.z, noise.latents)
        slope = score - target.score(points.z) * optimiser.heat(state)
        new = State(*optimiser.move(state, family.pull(state.params, points, slope / batch)))
        return new, Info(lost(new.params))

    return Method(start, step, points_and_latents(problem, batch, latents or batch))


def prior_score(family: Family, params: Tensor, z: Tensor, latents: Tensor) -> Tensor:
    """sum_k softmax_k(log q(z_i | eps_k)) (mu(eps_k) - z_i) / sigma^2 (R, B, d)."""
    mean = family.mean(params, latents)
    share = torch.softmax(family.log_conditional(params, z, mean), dim=-1)
    return (torch.bmm(share, mean) - z) / family.scale(params) ** 2


class ChainNoise(NamedTuple):
    points: Tensor  # (R, B, m + d)
    momenta: Tensor  # (R, T, B, m)
    coins: Tensor  # (R, T, B) uniform


def uivi(
    problem: Problem, *, batch: int, burn_in: int = 5, kept: int = 5, leapfrog: int = 5, leapfrog_step: float = 0.1,
    **descent: Unpack[Descent],
) -> Method:  # fmt: skip
    """burn_in, kept: transitions thrown away and averaged. Raises SettingError."""
    expect_problem("uivi", problem)
    chain = {"burn_in": burn_in, "kept": kept, "leapfrog": leapfrog, "leapfrog_step": leapfrog_step}
    optimiser = Optimiser.of("uivi", descent, batch=batch, **chain)
    family, target = problem.family, problem.target
    m, d, length = family.latent, family.dim, burn_in + kept

    def draw(k: int, count: int) -> ChainNoise:
        return ChainNoise(
            problem.normals("points", k, count, batch, m + d),
            problem.normals("momenta", k, count, length, batch, m),
            problem.uniforms("chain", k, count, length, batch),
        )

    def step(state: State, noise: ChainNoise) -> tuple[State, Info]:
        points = family.points(state.params, noise.points[..., :m], noise.points[..., m:])
        energy = posterior_energy(family, state.params, points.z)
        eps, total = noise.points[..., :m], torch.zeros_like(points.z)
        for t in range(length):
            eps, _ = transition(energy, eps, noise.momenta[:, t], noise.coins[:, t], leapfrog, leapfrog_step)
            if t >= burn_in:
                total = total + family.mean(state.params, eps)
        score = (total / kept - points.z) / points.scale**2
        slope = score - target.score(points.z) * optimiser.heat(state)
        new = State(*optimiser.move(state, family.pull(state.params, points, slope / batch)))
        return new, Info(lost(new.params))

    return Method(start, step, draw)


def posterior_energy(family: Family, params: Tensor, z: Tensor):
    """eps -> (U, grad U) of U = ||(z - mu(eps)) / sigma||^2 / 2 + ||eps||^2 / 2, one latent a point."""
    scale = family.scale(params)

    def energy(eps: Tensor) -> tuple[Tensor, Tensor]:
        kept = family.network.activations(params, eps)
        off = (z - kept[-1]) / scale
        slope = family.network.pull_input(params, kept, -off / scale)
        return 0.5 * (off.square().sum(-1) + eps.square().sum(-1)), slope + eps

    return energy


class NearNoise(NamedTuple):
    points: Tensor  # (R, B, m + d)
    coins: Tensor  # (R, B, K) uniform
    latents: Tensor  # (R, B, K, m)


def aisivi(
    problem: Problem, *, batch: int, latents: int | None = None, share_low: float = 0.01, share_high: float = 0.9,
    proposal_width: int = 50, **descent: Unpack[Descent],
) -> Method:  # fmt: skip
    """BSIVI with K latents a point from KPG-IS's proposal instead of the prior; the official code has a conditional flow in
    its place, so that here only the estimate differs from KPG-IS. Raises SettingError."""
    expect_problem("aisivi", problem)
    own = {"share_low": share_low, "share_high": share_high, "proposal_width": proposal_width}
    optimiser = Optimiser.of("aisivi", descent, batch=batch, latents=latents, **own)
    family, target, K = problem.family, problem.target, latents or batch
    m, d = family.latent, family.dim
    proposal = Proposal(d, m, proposal_width, share_low, share_high)

    def init(params: Tensor) -> ProposalState:
        uniforms = problem.uniforms("proposal", 0, 1, proposal.network.size)[0].to(params.device)
        inner = proposal.network.start(uniforms)
        return ProposalState(params, at_rest(params), params.new_zeros(()), inner, at_rest(inner))

    def draw(k: int, count: int) -> NearNoise:
        return NearNoise(
            problem.normals("points", k, count, batch, m + d),
            problem.uniforms("coins", k, count, batch, K),
            problem.normals("near", k, count, batch, K, m),
        )

    def step(state: ProposalState, noise: NearNoise) -> tuple[ProposalState, Info]:
        eps = noise.points[..., :m]
        points = family.points(state.params, eps, noise.points[..., m:])
        inner, moments = adam(
            state.proposal, proposal.gradient(state.proposal, proposal(state.proposal, points.z), eps),
            state.proposal_moments, state.steps + 1, step_size=optimiser.step_size, beta2=0.999,
        )  # fmt: skip
        score = proposed_score(family, state.params, points.z, proposal(inner, points.z), noise.coins, noise.latents)
        slope = score - target.score(points.z) * optimiser.heat(state)
        new = optimiser.move(state, family.pull(state.params, points, slope / batch))
        return ProposalState(*new, inner, moments), Info(lost(new[0]))

    return Method(init, step, draw)


def proposed_score(family: Family, params: Tensor, z: Tensor, parts, coins: Tensor, normals: Tensor) -> Tensor:
    """sum_k v_k (mu(eps_k) - z_i) / sigma^2 with eps_k ~ tau(. | z_i) and v_k ~ q(z_i | eps_k) N(eps_k) / tau(eps_k | z_i)."""
    mean, scale, share = parts.mean[:, :, None], parts.scale[:, :, None], parts.share[..., None]
    eps = torch.where((coins < share)[..., None], normals, mean + scale * normals)  # (R, B, K, m)
    off = (eps - mean) / scale
    ratio = 0.5 * (eps.square().sum(-1) - off.square().sum(-1)) - scale.log().sum(-1)
    centres = family.mean(params, eps.flatten(1, 2)).reshape(*eps.shape[:3], family.dim)
    away = (centres - z[:, :, None]) / family.scale(params)[:, None]
    v = torch.softmax(weights(share, ratio).log() - 0.5 * away.square().sum(-1), dim=-1)
    return (v[..., None] * away).sum(2) / family.scale(params)
