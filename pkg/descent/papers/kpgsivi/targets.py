"""Target densities with scores and products with the scores' Jacobian, all in closed form.

Points z (R, N, d). `score_pull(z, v)` is (d score / d z)^T v, the Hessian of log p times v: only methods that
differentiate the score need it. Constants of `log_prob`: normalised in two dimensions, docs/papers/kpgsivi.md says which elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log, pi
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Target(Protocol):
    """log p on R^dim."""

    dim: int

    def log_prob(self, z: Tensor) -> Tensor:
        """(R, N)."""
        ...

    def score(self, z: Tensor) -> Tensor:
        """grad log p (R, N, d)."""
        ...

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        """Hessian of log p at z times v (R, N, d)."""
        ...


class Banana:
    """(x1, x2 + x1^2 + 1) ~ N(0, [[1, .9], [.9, 1]])."""

    dim = 2
    rho = 0.9

    def __init__(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        covariance = torch.tensor([[1.0, self.rho], [self.rho, 1.0]], dtype=torch.float64)
        self.precision = torch.linalg.inv(covariance).to(device, dtype)
        self.root = torch.linalg.cholesky(covariance).to(device, dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        y = self._straight(z)
        return -0.5 * ((y @ self.precision) * y).sum(-1) - log(2 * pi) - 0.5 * log(1 - self.rho**2)

    def score(self, z: Tensor) -> Tensor:
        g = self._straight(z) @ self.precision
        return torch.stack([-g[..., 0] - 2 * z[..., 0] * g[..., 1], -g[..., 1]], dim=-1)

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        g = self._straight(z) @ self.precision
        dy = torch.stack([v[..., 0], v[..., 1] + 2 * z[..., 0] * v[..., 0]], dim=-1)
        dg = dy @ self.precision
        first = -dg[..., 0] - 2 * v[..., 0] * g[..., 1] - 2 * z[..., 0] * dg[..., 1]
        return torch.stack([first, -dg[..., 1]], dim=-1)

    def sample(self, normals: Tensor, uniforms: Tensor) -> Tensor:
        """Exact draws from standard normals (R, N, 2); uniforms are not needed."""
        y = normals @ self.root.T
        return torch.stack([y[..., 0], y[..., 1] - y[..., 0] ** 2 - 1], dim=-1)

    def _straight(self, z: Tensor) -> Tensor:
        return torch.stack([z[..., 0], z[..., 1] + z[..., 0] ** 2 + 1], dim=-1)


class Mixture:
    """A mixture of C Gaussians in the plane: weights (C,), means (C, 2), covariances (C, 2, 2); with a leading axis R, one a row.

    Components lead inside and coordinates are apart, so that nothing is summed over an axis of two.
    """

    dim = 2

    def __init__(self, weights, means, covariances, device: torch.device | str = "cpu", dtype=torch.float32):
        weights, means, covariances = (torch.as_tensor(x, dtype=torch.float64) for x in (weights, means, covariances))
        if weights.ndim == 1:
            weights, means, covariances = weights[None], means[None], covariances[None]
        log_norm = weights.log() - 0.5 * torch.linalg.slogdet(covariances)[1] - log(2 * pi)
        precision = torch.linalg.inv(covariances)
        kept = means[..., 0], means[..., 1], precision[..., 0, 0], precision[..., 0, 1], precision[..., 1, 1], log_norm
        self.parts = tuple(x.T[..., None].to(device, dtype) for x in kept)  # (C, R, 1) each
        self.weights, self.means = weights.to(device, dtype), means.to(device, dtype)
        self.roots = torch.linalg.cholesky(covariances).to(device, dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        return torch.logsumexp(self._terms(z)[0], dim=0)

    def score(self, z: Tensor) -> Tensor:
        terms, first, second = self._terms(z)
        share = torch.softmax(terms, dim=0)
        return torch.stack([(share * first).sum(0), (share * second).sum(0)], dim=-1)

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        terms, first, second = self._terms(z)
        share = torch.softmax(terms, dim=0)
        v1, v2 = v[..., 0], v[..., 1]
        along = (first - (share * first).sum(0)) * v1 + (second - (share * second).sum(0)) * v2
        *_, p11, p12, p22, _ = self.parts
        return torch.stack(
            [
                (share * (first * along - p11 * v1 - p12 * v2)).sum(0),
                (share * (second * along - p12 * v1 - p22 * v2)).sum(0),
            ],
            dim=-1,
        )

    def sample(self, normals: Tensor, uniforms: Tensor) -> Tensor:
        """Exact draws from standard normals (R, N, 2) and uniforms (R, N) in [0, 1)."""
        edges = self.weights.cumsum(-1)[:, None, :-1]
        kind = (uniforms[..., None] >= edges).sum(-1)  # (R, N)
        all_kinds = self.means[:, None] + torch.einsum("rcij,rnj->rnci", self.roots, normals)
        return all_kinds.gather(2, kind[..., None, None].expand(*kind.shape, 1, 2))[:, :, 0]

    def _terms(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log (w_c N_c) and the two coordinates of grad log N_c, (C, R, N) each."""
        m1, m2, p11, p12, p22, log_norm = self.parts
        x, y = z[..., 0] - m1, z[..., 1] - m2
        first, second = -(p11 * x + p12 * y), -(p12 * x + p22 * y)
        return log_norm + 0.5 * (x * first + y * second), first, second


def multimodal(device: torch.device | str = "cpu", dtype=torch.float32) -> Mixture:
    """Half N((-2, 0), I), half N((2, 0), I)."""
    return two_modes(0.5, [2.0], device, dtype)


def two_modes(
    left: float, distances: Sequence[float], device: torch.device | str = "cpu", dtype=torch.float32
) -> Mixture:
    """left N((-a, 0), I) + (1 - left) N((a, 0), I), a row for each a of `distances`."""
    rows = len(distances)
    means = torch.tensor([[[-a, 0.0], [a, 0.0]] for a in distances])
    weights = torch.tensor([[left, 1 - left]]).expand(rows, 2)
    return Mixture(weights, means, torch.eye(2).expand(rows, 2, 2, 2), device, dtype)


def x_shaped(device: torch.device | str = "cpu", dtype=torch.float32) -> Mixture:
    """Two crossing Gaussians of variance 2 and covariance 1.8 and -1.8, half each."""
    covariances = torch.tensor([[[2.0, 1.8], [1.8, 2.0]], [[2.0, -1.8], [-1.8, 2.0]]], dtype=torch.float64)
    return Mixture(torch.tensor([0.5, 0.5]), torch.zeros(2, 2), covariances, device, dtype)


class LogisticRegression:
    """Weights of a logistic regression: y ~ Bernoulli(sigmoid(x w)), w ~ N(0, I / prior_precision).

    features (n, d), labels (n,) in {0, 1}. `log_prob` leaves out the prior's constant: at w = 0 it is -n ln 2.
    """

    def __init__(self, features: Tensor, labels: Tensor, prior_precision: float = 0.01):
        self.features, self.labels, self.prior_precision = features, labels, prior_precision
        self.toward = labels @ features  # X^T y
        self.dim = features.shape[1]

    def log_prob(self, z: Tensor) -> Tensor:
        fit = z @ self.toward - torch.nn.functional.softplus(z @ self.features.T).sum(-1)
        return fit - 0.5 * self.prior_precision * z.square().sum(-1)

    def score(self, z: Tensor) -> Tensor:
        right = torch.sigmoid(z @ self.features.T)
        return self.toward - right @ self.features - self.prior_precision * z

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        right = torch.sigmoid(z @ self.features.T)
        return -(right * (1 - right) * (v @ self.features.T)) @ self.features - self.prior_precision * v


OBSERVED = (
    -0.49225676, -0.9104231, -1.0714561, -0.9354941, -0.98942673, -0.74544746, -1.1115911, -1.2385833, -1.2895904, -1.5037673,
    -0.92001927, -1.1271943, -1.403862, -1.1076571, -0.70148206, -0.64900184, -1.0054644, -0.84609514, -0.6180815, -0.7676387,
)  # fmt: skip
"""The official code's observations of the path at steps 5, 10, ..., 100 (its generator, seed 2022)."""


LARGE = 2**15
"""Numbers of a row from which a CPU scores a path row by row, so that its parts stay in the cache: the same numbers, sooner."""


class Diffusion:
    """Path of a double-well diffusion given noisy observations; Euler steps of size dt from u_0 = 0.

    u_{k+1} = u_k + beta u_k (1 - u_k^2) / (1 + u_k^2) dt + sqrt(dt) N(0, 1); observed every `every` steps with deviation .1.
    `log_prob` leaves out the constants.
    """

    beta = 10.0
    noise = 0.1

    def __init__(
        self,
        observed: Sequence[float] | np.ndarray,
        every: int = 5,
        dt: float = 0.01,
        device: torch.device | str = "cpu",
        dtype=torch.float32,
    ):
        self.dim, self.dt = len(observed) * every, dt
        y, weight = torch.zeros(self.dim, dtype=torch.float64), torch.zeros(self.dim, dtype=torch.float64)
        y[every - 1 :: every] = torch.as_tensor(observed, dtype=torch.float64)
        weight[every - 1 :: every] = self.noise**-2
        self.observed, self.weight = y.to(device, dtype), weight.to(device, dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        off = z - self._shifted(self._drifted(z))
        return -off.square().sum(-1) / (2 * self.dt) - 0.5 * (self.weight * (z - self.observed) ** 2).sum(-1)

    def score(self, z: Tensor) -> Tensor:
        if z.device.type == "cpu" and z[0].numel() >= LARGE:
            return torch.stack([self._score(row) for row in z])
        return self._score(z)

    def _score(self, z: Tensor) -> Tensor:
        residual = (z - self._shifted(self._drifted(z))) / self.dt
        back = residual[..., 1:] * self._slope(z)[..., :-1]
        return torch.nn.functional.pad(back, (0, 1)) - residual - self.weight * (z - self.observed)

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        slope = self._slope(z)
        residual = (z - self._shifted(self._drifted(z))) / self.dt
        change = (v - self._shifted(slope * v)) / self.dt
        back = change[..., 1:] * slope[..., :-1] + residual[..., 1:] * self._bend(z)[..., :-1] * v[..., :-1]
        return torch.nn.functional.pad(back, (0, 1)) - change - self.weight * v

    def _drifted(self, u: Tensor) -> Tensor:
        square = u * u
        return u + self.beta * self.dt * u * (1 - square) / (1 + square)

    def _slope(self, u: Tensor) -> Tensor:
        """d drifted / d u."""
        square = u * u
        return 1 + self.beta * self.dt * (1 - 4 * square - square * square) / (1 + square) ** 2

    def _bend(self, u: Tensor) -> Tensor:
        """Its second derivative."""
        square = u * u
        return self.beta * self.dt * 4 * u * (square - 3) / (1 + square) ** 3

    def _shifted(self, u: Tensor) -> Tensor:
        """Every path a step later, from u_0 = 0 (where the drift is 0 too)."""
        return torch.nn.functional.pad(u[..., :-1], (1, 0))
