"""The three weights W of a past trajectory, all in logarithms: power-mean corrected, plain, balance heuristic.

Each estimates the gradient at the current policy by ghat = (1 / N) sum over the window of W g_theta, and each gives
W = 1 / K where all policies of the window agree. Axes: S seeds, K batches of the window (oldest first, the last one
drawn by the current policy), N trajectories a batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def power_mean(log_ratio: Tensor, log_div: Tensor, confidence: float) -> Tensor:
    """RPG's log W (S, K, N) [official code]: W = a_i / ((1 - lam_i) / rho + lam_i), at most a_i / lam_i.

    log_ratio (S, K, N): log rho = log p_theta - log p_i; log_div (S, K): log D_i. The bracket is the weighted harmonic
    mean of rho and 1, inverted. D leaves the float64 range when a policy is stale, hence the logarithms.
    """
    if log_div.shape[-1] == 1:
        return torch.zeros_like(log_ratio)  # one batch is plain GPOMDP, to the bit
    log_a, log_lam = log_shares_and_correction(log_ratio, log_div, confidence)
    keep = torch.log1p(-log_lam.exp())[..., None] - log_ratio
    return log_a[..., None] - torch.logaddexp(keep, log_lam[..., None])


def log_shares_and_correction(log_ratio: Tensor, log_div: Tensor, confidence: float) -> tuple[Tensor, Tensor]:
    """log a_i and log lam_i, (S, K) each: a_i = D_i^(-1/2) / sum_j D_j^(-1/2), and
    lam_i = min(1, sqrt(4 ln(1 / delta) / (3 K N D_i))) with K N the trajectories of the window."""
    total = log_ratio.shape[-1] * log_ratio.shape[-2]
    bound = math.log(4 * math.log(1 / confidence) / (3 * total))
    log_lam = (0.5 * (bound - log_div)).clamp(max=0.0)  # clamp: ours; the official lam can exceed 1 in a tiny window
    return torch.log_softmax(-0.5 * log_div, dim=-1), log_lam


def plain(log_ratio: Tensor) -> Tensor:
    """MIS: log of rho / K, multiple importance weighting without a correction."""
    return log_ratio - math.log(log_ratio.shape[-2])


def balance(log_likelihoods: Tensor) -> Tensor:
    """BH: log of p_theta(tau) / sum_i p_i(tau), the sum over all policies of the window, the current one included.

    log_likelihoods (S, K policies, K, N), up to a constant of the trajectory.
    """
    return log_likelihoods[:, -1] - torch.logsumexp(log_likelihoods, dim=1)
