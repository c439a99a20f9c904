"""Traces of Hessians of functions that can be evaluated, but whose Hessian cannot be formed.

R rows (independent functions or points, never mixed), d parameters. A loss maps points (R, d) to values (R,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


class TraceEstimate(NamedTuple):
    """The mean of n samples. Fewer than two have no standard error: NaN."""

    mean: Tensor  # (R,)
    stderr: Tensor  # (R,) standard error of the mean


def summary(samples: Tensor) -> TraceEstimate:
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
            value = part(x).sum()
        for i, (form,) in enumerate(quadratic_forms(value, [x], lambda i: [probes(i)], n)):
            samples[i] += form.sum(-1)
    return summary(samples)


def quadratic_forms(
    value: Tensor, x: Sequence[Tensor], probes: Callable[[int], Sequence[Tensor]], n: int
) -> Iterator[list[Tensor]]:
    """For each of n probes (shaped like the tensors x, on which the scalar `value` depends), v * (H v), tensor by tensor."""
    with torch.enable_grad():
        gradients = torch.autograd.grad(value, x, create_graph=True, materialize_grads=True)
    curved = [
        i for i, gradient in enumerate(gradients) if gradient.requires_grad
    ]  # the others' second derivatives are 0
    for i in range(n):
        v = probes(i)
        if not curved:
            yield [torch.zeros_like(each) for each in x]
            continue
        products = torch.autograd.grad(
            [gradients[k] for k in curved], x, grad_outputs=[v[k] for k in curved], retain_graph=i < n - 1,
            materialize_grads=True,
        )  # fmt: skip
        yield [a * b for a, b in zip(v, products, strict=True)]


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
    return summary(torch.stack(one_sided)), summary(torch.stack(symmetric))
