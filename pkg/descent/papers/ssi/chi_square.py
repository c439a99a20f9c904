"""Chi-square variables at little more than the price of normals: Marsaglia and Tsang (2000), its rejections thinned.

A gamma variable of shape g is d v, v = (1 + c x)^3, d = g - 1/3, c = (9 d)^(-1/2), x ~ N(0, 1), where a uniform u has
log u < h(x) = x^2/2 + d - d v + d log v, and else all is drawn anew. With hundreds of degrees of freedom one in some ten
thousand is rejected, so a uniform a number is waste. h falls on both sides of 0, since h' = -(y - 1)^3 / (3 c y) at y = 1 + c x: within
|x| <= reach the probability of rejection is at most q, that at the worse end. A Bernoulli process of rate q, drawn by the gaps
between its points, says where one is possible at all; there, and wherever |x| > reach, it is decided. No approximation enters.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

REACH = 3.5  # five in ten thousand normals lie beyond: as rare as what q leaves where it is small


class ChiSquare:
    """The law with `dof` > 2/3 degrees of freedom; twice a gamma variable of half as many."""

    def __init__(self, dof: float):
        self.shape = dof / 2
        self.d = self.shape - 1 / 3
        self.c = 1 / math.sqrt(9 * self.d)
        reach = min(REACH, 0.9 / self.c)  # h ends where 1 + c x does
        self.limit = np.float32(reach * reach)
        self.most = float(self.rejected(np.array([-reach, reach])).max())
        # x is single precision: so are the numbers it meets, or NumPy would widen it.
        self.slope, self.scale = np.float32(self.c), np.float32(2 * self.d)

    def rejected(self, x: np.ndarray) -> np.ndarray:
        """The probability 1 - exp h(x) that x is rejected."""
        y = 1 + self.c * x
        h = 0.5 * x * x + self.d - self.d * y**3 + 3 * self.d * np.log(np.maximum(y, 1e-300))
        return -np.expm1(np.where(y > 0, h, -np.inf))

    def turn(self, x: np.ndarray, rng: np.random.Generator) -> None:
        """Standard normals x (n,), float32, into chi-square variables, in place. rng decides and makes good what is rejected."""
        square = x * x
        far = np.flatnonzero(square > self.limit)
        near = points(rng, self.most, len(x))
        near = near[square[near] <= self.limit]
        where = np.concatenate([near, far])
        u = rng.random(len(where))
        u[: len(near)] *= self.most
        lost = where[u < self.rejected(x[where].astype(np.float64))]
        x *= self.slope
        x += np.float32(1)
        np.multiply(x, x, out=square)
        x *= square
        x *= self.scale
        # What follows a rejection is a gamma variable again, whoever draws it.
        x[lost] = 2 * rng.standard_gamma(self.shape, len(lost))


chi_square = cache(ChiSquare)
"""The law of so many degrees of freedom: its constants are worked out once."""


def points(rng: np.random.Generator, rate: float, size: int) -> np.ndarray:
    """The positions below `size`, ascending, each there with probability `rate`, independently."""
    found, last = [], -1
    while last < size:
        gaps = rng.geometric(rate, int(size * rate + 4 * math.sqrt(size * rate)) + 8)
        found.append(last + gaps.cumsum())
        last = int(found[-1][-1])
    at = np.concatenate(found)
    return at[: at.searchsorted(size)]
