"""The semi-implicit family: a Gaussian whose mean is a network of a latent, z = mu(eps) + sigma * eta.

eps ~ N(0, I_m), eta ~ N(0, I_d); sigma = exp(max(l, floor) / 2) in R^d is one trainable vector for all eps. Its density
q(z) = E q(z | eps) has no closed form; the conditional score at the generated point does: -eta / sigma.
Axes: R rows, N points. Parameters (R, P): the network's, then l (d).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.kpgsivi.modules import ModuleNetwork
from descent.papers.kpgsivi.network import Activations, Network


class Points(NamedTuple):
    """Points of the family with what generated them."""

    z: Tensor  # (R, N, d)
    eta: Tensor  # (R, N, d)
    scale: Tensor  # (R, 1, d) sigma
    kept: Activations  # of the network; kept[0] is eps (R, N, m)

    @property
    def score(self) -> Tensor:
        """(R, N, d) grad_z log q(z | eps) at the point's own latent: minus eta / sigma."""
        return -self.eta / self.scale


@dataclass(frozen=True)
class Family:
    """latent: m; hidden: width of the two hidden layers; dim: d; floor: least log variance; own: a network in the place of the usual."""

    latent: int
    hidden: int
    dim: int
    floor: float = -20.0
    own: Network | ModuleNetwork | None = None

    @cached_property
    def network(self) -> Network | ModuleNetwork:
        """mu: R^m -> R^d."""
        return self.own or Network((self.latent, self.hidden, self.hidden, self.dim))

    @property
    def size(self) -> int:
        """P: the number of trainable numbers a row."""
        return self.network.size + self.dim

    def start(self, uniforms: Tensor, log_variance: float) -> Tensor:
        """Parameters (R, P) from uniforms (R, network.size); log sigma^2 the same everywhere."""
        full = torch.full((uniforms.shape[0], self.dim), log_variance, dtype=uniforms.dtype, device=uniforms.device)
        return torch.cat([self.network.start(uniforms), full], dim=1)

    def scale(self, params: Tensor) -> Tensor:
        """sigma (R, 1, d)."""
        return (params[:, None, -self.dim :].clamp_min(self.floor) / 2).exp()

    def mean(self, params: Tensor, latents: Tensor) -> Tensor:
        """mu(eps) (R, N, d)."""
        return self.network(params, latents)

    def sample(self, params: Tensor, latents: Tensor, eta: Tensor) -> Tensor:
        """z (R, N, d)."""
        return torch.addcmul(self.mean(params, latents), self.scale(params), eta)

    def points(self, params: Tensor, latents: Tensor, eta: Tensor) -> Points:
        """z with all that a gradient needs."""
        scale = self.scale(params)
        kept = self.network.activations(params, latents)
        return Points(torch.addcmul(kept[-1], scale, eta), eta, scale, kept)

    def pull(self, params: Tensor, points: Points, slope: Tensor, slope_log_scale: Tensor | None = None) -> Tensor:
        """Gradient (R, P) of sum(slope * z), and of a direct dependence on log sigma where `slope_log_scale` (R, d) says so."""
        through = (slope * points.eta).sum(1) * points.scale[:, 0]
        if slope_log_scale is not None:
            through = through + slope_log_scale
        free = params[:, -self.dim :] > self.floor
        return torch.cat([self.network.pull(params, points.kept, slope), 0.5 * through * free], dim=1)

    def log_conditional(self, params: Tensor, z: Tensor, mean: Tensor) -> Tensor:
        """log q(z_i | eps_k) (R, N, K) from means mu(eps_k) (R, K, d)."""
        scale = self.scale(params)
        centre = mean.mean(1, keepdim=True)  # products of numbers far from 0 would lose digits
        square = square_distances((z - centre) / scale, (mean - centre) / scale)
        return -0.5 * square - (scale.log().sum(-1, keepdim=True) + 0.5 * self.dim * log(2 * pi))

    def log_conditional_at(self, params: Tensor, eta: Tensor) -> Tensor:
        """log q(z_i | eps_i) (R, N) at the latent that generated z_i = mu(eps_i) + sigma eta_i."""
        scale = self.scale(params)
        return -0.5 * eta.square().sum(-1) - (scale.log().sum(-1) + 0.5 * self.dim * log(2 * pi))

    def log_density(self, params: Tensor, z: Tensor, latents: Tensor, chunk: int = 1000) -> Tensor:
        """log of q(z) ~ mean over latents (R, M, m) of q(z | eps), (R, N); chunk: latents at once."""
        if z.device.type == "cpu" and z.shape[0] > 1:  # row by row, so that a block of terms stays in the cache
            rows = zip(params.split(1), z.split(1), latents.split(1), strict=True)
            return torch.cat([self.log_density(*row, chunk) for row in rows])
        scale, centre = self.scale(params), z.mean(1, keepdim=True)
        x = (z - centre) / scale
        total = x.new_full(z.shape[:2], -torch.inf)
        for part in latents.split(chunk, dim=1):
            y = (self.mean(params, part) - centre) / scale
            # In powers of 2 and above 2^-120, because exp is a fifth as fast, and far slower still where it vanishes.
            terms = torch.baddbmm(y.square().sum(-1)[:, None], x, y.mT, beta=-0.5 / log(2), alpha=1 / log(2))
            top = terms.detach().amax(-1, keepdim=True)
            some = terms.sub_(top).clamp_min_(-120).exp2().sum(-1).log2()
            total = torch.logaddexp2(total, some + top[..., 0])
        constant = scale.log().sum(-1) + 0.5 * self.dim * log(2 * pi) + log(latents.shape[1])
        return total * log(2) - 0.5 * x.square().sum(-1) - constant


def square_distances(x: Tensor, y: Tensor) -> Tensor:
    """||x_i - y_j||^2 (R, N, M), by products rather than differences; never below 0."""
    gram = torch.baddbmm(x.square().sum(-1, keepdim=True), x, y.transpose(1, 2), alpha=-2)
    return gram.add_(y.square().sum(-1)[:, None]).clamp_min_(0)
