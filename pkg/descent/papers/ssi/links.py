"""Students and targets: what a chain does with one fresh sequence, as the slopes a_l = dl/ds_l of its loss.

Arnaboldi et al., arXiv 2506.02651; the closed forms are derived (docs/papers/ssi.md), the models are read in the
official code. Tensors have tokens L on the last axis but one and rows (chains) or quadrature nodes R last:
s, zstar (L, R) are the student's and the teacher's fields, both N(0, 1) up to the shift by the positional encoding.
All losses are l = (f - y)^2 / 2 or |T - att|_F^2 / 2 ("sq"); "fro" is |T - att|_F, which the official simulation uses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.ssi import operations as op

SIGNS = (1.0, -1.0)  # the opposite positional encoding of two tokens: P_1 = p, P_2 = -p


def fold(x: Tensor) -> Tensor:
    """The sum over the tokens, axis -2: (..., L, R) -> (..., R).

    Where L is a power of two, halves are added to each other, so that tokens of zeros, which pad a shorter sequence,
    leave every bit as it is: a chain does not notice the longest sequence of its batch. Programs of one length alone
    need no padding and may have any.
    """
    size = x.shape[-2]
    if size & (size - 1):
        return x.sum(-2)
    while size > 2:
        size //= 2
        x = x.unflatten(-2, (2, size)).sum(-3)
    return x.sum(-2)


def padded(length: int) -> int:
    """The power of two that `length` tokens are padded to."""
    return 1 << max(length - 1, 0).bit_length()


class Sequence(NamedTuple):
    """Constants of a network on L tokens.

    weight: (L, R) the target's coefficients c_l, zero at padding. inverse: (R,) L^{-1/2}. mask: (L, R) 1 at tokens.
    """

    weight: Tensor
    inverse: Tensor
    mask: Tensor


def neuron_slope(u: Tensor, y: Tensor, activation: str = "relu") -> Tensor:
    """dl/du of l = (sigma(u) - y)^2 / 2, sigma(u) = relu(u) or u^2 ("square")."""
    if activation == "relu":
        return (u - y) * (u > 0)
    return (u * u - y).mul_(u).mul_(2)


def coefficients(target: str, length: int) -> tuple[list[float], str]:
    """(c_l, link) of the target y = sum_l c_l h(z*_l), h(z) = z ("linear") or (z^2 - 1) / sqrt 2 ("quadratic").

    Official names: sum and single are the code's "sum" and "sqrtz1"; difference and square_difference have sum_l c_l = 0,
    to which a tied network is blind at first order (null divergence). Raises SettingError where these are given more tokens.
    """
    if target in ("linear", "quadratic"):
        return [length**-0.5] * length, target
    if target == "quadratic_sum":
        return [1.0] * length, "quadratic"
    if target == "single":
        return [math.sqrt(length)] + [0.0] * (length - 1), "linear"
    if length != 2:
        raise SettingError(f"ssi: `length` must be 2 for the target {target}, got {length}")
    return {"difference": ([1.0, -1.0], "linear"), "square_difference": ([1.0, -1.0], "quadratic")}[target]


def target_value(zstar: Tensor, weight: Tensor, link: str) -> Tensor:
    """y (R,) of a target with coefficients `weight` (L, R)."""
    h = zstar if link == "linear" else (zstar * zstar - 1) * math.sqrt(0.5)
    return fold(weight * h)


def network_slope(s: Tensor, y: Tensor, on: Sequence, activation: str = "relu") -> Tensor:
    """dl/ds_l (R,), the same for every token, of f = sigma(L^{-1/2} sum_l s_l), tied or plain, against y (R,)."""
    return neuron_slope(fold(s) * on.inverse, y, activation) * on.inverse


def product(s: Tensor, used: Tensor) -> tuple[Tensor, Tensor]:
    """(s with 1 at the tokens that are not used, their product): (..., 3, R) and (..., R). used: (3, R), 1 or 0."""
    s = s * used + (1 - used)
    return s, s.prod(-2)


def product_slope(s: Tensor, y: Tensor, used: Tensor) -> Tensor:
    """dl/ds (3, R) of the student phi(s) = prod_{j <= k} s_j against y = phi(z*) (R,).

    used: (3, R), 1 for the first k tokens. a_j = (phi(s) - y) prod_{i != j} s_i.
    """
    s, phi = product(s, used)
    others = s.roll(1, 0) * s.roll(2, 0)  # three tokens: the other two
    return others * ((phi - y) * used)


class Mixed(NamedTuple):
    """The positional-semantic teacher T = (1 - omega) att(z*) + omega A, A = softmax_rows([[a^2, -a^2], [-a^2, a^2]]).

    omega: (R,). level: (R,) sigmoid(2 a^2), the diagonal of A. frobenius: (R,) bool, the "fro" loss instead of "sq".
    """

    omega: Tensor
    level: Tensor
    frobenius: Tensor


def diagonal(s: Tensor) -> Tensor:
    """The diagonal (..., 2, R) of att(s) = softmax_rows(s s^T) for two tokens: sigmoid(s_i^2 - s_1 s_2)."""
    return torch.sigmoid(s * s - s.prod(-2, keepdim=True))


def teacher_diagonal(zstar: Tensor, teacher: Mixed) -> Tensor:
    """The diagonal (..., 2, R) of T."""
    return (1 - teacher.omega) * diagonal(zstar) + teacher.omega * teacher.level


def _through_products(b: Tensor, s: Tensor) -> Tensor:
    """From slopes with respect to s_i^2 - s_1 s_2, given as b = twice them, to slopes with respect to s.

    a_1 = b_1 s_1 - (b_1 + b_2) s_2 / 2, and the same with the tokens exchanged.
    """
    return torch.addcmul(b * s, b.sum(0), s.flip(0), value=-0.5)


class Pair:
    """The slopes of the attention matrix against goals, as operations on memory made once.

    s and a (2, R): read (and lost) and written by the operations `slopes[i]`; zstar (steps, 2, R): what step i is compared with comes of
    zstar[i] and the teacher once `aim` is called. All is mirrored and scaled: s = SCALE (s_1, -s_2), zstar alike, a = kappa (dl/ds_1, -dl/ds_2) / SCALE.
    That leaves kappa a_l Z_l as it is where the noise is turned and scaled too, and spares signs and factors. frobenius: whether some rows
    have the loss sqrt(2 l_sq).

    Each row of a softmax over two entries counts twice, times 1/2: l_sq = D_1^2 + D_2^2, D = diag T - diag att. In the unscaled
    x_l = s_l (s_1 + s_2) the diagonal is p = sigmoid(x), dl/dx = -2 D p (1 - p) = d (1 - t^2) / 4 with t = tanh(x / 2), the goal
    2 diag T - 1 and d = t - goal = -2 D; and dl/ds_l = dl/dx_l (s_1 + s_2) + dl/dx . s.
    """

    SCALE = math.sqrt(0.5)

    def __init__(self, s: Tensor, a: Tensor, zstar: Tensor, frobenius: bool = False):
        self.signs = torch.full_like(s[:, None, :1], self.SCALE)
        self.signs[1].neg_()
        self.mixed, new = frobenius, lambda: torch.empty_like(s)
        self.kappa, self.half, self.floor, self.own, self.shift = new(), new(), new(), new(), new()
        self.goals, spread = (
            torch.empty_like(zstar, memory_format=torch.contiguous_format),
            torch.empty_like(zstar[:, :1]),
        )
        self.to_aim = [
            *op.add(zstar[:, :1], zstar[:, 1:], spread),
            *op.multiply(zstar, spread, self.goals),
            *op.tanh(self.goals, self.goals),
            *op.multiply(self.goals, self.own, self.goals),
            *op.add(self.goals, self.shift, self.goals),
        ]
        h, t, d, both = new(), new(), new(), new()
        before = [*op.add(s[:1], s[1:], h), *op.multiply(s, h, t), *op.tanh(t, t)]
        divided = [
            *op.multiply(d, d, a),
            *op.add(a[:1], a[1:], both),
            *op.multiply(both, self.half, both),
            *op.add(both, self.floor, both),
            *op.sqrt(both, both),
            *op.divide(d, both, d),
        ]
        after = [
            *(divided if frobenius else ()),
            *op.multiply(t, t, t),
            *op.add_product(d, t, d, t, d, -1),
            *op.multiply(d, self.kappa, d),
            *op.multiply(s, d, s),
            *op.add(s[:1], s[1:], both),
            *op.add_product(both, d, h, d, a),
        ]
        self.slopes = [[*before, *op.subtract(t, goal, d), *after] for goal in self.goals.unbind(0)]

    def weigh(self, kappa: Tensor, frobenius: Tensor | None) -> None:
        """The learning rate over d (R,), which the slopes carry, and which rows have the loss sqrt(2 l_sq)."""
        self.kappa.copy_(kappa).div_(2)
        if self.mixed and frobenius is not None:
            # d is divided by the root of half |d|^2 + floor: of 2 l_sq, or of 1; tiny, so that d = 0 stays finite.
            self.half.copy_(frobenius).div_(2)
            self.floor.fill_(1).masked_fill_(frobenius, torch.finfo(self.floor.dtype).tiny)

    def teach(self, teacher: Mixed) -> None:
        """Whose diagonal the goals are of."""
        self.own.copy_(1 - teacher.omega)
        self.shift.copy_(teacher.omega * (2 * teacher.level - 1))

    def aim(self) -> None:
        """The goals 2 diag T - 1 of what zstar holds now."""
        op.perform(self.to_aim)


def attention_slope(s: Tensor, target: Tensor, frobenius: Tensor | None = None) -> Tensor:
    """dl/ds (2, R) of the attention matrix of two tokens against a teacher of diagonal `target` (2, R).

    frobenius: (R,) bool, the rows whose loss is sqrt(2 l_sq); None when there are none.
    """
    mirrored, slope = Pair.SCALE * torch.stack([s[0], -s[1]]), torch.empty_like(s)
    on = Pair(mirrored, slope, torch.empty_like(s)[None], frobenius is not None)
    on.weigh(torch.ones_like(s), frobenius)
    on.goals.copy_(2 * target - 1)
    with op.quiet(s.device):
        op.perform(on.slopes[0])
    slope[1].neg_()
    return slope.mul_(Pair.SCALE)


def attention_against(teacher: Mixed) -> Callable[[Tensor, Tensor], Tensor]:
    """slope(s, zstar) -> dl/ds (2, R) of the loss "sq" against one teacher, in memory made once: it stands until the next call."""
    made: dict[torch.Size, tuple[Pair, Tensor, Tensor, Tensor, Tensor]] = {}

    def slope(s: Tensor, zstar: Tensor) -> Tensor:
        if s.shape not in made:
            fields, slopes, seen = torch.empty_like(s), torch.empty_like(s), torch.empty_like(s)
            signs = torch.full_like(s, Pair.SCALE)
            signs[1].neg_()
            pair = Pair(fields, slopes, seen[None])
            pair.weigh(torch.ones_like(s), None)
            pair.teach(teacher)
            made[s.shape] = pair, fields, slopes, seen, signs
        on, fields, slopes, seen, signs = made[s.shape]
        torch.mul(s, signs, out=fields)
        torch.mul(zstar, signs, out=seen)
        with op.quiet(s.device):
            on.aim()
            op.perform(on.slopes[0])
        return slopes.mul_(signs)

    return slope


def attention_loss(s: Tensor, target: Tensor, frobenius: Tensor | None = None) -> Tensor:
    """l (R,) of `attention_slope`."""
    squared = (target - diagonal(s)).square().sum(0)
    return squared if frobenius is None else torch.where(frobenius, (2 * squared).sqrt(), squared)


def trace_loss(s: Tensor, y: Tensor) -> Tensor:
    """l (R,) of trace attention on two tokens, f = (p_1 + p_2) / sqrt 2, against y (R,)."""
    return (diagonal(s).sum(0) * math.sqrt(0.5) - y) ** 2 / 2


def trace_slope(s: Tensor, y: Tensor) -> Tensor:
    """dl/ds (2, R) of `trace_loss`."""
    p = diagonal(s)
    error = p.sum(0) - math.sqrt(2) * y
    return _through_products(error * (p - p * p), s)


def long_trace_slope(s: Tensor, y: Tensor) -> Tensor:
    """dl/ds (L, R) of trace attention on L tokens, f = L^{-1/2} tr softmax_rows(s s^T).

    df/ds_k = L^{-1/2} [A_kk (2 s_k - sum_j A_kj s_j) - sum_i A_ii A_ik s_i].
    """
    attention = torch.softmax(s[:, None] * s[None], dim=1)  # (L queries, L keys, R)
    own = torch.diagonal(attention, dim1=0, dim2=1).T  # (L, R)
    scale = s.shape[0] ** -0.5
    slope = own * (2 * s - (attention * s[None]).sum(1)) - ((own * s)[:, None] * attention).sum(0)
    return (own.sum(0) * scale - y) * scale * slope
