"""KPG-IS's proposal of latents given a point: tau(eps | z) = a(z) N(0, I) + (1 - a(z)) N(m(z), diag s(z)^2).

A network from z to (m, s, a): three hidden layers, s through softplus, a between `low` and `high` through a sigmoid. It is
trained by the forward Kullback-Leibler divergence on pairs (eps, z) of the family, which are exact samples.
Axes: R rows, B points, K latents.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log, pi
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from descent.papers.kpgsivi.network import Activations, Network


class Parts(NamedTuple):
    """tau at points z."""

    mean: Tensor  # (R, B, m)
    scale: Tensor  # (R, B, m)
    share: Tensor  # (R, B) a
    kept: Activations


@dataclass(frozen=True)
class Proposal:
    """dim: d; latent: m; width: of its hidden layers; low, high: a_inf and a_sup."""

    dim: int
    latent: int
    width: int
    low: float
    high: float

    @cached_property
    def network(self) -> Network:
        """z to (m, s, a) before their links."""
        return Network((self.dim, self.width, self.width, self.width, 2 * self.latent + 1))

    def __call__(self, params: Tensor, z: Tensor) -> Parts:
        """tau at z (R, B, d) for params (R, P')."""
        kept = self.network.activations(params, z)
        out, m = kept[-1], self.latent
        share = self.low + (self.high - self.low) * torch.sigmoid(out[..., 2 * m])
        return Parts(out[..., :m], softplus(out[..., m : 2 * m]), share, kept)

    def loss(self, parts: Parts, latents: Tensor) -> Tensor:
        """(R,) -mean_i log tau(eps_i | z_i) at the latents (R, B, m) that generated the points."""
        return -torch.logaddexp(*self._terms(parts, latents)).mean(-1)

    def gradient(self, params: Tensor, parts: Parts, latents: Tensor) -> Tensor:
        """Gradient (R, P') of the loss."""
        broad, narrow = self._terms(parts, latents)
        total = torch.logaddexp(broad, narrow)
        near, far = (narrow - total).exp(), (broad - total).exp()
        off = (latents - parts.mean) / parts.scale
        raw, m, n = parts.kept[-1], self.latent, latents.shape[1]
        to_mean = near[..., None] * off / parts.scale
        to_scale = near[..., None] * (off * off - 1) / parts.scale
        level = torch.sigmoid(raw[..., 2 * m])
        rest = 1 - parts.share
        to_share = far / parts.share - torch.where(rest > 0, near / rest.clamp_min(1e-30), 0.0)
        slopes = [
            to_mean,
            to_scale * torch.sigmoid(raw[..., m : 2 * m]),
            (to_share * (self.high - self.low) * level * (1 - level))[..., None],
        ]
        return self.network.pull(params, parts.kept, torch.cat(slopes, dim=-1) / -n)

    def _terms(self, parts: Parts, latents: Tensor) -> tuple[Tensor, Tensor]:
        constant = 0.5 * self.latent * log(2 * pi)
        broad = parts.share.log() - 0.5 * latents.square().sum(-1) - constant
        off = (latents - parts.mean) / parts.scale
        narrow = torch.log1p(-parts.share) - 0.5 * off.square().sum(-1) - parts.scale.log().sum(-1) - constant
        return broad, narrow


def weights(share: Tensor, log_ratio: Tensor) -> Tensor:
    """w = N(eps; 0, I) / tau(eps | z) = 1 / (a + (1 - a) N(eps; m, s^2) / N(eps; 0, I)), at most 1 / a_inf.

    log_ratio: log N(eps; m, s^2) - log N(eps; 0, I); cut at 80 (the weight is 0 in float32 anyhow) and at -80 (1 / a; exp
    is an order of magnitude slower where it vanishes).
    """
    return 1 / (share + (1 - share) * log_ratio.clamp(-80, 80).exp())
