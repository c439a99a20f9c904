"""Hamiltonian Monte Carlo with the identity as mass, any number of chains side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Energy = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (..., d) -> U (...) and grad U (..., d)."""


def transition(
    energy: Energy, x: Tensor, momentum: Tensor, coin: Tensor, leapfrog: int, step: float
) -> tuple[Tensor, Tensor]:
    """One transition of every chain: (x, accepted (...) bool). momentum ~ N(0, I); coin (...) uniform in [0, 1)."""
    before, slope = energy(x)
    before = before + 0.5 * momentum.square().sum(-1)
    y, p, after = x, momentum - 0.5 * step * slope, before
    for i in range(leapfrog):
        y = y + step * p
        after, slope = energy(y)
        p = p - (step if i < leapfrog - 1 else 0.5 * step) * slope
    # A trajectory that left the floating range has a NaN energy: not accepted.
    accepted = torch.log(coin) < before - (after + 0.5 * p.square().sum(-1))
    return torch.where(accepted[..., None], y, x), accepted
