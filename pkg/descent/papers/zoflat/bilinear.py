"""The test function (Fig. 1; docs/papers/zoflat.md): f(y, z) = (y^T z - 1)^2 / 2 on R^n x R^n, minimal on a hyperboloid.

Its Hessian's trace is |y|^2 + |z|^2 everywhere (the residual's terms are off the diagonal), at least 2 on the solution
set. A point is x = (y, z) of shape (..., 2n).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Direction(NamedTuple):
    """u = (u_y, u_z) and what the slope needs of it, computed once for all rows that share it."""

    u: Tensor  # (..., 2n)
    swapped: Tensor  # (..., 2n): (u_z, u_y)
    product: Tensor  # (...): <u_y, u_z>


def swap(x: Tensor) -> Tensor:
    """(y, z) -> (z, y)."""
    return torch.cat(x.chunk(2, -1)[::-1], -1)


def direction(u: Tensor) -> Direction:
    """u (..., 2n), standard normals, with what the slope needs of it."""
    u_y, u_z = u.chunk(2, -1)
    return Direction(u, swap(u), (u_y * u_z).sum(-1))


class Bilinear:
    """f as the methods see it. Broadcasts: points (V, S, 2n) and directions (S, 2n) share u across the V variants."""

    exact_at_0 = True

    @staticmethod
    def residual(x: Tensor) -> Tensor:
        y, z = x.chunk(2, -1)
        return torch.linalg.vecdot(y, z) - 1

    def loss(self, x: Tensor) -> Tensor:
        return self.residual(x) ** 2 / 2

    def trace(self, x: Tensor) -> Tensor:
        return torch.linalg.vecdot(x, x)

    def gradient(self, x: Tensor) -> Direction:
        return direction(self.residual(x)[..., None] * swap(x))

    def slope(self, x: Tensor, u: Direction, smoothing: float | Tensor) -> Tensor:
        """In closed form: (u_y . z + u_z . y) (r + l^2 u_y . u_z), which loses no digits as l -> 0."""
        return torch.linalg.vecdot(x, u.swapped) * (self.residual(x) + smoothing**2 * u.product)

    def derivative(self, x: Tensor, u: Direction) -> Tensor:
        return self.slope(x, u, 0.0)

    def move(self, x: Tensor, u: Direction, scale: float | Tensor) -> Tensor:
        return x + scale * u.u if isinstance(scale, float) else torch.addcmul(x, scale[..., None], u.u)  # pyright: ignore[reportIndexIssue] (a number is a float)
