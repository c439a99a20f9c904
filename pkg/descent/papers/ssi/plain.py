"""The exact reduced simulator of SGD on the plain (untied) network f = sigma(L^{-1/2} sum_l <w_l, x_l>).

Derived (docs/papers/ssi.md). Token l has its own vector w_l = (m_l, r_l) in units of sqrt d; the whole
vector in R^{Ld} is rescaled to its norm, not each token's, as in the official code:

    s_l = m_l Z_l0 + r_l Z_l1,   (m'_l, r'_l) = (m_l, r_l) - kappa a_l Z_l,   o_l = (kappa a_l)^2 chi^2_{d-2},
    n_l = m'^2 + r'^2 + o_l,     c = sqrt(L / sum_l n_l),   m_l = c m'_l,   r_l = c sqrt(r'^2 + o_l).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.papers.ssi import operations as op
from descent.papers.ssi.chains import Model
from descent.papers.ssi.links import fold
from descent.papers.ssi.noise import Noise


class Plain(NamedTuple):
    """w (..., 2, L, R): overlap m_l and residual r_l of every token's vector, zero at padding."""

    w: Tensor


class Work:
    """The memory of a chunk and the operations on it that its steps are, made once.

    w (2, L, R): the state; s (L, R): the fields; pull (L, R): kappa times the slopes. z (steps, 2, L, R), chi (steps, L, R): the noise, zero at padding.
    kappa (L, R); root (R,): sqrt L. goals: what the loss compares with, a tensor a step. fields[i], move[i]: the operations of step i before and
    after its slopes.
    """

    def __init__(self, w: Tensor, steps: int):
        _, tokens, rows = w.shape
        self.w, (self.s, self.pull, self.kappa) = torch.empty_like(w), w.new_empty(3, tokens, rows).unbind(0)
        self.z, self.chi, self.root = w.new_empty(steps, *w.shape), w.new_empty(steps, tokens, rows), w.new_empty(rows)
        self.noise = Noise(self.z, self.chi)
        self.goals: Sequence[Tensor] = ()
        product, squares, pull = torch.empty_like(w), torch.empty_like(w), self.pull
        square, left = squares.unbind(0)
        to_total, total = op.fold(square)
        summed = op.add(product[0], product[1], self.s)
        moved = [
            *op.subtract(self.w, product, self.w),
            *op.multiply(self.w, self.w, squares),
            *op.multiply(pull, pull, pull),
        ]
        scaled = [
            *op.add(left, pull, left), *op.sqrt(left, self.w[1]), *op.add(square, left, square), *to_total,
            *op.sqrt(total, total), *op.divide(self.root, total, total), *op.multiply(self.w, total, self.w),
        ]  # fmt: skip
        self.fields = [[*op.multiply(self.w, z, product), *summed] for z in self.z.unbind(0)]
        self.move = [
            [*op.multiply(z, pull, product), *moved, *op.multiply(pull, chi, pull), *scaled]
            for z, chi in zip(self.z.unbind(0), self.chi.unbind(0), strict=True)
        ]


def start(m: Tensor, mask: Tensor) -> Plain:
    """Chains whose tokens (mask (L, R)) all start at overlap m (R,)."""
    return Plain(torch.stack([m * mask, (1 - m * m).sqrt() * mask]))


def plain_network(
    target: Callable[[Tensor, Any], Tensor],
    slope: Callable[[Tensor, Tensor, Any], Tensor],
    tokens: int,
    *,
    autograd: bool = False,
) -> Model:
    """The plain network on `tokens` (padded) tokens.

    target(zstar, constants): what the loss compares with, of fields (steps, L, R). slope(s, target, constants) -> a (R,), the
    same for every token, or (L, R); what it is at padding does not matter. constants: kappa (R,) = lr/d and root (R,) = sqrt L.
    autograd: slope differentiates a loss. Overlap: ||(m_1..m_L)||_2 / sqrt L.
    """

    def prepare(on: Work, constants: Any) -> None:
        on.root.copy_(constants.root)
        on.kappa.copy_(constants.kappa)
        on.goals = target(on.z[:, 0], constants).unbind(0)

    def step(on: Work, i: int, constants: Any) -> None:
        op.perform(on.fields[i])
        torch.mul(slope(on.s, on.goals[i], constants), on.kappa, out=on.pull)
        op.perform(on.move[i])

    return Model(lambda state, steps: Work(state.w, steps), prepare, step, overlap, 2, True, tokens, autograd)


def overlap(state: Plain) -> Tensor:
    """||m|| / sqrt L (..., R). The squared norm of the whole vector is L, so L is read off the state."""
    square = state.w.square()
    return (fold(square[..., 0, :, :]) / fold(square.sum(-3))).sqrt()
