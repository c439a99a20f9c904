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


class Fold:
    """The same sum of a buffer (..., L, R), in place and without a new tensor: what is called gives (..., R), and the buffer is lost.

    The views that it adds are made once. Where L is no power of two there is nothing to pad, and the sum is taken as a whole.
    """

    def __init__(self, buffer: Tensor):
        size = buffer.shape[-2]
        self.buffer, self.halves = buffer, []
        self.whole = bool(size & (size - 1))
        while size > 1 and not self.whole:
            size //= 2
            self.halves.append((buffer[..., :size, :], buffer[..., size : 2 * size, :]))
        self.sum = buffer[..., 0, :]

    def __call__(self) -> Tensor:
        if self.whole:
            return self.buffer.sum(-2)
        for low, high in self.halves:
            low.add_(high)
        return self.sum


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
    """What `attention_slope_into` works in: s and a (2, R), and for a chunk of `steps` the goals (steps, 2, R).

    All is mirrored: s = (s_1, -s_2), a = kappa (dl/ds_1, -dl/ds_2). That leaves a_l Z_l as it is where the second token's
    noise is turned as well, and spares the signs: the diagonal of att is sigmoid(s_l (s_1 + s_2)) for both tokens.
    """

    def __init__(self, s: Tensor, a: Tensor, steps: int = 0):
        self.s, self.a = s, a
        self.fields, self.squares = s.unbind(0), a.unbind(0)
        self.p, self.b = torch.empty_like(s), torch.empty_like(s)
        self.gap, self.double = s.new_empty(s.shape[1:]), s.new_empty(s.shape[1:])
        self.goal, self.spread = s.new_empty(steps, *s.shape), s.new_empty(steps, 1, *s.shape[1:])
        self.frobenius: tuple[Tensor, Tensor, Tensor] | None = None

    def weigh(self, kappa: Tensor | float, frobenius: Tensor | None) -> None:
        """The learning rate over d (R,), which the slopes carry, and which rows have the loss sqrt(2 l_sq)."""
        self.double.fill_(2).mul_(kappa)
        if frobenius is not None:
            # b is divided by the root of half |2 kappa D|^2 + floor: of 2 |D|^2, or of 1; tiny, so that D = 0 stays finite.
            half = 2 / self.double.square() * frobenius
            floor = torch.ones_like(half).masked_fill_(frobenius, torch.finfo(half.dtype).tiny)
            self.frobenius = half, floor, torch.empty_like(half)

    def aim(self, zstar: Tensor, teacher: Mixed) -> Tensor:
        """The goals -2 kappa diag T of mirrored fields zstar (steps, 2, R)."""
        torch.add(zstar[:, :1], zstar[:, 1:], out=self.spread)
        goal = torch.mul(zstar, self.spread, out=self.goal).sigmoid_()
        return goal.mul_(self.double * (teacher.omega - 1)).sub_(self.double * teacher.omega * teacher.level)


def attention_slope(s: Tensor, target: Tensor, frobenius: Tensor | None = None) -> Tensor:
    """dl/ds (2, R) of the attention matrix of two tokens against a teacher of diagonal `target` (2, R).

    frobenius: (R,) bool, the rows whose loss is sqrt(2 l_sq); None when there are none.
    """
    on = Pair(torch.stack([s[0], -s[1]]), torch.empty_like(s))
    on.weigh(1.0, frobenius)
    attention_slope_into(on, -2 * target)
    on.squares[1].neg_()
    return on.a


def attention_against(teacher: Mixed) -> Callable[[Tensor, Tensor], Tensor]:
    """slope(s, zstar) -> dl/ds (2, R) of the loss "sq" against one teacher, in memory made once: it stands until the next call."""
    made: dict[torch.Size, tuple[Pair, Tensor, Tensor]] = {}

    def slope(s: Tensor, zstar: Tensor) -> Tensor:
        if s.shape not in made:
            on = Pair(torch.empty_like(s), torch.empty_like(s), 1)
            on.weigh(1.0, None)
            signs = torch.ones_like(s[:, :1])  # SIGNS, made on the device
            signs[1].neg_()
            made[s.shape] = on, torch.empty_like(s)[None], signs
        on, mirrored, signs = made[s.shape]
        torch.mul(s, signs, out=on.s)
        torch.mul(zstar, signs, out=mirrored[0])
        attention_slope_into(on, on.aim(mirrored, teacher)[0])
        return on.a.mul_(signs)

    return slope


def attention_slope_into(on: Pair, goal: Tensor) -> None:
    """kappa times the mirrored slopes into on.a, from on.s, which is lost; goal (2, R): -2 kappa diag T.

    Each row of a softmax over two entries counts twice, times 1/2: l_sq = D_1^2 + D_2^2, D = diag T - diag att. With the
    mirrored x_l = s_l (s_1 + s_2) the diagonal is p = sigmoid(x), b = dl/dx = -2 D p (1 - p), and dl/ds_l = b_l (s_1 + s_2) + b . s.
    """
    gap = torch.add(*on.fields, out=on.gap)
    p = torch.mul(on.s, gap, out=on.p).sigmoid_()
    b = torch.addcmul(goal, p, on.double, out=on.b)
    if on.frobenius is not None:
        half, floor, norm = on.frobenius
        torch.mul(b, b, out=on.a)
        torch.add(*on.squares, out=norm)
        b.mul_(torch.addcmul(floor, norm, half, out=norm).rsqrt_())
    b.mul_(p.addcmul_(p, p, value=-1))
    on.s.mul_(b)
    first, second = on.fields
    torch.addcmul(first.add_(second), b, gap, out=on.a)


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
