"""A robust problem with several critical points: the sigmoid loss of a linear classifier in the plane.

    F(w) = mean_i max over a of [sigmoid(-z_i + s a) - lam a^2] + penalty |w|^2,   z_i = y_i w.x_i, s = |w|,

the penalised form (lam fixed). F^eps replaces the max by eps log E exp(. / eps) over t ~ N(0, sigma^2) along w and its exact
Gaussian factor beside it. Values, gradients and Hessians are exact up to a grid refined by Newton steps (F) and a
Gauss-Hermite rule that fits the integrand at its mode (F^eps). Axes: ... batch, n data, q nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.streams import Streams
from descent.papers.wdro.classification import hermite
from descent.papers.wdro.newton import SIZES
from descent.papers.wdro.point import direction

GRID = 65
CLUSTERS = (
    (0.6, (2.5, 0.0), 1.0, 24),
    (0.4, (0.0, 2.5), 1.0, 16),
    (0.4, (2.2, 2.2), -1.0, 12),
    (0.3, (-2.0, -1.5), 1.0, 8),
)
"""(standard deviation, mean, label, count) of every cluster of the data."""


class Bowl(NamedTuple):
    """Value (...,), gradient (..., 2) and Hessian (..., 2, 2) at a w."""

    value: Tensor
    gradient: Tensor
    hessian: Tensor


@dataclass(frozen=True)
class Wells:
    """The data and the ball. lam: price of transport, fixed; penalty: mu."""

    features: Tensor  # (n, 2)
    labels: Tensor  # (n,)
    lam: float = 0.5
    penalty: float = 0.002
    deviation: float = 0.5

    def exact(self, w: Tensor) -> Bowl:
        """F at w (..., 2)."""
        z, s, unit = self._reduced(w)
        lam = self.lam
        a = s / (8 * lam) * torch.linspace(0, 1, GRID, dtype=w.dtype, device=w.device)  # every maximiser lies there
        best = (torch.sigmoid(-z + s * a) - lam * a.square()).argmax(-1, keepdim=True)
        a, reach = a.expand(*best.shape[:-1], GRID).gather(-1, best), s / (8 * lam * (GRID - 1))
        low, high = a - reach, a + reach
        for _ in range(6):
            first, second = slopes(-z + s * a)
            step = (s * first - 2 * lam * a) / (2 * lam - s.square() * second).clamp(min=0.1 * lam)
            a = torch.minimum(torch.maximum(a + step, low), high)
        first, second = slopes(-z + s * a)
        value = torch.sigmoid(-z + s * a) - lam * a.square()
        along = torch.cat(
            [-torch.ones_like(a), a], -1
        )  # (..., n, 2): derivatives in (z, s) are first, second times this
        bend = second * s * along
        bend = bend + first * torch.tensor([0.0, 1.0], dtype=w.dtype, device=w.device)
        stiff = 2 * lam - s.square() * second
        inner = second[..., None] * outer(along) + outer(bend) / stiff[..., None]
        return self._assemble(w, unit, s[..., 0, 0], value[..., 0], first * along, inner)

    def smoothed(self, w: Tensor, epsilon: Tensor | float) -> Bowl:
        """F^eps at w (..., 2); epsilon broadcasts with the batch."""
        z, s, unit = self._reduced(w)
        lam, var = self.lam, self.deviation**2
        eps = torch.as_tensor(epsilon, dtype=w.dtype, device=w.device).expand(w.shape[:-1])
        wide = eps[..., None, None]
        inverse = 2 * lam + wide / var
        a = torch.zeros_like(z)
        for _ in range(15):
            first, second = slopes(-z + s * a)
            step = (s * first - inverse * a) / (inverse - s.square() * second).clamp(min=0.25 * inverse)
            a = a + step.clamp(-0.5, 0.5)
        second = slopes(-z + s * a)[1]
        std = (wide / (inverse - s.square() * second).clamp(min=0.25 * inverse)).sqrt()
        nodes, log_weights = hermite(w.dtype, w.device)
        t = a + std * nodes  # (..., n, q)
        u = -z + s * t
        exponent = torch.sigmoid(u) / wide - inverse * t.square() / (2 * wide) + nodes.square() / 2 + log_weights
        total = exponent.logsumexp(-1, keepdim=True)
        p = (exponent - total).exp()
        value = eps[..., None] * (total + (std / self.deviation).log())[..., 0]
        first, second = slopes(u)
        along = torch.stack([-torch.ones_like(t), t], -1)  # (..., n, q, 2)
        h = first[..., None] * along
        mean = (p[..., None] * h).sum(-2)
        off = h - mean[..., None, :]
        inner = ((p * second)[..., None] * along).transpose(-1, -2) @ along
        inner = inner + (p[..., None] * off).transpose(-1, -2) @ off / wide[..., None]
        beside = -eps / 2 * torch.log1p(2 * lam * var / eps)
        found = self._assemble(w, unit, s[..., 0, 0], value, mean, inner)
        return found._replace(value=found.value + beside)

    def _reduced(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z (..., n, 1), s (..., 1, 1) and the direction of w."""
        norm, unit = direction(w)
        return ((w @ self.features.T) * self.labels)[..., None], norm[..., None, None], unit

    def _assemble(self, w: Tensor, unit: Tensor, s: Tensor, value: Tensor, slope: Tensor, inner: Tensor) -> Bowl:
        """From every datum's value (..., n) and its derivatives in (z, s), (..., n, 2) and (..., n, 2, 2)."""
        own = self.labels[:, None] * self.features  # dz/dw
        turn = torch.stack(
            [own.expand(*w.shape[:-1], *own.shape), unit[..., None, :].expand(*w.shape[:-1], *own.shape)], -2
        )
        gradient = (turn.transpose(-1, -2) @ slope[..., None])[..., 0].mean(-2) + 2 * self.penalty * w
        eye = torch.eye(2, dtype=w.dtype, device=w.device)
        hessian = (turn.transpose(-1, -2) @ inner @ turn).mean(-3)
        bend = (slope[..., 1].mean(-1) / s)[..., None, None] * (eye - outer(unit))
        whole = value.mean(-1) + self.penalty * w.square().sum(-1)
        return Bowl(whole, gradient, hessian + bend + 2 * self.penalty * eye)


def slopes(u: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of the sigmoid."""
    q = torch.sigmoid(u)
    first = q * (1 - q)
    return first, first * (1 - 2 * q)


def outer(x: Tensor) -> Tensor:
    """x x^T over the last axis."""
    return x[..., :, None] * x[..., None, :]


def clusters(streams: Streams) -> tuple[Tensor, Tensor]:
    """The study's 60 points and labels: one fixed draw, the same for every seed."""
    draws = torch.tensor(streams.numpy("wells", 0).standard_normal((sum(c[3] for c in CLUSTERS), 2)))
    counts = [count for *_, count in CLUSTERS]
    spread = torch.tensor([std for std, *_ in CLUSTERS], dtype=torch.float64).repeat_interleave(torch.tensor(counts))
    mean = torch.tensor([mean for _, mean, *_ in CLUSTERS], dtype=torch.float64).repeat_interleave(
        torch.tensor(counts), 0
    )
    labels = torch.tensor([label for *_, label, _ in CLUSTERS], dtype=torch.float64).repeat_interleave(
        torch.tensor(counts)
    )
    return mean + spread[:, None] * draws, labels


def lattice(side: int = 5, reach: float = 6.0) -> Tensor:
    """The starts of every search: a square lattice on [-reach, reach]^2 without its centre, (side^2 - 1, 2)."""
    line = torch.linspace(-reach, reach, side, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    return grid[grid.norm(dim=1) > 0]


def local_minima(evaluate, start: Tensor, steps: int = 60, tolerance: float = 1e-9) -> tuple[Tensor, Tensor]:
    """Where descents from `start` (..., 2) end, and the gradient's norm there (...,).

    evaluate(w) -> Bowl. Newton steps with the Hessian's eigenvalues made positive, at most a length of one, each the
    longest of SIZES (times that) that descends. Rows that have arrived stay.
    """
    w, here = start, evaluate(start)
    for _ in range(steps):
        left = here.gradient.norm(dim=-1)
        if bool((left < tolerance).all()):
            break
        values, vectors = torch.linalg.eigh(here.hessian)
        pull = (vectors.transpose(-1, -2) @ here.gradient[..., None])[..., 0]
        move = -(vectors @ (pull / values.abs().clamp(min=1e-4))[..., None])[..., 0]
        move = move * (1 / move.norm(dim=-1, keepdim=True).clamp(min=1.0))
        promise, before, waiting = (move * here.gradient).sum(-1), w, left >= tolerance
        for size in SIZES:
            trial = before + size * move
            good = waiting & (evaluate(trial).value <= here.value + 0.01 * size * promise)
            w = torch.where(good[..., None], trial, w)
            waiting = waiting & ~good
            if not bool(waiting.any()):
                break
        if torch.equal(w, before):
            break
        here = evaluate(w)
    return w, here.gradient.norm(dim=-1)
