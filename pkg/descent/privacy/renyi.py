"""Renyi accountant of the Poisson-sampled Gaussian mechanism, integer and fractional orders.

Mironov, Talwar, Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", arXiv 1908.10530 (Sections
3.2 and 3.3); conversion to (epsilon, delta) after Balle et al., "Hypothesis Testing Interpretations and Renyi
Differential Privacy", arXiv 1905.09982, Theorem 21.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch

INTEGER_ORDERS = tuple(range(2, 256))
OPACUS_ORDERS = (*(1 + x / 10 for x in range(1, 100)), *range(12, 64))

_TERMS = 256  # of the fractional series looked at together; the next part is twice as long
_NEGLIGIBLE = -40.0  # log of a term too small to matter beside the leading 1


def rdp(rate: float, noise_multiplier: float, steps: int, orders: Sequence[float] = INTEGER_ORDERS) -> np.ndarray:
    """Renyi divergence spent by `steps` steps at each order, shape (len(orders),), in nats.

    rate: sampling probability q in [0, 1]. noise_multiplier: sigma >= 0; 0 spends infinity.
    """
    if rate == 0 or steps == 0:
        return np.zeros(len(orders))
    if noise_multiplier == 0:
        return np.full(len(orders), np.inf)
    return steps * np.array([_one_step(rate, noise_multiplier, order) for order in orders])


def rdp_epsilon(spent: np.ndarray, orders: Sequence[float], delta: float) -> tuple[float, float]:
    """The smallest (epsilon, order) that `spent` at `orders` proves for `delta`; (inf, nan) if none does."""
    alpha = np.asarray(orders, dtype=float)
    if not np.any(spent):  # nothing was released; the conversion below would still charge for its orders
        return 0.0, float(alpha[-1])
    eps = spent + np.log1p(-1 / alpha) - (math.log(delta) + np.log(alpha)) / (alpha - 1)
    if not np.isfinite(eps).any():
        return math.inf, math.nan
    best = int(np.nanargmin(eps))
    return max(0.0, float(eps[best])), float(alpha[best])


def _one_step(q: float, sigma: float, alpha: float) -> float:
    if q == 1:
        return alpha / (2 * sigma**2)
    log_moment = _log_moment_integer if float(alpha).is_integer() else _log_moment_fractional
    return log_moment(q, sigma, alpha) / (alpha - 1)


def _log_moment_integer(q: float, sigma: float, alpha: float) -> float:
    """ln sum_i C(alpha, i) (1-q)^(alpha-i) q^i exp((i^2-i) / (2 sigma^2)), by log-sum-exp."""
    i, log_binomial = _log_choose(int(alpha))
    terms = log_binomial + (alpha - i) * math.log1p(-q) + i * math.log(q) + (i * i - i) / (2 * sigma**2)
    return float(np.logaddexp.reduce(terms))


@lru_cache(maxsize=1024)
def _log_choose(alpha: int) -> tuple[np.ndarray, np.ndarray]:
    """i = 0..alpha and ln C(alpha, i)."""
    i = np.arange(alpha + 1, dtype=float)
    return i, math.lgamma(alpha + 1) - _lgamma(i + 1) - _lgamma(alpha - i + 1)


def _log_moment_fractional(q: float, sigma: float, alpha: float) -> float:
    """The same moment at a fractional order: two alternating series, split where the two densities cross."""
    crossing = sigma**2 * math.log(1 / q - 1) + 0.5
    log_terms, signs = [], []
    start, count = 0, _TERMS
    # The generalised binomial C(alpha, i) changes sign at every i > alpha; its logarithm is carried from part to part.
    log_binomial, sign = 0.0, 1.0
    while True:
        i = np.arange(start, start + count, dtype=float)
        ratio = (alpha - i) / (i + 1)  # C(alpha, i + 1) / C(alpha, i)
        logs = np.concatenate([[0.0], np.cumsum(np.log(np.abs(ratio)))]) + log_binomial
        flips = np.concatenate([[1.0], np.cumprod(np.sign(ratio))]) * sign
        j = alpha - i
        below = i * math.log(q) + j * math.log1p(-q) + (i * i - i) / (2 * sigma**2)
        below += _log_half_erfc((i - crossing) / (math.sqrt(2) * sigma))
        above = j * math.log(q) + i * math.log1p(-q) + (j * j - j) / (2 * sigma**2)
        above += _log_half_erfc((crossing - j) / (math.sqrt(2) * sigma))
        term = logs[:-1] + np.logaddexp(below, above)
        log_terms.append(term)
        signs.append(flips[:-1])
        start, count, log_binomial, sign = start + count, 2 * count, logs[-1], flips[-1]
        if start > alpha and term[-1] < _NEGLIGIBLE:
            break
    log_term, sign_of = np.concatenate(log_terms), np.concatenate(signs)
    top = log_term.max()
    return float(top + np.log(np.sum(sign_of * np.exp(log_term - top))))


def _lgamma(x: np.ndarray) -> np.ndarray:
    return torch.lgamma(torch.from_numpy(x)).numpy()


def _log_half_erfc(x: np.ndarray) -> np.ndarray:
    """ln(erfc(x) / 2) without underflow."""
    return torch.special.log_ndtr(torch.from_numpy(-math.sqrt(2) * x)).numpy()
