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

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.ssi.chains import Model
from descent.papers.ssi.links import Fold

APART = 3  # so many tokens are added one by one; more as halves of one product


class Single(NamedTuple):
    """The state of the chains: w (..., 2 or 3, R) = (m, [e,] r), on the unit sphere."""

    w: Tensor


class Work:
    """The memory of a chunk and the views of it that its steps need, made once.

    w (columns, R): the state. a (L, R): kappa times the slopes. drawn (steps, columns, tokens, R): the noise; z: what the student
    sees of it. rest (steps, R): chi^2. goals: what the loss compares with, a tensor a step.
    """

    def __init__(self, w: Tensor, steps: int, tokens: int, averaged: bool):
        columns, rows = w.shape
        length = 1 if averaged else tokens
        both = w.new_empty(columns + length, rows)  # one square for both
        self.both, self.w, self.a = both, both[:columns], both[columns:]
        self.spread, self.residual = self.w[:, None], self.w[-1]
        self.product = w.new_empty(columns, length, rows)
        self.first, *self.others = self.product.unbind(0)
        self.slopes = self.a.unbind(0) if length <= APART else None
        self.pulled = Fold(self.product)
        self.s = w.new_empty(length, rows)
        self.squares = torch.empty_like(both)
        self.norm, *self.more = self.squares[:columns].unbind(0)
        self.left = self.more[-1]
        self.size = Fold(self.squares[columns:])
        self.drawn = w.new_empty(steps, columns, tokens, rows)
        self.z = w.new_empty(steps, columns, 1, rows) if averaged else self.drawn
        self.rest = w.new_empty(steps, rows)
        self.goals: Sequence[Tensor] = ()
        by_token = [x.unbind(1) for x in self.z.unbind(0)] if self.slopes else [()] * steps
        self.views = list(zip(self.z.unbind(0), by_token, self.rest.unbind(0), strict=True))
        self.own: Any = None


def start(m: Tensor, e: Tensor | None = None) -> Single:
    """Chains that start at overlaps m (R,) and e (R,); without e there is no positional encoding.

    Raises SettingError where e^2 + m^2 > 1: no student has such overlaps.
    """
    known = [m] if e is None else [m, e]
    rest = 1 - m * m if e is None else 1 - (m * m + e * e)
    if not bool((rest >= -1e-12).all()):
        worst = (1 - rest).max().item()
        raise SettingError(f"ssi: the start must have e^2 + m^2 at most 1, got {worst:.6g}")
    return Single(torch.stack([*known, rest.clamp(min=0).sqrt()]))


def single_vector(
    target: Callable[..., Tensor],
    slope: Callable[..., Any],
    tokens: int,
    *,
    positional: bool,
    buffers: Callable[[Tensor, Tensor, int], Any] | None = None,
    mean: Callable[[Tensor, Any], Tensor] | None = None,
    autograd: bool = False,
) -> Model:
    """The model of one vector.

    target(zstar, constants): what the loss compares with, of fields (steps, L, R), a chunk at a time.
    slope(s, target, constants) -> a (L, R) of one step, zero at padding.
    buffers(s, a, steps) -> on, for slopes that write into memory of their own: then target is also given `on`, and slope(on, target)
    leaves kappa a in a. Fields and slopes are mirrored there: those of the second token have the other sign (links.Pair).
    mean(z, constants): the projections (steps, columns, R) of L^{-1/2} sum_l x_l, for a student that sees no more than that: it is
    a student of one token, whose s and a are (1, R).
    autograd: slope differentiates a loss.
    constants need a field `kappa` (R,) = lr/d; with `positional`, the opposite encoding of two tokens, also
    `signs` (2, R). Overlap: |m|.
    """
    if positional and tokens != 2:
        raise SettingError(f"ssi: the opposite positional encoding is one of 2 tokens, got {tokens}")

    def work(state: Single, steps: int) -> Work:
        on = Work(state.w, steps, tokens, mean is not None)
        on.own = None if buffers is None else buffers(on.s, on.a, steps)
        return on

    def prepare(on: Work, z: Tensor, chi: Tensor, constants: Any) -> None:
        """z: (steps, columns, L, R); chi: (steps, 1, R)."""
        drawn = on.drawn.copy_(z)
        if on.own is None:
            goals = target(drawn[:, 0], constants)
        else:
            drawn[:, :, 1].neg_()
            goals = target(drawn[:, 0], constants, on.own)
        on.goals = goals.unbind(0)
        if positional:  # P_l e in s_l and P_l in G are what a shifted Z_l1 gives
            drawn[:, 1] += constants.signs if on.own is None else 1
        if mean is not None:
            on.z[:, :, 0] = mean(drawn, constants)
        on.rest.copy_(chi[:, 0])

    def step(on: Work, i: int, constants: Any) -> None:
        z, by_token, rest = on.views[i]  # (columns, L, R); a token (columns, R) each; (R,) chi^2
        w = on.w
        torch.mul(on.spread, z, out=on.product)
        s = torch.add(on.first, on.others[0], out=on.s)
        for other in on.others[1:]:
            s.add_(other)
        if on.own is None:
            torch.mul(slope(s, on.goals[i], constants), constants.kappa, out=on.a)
        else:
            slope(on.own, on.goals[i])
        if on.slopes is None:
            torch.mul(on.a, z, out=on.product)
            w.sub_(on.pulled())
        else:
            for a, token in zip(on.slopes, by_token, strict=True):
                w.addcmul_(a, token, value=-1)
        torch.mul(on.both, on.both, out=on.squares)
        torch.sqrt(on.left.addcmul_(on.size(), rest), out=on.residual)
        norm = on.norm
        for other in on.more:
            norm.add_(other)
        w.mul_(norm.rsqrt_())

    columns = 3 if positional else 2
    return Model(work, prepare, step, lambda state: state.w[..., 0, :].abs(), columns, False, tokens, autograd)


def overlaps(state: Single) -> dict[str, Tensor]:
    """The signed overlaps m and e (0 without positional encoding), each (R,)."""
    return {"m": state.w[0], "e": state.w[1] if state.w.shape[0] == 3 else torch.zeros_like(state.w[0])}


def opposite(like: Tensor) -> Tensor:
    """The signs (2, R) of the opposite positional encoding, P_1 = p, P_2 = -p, for the rows of `like` (R,)."""
    return torch.stack([torch.ones_like(like), -torch.ones_like(like)])
