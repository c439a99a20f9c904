"""Kernels and their bandwidth: the median rule of the official code.

h^2 = median ||x_i - y_j||^2 / (2 ln(n + 1)) a row, the lower middle element of an even count; k = exp(-||x - y||^2 / (2 h^2)).
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from descent.papers.kpgsivi.order_statistics import lower_median


def bandwidth(squares: Tensor, count: int, every: int = 1) -> Tensor:
    """h^2 (R,) from square distances (R, ...) of a row; count: the rule's n; every: takes every so manieth distance only, which is
    faster and another method."""
    return lower_median(squares.flatten(1)[:, ::every]) * (0.5 / log(count + 1))


def gaussian(squares: Tensor, h2: Tensor) -> Tensor:
    """exp(-||x - y||^2 / (2 h^2)) of square distances (R, N, M) and h2 (R,)."""
    return torch.exp(squares * (-0.5 / h2)[:, None, None])


def kpg_difference(kernel: Tensor, difference: Tensor) -> Tensor:
    """KPG's estimate of the smoothed score difference at every z_i, (R, N, d).

    kernel: k(z_i, z'_j) (R, N, K); difference: grad log q(z'_j | eps'_j) - c grad log p(z'_j), (R, K, d).
    """
    return torch.bmm(kernel, difference) / kernel.shape[-1]


def asvgd_difference(kernel: Tensor, z: Tensor, auxiliary: Tensor, score: Tensor, h2: Tensor) -> Tensor:
    """Amortised SVGD's estimate of the same: mean_j [k (z'_j - z_i) / h^2 - k score(z'_j)] (R, N, d).

    By Stein's identity the kernel's gradient stands in for the score of q: no conditional score is used.
    """
    inverse = 1 / h2[:, None, None]
    total = torch.bmm(kernel, auxiliary * inverse - score) - kernel.sum(-1, keepdim=True) * z * inverse
    return total / kernel.shape[-1]


def released_difference(kernel: Tensor, z: Tensor, auxiliary: Tensor, score: Tensor, h2: Tensor) -> Tensor:
    """What the authors' `amortstein` scripts compute instead, with a mean in the place of their sum.

    The repulsion has lost its kernel weight, and its row j is summed over the evaluation points: an estimate of something else.
    """
    repulsion = (auxiliary - z.mean(1, keepdim=True)) / h2[:, None, None]
    return repulsion - torch.bmm(kernel, score) / kernel.shape[-1]
