"""Expectations over Gaussian fields by Gauss-Hermite quadrature: the population loss and everything derived from it.

Derived (docs/papers/ssi.md). With two tokens and the opposite positional encoding the student's fields are

    s_1 = m z_1 + sqrt(1 - m^2) u_1 + e,   s_2 = m z_2 + sqrt(1 - m^2) u_2 - e,   z, u iid N(0, 1),

so every population quantity is a four-dimensional integral (`population`), and for the positional-semantic model
R(e, m) = 2 E[((1 - omega) sg(z_1(z_1 - z_2)) + omega al - sg(s_1(s_1 - s_2)))^2], even in e and in m, splits into tables
that know neither omega nor a (`Tables`): one serves the whole phase diagram.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.ssi.links import Mixed, attention_loss, attention_slope, teacher_diagonal, trace_loss, trace_slope

NODES = 21


def nodes(n: int, dimensions: int, drop: float = 0.0) -> tuple[Tensor, Tensor]:
    """Probabilists' Gauss-Hermite: points (dimensions, N) and weights (N,) that add up to 1.

    N = n^dimensions, or fewer: nodes of weight `drop` and less are left out (1e-11 leaves two fifths of 17^4).
    """
    x, w = np.polynomial.hermite_e.hermegauss(n)
    w = w / w.sum()
    grid = np.meshgrid(*[x] * dimensions, indexing="ij")
    weight = w
    for _ in range(dimensions - 1):
        weight = np.multiply.outer(weight, w)
    points, weight = np.stack([g.ravel() for g in grid]), weight.ravel()
    if drop:
        points, weight = np.ascontiguousarray(points[:, weight > drop]), weight[weight > drop]
        weight = weight / weight.sum()
    return torch.from_numpy(points), torch.from_numpy(weight)


class Population(NamedTuple):
    """The population loss R at (e, m), its gradient (not projected on the sphere), and V = E|a|^2."""

    loss: Tensor
    by_e: Tensor
    by_m: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Student:
    """loss(s, zstar) -> (N,) and slope(s, zstar) -> (L, N) of a student and its target on two tokens (or one)."""

    loss: Callable[[Tensor, Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]


def mixed(omega: float, width: float) -> Student:
    """Attention against the positional-semantic teacher, squared loss. width: the paper's a."""
    one = torch.ones(1, dtype=torch.float64)
    teacher = Mixed(omega * one, level(width) * one, one > 1)
    return Student(
        lambda s, z: attention_loss(s, teacher_diagonal(z, teacher)),
        lambda s, z: attention_slope(s, teacher_diagonal(z, teacher)),
    )


def traced() -> Student:
    """Trace attention against y = (z*_1 - z*_2) / sqrt 2: the model of E7."""
    target = lambda z: (z[0] - z[1]) * math.sqrt(0.5)  # noqa: E731
    return Student(lambda s, z: trace_loss(s, target(z)), lambda s, z: trace_slope(s, target(z)))


def level(width: float) -> float:
    """al = sigmoid(2 a^2), the diagonal of the teacher's positional matrix."""
    return 1 / (1 + math.exp(-2 * width * width))


def fields(e: float, m: float, grid: Tensor) -> tuple[Tensor, Tensor]:
    """(s (L, N), z (L, N)) at the nodes `grid` (2L, N) = z_1..z_L, u_1..u_L; e is that of the opposite encoding where L = 2."""
    z, u = grid.chunk(2)
    s = m * z + math.sqrt(max(0.0, 1 - m * m)) * u
    return (torch.stack([s[0] + e, s[1] - e]) if len(s) == 2 else s), z


def loss(student: Student, e: float, m: float, n: int = NODES) -> float:
    """R(e, m) on the plain four-dimensional grid."""
    if not abs(m) <= 1:
        raise SettingError(f"loss: `m` must lie in [-1, 1], got {m!r}")
    grid, weight = nodes(n, 4)
    return float(student.loss(*fields(e, m, grid)) @ weight)


def population(student: Student, e: float, m: float, grid: tuple[Tensor, Tensor]) -> Population:
    """All four at once, on `grid` = nodes(n, 2L). Needs |m| < 1: the derivative of the residual's share diverges at 1.

    R_m = E sum_l a_l (z_l - m u_l / sqrt(1 - m^2)), R_e = E[a_1 - a_2] (two tokens).
    """
    if not abs(m) < 1:
        raise SettingError(f"population: `m` must lie in (-1, 1), got {m!r}: at its ends the slope in m has no value")
    points, weight = grid
    s, z = fields(e, m, points)
    a = student.slope(s, z)
    by_m = (a * (z - (m / math.sqrt(1 - m * m)) * points[len(z) :])).sum(0)
    by_e = a[0] - a[1] if len(a) == 2 else torch.zeros_like(a[0])
    return Population(student.loss(s, z) @ weight, by_e @ weight, by_m @ weight, (a * a).sum(0) @ weight)


class Tables(NamedTuple):
    """The positional-semantic loss without omega and a, at points (e, m) in M columns of one m each.

    R = 2 [(1-w)^2 M2 + w^2 al^2 + 2 w (1-w) al M1 + q2(e) - 2 (1-w) F(e, m) - 2 w al q1(e)].
    e, q1, q2, f: (E, M); m: (M,); first, second: M1, M2.
    """

    e: Tensor
    m: Tensor
    first: float
    second: float
    q1: Tensor
    q2: Tensor
    f: Tensor

    def loss(self, omega: float | Tensor, width: float) -> Tensor:
        """R (..., E, M) at omega (...,) and a."""
        w, al = torch.as_tensor(omega, dtype=torch.float64)[..., None, None], level(width)
        constant = (1 - w) ** 2 * self.second + w**2 * al**2 + 2 * w * (1 - w) * al * self.first
        return 2 * (constant + self.q2 - 2 * w * al * self.q1 - 2 * (1 - w) * self.f)


def _semantic(z: Tensor) -> Tensor:
    return torch.sigmoid(z[0] * (z[0] - z[1]))


def tables(e: Tensor, m: Tensor, n: int = NODES) -> Tables:
    """The tables at e (E, M), or (E, 1) for the same in every column, and m (M,); n nodes an axis.

    F(e, m) = E_t[sg(s_1(s_1 - s_2)) H_m(t)] with s = t + (e, -e) and H_m(t) = E[sg(z_1(z_1 - z_2)) | t], which does not
    depend on e: the four-dimensional integral is done once an m instead of once a point.
    """
    t, weight = nodes(n, 2)
    e = e.expand(-1, len(m))
    positional = torch.stack([_semantic(torch.stack([t[0] + x, t[1] - x])) for x in e.flatten().tolist()])
    positional = positional.unflatten(0, e.shape)  # (E, M, N)
    smoothed = torch.stack([_smoothed(x, n) for x in m.tolist()])  # (M, N)
    own = _semantic(t)
    return Tables(
        e, m, float(own @ weight), float(own**2 @ weight), positional @ weight, positional**2 @ weight,
        (positional * (weight * smoothed)).sum(-1),
    )  # fmt: skip


def _smoothed(m: float, n: int) -> Tensor:
    """H_m at the n^2 nodes t: the mean of sg over z = m t + sqrt(1 - m^2) v."""
    t, weight = nodes(n, 2)
    if m >= 1:
        return _semantic(t)
    z = m * t[:, :, None] + math.sqrt(1 - m * m) * t[:, None, :]  # (2, N, N)
    return _semantic(z) @ weight


class Curvature(NamedTuple):
    """Second derivatives of R at the origin: R_mm = mm (1 - omega); R_ee = ee0 + omega * slope."""

    mm: float
    ee_at_0: float
    ee_at_1: float


def curvature(width: float, n: int = 81) -> Curvature:
    """The Hessian of the positional-semantic loss at e = m = 0, from two-dimensional integrals (R_em = 0).

    F_mm = |C_2|^2, C_2 = E[sg (z z^T - I)]; q1'' and q2'' by Stein: E h(t + e v) differentiates to E h (v.t)^2 - |v|^2.
    """
    t, weight = nodes(n, 2)
    own = _semantic(t)
    hermite = torch.stack([t[0] ** 2 - 1, t[0] * t[1], t[0] * t[1], t[1] ** 2 - 1])
    second = (hermite * own) @ weight
    along = (t[0] - t[1]) ** 2 - 2  # v = (1, -1)
    q1, q2 = float((along * own) @ weight), float((along * own**2) @ weight)
    mean = float(own @ weight)
    return Curvature(-4 * float(second @ second), 2 * q2 - 4 * mean * q1, 2 * q2 - 4 * level(width) * q1)


def omega_dynamics(width: float, n: int = 81) -> float:
    """omega at which R_ee = R_mm at the origin: beyond it the steepest way out of the saddle is positional."""
    c = curvature(width, n)
    return (c.ee_at_0 - c.mm) / ((c.ee_at_0 - c.ee_at_1) - c.mm)


def omega_global(width: float, n: int = 81) -> float:
    """omega at which R(e=1, m=0) = R(e=0, m=1): beyond it the positional corner lies lower than the semantic one."""
    t, weight = nodes(n, 2)
    own, shifted = _semantic(t), _semantic(torch.stack([t[0] + 1, t[1] - 1]))
    m1, m2, q1, q2 = (float(x @ weight) for x in (own, own**2, shifted, shifted**2))
    al = level(width)
    # R(1,0) - R(0,1) is linear in omega: F(1, 0) = M1 q1(1), F(0, 1) = M2.
    at_0 = (q2 - 2 * m1 * q1) - (m2 - 2 * m2)
    at_1 = (q2 - 2 * al * q1) - (m2 - 2 * al * m1)
    return at_0 / (at_0 - at_1)
