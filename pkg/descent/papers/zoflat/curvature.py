"""Traces of Hessians of functions that can be evaluated, but whose Hessian cannot be formed.

R rows (independent functions or points, never mixed), d parameters. A loss maps points (R, d) to values (R,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


class TraceEstimate(NamedTuple):
    """The mean of n samples. Fewer than two have no standard error: NaN."""

    mean: Tensor  # (R,)
    stderr: Tensor  # (R,) standard error of the mean


def _summary(samples: Tensor) -> TraceEstimate:
    """From samples (n, R)."""
    spread = samples.std(0) if len(samples) > 1 else torch.full_like(samples[0], torch.nan)
    return TraceEstimate(samples.mean(0), spread / len(samples) ** 0.5)


def hutchinson(loss: Loss | Sequence[Loss], point: Tensor, probes: Callable[[int], Tensor], n: int) -> TraceEstimate:
    """Tr H as the mean of v^T H v over n probes v with E v v^T = I, by exact Hessian-vector products.

    probes(i) is the i-th probe (R, d), the same on every call. With Rademacher probes the variance of one is
    2 sum_{i != j} H_ij^2: none for a diagonal Hessian (Hutchinson 1990). One differentiable gradient serves all probes.
    A loss given in parts, which add up to it, holds the graph of one part at a time.
    """
    x = point.detach().requires_grad_()
    samples = torch.zeros(n, len(x), dtype=x.dtype, device=x.device)
    for part in [loss] if callable(loss) else loss:
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(part(x).sum(), x, create_graph=True)
        for i in range(n):
            v = probes(i)
            (product,) = torch.autograd.grad(gradient, x, grad_outputs=v, retain_graph=i < n - 1)
            samples[i] += (v * product).sum(-1)
    return _summary(samples)


def difference_traces(
    loss: Loss, point: Tensor, directions: Iterable[Tensor], delta: float
) -> tuple[TraceEstimate, TraceEstimate]:
    """Tr H by differences of losses along u_i ~ N(0, I): one-sided, and symmetric.

    One-sided (FlatZero's code): 2 (mean_i f(x + delta u_i) - f(x)) / delta^2. Its mean is Tr H up to O(delta^2), but its
    standard deviation is about 2 |grad f| / (delta sqrt(n)), so it means something only where the gradient is tiny.
    Symmetric: mean_i (f(x + delta u_i) + f(x - delta u_i) - 2 f(x)) / delta^2, whose first-order noise cancels.
    """
    one_sided, symmetric = [], []
    with torch.no_grad():
        base = loss(point)
        for u in directions:
            above = loss(torch.add(point, u, alpha=delta)) - base
            below = loss(torch.sub(point, u, alpha=delta)) - base
            one_sided.append(2 * above / delta**2)
            symmetric.append((above + below) / delta**2)
    return _summary(torch.stack(one_sided)), _summary(torch.stack(symmetric))
