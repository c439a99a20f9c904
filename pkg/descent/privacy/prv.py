"""Numerical accountant: the distribution of the privacy loss, composed by Fourier transform.

Gopi, Lee, Wutschitz, "Numerical Composition of Differential Privacy", arXiv 2106.02848 (PRV accountant). Tighter than
the Renyi accountant; the error of the discretisation is inside the reported upper value.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from descent.privacy.renyi import OPACUS_ORDERS, rdp, rdp_epsilon

_HOPELESS = 100.0  # a privacy loss from which on the Renyi bound is as good, and the mesh would be huge
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)


class Bounds(NamedTuple):
    """epsilon at the given delta: proven below, best guess, proven above."""

    lower: float
    estimate: float
    upper: float


def loss_cdf(t: np.ndarray, rate: float, noise_multiplier: float) -> np.ndarray:
    """P[privacy loss of one step <= t], the record present.

    For t > ln(1-q), zeta = ln((e^t+q-1)/q):
    F(t) = 1 - (q/2) erfc((2 zeta s^2 - 1)/(2 sqrt2 s)) - ((1-q)/2) erfc((2 zeta s^2 + 1)/(2 sqrt2 s)); 0 below.
    """
    q, s = rate, noise_multiplier
    t = np.asarray(t, dtype=float)
    # e^t overflows from 709 on; there zeta = t - ln q to the last digit.
    inside = np.expm1(np.minimum(t, 700.0)) + q
    known = inside > 0
    zeta = np.log(np.where(known, inside, 1.0)) - math.log(q) + np.maximum(t - 700.0, 0.0)
    up, down = (2 * zeta * s * s - 1) / (2 * math.sqrt(2) * s), (2 * zeta * s * s + 1) / (2 * math.sqrt(2) * s)
    return np.where(known, 1 - 0.5 * (q * _erfc(up) + (1 - q) * _erfc(down)), 0.0)


def prv_epsilon(
    rate: float,
    noise_multiplier: float,
    steps: int,
    delta: float,
    *,
    epsilon_error: float = 0.01,
    delta_error: float | None = None,
) -> Bounds:
    """epsilon of `steps` Poisson-sampled Gaussian steps at `delta`, with its bounds.

    epsilon_error: half the width of the bounds. delta_error: the part of delta given to the numerics (delta / 1000).
    """
    if rate == 0 or steps == 0:
        return Bounds(0.0, 0.0, 0.0)
    if noise_multiplier == 0:
        return Bounds(math.inf, math.inf, math.inf)
    delta_error = delta / 1000 if delta_error is None else delta_error
    reach = _reach(rate, noise_multiplier, steps, epsilon_error, delta_error)
    if reach > _HOPELESS:
        proven, _ = rdp_epsilon(rdp(rate, noise_multiplier, steps, OPACUS_ORDERS), OPACUS_ORDERS, delta)
        return Bounds(0.0, proven, proven)
    mesh = epsilon_error / math.sqrt(steps * math.log(12 / delta_error) / 2)
    # An even number of points, aligned so that 0 is one of them.
    half = math.ceil(reach / mesh)
    t = mesh * np.arange(-half, half)
    pmf, shift = _discretised(t, mesh, rate, noise_multiplier)
    composed = np.fft.irfft(np.fft.rfft(np.roll(pmf, half)) ** steps, n=2 * half)
    composed = np.maximum(np.roll(composed, half), 0.0)
    support = t + shift * steps
    return Bounds(
        max(0.0, _epsilon_of(support, composed, delta + delta_error) - epsilon_error),
        _epsilon_of(support, composed, delta),
        _epsilon_of(support, composed, delta - delta_error) + epsilon_error,
    )


def _reach(q: float, sigma: float, steps: int, epsilon_error: float, delta_error: float) -> float:
    """What the losses of one step and of all steps pass with negligible probability, by the Renyi bound."""
    one = rdp(q, sigma, 1, OPACUS_ORDERS)
    whole, _ = rdp_epsilon(steps * one, OPACUS_ORDERS, delta_error / 4)
    single, _ = rdp_epsilon(one, OPACUS_ORDERS, delta_error / 8 / steps)
    return max(whole, single, epsilon_error) + 3


def _discretised(t: np.ndarray, mesh: float, q: float, sigma: float) -> tuple[np.ndarray, float]:
    """Mass of each cell of the loss truncated to the mesh, and the shift that keeps its mean."""
    edges = np.append(t, t[-1] + mesh) - mesh / 2
    cdf = loss_cdf(edges, q, sigma)
    mass = cdf[-1] - cdf[0]
    pmf = np.diff(cdf) / mass
    # E[t] = b F(b) - a F(a) - integral of F, by Gauss-Legendre in each cell.
    inner = edges[:-1, None] + mesh / 2 * (1 + _NODES)
    integral = (loss_cdf(inner, q, sigma) * _WEIGHTS).sum() * mesh / 2
    mean = (edges[-1] * cdf[-1] - edges[0] * cdf[0] - integral) / mass
    return pmf, float(mean - pmf @ t)


def _epsilon_of(t: np.ndarray, pmf: np.ndarray, delta: float) -> float:
    """The epsilon at which delta(epsilon) = sum_{t >= epsilon} pmf(t) (1 - e^(epsilon - t)) meets `delta`.

    On each cell delta(epsilon) is one exponential in epsilon, so it is solved exactly there.
    """
    t, pmf = t[t >= 0], pmf[t >= 0]
    upper_mass = np.cumsum(pmf[::-1])[::-1]
    upper_tilted = np.cumsum((pmf * np.exp(-t))[::-1])[::-1]
    at_points = upper_mass - np.exp(t) * upper_tilted
    below = np.flatnonzero(at_points <= delta)
    if below.size == 0:
        return math.inf
    k = below[0]
    if upper_mass[k] <= delta:
        return max(0.0, float(t[k]))
    return max(0.0, float(np.log((upper_mass[k] - delta) / upper_tilted[k])))


def _erfc(x: np.ndarray) -> np.ndarray:
    return torch.special.erfc(torch.from_numpy(np.ascontiguousarray(x))).numpy()
