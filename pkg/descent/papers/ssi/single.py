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
from descent.papers.ssi import operations as op
from descent.papers.ssi.chains import Model
from descent.papers.ssi.noise import Noise


class Single(NamedTuple):
    """The state of the chains: w (..., 2 or 3, R) = (m, [e,] r), on the unit sphere."""

    w: Tensor


class Work:
    """The memory of a chunk and the operations on it that its steps are, made once.

    w (columns, R): the state; a (L, R): kappa times the slopes; s (L, R): the fields. drawn (steps, tokens, columns, R): the
    noise; z: what the student sees of it. rest (steps, R): chi^2. goals: what the loss compares with, a tensor a step.
    fields[i], move[i]: the operations of step i before and after its slopes. own: what has operations for these as well.
    """

    def __init__(self, w: Tensor, steps: int, tokens: int, averaged: bool, buffers: Callable[..., Any] | None):
        columns, rows = w.shape
        length = 1 if averaged else tokens
        both = w.new_empty(columns + length, rows)  # one square for both
        self.w, self.a, self.s = both[:columns], both[columns:], w.new_empty(length, rows)
        self.drawn = w.new_empty(steps, tokens, columns, rows)
        self.z = w.new_empty(steps, 1, columns, rows) if averaged else self.drawn
        self.rest = w.new_empty(steps, rows)
        self.noise = Noise(self.drawn.transpose(1, 2), self.rest[:, None])
        self.goals: Sequence[Tensor] = ()
        self.own = None if buffers is None else buffers(self.s, self.a, self.drawn[:, :, 0])

        product, squares = w.new_empty(length, columns, rows), torch.empty_like(both)
        to_pull, pull = op.fold(product)
        to_size, size = op.fold(squares[columns:])
        to_norm, norm = op.fold(squares[:columns])
        left = squares[columns - 1]
        first, *others = product.unbind(1)
        summed = op.add(first, others[0], self.s)
        for other in others[1:]:
            summed += op.add(self.s, other, self.s)
        moved = [*to_pull, *op.subtract(self.w, pull, self.w), *op.multiply(both, both, squares), *to_size]
        scaled = [
            *op.sqrt(left, self.w[-1]),
            *to_norm,
            *op.sqrt(norm, norm),
            *op.divide(self.w, norm, self.w),
        ]
        self.fields = [[*op.multiply(self.w, z, product), *summed] for z in self.z.unbind(0)]
        self.move = [
            [*op.multiply(self.a[:, None], z, product), *moved, *op.add_product(left, size, rest, size, left), *scaled]
            for z, rest in zip(self.z.unbind(0), self.rest.unbind(0), strict=True)
        ]


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


def kappa(*, dimension: int, rate: float) -> float:
    """lr/d, by which a step moves the overlaps along the slopes."""
    return rate / dimension


def single_vector(
    target: Callable[..., Any],
    slope: Callable[[Tensor, Tensor, Any], Tensor] | None,
    tokens: int,
    *,
    positional: bool,
    buffers: Callable[[Tensor, Tensor, Tensor], Any] | None = None,
    mean: Callable[[Tensor, Any], Tensor] | None = None,
    autograd: bool = False,
) -> Model:
    """The model of one vector.

    target(zstar, constants): what the loss compares with, of fields (steps, L, R), a chunk at a time.
    slope(s, target, constants) -> a (L, R) of one step, zero at padding.
    buffers(s, a, zstar) -> on, in place of slope: `on.slopes[i]` are the operations from the fields s (L, R) of step i to kappa a in a,
    on memory of their own; zstar (steps, L, R) is where the teacher's fields will lie, and target(zstar, constants, on) makes of them
    what is compared with. Fields, slopes and noise are mirrored and scaled there (links.Pair).
    mean(z, constants): the projections (steps, columns, R) of L^{-1/2} sum_l x_l, for a student that sees no more than that: it is
    a student of one token, whose s and a are (1, R).
    autograd: slope differentiates a loss.
    constants need a field `kappa` (R,) = lr/d; with `positional`, the opposite encoding of two tokens, also
    `signs` (2, R). Overlap: |m|.
    """
    if positional and tokens != 2:
        raise SettingError(f"ssi: the opposite positional encoding is one of 2 tokens, got {tokens}")

    def work(state: Single, steps: int) -> Work:
        return Work(state.w, steps, tokens, mean is not None, buffers)

    def prepare(on: Work, constants: Any) -> None:
        drawn = on.drawn
        if on.own is None:
            on.goals = target(drawn[:, :, 0], constants).unbind(0)
        else:
            drawn.mul_(on.own.signs)
            on.rest.mul_(on.own.SCALE**2)
            target(drawn[:, :, 0], constants, on.own)
        if positional:  # P_l e in s_l and P_l in G are what a shifted Z_l1 gives
            drawn[:, :, 1] += constants.signs if on.own is None else on.own.SCALE
        if mean is not None:
            on.z[:, 0] = mean(on.noise.z, constants)

    def step(on: Work, i: int, constants: Any) -> None:
        op.perform(on.fields[i])
        if on.own is not None:
            op.perform(on.own.slopes[i])
        elif slope is not None:
            torch.mul(slope(on.s, on.goals[i], constants), constants.kappa, out=on.a)
        op.perform(on.move[i])

    columns = 3 if positional else 2
    return Model(work, prepare, step, lambda state: state.w[..., 0, :].abs(), columns, False, tokens, autograd)


def overlaps(state: Single) -> dict[str, Tensor]:
    """The signed overlaps m and e (0 without positional encoding), each (R,)."""
    return {"m": state.w[0], "e": state.w[1] if state.w.shape[0] == 3 else torch.zeros_like(state.w[0])}


def opposite(like: Tensor) -> Tensor:
    """The signs (2, R) of the opposite positional encoding, P_1 = p, P_2 = -p, for the rows of `like` (R,)."""
    return torch.stack([torch.ones_like(like), -torch.ones_like(like)])
