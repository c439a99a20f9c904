"""KPG-IS: KPG whose auxiliary latents are drawn near the evaluation point and weighed by importance.

Pielok, Bischl, Ruegamer, arXiv 2506.05088; the proposal is in proposal.py. For every pair of an evaluation point z_i and an
auxiliary latent k: with probability a(z_i) the latent e_k that all points share, otherwise one of the pair's own from
N(m(z_i), s(z_i)^2). Both carry the weight w = N(eps) / tau(eps | z_i) with the whole mixture in the denominator:

    D_i = mean_k w_ik k(z_i, z'_ik) f_ik.

For a given bandwidth this has KPG's expectation. Axes: R rows, B points, K latents, M slots for pairs with a latent of their own.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.papers.kpgsivi.family import Family, Points, square_distances
from descent.papers.kpgsivi.optimiser import Descent, Moments, Optimiser, adam, at_rest, lost
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.proposal import Parts, Proposal, weights
from descent.papers.kpgsivi.smoothing import bandwidth, gaussian
from descent.papers.kpgsivi.targets import Target


class State(NamedTuple):
    params: Tensor  # (R, P) phi
    moments: Moments
    steps: Tensor  # ()
    proposal: Tensor  # (R, P') parameters of tau
    proposal_moments: Moments


class Pairs(NamedTuple):
    """Random numbers of the auxiliary sample."""

    shared: Tensor  # (R, K, m + d): e_k and its eta
    coins: Tensor  # (R, B, K) uniform: below a(z_i) the pair shares e_k
    own: Tensor  # (R, M, m + d) of the pairs with a latent of their own, slot by slot


class Noise(NamedTuple):
    points: Tensor  # (R, B, m + d)
    pairs: Pairs


class Info(NamedTuple):
    """A step's report, (R,) each."""

    bandwidth: Tensor  # h
    share: Tensor  # mean a(z)
    effective: Tensor  # mean over points of (sum w)^2 / sum w^2
    overflow: Tensor  # share of the pairs with latents of their own that found no slot
    diverged: Tensor


def kpgis(
    problem: Problem, *, batch: int, latents: int | None = None, share_low: float = 0.01, share_high: float = 0.9,
    proposal_width: int = 50, slots: float = 1.0, later_slots: float | None = None, **descent: Unpack[Descent],
) -> Method:  # fmt: skip
    """share_low, share_high: a_inf and a_sup. slots: share of the pairs that has room for latents of its own (in the first
    block of random numbers; `later_slots` afterwards); pairs beyond it are thinned at random and weighted up, which keeps the
    expectation and is reported. Raises SettingError."""
    expect_problem("kpgis", problem)
    optimiser = Optimiser.of(
        "kpgis", descent, batch=batch, latents=latents, share_low=share_low, share_high=share_high,
        proposal_width=proposal_width, slots=slots, later_slots=later_slots,
    )  # fmt: skip
    if share_low > share_high:
        raise SettingError(f"kpgis: `share_low` must not exceed `share_high`, got {share_low} and {share_high}")
    family, target, count_k = problem.family, problem.target, latents or batch
    proposal = Proposal(family.dim, family.latent, proposal_width, share_low, share_high)
    m, width = family.latent, family.latent + family.dim

    def init(params: Tensor) -> State:
        uniforms = problem.uniforms("proposal", 0, 1, proposal.network.size)[0].to(params.device)
        inner = proposal.network.start(uniforms)
        return State(params, at_rest(params), params.new_zeros(()), inner, at_rest(inner))

    def draw(k: int, count: int) -> Noise:
        room = slots if k == 0 or later_slots is None else later_slots
        pairs = Pairs(
            problem.normals("auxiliary", k, count, count_k, width),
            problem.uniforms("coins", k, count, batch, count_k),
            problem.normals("own", k, count, ceil(room * batch * count_k), width),
        )
        return Noise(problem.normals("points", k, count, batch, width), pairs)

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        eps, eta = noise.points[..., :m], noise.points[..., m:]
        here = family.points(state.params, eps, eta)
        inner, moments = adam(
            state.proposal, proposal.gradient(state.proposal, proposal(state.proposal, here.z), eps),
            state.proposal_moments, state.steps + 1, step_size=optimiser.step_size, beta2=0.999,
        )  # fmt: skip
        parts = proposal(inner, here.z)
        slope, seen = importance_difference(
            family, state.params, target, optimiser.heat(state), here, parts, noise.pairs
        )
        new = optimiser.move(state, family.pull(state.params, here, slope / batch))
        return State(*new, inner, moments), Info(*seen, lost(new[0]))

    return Method(init, step, draw)


def importance_difference(
    family: Family, params: Tensor, target: Target, heat: Tensor | float, here: Points, parts: Parts, pairs: Pairs,
    h2: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:  # fmt: skip
    """D (R, B, d) at the points `here` for tau = `parts`, and (h, mean a, effective size, overflow).

    h2: the bandwidth; empty: the median rule over all pairs' distances with n = K.
    """
    rows, B, K = pairs.coins.shape
    M, m = pairs.own.shape[1], family.latent
    z, scale = here.z, here.scale
    whole = M == B * K  # a slot for every pair: they keep their places

    # The latents that all points share: z', scores once a latent.
    e, eta = pairs.shared[..., :m], pairs.shared[..., m:]
    there = torch.addcmul(family.mean(params, e), scale, eta)
    force = -eta / scale - heat * target.score(there)
    inverse = parts.scale**-2
    off = torch.bmm(inverse, (e * e).mT) - 2 * torch.bmm(parts.mean * inverse, e.mT)
    off = (off + (parts.mean**2 * inverse).sum(-1, keepdim=True)).clamp_min_(0)
    log_scale = parts.scale.log().sum(-1, keepdim=True)
    weight = weights(parts.share[..., None], 0.5 * (e.square().sum(-1)[:, None] - off) - log_scale)
    squares = square_distances(z, there)

    # Pairs with a latent of their own.
    alone = pairs.coins >= parts.share[..., None]
    if whole:
        index, live, up = None, alone.flatten(1), 1.0
    else:
        chance = torch.where(alone, (pairs.coins - parts.share[..., None]) / (1 - parts.share[..., None]), -1.0)
        best, index = chance.flatten(1).topk(M, dim=1)
        live = best >= 0
        up = (alone.sum((1, 2)) / M).clamp_min(1.0)[:, None]  # thinned at random where the slots run out

    def at_pair(x: Tensor) -> Tensor:
        """(R, B, ...) of a pair's point, (R, M, ...)."""
        if index is None:
            return x[:, :, None].expand(rows, B, K, *x.shape[2:]).flatten(1, 2)
        point = (index // K).view(rows, M, *[1] * (x.ndim - 2)).expand(rows, M, *x.shape[2:])
        return x.gather(1, point)

    xi, own_eta = pairs.own[..., :m], pairs.own[..., m:]
    own_e = torch.addcmul(at_pair(parts.mean), at_pair(parts.scale), xi)
    own_z = torch.addcmul(family.mean(params, own_e), scale, own_eta)
    own_force = -own_eta / scale - heat * target.score(own_z)
    ratio = 0.5 * (own_e.square().sum(-1) - xi.square().sum(-1)) - at_pair(log_scale)[..., 0]
    own_weight = weights(at_pair(parts.share), ratio)
    own_squares = (at_pair(z) - own_z).square().sum(-1)

    squares, weight = (_placed(base, own, live, index) for base, own in ((squares, own_squares), (weight, own_weight)))
    h2 = bandwidth(squares, K) if h2 is None else h2
    pull = weight * gaussian(squares, h2) / K
    total = torch.bmm(pull * ~alone, force)
    if index is None:
        mine = (pull * alone).view(rows * B, 1, K)
        total = total + torch.bmm(mine, own_force.reshape(rows * B, K, -1)).view_as(total)
    else:
        mine = pull.flatten(1).gather(1, index) * live * up
        belongs = (index // K)[:, None] == torch.arange(B, device=index.device)[:, None]
        total = total + torch.bmm(belongs * mine[:, None], own_force)
    effective = (weight.sum(-1) ** 2 / weight.square().sum(-1)).mean(-1)
    wanted = alone.sum((1, 2))
    overflow = ((wanted - M).clamp_min(0) / wanted.clamp_min(1)).to(z.dtype)
    return total, (h2.sqrt(), parts.share.mean(-1), effective, overflow)


def _placed(base: Tensor, own: Tensor, live: Tensor, index: Tensor | None) -> Tensor:
    """`base` (R, B, K) with the live slots' values in their places."""
    flat = base.flatten(1)
    if index is None:
        return torch.where(live, own, flat).view_as(base)
    return flat.scatter(1, index, torch.where(live, own, flat.gather(1, index))).view_as(base)
