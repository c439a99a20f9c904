"""Linear recursions in time in few operations: log2(N) rounds of composing neighbours (Hillis and Steele 1986).

Step k maps x to F_k x + b_k. Composing step k with the one s before it, for s = 1, 2, 4, ..., leaves in place k all
steps up to k: about 3 log2(N) array operations instead of N, each over all rows and players at once. That pays while an operation costs
more than its numbers; scalar states that are many (`WIDE` numbers a step) are taken in order, one operation a step and one pass over memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

WIDE = 512


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a (..., p, q) times b (..., q, r). With q = 1 it is a plain product: blocks of scalars cost no matrix call."""
    return a * b if a.shape[-1] == 1 else a @ b


def recursion(F: Tensor, b: Tensor, start: Tensor, *, backward: bool = False) -> Tensor:
    """x_0 = start, x_{k+1} = F_k x_k + b_k for k = 0 .. N - 1; returns x (S, N + 1, *batch, n, c).

    F (S, N, *batch, n, n); b (S, N, *batch, n, c); start (S, *batch, n, c); leading axes broadcast.
    backward: x_N = start, x_k = F_k x_{k+1} + b_k instead.
    """
    if F.shape[-1] == 1:
        shape = torch.broadcast_shapes(F[:, 0].shape, b[:, 0].shape, start.shape)
        if math.prod(shape) < WIDE:
            return _doubled(F, b, start, backward, shape)
        x = b.new_empty(shape[0], b.shape[1] + 1, *shape[1:])
        x.select(1, -1 if backward else 0).copy_(start)
        x.narrow(1, 0 if backward else 1, b.shape[1]).copy_(b)
        return recursion_(F, x, backward=backward)
    if backward:
        return recursion(F.flip(1), b.flip(1), start).flip(1)
    start = start[:, None]
    first = dot(F[:, :1], start) + b[:, :1]
    x = _joined(first, b[:, 1:])
    F, N, s = F[:, 1:], F.shape[1], 1
    while s < N:
        # x[:, k] for k < s has the start in it already; F holds, for k >= s, the product of the last s steps.
        x = torch.cat([x[:, :s], x[:, s:] + F @ x[:, :-s]], 1)
        F = F[:, s:] @ F[:, :-s]
        s *= 2
    return _joined(start, x)


def _doubled(F: Tensor, b: Tensor, start: Tensor, backward: bool, shape: Sequence[int]) -> Tensor:
    """`recursion` of scalar states in rounds; where a step has no step s before it there are zeros, and F is zero."""
    N = b.shape[1]
    blank = 1 << (N - 1).bit_length() >> 1  # zeros, as many as the longest stride
    at, first = (0, N - 1) if backward else (blank, 0)
    xs = [b.new_zeros(shape[0], blank + N, *shape[1:]) for _ in range(2)]
    Fs = [F.new_zeros(F.shape[0], blank + N, *F.shape[2:]) for _ in range(2)]
    (x, next_x), (G, next_G) = ([y.narrow(1, at, N) for y in pair] for pair in (xs, Fs))
    x.copy_(b).select(1, first).addcmul_(F.select(1, first), start)
    G.copy_(F).select(1, first).zero_()
    s = 1
    while s < N:
        before = s if backward else blank - s
        torch.addcmul(x, G, xs[0].narrow(1, before, N), out=next_x)
        torch.mul(G, Fs[0].narrow(1, before, N), out=next_G)
        xs.reverse()
        Fs.reverse()
        x, next_x, G, next_G, s = next_x, x, next_G, G, 2 * s
    ends = start.expand(shape)[:, None]
    return torch.cat([x, ends] if backward else [ends, x], 1)


def recursion_(F: Tensor, x: Tensor, *, backward: bool = False) -> Tensor:
    """`recursion` in place: x (S, N + 1, *batch, n, c) holds the start and b, x_0 = start and x_{k+1} = b_k, and then the result.

    backward: x_N = start and x_k = b_k. Scalar states that are many are taken a step at a time, one pass over memory in all.
    """
    if F.shape[-1] == 1 and x[:, 0].numel() >= WIDE:
        order = -1 if backward else 1
        before, *after = x.unbind(1)[::order]
        for f, now in zip(F.unbind(1)[::order], after, strict=True):
            before = now.addcmul_(f, before)
        return x
    start, b = (x[:, -1], x[:, :-1]) if backward else (x[:, 0], x[:, 1:])
    return x.copy_(recursion(F, b, start, backward=backward))


def quadratic_recursion(F: Tensor, b: Tensor, start: Tensor, *, backward: bool = False) -> Tensor:
    """X_0 = start, X_{k+1} = F_k X_k F_k' + b_k: covariances, and backward costs-to-go.

    F, b (S, N, n, n); start (S, n, n); returns (S, N + 1, n, n). backward: X_N = start, X_k = F_k X_{k+1} F_k' + b_k instead.
    """
    if F.shape[-1] == 1:
        return recursion(F * F, b, start, backward=backward)
    if backward:
        return quadratic_recursion(F.flip(1), b.flip(1), start).flip(1)
    start = start[:, None]
    x = _joined(F[:, :1] @ start @ F[:, :1].mT + b[:, :1], b[:, 1:])
    F, N, s = F[:, 1:], F.shape[1], 1
    while s < N:
        x = torch.cat([x[:, :s], x[:, s:] + F @ x[:, :-s] @ F.mT], 1)
        F = F[:, s:] @ F[:, :-s]
        s *= 2
    return _joined(start, x)


def propagator(F: Tensor) -> Tensor:
    """T (S, (N + 1) n, (N + 1) n), lower triangular: block (k, j) is F_{k-1} ... F_j, what is left at k of a push at j."""
    S, N, n = F.shape[:3]
    impulses = torch.eye((N + 1) * n, dtype=F.dtype, device=F.device).reshape(1, N + 1, n, (N + 1) * n)
    return recursion(F, impulses[:, 1:], impulses[:, 0]).reshape(S, (N + 1) * n, (N + 1) * n)


def _joined(first: Tensor, rest: Tensor) -> Tensor:
    """`first` and `rest` along time, broadcast to each other elsewhere."""
    shape = torch.broadcast_shapes(first.shape[:1] + first.shape[2:], rest.shape[:1] + rest.shape[2:])
    wide = [x.expand(shape[0], x.shape[1], *shape[1:]) for x in (first, rest)]
    return torch.cat(wide, 1)
