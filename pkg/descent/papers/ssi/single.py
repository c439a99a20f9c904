"""The exact reduced simulator of SGD on one vector: the law of the d-dimensional chain in O(L) numbers a step.

Derived (docs/papers/ssi.md). In units of sqrt d the student is w = (m, e, r) on the teacher's direction
w*, the positional encoding p and its own residual's unit vector. A fresh token x_l ~ N(0, I/d) enters through its three
projections (Z_l0, Z_l1, Z_l2) ~ N(0, 1) and through the length of what is left, which is chi-square distributed. So
with kappa = lr/d

    s_l = m Z_l0 + e Z_l1 + r Z_l2 + P_l e,   G_j = sum_l a_l Z_lj (+ sum_l a_l P_l for j = p),
    (m', e', r') = (m, e, r) - kappa G,       norm^2 = m'^2 + e'^2 + r'^2 + kappa^2 |a|^2 chi^2_{d-3},

and (m, e) = (m', e') / norm. Without positional encoding there is no e, two columns and d - 2 degrees of freedom.
Rows R (chains) are the last axis everywhere, and no operation mixes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.papers.ssi.chains import Model
from descent.papers.ssi.links import fold


class Single(NamedTuple):
    """The state of the chains: w (..., 2 or 3, R) = (m, [e,] r), on the unit sphere."""

    w: Tensor


def start(m: Tensor, e: Tensor | None = None) -> Single:
    """Chains that start at overlaps m (R,) and e (R,); without e there is no positional encoding."""
    known = [m] if e is None else [m, e]
    rest = 1 - sum(x * x for x in known)
    return Single(torch.stack([*known, rest.clamp(min=0).sqrt()]))


def single_vector(
    target: Callable[[Tensor, Any], Tensor],
    slope: Callable[[Tensor, Tensor, Any], Tensor],
    tokens: int,
    *,
    positional: bool,
) -> Model:
    """The model of one vector.

    target(zstar, constants): what the loss compares with, of fields (steps, L, R), a chunk at a time.
    slope(s, target, constants) -> a (L, R) of one step, zero at padding.
    constants need a field `kappa` (R,) = lr/d; with `positional`, the opposite encoding of two tokens, also
    `signs` (2, R). Overlap: |m|.
    """
    if positional and tokens != 2:
        raise ValueError("the opposite positional encoding is one of two tokens")

    def prepare(z: Tensor, chi: Tensor, constants: Any) -> tuple[Tensor, ...]:
        """z: (steps, columns, L, R); chi: (steps, 1, R)."""
        goal = target(z[:, 0], constants)
        if positional:  # P_l e in s_l and P_l in G are what a shifted Z_l1 gives
            z = torch.stack([z[:, 0], z[:, 1] + constants.signs, z[:, 2]], 1)
        return z, chi[:, 0] * constants.kappa.square(), goal

    def step(state: Single, drawn: tuple[Tensor, ...], constants: Any) -> Single:
        z, rest, goal = drawn  # (columns, L, R), (R,) kappa^2 chi^2, the target
        a = slope((state.w[:, None] * z).sum(0), goal, constants)
        moved = torch.addcmul(state.w, fold(a * z), constants.kappa, value=-1)
        square = moved * moved
        square[-1] += fold(a * a) * rest
        moved[-1] = square[-1].sqrt()
        return Single(moved * square.sum(0).rsqrt())

    return Model(prepare, step, lambda state: state.w[..., 0, :].abs(), 3 if positional else 2, False, tokens)


def overlaps(state: Single) -> dict[str, Tensor]:
    """The signed overlaps m and e (0 without positional encoding), each (R,)."""
    return {"m": state.w[0], "e": state.w[1] if state.w.shape[0] == 3 else torch.zeros_like(state.w[0])}


def opposite(like: Tensor) -> Tensor:
    """The signs (2, R) of the opposite positional encoding, P_1 = p, P_2 = -p, for the rows of `like` (R,)."""
    return torch.stack([torch.ones_like(like), -torch.ones_like(like)])
