"""From a gradient to a step: Adam, as the official code uses it everywhere, or a constant step size."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Moments(NamedTuple):
    """Adam's running means of the gradient and of its square, (S, d) each; untouched by a constant step."""

    first: Tensor
    second: Tensor


Ascent = Callable[[Tensor, Tensor, Moments, int], tuple[Tensor, Moments]]
"""(theta (S, d), gradient (S, d), moments, number of the update from 1) -> (theta, moments)."""


def at_rest(theta: Tensor) -> Moments:
    """The moments before the first update."""
    return Moments(torch.zeros_like(theta), torch.zeros_like(theta))


def adam(step_size: float) -> Ascent:
    """Kingma and Ba, ICLR 2015, uphill: bias-corrected, epsilon outside the root."""

    def move(theta: Tensor, gradient: Tensor, moments: Moments, number: int) -> tuple[Tensor, Moments]:
        first = BETAS[0] * moments.first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * moments.second + (1 - BETAS[1]) * gradient * gradient
        scale = (second / (1 - BETAS[1] ** number)).sqrt() + EPSILON
        return torch.addcdiv(theta, first, scale, value=step_size / (1 - BETAS[0] ** number)), Moments(first, second)

    return move


def constant(step_size: float) -> Ascent:
    """theta + step_size * gradient."""
    return lambda theta, gradient, moments, number: (theta + step_size * gradient, moments)


ASCENTS: dict[str, Callable[[float], Ascent]] = {"adam": adam, "constant": constant}
