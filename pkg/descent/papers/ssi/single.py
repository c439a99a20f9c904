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

from descent.core.errors import SettingError
from descent.papers.ssi.chains import Model
from descent.papers.ssi.links import Fold


class Single(NamedTuple):
    """The state of the chains: w (..., 2 or 3, R) = (m, [e,] r), on the unit sphere."""

    w: Tensor


class Work:
    """The buffers of a step and the views of them that it needs, made once a chunk."""

    def __init__(self, w: Tensor, tokens: int, own: Any):
        columns, rows = w.shape
        self.spread, self.residual = w[:, None], w[-1]  # w: the state's own, changed in place
        self.product = w.new_empty(columns, tokens, rows)
        self.first, *self.others = self.product.unbind(0)
        self.pulled = Fold(self.product)
        self.s = w.new_empty(tokens, rows)
        self.a2 = w.new_empty(tokens, rows)
        self.size = Fold(self.a2)
        self.square = w.new_empty(columns, rows)
        self.left = self.square[-1]
        self.squares = self.square.unbind(0)
        self.norm = w.new_empty(rows)
        self.own = own


def start(m: Tensor, e: Tensor | None = None) -> Single:
    """Chains that start at overlaps m (R,) and e (R,); without e there is no positional encoding.

    Raises SettingError where e^2 + m^2 > 1: no student has such overlaps.
    """
    known = [m] if e is None else [m, e]
    rest = 1 - sum(x * x for x in known)
    if not bool((rest >= -1e-12).all()):
        worst = (1 - rest).max().item()
        raise SettingError(f"ssi: the start must have e^2 + m^2 at most 1, got {worst:.6g}")
    return Single(torch.stack([*known, rest.clamp(min=0).sqrt()]))


def single_vector(
    target: Callable[[Tensor, Any], Tensor],
    slope: Callable[..., Tensor],
    tokens: int,
    *,
    positional: bool,
    buffers: Callable[[Tensor], Any] | None = None,
    mean: Callable[[Tensor, Any], Tensor] | None = None,
) -> Model:
    """The model of one vector.

    target(zstar, constants): what the loss compares with, of fields (steps, L, R), a chunk at a time.
    slope(s, target, constants) -> a (L, R) of one step, zero at padding; with `buffers` it is given buffers(s) as well.
    mean(z, constants): the projections (steps, columns, R) of L^{-1/2} sum_l x_l, for a student that sees no more than that: it is
    a student of one token, whose s and a are (1, R).
    constants need a field `kappa` (R,) = lr/d; with `positional`, the opposite encoding of two tokens, also
    `signs` (2, R). Overlap: |m|.
    """
    if positional and tokens != 2:
        raise SettingError(f"ssi: the opposite positional encoding is one of 2 tokens, got {tokens}")

    def prepare(z: Tensor, chi: Tensor, constants: Any) -> tuple[Tensor, ...]:
        """z: (steps, columns, L, R); chi: (steps, 1, R)."""
        goal = target(z[:, 0], constants)
        if positional:  # P_l e in s_l and P_l in G are what a shifted Z_l1 gives
            z[:, 1] += constants.signs
        if mean is not None:
            z = mean(z, constants)[:, :, None]
        return z, chi[:, 0] * constants.kappa.square(), goal

    def work(state: Single) -> Work:
        seen = tokens if mean is None else 1
        return Work(state.w, seen, None if buffers is None else buffers(state.w.new_empty(seen, state.w.shape[-1])))

    def step(state: Single, drawn: tuple[Tensor, ...], constants: Any, on: Work) -> None:
        z, rest, goal = drawn  # (columns, L, R), (R,) kappa^2 chi^2, the target
        w = state.w
        torch.mul(on.spread, z, out=on.product)
        s = torch.add(on.first, on.others[0], out=on.s)
        for other in on.others[1:]:
            s.add_(other)
        a = slope(s, goal, constants) if on.own is None else slope(s, goal, constants, on.own)
        torch.mul(a, z, out=on.product)
        w.addcmul_(on.pulled(), constants.kappa, value=-1)
        torch.mul(w, w, out=on.square)
        torch.mul(a, a, out=on.a2)
        on.left.addcmul_(on.size(), rest)
        torch.sqrt(on.left, out=on.residual)
        norm = torch.add(on.squares[0], on.squares[1], out=on.norm)
        for other in on.squares[2:]:
            norm.add_(other)
        w.mul_(norm.rsqrt_())

    columns = 3 if positional else 2
    return Model(prepare, work, step, lambda state: state.w[..., 0, :].abs(), columns, False, tokens)


def overlaps(state: Single) -> dict[str, Tensor]:
    """The signed overlaps m and e (0 without positional encoding), each (R,)."""
    return {"m": state.w[0], "e": state.w[1] if state.w.shape[0] == 3 else torch.zeros_like(state.w[0])}


def opposite(like: Tensor) -> Tensor:
    """The signs (2, R) of the opposite positional encoding, P_1 = p, P_2 = -p, for the rows of `like` (R,)."""
    return torch.stack([torch.ones_like(like), -torch.ones_like(like)])
