"""Linear recursions in time in few operations: log2(N) rounds of composing neighbours (Hillis and Steele 1986).

Step k maps x to F_k x + b_k. Composing step k with the one s before it, for s = 1, 2, 4, ..., leaves in place k all
steps up to k: about 3 log2(N) array operations instead of N, each over all rows and players at once. That pays while an operation costs
more than its numbers; scalar states that are many (`WIDE` numbers a step) are taken in order, one operation a step and one pass over memory.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WIDE = 512


def dot(a: Tensor, b: Tensor) -> Tensor:
    """a (..., p, q) times b (..., q, r). With q = 1 it is a plain product: blocks of scalars cost no matrix call."""
    return a * b if a.shape[-1] == 1 else a @ b


def recursion(F: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """x_0 = start, x_{k+1} = F_k x_k + b_k for k = 0 .. N - 1; returns x (S, N + 1, *batch, n, c).

    F (S, N, *batch, n, n); b (S, N, *batch, n, c); start (S, *batch, n, c); leading axes broadcast.
    """
    if F.shape[-1] == 1 and math.prod(b.shape[2:]) * max(len(b), len(F), len(start)) >= WIDE:
        return _in_order(F, b, start)
    start = start[:, None]
    first = dot(F[:, :1], start) + b[:, :1]
    x = _joined(first, b[:, 1:])
    F, N, s = F[:, 1:], F.shape[1], 1
    while s < N:
        # x[:, k] for k < s has the start in it already; F holds, for k >= s, the product of the last s steps.
        x = torch.cat([x[:, :s], _composed(x[:, s:], F, x[:, :-s])], 1)
        F = dot(F[:, s:], F[:, :-s])
        s *= 2
    return _joined(start, x)


def _in_order(F: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """`recursion` of scalar states, a step at a time, into its result."""
    shape = torch.broadcast_shapes(F[:, 0].shape, b[:, 0].shape, start.shape)
    x = b.new_empty(shape[0], b.shape[1] + 1, *shape[1:])
    x[:, 0] = start
    steps = x.unbind(1)
    for i, (f, push) in enumerate(zip(F.unbind(1), b.unbind(1), strict=True)):
        torch.addcmul(push, f, steps[i], out=steps[i + 1])
    return x


def quadratic_recursion(F: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """X_0 = start, X_{k+1} = F_k X_k F_k' + b_k: covariances, and costs-to-go in reversed time.

    F, b (S, N, n, n); start (S, n, n); returns (S, N + 1, n, n).
    """
    if F.shape[-1] == 1:
        return recursion(F * F, b, start)
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


def _composed(x: Tensor, F: Tensor, earlier: Tensor) -> Tensor:
    return torch.addcmul(x, F, earlier) if F.shape[-1] == 1 else x + F @ earlier


def _joined(first: Tensor, rest: Tensor) -> Tensor:
    """`first` and `rest` along time, broadcast to each other elsewhere."""
    shape = torch.broadcast_shapes(first.shape[:1] + first.shape[2:], rest.shape[:1] + rest.shape[2:])
    wide = [x.expand(shape[0], x.shape[1], *shape[1:]) for x in (first, rest)]
    return torch.cat(wide, 1)
