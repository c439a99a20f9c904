"""The test function in three numbers a row, exactly (derived: docs/papers/zoflat.md): random walks on it never form R^n x R^n.

f(y, z) depends on r = y^T z - 1, its trace on |y|^2 + |z|^2, and a step along u on six inner products. Rotated so that y and z
lie in the plane of the first two coordinates, u = (u_y, u_z) is normal as before: four normals in that plane, and beyond it
|u_y|^2, u_y . u_z, |u_z|^2 of n - 2 coordinates, which are Wishart (Bartlett: two chi-squares and a normal). Seven numbers
replace 2n. Axes: V variants that share directions, S seeds; a point is (3, V, S): |y|^2, |z|^2, r.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams


class Draw(NamedTuple):
    """A direction, shared by the variants, in the rotated frame."""

    mix: Tensor  # (3, 3, 1, S): takes (|y|, z's coordinate along y, z's other one) to 2 y . u_y, 2 z . u_z, u_y . z + u_z . y
    lengths: Tensor  # (3, 1, S): |u_y|^2, |u_z|^2, u_y . u_z


class Direction(NamedTuple):
    """A direction as seen from a point: x + s u has the numbers x + s (linear + s lengths)."""

    linear: Tensor  # (3, V, S)
    lengths: Tensor  # (3, 1, S)


def reduced(x: Tensor) -> Tensor:
    """A point (V, S, 2n) -> (3, V, S)."""
    y, z = x.chunk(2, -1)
    return torch.stack([torch.linalg.vecdot(y, y), torch.linalg.vecdot(z, z), torch.linalg.vecdot(y, z) - 1])


def draws(streams: Streams, seeds: tuple[int, ...], n: int, block: int, count: int) -> Draw:
    """`count` directions in R^n x R^n, n >= 4, each seed from its own stream; a leading axis `count`."""
    drawn = np.empty((7, count, 1, len(seeds)))
    for s, seed in enumerate(seeds):
        generator = streams.numpy("direction", seed, block)
        drawn[:5, :, 0, s] = generator.standard_normal((5, count))
        for i in (0, 1):
            drawn[5 + i, :, 0, s] = generator.chisquare(n - 2 - i, count)
    y1, y2, z1, z2, cross, beyond_y, beyond_z = drawn  # (count, 1, S)
    zero = np.zeros_like(y1)
    mix = np.stack([2 * y1, zero, zero, zero, 2 * z1, 2 * z2, z1, y1, y2], 1)
    lengths = np.stack(
        [y1**2 + y2**2 + beyond_y, z1**2 + z2**2 + cross**2 + beyond_z, y1 * z1 + y2 * z2 + np.sqrt(beyond_y) * cross],
        1,
    )
    return Draw(torch.from_numpy(mix.reshape(count, 3, 3, 1, -1)), torch.from_numpy(lengths))


class ReducedBilinear:
    """f as the random walks see it."""

    exact_at_0 = True

    @staticmethod
    def loss(x: Tensor) -> Tensor:
        return x[2] ** 2 / 2

    @staticmethod
    def trace(x: Tensor) -> Tensor:
        return x[0] + x[1]

    @staticmethod
    def seen(x: Tensor, draw: Draw) -> Direction:
        """The direction `draw` from the point x."""
        yy, zz, r = x.unbind(0)
        length = yy.sqrt()
        along = (r + 1).div_(length)
        across = torch.addcmul(zz, along, along, value=-1).clamp_(min=0).sqrt_()  # rounding may leave -1e-16
        return Direction((draw.mix * torch.stack((length, along, across))).sum(1), draw.lengths)

    @staticmethod
    def slope(x: Tensor, u: Direction, smoothing: float | Tensor) -> Tensor:
        return u.linear[2] * (x[2] + smoothing**2 * u.lengths[2])

    def derivative(self, x: Tensor, u: Direction) -> Tensor:
        return u.linear[2] * x[2]

    @staticmethod
    def move(x: Tensor, u: Direction, scale: Tensor) -> Tensor:
        return torch.addcmul(x, scale, torch.addcmul(u.linear, scale, u.lengths))
