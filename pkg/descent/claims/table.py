"""Numbers that carry their status, as arithmetic sees them.

Axes: D draws (1 for the study itself, more in a dry run), n replicates (seeds, mostly), C settings of a vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from descent.claims.estimate.base import CENSORED, DIVERGED, MISSING, OK, UNDEFINED

# The larger code, the worse; the worse of two wins wherever two numbers meet.
RANKS = {"ok": OK, "censored": CENSORED, "diverged": DIVERGED, "undefined": UNDEFINED}


class Cells(NamedTuple):
    """Numbers and, of the same shape, their statuses.

    A censored number is +-inf, a diverged one the infinity that is worst (NaN where no side is), a worse one NaN.
    """

    value: np.ndarray  # (..., C) float64
    rank: np.ndarray  # (..., C) uint8

    @classmethod
    def exact(cls, number: float) -> Cells:
        """One number, broadcast against everything."""
        return cls(np.array([number], float), np.zeros(1, np.uint8))


def settle(cells: Cells) -> Cells:
    """What is not finite without a reason becomes undefined; what is censored or diverged keeps an infinity."""
    value, rank = cells.value, cells.rank.copy()
    rank[(rank == OK) & ~np.isfinite(value)] = UNDEFINED
    rank[(rank == CENSORED) & np.isnan(value)] = UNDEFINED
    return Cells(np.where(rank >= UNDEFINED, np.nan, value), rank)


__all__ = ["CENSORED", "DIVERGED", "MISSING", "OK", "RANKS", "UNDEFINED", "Cells", "settle"]
