"""Traces of Hessians of functions that can be evaluated, but whose Hessian cannot be formed.

R rows (independent functions or points, never mixed), d parameters. A loss maps points (R, d) to values (R,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


class TraceEstimate(NamedTuple):
    mean: Tensor  # (R,)
    stderr: Tensor  # (R,) standard error of the mean over probes; NaN for a single probe


def _summary(samples: list[Tensor]) -> TraceEstimate:
    values = torch.stack(samples)  # (n, R)
    return TraceEstimate(values.mean(0), values.std(0) / len(samples) ** 0.5)


def hutchinson(loss: Loss, point: Tensor, probes: Iterable[Tensor]) -> TraceEstimate:
    """Tr H as the mean of v^T H v over probes v (R, d) with E v v^T = I, by exact Hessian-vector products.

    One differentiable gradient serves all probes. With Rademacher probes the variance is 2 sum_{i != j} H_ij^2: zero
    for a diagonal Hessian (Hutchinson 1990).
    """
    x = point.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(x).sum(), x, create_graph=True)
        samples = []
        for v in probes:
            (product,) = torch.autograd.grad(gradient, x, grad_outputs=v, retain_graph=True)
            samples.append((v * product).sum(-1))
    return _summary(samples)


def forward_difference_trace(loss: Loss, point: Tensor, directions: Iterable[Tensor], delta: float) -> TraceEstimate:
    """2 (mean_i f(x + delta u_i) - f(x)) / delta^2 over u_i ~ N(0, I), FlatZero's estimator.

    Its mean is Tr H up to O(delta^2), but its standard deviation is about 2 |grad f| / (delta sqrt(n)): it means
    something only where the gradient is tiny.
    """
    with torch.no_grad():
        base = loss(point)
        return _summary([2 * (loss(point + delta * u) - base) / delta**2 for u in directions])


def central_difference_trace(loss: Loss, point: Tensor, directions: Iterable[Tensor], delta: float) -> TraceEstimate:
    """mean_i (f(x + delta u_i) + f(x - delta u_i) - 2 f(x)) / delta^2: first-order noise cancels."""
    with torch.no_grad():
        base = loss(point)
        return _summary([(loss(point + delta * u) + loss(point - delta * u) - 2 * base) / delta**2 for u in directions])
