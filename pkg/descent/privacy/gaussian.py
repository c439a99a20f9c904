"""The exact privacy of the Gaussian mechanism without sampling.

Balle, Wang, "Improving the Gaussian Mechanism for Differential Privacy", arXiv 1805.06530, Theorem 8. T steps at
q = 1 are one step with sigma / sqrt(T).
"""

from __future__ import annotations

import math

import torch


def gaussian_delta(epsilon: float, noise_multiplier: float, steps: int = 1) -> float:
    """delta(epsilon) = Phi(1/(2 s) - epsilon s) - e^epsilon Phi(-1/(2 s) - epsilon s), s = sigma / sqrt(steps)."""
    s = noise_multiplier / math.sqrt(steps)
    if s == 0:
        return 1.0
    log_first = _log_ndtr(1 / (2 * s) - epsilon * s)
    log_second = epsilon + _log_ndtr(-1 / (2 * s) - epsilon * s)
    return max(0.0, -math.expm1(log_second - log_first) * math.exp(log_first))


def gaussian_epsilon(noise_multiplier: float, delta: float, steps: int = 1) -> float:
    """The smallest epsilon >= 0 with `gaussian_delta` <= delta, to 1e-12; infinite without noise."""
    if noise_multiplier == 0:
        return math.inf
    if gaussian_delta(0.0, noise_multiplier, steps) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, noise_multiplier, steps) > delta:
        high *= 2
    low = 0.0
    while high - low > 1e-12 * max(1.0, high):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(middle, noise_multiplier, steps) > delta else (low, middle)
    return high


def _log_ndtr(x: float) -> float:
    return torch.special.log_ndtr(torch.tensor(x, dtype=torch.float64)).item()
