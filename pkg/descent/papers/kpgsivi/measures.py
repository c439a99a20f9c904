"""How far a fitted family is from its target.

Axes: R rows, n points. Estimates that a floor belongs to are never zero: equal samples of the target differ as well.
"""

from __future__ import annotations

from math import log, pi

import numpy as np
import torch
from torch import Tensor

from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.order_statistics import ascending


class Sliced:
    """Sliced Wasserstein-2 distance to a sample of the target, (R, n, d), or (1, n, d) for all rows.

    The root of the mean squared difference of quantiles, over directions (L, d) and the n order statistics.
    """

    def __init__(self, truth: Tensor, directions: Tensor):
        self.directions = directions / directions.norm(dim=-1, keepdim=True)
        self.quantiles = self._quantiles(truth)

    def __call__(self, z: Tensor) -> Tensor:
        """(R,) for z (R, n, d)."""
        return self._quantiles(z).sub_(self.quantiles).square_().mean((1, 2)).sqrt()

    def _quantiles(self, z: Tensor) -> Tensor:
        return ascending(self.directions @ z.mT)  # (R, L, n)


def forward_divergence(family: Family, params: Tensor, points: Tensor, log_prob: Tensor, latents: Tensor) -> Tensor:
    """KL(p || q) (R,): mean over draws of the target (R, n, d) of log p - log q, q the mixture over latents (R, M, m)."""
    return (log_prob - family.log_density(params, points, latents)).mean(-1)


def reverse_divergence(family: Family, params: Tensor, z: Tensor, log_prob: Tensor, latents: Tensor) -> Tensor:
    """KL(q || p) (R,), up to the constant of log p: mean over draws z of the family of log q - log p."""
    return (family.log_density(params, z, latents) - log_prob).mean(-1)


def correlation_slope(z: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Pairwise correlations of z (R, n, d) against those of the truth (N, d): the slope through the origin (1 is perfect) and
    the root mean squared error, (R,) each."""
    i, j = torch.triu_indices(truth.shape[-1], truth.shape[-1], 1, device=truth.device)
    want = torch.corrcoef(truth.T)[i, j]
    got = torch.stack([torch.corrcoef(row.T)[i, j] for row in z])
    return (got @ want) / want.square().sum(), (got - want).square().mean(-1).sqrt()


def moments(z: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over coordinates of the ratio of standard deviations, and of |difference of means| / deviation of the truth; (R,)."""
    scale = truth.std(0)
    return (z.std(1) / scale).mean(-1), ((z.mean(1) - truth.mean(0)).abs() / scale).mean(-1)


def predictive_log_likelihood(z: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """(R,) mean over test rows of log mean over weights z (R, n, d) of p(y | x, w)."""
    sign = 2 * labels - 1
    terms = torch.nn.functional.logsigmoid((z @ features.T) * sign)
    return (torch.logsumexp(terms, dim=1) - log(z.shape[1])).mean(-1)


def marginal_log_density(z: np.ndarray, truth: np.ndarray, width: float = 0.01) -> float:
    """The authors' `mll`: sum over draws of the truth (N, d) and coordinates of the log of a Gaussian kernel density estimate of
    each marginal of z (n, d). Marginals only, not a joint likelihood.

    The estimate is made on a grid of a twentieth of the width; where it is tiny, which happens in the tails, it is summed exactly.
    """
    step = width / 20
    reach = round(8 * width / step)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2) / (width * np.sqrt(2 * pi))
    total = 0.0
    for own, wanted in zip(z.T.astype(np.float64), truth.T.astype(np.float64), strict=True):
        low = min(own.min(), wanted.min()) - 9 * width
        cells = int((max(own.max(), wanted.max()) + 9 * width - low) / step) + 2
        counts = np.bincount(((own - low) / step + 0.5).astype(int), minlength=cells).astype(np.float64)
        density = np.convolve(counts, kernel, mode="same") / len(own)
        at = np.interp((wanted - low) / step, np.arange(len(density)), density)
        far = at < 1e-6 / width
        total += float(np.log(at[~far]).sum())
        for point in wanted[far]:
            terms = -0.5 * ((point - own) / width) ** 2
            top = terms.max()
            total += top + np.log(np.exp(terms - top).mean()) - np.log(width * np.sqrt(2 * pi))
    return total
