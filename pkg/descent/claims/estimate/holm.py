"""Holm's correction of a family of p-values."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of families along the last axis (statsmodels' multipletests with `holm`, for many draws).

    A member without a p-value (NaN) counts as 1, so that losing one never helps the others.
    """
    p = np.nan_to_num(np.asarray(p, float), nan=1.0)
    order = np.argsort(p, axis=-1, kind="stable")
    rest = np.arange(p.shape[-1], 0, -1)  # how many are still in the family
    grown = np.minimum(np.maximum.accumulate(np.take_along_axis(p, order, axis=-1) * rest, axis=-1), 1.0)
    adjusted = np.empty_like(grown)
    np.put_along_axis(adjusted, order, grown, axis=-1)
    return adjusted
