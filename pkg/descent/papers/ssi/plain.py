"""The exact reduced simulator of SGD on the plain (untied) network f = sigma(L^{-1/2} sum_l <w_l, x_l>).

Derived (docs/papers/ssi.md). Token l has its own vector w_l = (m_l, r_l) in units of sqrt d; the whole
vector in R^{Ld} is rescaled to its norm, not each token's, as in the official code:

    s_l = m_l Z_l0 + r_l Z_l1,   (m'_l, r'_l) = (m_l, r_l) - kappa a Z_l,   o_l = (kappa a)^2 chi^2_{d-2},
    n_l = m'^2 + r'^2 + o_l,     c = sqrt(L / sum_l n_l),   m_l = c m'_l,   r_l = c sqrt(r'^2 + o_l).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.papers.ssi.chains import Model
from descent.papers.ssi.links import fold, network_slope, target_value


class Plain(NamedTuple):
    """w (..., 2, L, R): overlap m_l and residual r_l of every token's vector, zero at padding."""

    w: Tensor


def start(m: Tensor, mask: Tensor) -> Plain:
    """Chains whose tokens (mask (L, R)) all start at overlap m (R,)."""
    return Plain(torch.stack([m * mask, (1 - m * m).sqrt() * mask]))


def plain_network(tokens: int, *, link: str, activation: str = "relu") -> Model:
    """The plain network on `tokens` (padded) tokens; constants: kappa (R,) and `on`, a links.Sequence.

    Overlap: ||(m_1..m_L)||_2 / sqrt L.
    """

    def prepare(z: Tensor, chi: Tensor, constants: Any) -> tuple[Tensor, ...]:
        """z: (steps, 2, L, R); chi: (steps, L, R); both zero at padding."""
        return z, chi, target_value(z[:, 0], constants.on.weight, link)

    def step(state: Plain, drawn: tuple[Tensor, ...], constants: Any) -> Plain:
        z, chi, y = drawn
        on = constants.on
        pull = network_slope((state.w * z).sum(0), y, on, activation) * constants.kappa
        moved = torch.addcmul(state.w, z, pull, value=-1)
        square = moved * moved
        square[1] += chi * (pull * pull)
        moved[1] = square[1].sqrt()
        return Plain(moved * (fold(square.sum(0)).rsqrt() / on.inverse))

    return Model(prepare, step, overlap, 2, True, tokens)


def overlap(state: Plain) -> Tensor:
    """||m|| / sqrt L (..., R). The squared norm of the whole vector is L, so L is read off the state."""
    square = state.w.square()
    return (fold(square[..., 0, :, :]) / fold(square.sum(-3))).sqrt()
