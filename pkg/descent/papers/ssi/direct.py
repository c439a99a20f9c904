"""The direct simulator: chains of w in R^d, tokens and all. What the reduced simulator must agree with in law.

As in the official code: w <- w - lr sum_l a_l (x_l + P_l / sqrt d), then w is rescaled to |w|^2 = d. The slopes are closed forms, or
the loss is differentiated by autograd as the official code does (a baseline of the benchmark).
The teacher is sqrt d times the first coordinate, the positional encoding p the second: the law is the same in any basis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method, Nothing


class Vectors(NamedTuple):
    """w (S, d), |w|^2 = d."""

    w: Tensor


class Direct:
    """S chains in dimension d. slope(s, zstar) -> (L, S); signs: (L,) of the positional encoding, zeros for none.

    Tokens are taken as sqrt d x_l ~ N(0, I): the square root goes into what is small, not into every number drawn.
    """

    def __init__(self, slope: Callable[[Tensor, Tensor], Tensor], signs: Tensor, *, rate: float, dimension: int):
        self.slope, self.rate, self.dimension = slope, rate, dimension
        self.root = math.sqrt(dimension)
        self.signs = signs / self.root

    def method(self, draw: Callable[[int, int], Tensor] | None = None) -> Method[Vectors, Tensor, Nothing]:
        """The chain as a `Method`: draw(k, count) -> tokens (count, S, L, d) ~ N(0, I)."""
        return Method(self.start, lambda state, x: (self.step(state, x), Nothing()), draw)

    def start(self, m: Tensor, e: Tensor) -> Vectors:
        """Chains at overlaps m, e (S,), their rest along the third coordinate."""
        w = torch.zeros(len(m), self.dimension, dtype=m.dtype, device=m.device)
        w[:, 0], w[:, 1], w[:, 2] = m, e, (1 - m * m - e * e).sqrt()
        return Vectors(w * self.root)

    def fields(self, w: Tensor, x: Tensor) -> Tensor:
        """s (L, S) of tokens x (S, L, d): <x_l, w> / sqrt d + P_l <p, w> / sqrt d, without writing the encoding into the tokens."""
        # A row times a matrix: MKL takes three times as long for the matrix times a column.
        encoding = w[:, 1, None, None] * self.signs
        return torch.baddbmm(encoding, w[:, None], x.mT, alpha=1 / self.root)[:, 0].T

    def step(self, state: Vectors, x: Tensor) -> Vectors:
        """One step on fresh tokens x (S, L, d) ~ N(0, I)."""
        a = self.slope(self.fields(state.w, x), x[..., 0].T).T
        w = torch.baddbmm(state.w[:, None], a[:, None], x, alpha=-self.rate / self.root)[:, 0]
        w[:, 1].addmv_(a, self.signs, alpha=-self.rate)
        return self.normalised(w)

    def autograd_step(self, state: Vectors, x: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Vectors:
        """The same step with the gradient of loss(s, zstar) -> (S,) by autograd."""
        w = state.w.detach().requires_grad_()
        with torch.enable_grad():
            total = loss(self.fields(w, x), x[..., 0].T).sum()
        (gradient,) = torch.autograd.grad(total, w)
        return self.normalised(state.w - self.rate * gradient)

    def normalised(self, w: Tensor) -> Vectors:
        return Vectors(w.mul_(self.root / w.norm(dim=-1, keepdim=True)))

    def overlaps(self, state: Vectors) -> dict[str, Tensor]:
        """m and e (S,)."""
        return {"m": state.w[:, 0] / self.root, "e": state.w[:, 1] / self.root}
