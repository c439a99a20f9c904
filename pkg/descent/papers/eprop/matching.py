"""Networks compared at equal accuracy: where along a run its error reaches theta, and what a measure is there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Match(NamedTuple):
    """Of runs (K,) along a grid of evaluations."""

    updates: np.ndarray  # (K,) the grid's update at which theta is reached; inf: never
    values: np.ndarray  # (K,) the measure at theta, nan: never
    status: list[str]  # ok, censored, diverged


def matched(steps: np.ndarray, errors: np.ndarray, values: np.ndarray, target: float) -> Match:
    """`values` (T, K) where the running minimum of `errors` (T, K) first is at or under `target`.

    Interpolated between that evaluation and the one before, linearly in the logarithm of the running minimum. A run that
    never gets there is censored, or diverged where an error is not finite.
    """
    best = np.fmin.accumulate(np.where(np.isfinite(errors), errors, np.inf), axis=0)
    there = best <= target
    reached = there.any(0)
    i, k = there.argmax(0), np.arange(errors.shape[1])
    before = np.maximum(i - 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = np.log(best[before, k]), np.log(np.maximum(best[i, k], 1e-300))
        share = np.where(i > 0, (high - np.log(target)) / (high - low), 1.0)
    share = np.where(np.isfinite(high), share, 1.0)  # before it, nothing finite to interpolate from
    found = values[before, k] * (1 - share) + values[i, k] * share
    found = np.where(share == 1.0, values[i, k], found)
    status = [
        "ok" if r else "censored" if np.isfinite(e).all() else "diverged"
        for r, e in zip(reached, errors.T, strict=True)  # pyright: ignore[reportArgumentType]: an array
    ]
    return Match(np.where(reached, steps[i], np.inf), np.where(reached, found, np.nan), status)
