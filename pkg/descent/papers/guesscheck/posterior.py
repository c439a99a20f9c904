"""What Guess & Check gives: the mean test loss of the accepted guesses, whichever sampler found them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Posterior(NamedTuple):
    """Estimates of one law, a row a seed; NaN where undefined, which `effective_size` explains."""

    mean: Tensor  # (S, m, m') mean of the accepted products
    error: Tensor  # (S,) mean L_gen of the accepted guesses: the paper's value of Guess & Check
    standard_error: Tensor  # (S,) of `error`, by the sampler's own independent units
    accepted: Tensor  # (S,) accepted guesses; for the other samplers the recorded weighted draws or chain states
    log10_acceptance: Tensor  # (S,) log10 of the probability that a guess is accepted; -inf where none was
    effective_size: Tensor  # (S,) independent accepted guesses that would know `error` as well
    prior_error: Tensor  # (S,) mean L_gen of all guesses; NaN where the sampler does not see it


def defined(posterior: Posterior, least: float) -> Tensor:
    """(S,) bool: enough independent accepted guesses stand behind the row's numbers."""
    return (posterior.effective_size >= least) & posterior.error.isfinite()


def ratio_error(hits: Tensor, hits_square: Tensor, cross: Tensor, error_square: Tensor, mean: Tensor) -> Tensor:
    """Standard error of a ratio of sums over independent units: sqrt(sum (b_u - mean a_u)^2) / sum a_u."""
    spread = error_square - 2 * mean * cross + mean.square() * hits_square
    return torch.where(hits > 0, spread.clamp(min=0).sqrt() / hits, torch.nan)
