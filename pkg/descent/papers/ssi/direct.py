"""The direct simulator: chains of w in R^d, tokens and all. What the reduced simulator must agree with in law.

As in the official code: w <- w - lr sum_l a_l (x_l + P_l / sqrt d), then w is rescaled to |w|^2 = d. `Direct`
uses the closed-form slopes; `autograd_step` differentiates the loss as the official code does, and is the benchmark's
baseline.
The teacher is sqrt d times the first coordinate, the positional encoding p the second: the law is the same in any basis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Vectors(NamedTuple):
    """w (S, d), |w|^2 = d."""

    w: Tensor


class Direct:
    """S chains in dimension d. slope(s, zstar) -> (L, S); signs: (L,) of the positional encoding, zeros for none."""

    def __init__(self, slope: Callable[[Tensor, Tensor], Tensor], signs: Tensor, *, rate: float, dimension: int):
        self.slope, self.signs, self.rate, self.dimension = slope, signs, rate, dimension

    def start(self, m: Tensor, e: Tensor) -> Vectors:
        """Chains at overlaps m, e (S,), their rest along the third coordinate."""
        w = torch.zeros(len(m), self.dimension, dtype=m.dtype, device=m.device)
        w[:, 0], w[:, 1], w[:, 2] = m, e, (1 - m * m - e * e).sqrt()
        return Vectors(w * math.sqrt(self.dimension))

    def inputs(self, x: Tensor) -> Tensor:
        """x_l + P_l / sqrt d (S, L, d) of tokens x (S, L, d) ~ N(0, I/d)."""
        encoding = torch.cat([x[..., :1] * 0, (x[..., 1:2] * 0 + self.signs[:, None]), x[..., 2:] * 0], -1)
        return x + encoding * self.dimension**-0.5

    def step(self, state: Vectors, x: Tensor) -> Vectors:
        """One step on fresh tokens x (S, L, d)."""
        seen = self.inputs(x)
        s = torch.einsum("sld,sd->ls", seen, state.w)
        zstar = math.sqrt(self.dimension) * x[..., 0].T
        a = self.slope(s, zstar)
        return self.normalised(state.w - self.rate * torch.einsum("ls,sld->sd", a, seen))

    def autograd_step(self, state: Vectors, x: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Vectors:
        """The same step with the gradient of loss(s, zstar) -> (S,) by autograd."""
        w = state.w.detach().requires_grad_()
        with torch.enable_grad():
            s = (self.inputs(x) @ w[..., None])[..., 0].T
            total = loss(s, math.sqrt(self.dimension) * x[..., 0].T).sum()
        (gradient,) = torch.autograd.grad(total, w)
        return self.normalised(state.w - self.rate * gradient)

    def normalised(self, w: Tensor) -> Vectors:
        return Vectors(w * (math.sqrt(self.dimension) / w.norm(dim=-1, keepdim=True)))

    def overlaps(self, state: Vectors) -> dict[str, Tensor]:
        """m and e (S,)."""
        scale = self.dimension**-0.5
        return {"m": state.w[:, 0] * scale, "e": state.w[:, 1] * scale}
