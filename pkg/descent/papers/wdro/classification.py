"""Robust logistic regression: f(theta, (x, y)) = log(1 + exp(-y (w.x + b))), y = +-1, features at cost |x - x'|^2.

With `kappa` the adversary may flip labels too, each at cost kappa: mixed continuous and discrete data, and the reference
pi0 flips with probability `flip`. The value F is exact up to a bisection, F^eps up to a quadrature (docs/papers/wdro.md):
only the position t along w / |w| matters, in the direction that hurts, so each datum is a problem in one dimension,

    phi(z) = max over a of softplus(-z + s a) - lam a^2,    z = y (w.x + b), s = |w|.

Axes: ... batch, n data, L labels (1, or 2: kept and flipped), q quadrature nodes, d features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from descent.papers.wdro.point import Evaluation, Point, direction

NODES = 40
HALVINGS = 44  # bisection: to about 1e-13 in the probability


@dataclass(frozen=True)
class Classification:
    """The data, the ball and the reference measure.

    radius: delta; deviation: sigma of pi0; kappa: cost of a flipped label, None where labels are fixed; flip: the
    probability with which pi0 flips it.
    """

    features: Tensor  # (n, d)
    labels: Tensor  # (n,) +1 or -1
    radius: float
    deviation: float
    kappa: float | None = None
    flip: float = 0.1
    intercept: bool = True

    @property
    def dimension(self) -> int:
        """d."""
        return self.features.shape[1]

    @property
    def strata(self) -> int:
        """Labels that a draw may carry."""
        return 1 if self.kappa is None else 2

    def to(self, device: torch.device | str) -> Classification:
        """The same with its data on `device`."""
        return replace(self, features=self.features.to(device), labels=self.labels.to(device))

    def margins(self, point: Point) -> Tensor:
        """z (..., n)."""
        return self.labels * (point.weight @ self.features.T + point.intercept[..., None])

    def risk(self, point: Point) -> Tensor:
        """The plain mean loss (...,)."""
        return softplus(-self.margins(point)).mean(-1)

    def exact(self, point: Point) -> Evaluation:
        """F and the gradient of its worse branch in every datum: a subgradient, the gradient wherever F has one."""
        z, (s, unit) = self.margins(point), direction(point.weight)
        phi, a, q = self._phi(self._signed(z), s[..., None, None], point.lam[..., None, None])
        branch = phi.argmax(-1, keepdim=True)  # (..., n, 1)

        def pick(x):
            return x.gather(-1, branch)[..., 0]

        phi, a, q = pick(phi), pick(a), pick(q)
        sign = 1.0 - 2.0 * branch[..., 0].to(z.dtype)
        value = point.lam * self.radius**2 + phi.mean(-1)
        cost = a.square() + (self.kappa or 0.0) * branch[..., 0]
        return Evaluation(value, self._chain(unit, -sign * q, a * q, self.radius**2 - cost.mean(-1)))

    def branches(self, point: Point) -> Tensor:
        """The sup of every datum with its label kept and flipped, (..., n, L): the worst case flips where the second is larger."""
        s, lam = point.weight.norm(dim=-1)[..., None, None], point.lam[..., None, None]
        return self._phi(self._signed(self.margins(point)), s, lam)[0]

    def smoothed(self, point: Point, epsilon: Tensor | float) -> Evaluation:
        """F^eps with the expectation over pi0 by quadrature, and its gradient."""
        tilted = self._tilt(point, epsilon)
        ones = torch.ones_like(tilted.weights)

        def mean(x):
            return (tilted.weights * x).sum((-2, -1))

        slope_z, slope_s = mean(tilted.z * ones), mean(tilted.s)
        lam_slope = mean(tilted.lam).mean(-1) + self._others(point.lam, tilted.epsilon)[1]
        gradient = self._chain(direction(point.weight)[1], slope_z, slope_s, self.radius**2 + lam_slope)
        value = point.lam * self.radius**2 + tilted.value.mean(-1) + self._others(point.lam, tilted.epsilon)[0]
        return Evaluation(value, gradient)

    def smoothed_hessian(self, point: Point, epsilon: Tensor | float) -> Tensor:
        """The Hessian of F^eps in (weight, intercept where there is one, lam): (..., p, p)."""
        tilted = self._tilt(point, epsilon)
        h = torch.stack(torch.broadcast_tensors(tilted.z, tilted.s, tilted.lam), -1).flatten(-3, -2)  # (..., n, Lq, 3)
        weights = tilted.weights.flatten(-2)[..., None]
        middle = (weights * h).sum(-2, keepdim=True)
        spread = (weights * (h - middle)).transpose(-1, -2) @ (h - middle) / tilted.epsilon[..., None, None, None]
        bend = (tilted.weights * tilted.bend).flatten(-2)[..., None]
        along = torch.stack(torch.broadcast_tensors(tilted.sign, tilted.t), -1).flatten(-3, -2)
        spread[..., :2, :2] += (bend * along).transpose(-1, -2) @ along  # (..., n, 3, 3) in (z, s, lam)
        spread, n = spread / self.labels.shape[0], self.labels.shape[0]
        norm, unit = direction(point.weight)
        own = self.labels[:, None] * torch.cat([self.features, torch.ones_like(self.features[:, :1])], 1)  # dz
        own = own[:, : self.dimension + self.intercept]
        size = own.shape[1]
        full = torch.zeros(*norm.shape, size + 1, size + 1, dtype=norm.dtype, device=norm.device)
        full[..., :size, :size] = own.T @ (spread[..., 0, 0, None] * own)
        radial = torch.nn.functional.pad(unit, (0, size - self.dimension))
        cross = (spread[..., 0, 1, None] * own).sum(-2)
        full[..., :size, :size] += (
            cross[..., :, None] * radial[..., None, :] + radial[..., :, None] * cross[..., None, :]
        )
        full[..., :size, :size] += (
            spread[..., 1, 1].sum(-1)[..., None, None] * radial[..., :, None] * radial[..., None, :]
        )
        to_lam = (spread[..., 0, 2, None] * own).sum(-2) + spread[..., 1, 2].sum(-1)[..., None] * radial
        full[..., :size, -1] += to_lam
        full[..., -1, :size] += to_lam
        full[..., -1, -1] += spread[..., 2, 2].sum(-1) + self._others(point.lam, tilted.epsilon)[2]
        turn = (tilted.weights * tilted.s).sum((-3, -2, -1)) / n / norm  # dF/ds times the curvature of |w|
        eye = torch.eye(self.dimension, dtype=norm.dtype, device=norm.device)
        d = self.dimension
        full[..., :d, :d] += turn[..., None, None] * (eye - unit[..., :, None] * unit[..., None, :])
        return full

    def worst_case(self, point: Point, high: float = 1e4) -> tuple[Tensor, Tensor]:
        """min over lam in (0, high] of F, and the lam that attains it, (...,) each, by bisection on F's slope."""
        low, top = torch.full_like(point.lam, -30.0), torch.full_like(point.lam, np.log(high))
        for _ in range(60):
            middle = (low + top) / 2
            rising = self.exact(point._replace(lam=middle.exp())).gradient.lam > 0
            low, top = torch.where(rising, low, middle), torch.where(rising, middle, top)
        best = point._replace(lam=((low + top) / 2).exp())
        return self.exact(best).value, best.lam

    def shift(self, prediction: Tensor, labels: Tensor, norm: Tensor, lam: Tensor) -> Tensor:
        """How far along w / |w| the worst case of each datum lies, for every label that a draw may carry: (..., b, L)."""
        z = labels * prediction
        a = self._phi(self._signed(z), norm[..., None, None], lam[..., None, None], halvings=20)[1]
        return -self.strata_labels(labels) * a

    def loss(self, prediction: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """f and its derivative in the prediction."""
        z = labels * prediction
        return softplus(-z), -labels * torch.sigmoid(-z)

    def strata_labels(self, labels: Tensor) -> Tensor:
        """The label of every stratum: (..., L), kept first."""
        return torch.stack([labels, -labels], -1) if self.strata == 2 else labels[..., None]

    def _signed(self, z: Tensor) -> Tensor:
        """The margin under every label: (..., n, L)."""
        return torch.stack([z, -z], -1) if self.strata == 2 else z[..., None]

    def _phi(self, z: Tensor, s: Tensor, lam: Tensor, halvings: int = HALVINGS) -> tuple[Tensor, Tensor, Tensor]:
        """(phi less the flipped label's cost, the maximiser a, the loss's slope there) of every margin."""
        a, q = worst_shift(z, s, lam, halvings)
        phi = softplus(-z + s * a) - lam * a.square()
        if self.kappa is not None:
            phi = torch.stack([phi[..., 0], phi[..., 1] - lam[..., 0] * self.kappa], -1)
        return phi, a, q

    def _others(self, lam: Tensor, epsilon: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the d - 1 directions beside w add to F^eps, and its two derivatives in lam."""
        var, count = self.deviation**2, self.dimension - 1
        width = epsilon + 2 * lam * var
        return (
            -epsilon * count / 2 * torch.log1p(2 * lam * var / epsilon),
            -count * var * epsilon / width,
            2 * count * var**2 * epsilon / width.square(),
        )

    def _chain(self, unit: Tensor, slope_z: Tensor, slope_s: Tensor, slope_lam: Tensor) -> Point:
        """The gradient from slopes in every datum's z and s."""
        pull = (slope_z * self.labels) @ self.features / self.labels.shape[0]
        shift = (slope_z * self.labels).mean(-1)
        weight = pull + slope_s.mean(-1)[..., None] * unit
        return Point(weight, shift if self.intercept else torch.zeros_like(shift), slope_lam)

    def _tilt(self, point: Point, epsilon: Tensor | float) -> Tilted:
        z, s, lam = self._signed(self.margins(point)), point.weight.norm(dim=-1), point.lam
        eps = torch.as_tensor(epsilon, dtype=z.dtype, device=z.device).expand_as(lam)

        def wide(x):
            return x[..., None, None, None]

        inverse = 2 * lam + eps / self.deviation**2  # 1/P: eps times the precision of t without the loss
        a, _ = worst_shift(
            z, s[..., None, None], inverse[..., None, None] / 2, halvings=24
        )  # any centre near it serves
        a, std = a[..., None], (eps / inverse).sqrt()
        nodes, log_weights = hermite(z.dtype, z.device)
        t = a + wide(std) * nodes  # (..., n, L, q)
        margin = z[..., None] - wide(s) * t
        exponent = (
            softplus(-margin) / wide(eps) - a.square() / wide(2 * std.square()) - a * nodes / wide(std) + log_weights
        )
        q, sign, cost = torch.sigmoid(-margin), z.new_ones(1, 1), t.square()
        if self.kappa is not None:
            sign = z.new_tensor([[1.0], [-1.0]])
            flipped = z.new_tensor([[0.0], [1.0]])
            cost = cost + self.kappa * flipped
            chance = z.new_tensor([[np.log(1 - self.flip)], [np.log(self.flip)]])
            exponent = exponent + chance - wide(lam / eps) * self.kappa * flipped
        total = exponent.logsumexp((-2, -1), keepdim=True)
        value = eps[..., None] * (total[..., 0, 0] + (std / self.deviation).log()[..., None])
        return Tilted(value, (exponent - total).exp(), -sign * q, t * q, -cost, q * (1 - q), -sign, t, eps)


class Tilted(NamedTuple):
    """Every datum's nodes under the tilted law, whose weights sum to one, and the derivatives of f - lam c there."""

    value: Tensor  # (..., n) eps log E exp, the d - 1 other directions left out
    weights: Tensor  # (..., n, L, q)
    z: Tensor  # slope in z
    s: Tensor  # slope in s
    lam: Tensor  # slope in lam
    bend: Tensor  # second derivative along (sign, t)
    sign: Tensor
    t: Tensor
    epsilon: Tensor  # (...,)


def hermite(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and log-weights (NODES,) of the standard normal's Gauss-Hermite rule."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)

    def make(x):
        return torch.from_numpy(x).to(device, dtype)

    return make(nodes), make(np.log(weights / weights.sum()))


def worst_shift(z: Tensor, s: Tensor, lam: Tensor, halvings: int = HALVINGS) -> tuple[Tensor, Tensor]:
    """The maximiser a of softplus(-z + s a) - lam a^2, globally, and q = sigmoid(-z + s a); all broadcast.

    A stationary a is s q / (2 lam) with logit(q) = -z + beta q, beta = s^2 / (2 lam). logit(q) - beta q rises on both
    sides of the stretch where q (1 - q) > 1 / beta (none for beta <= 4), so a bisection on either side finds the lower
    and the upper stationary point where they exist, and a point that is no better where they do not.
    """
    beta = s.square() / (2 * lam)
    turn = (0.25 - 1 / beta.clamp(min=4.0)).clamp(min=0.0).sqrt()
    zero = torch.zeros_like(z + beta)
    low, high = torch.stack([zero, zero + 0.5 + turn]), torch.stack([zero + 0.5 - turn, zero + 1])
    for _ in range(halvings):
        q = (low + high) / 2
        beyond = q > torch.sigmoid(beta * q - z)
        low, high = torch.where(beyond, low, q), torch.where(beyond, q, high)
    q = (low + high) / 2
    a = s * q / (2 * lam)
    lower, upper = softplus(-z + s * a) - lam * a.square()
    best = upper > lower
    a, q = torch.where(best, a[1], a[0]), torch.where(best, q[1], q[0])
    return a, torch.sigmoid(-z + s * a)
