"""The audit of a yes-or-no attack: what its true and false positive rates show about epsilon (delta = 0)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from descent.claims.estimate.base import OK, Estimate, Kind, Numbers, Options, Side, reasons, register
from descent.privacy.audit import clopper_pearson


class Rates(Options):
    """A lower bound on epsilon: log of the least true positive rate over the largest false positive rate."""

    kind: Literal["rates"] = "rates"
    level: float = Field(
        0.95, gt=0.5, lt=1, description="Confidence of the lower bound; each rate's end errs with half."
    )


def _bound(tp: NDArray, p: NDArray, fp: NDArray, n: NDArray, level: NDArray) -> NDArray[np.float64]:
    """log(lower TPR / upper FPR), each end one-sided at half of 1 - level; never below 0."""
    found = np.zeros(tp.shape)
    for i in np.ndindex(tp.shape):
        low = clopper_pearson(int(tp[i]), int(p[i]), float(level[i]))[0]
        high = clopper_pearson(int(fp[i]), int(n[i]), float(level[i]))[1]
        found[i] = max(0.0, float(np.log(low / high))) if low > 0 else 0.0
    return found


def rates(options: Rates, *counts: Numbers) -> Estimate:
    """counts: true positives, positives, false positives, negatives, a column a run; the largest of the runs' bounds."""
    shape = counts[0].values.shape
    values = [np.broadcast_to(part.values, shape) for part in counts]
    whole = np.all([np.broadcast_to(part.status, shape) == OK for part in counts], axis=0)
    tp, p, fp, n = (np.nan_to_num(v, nan=-1.0) for v in values)
    sane = (tp >= 0) & (tp <= p) & (p >= 1) & (fp >= 0) & (fp <= n) & (n >= 1)
    use = whole & sane
    tp, p, fp, n = (np.where(use, x, 1) for x in (tp, p, fp, n))
    runs = max(shape[1], counts[0].planned)
    level = np.full(shape, 1 - (1 - options.level) / runs)
    bound, cap = _bound(tp, p, fp, n, level), _bound(p, p, np.zeros(shape), n, level)

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        """runs times the smallest level of error at which a run's bound exceeds the criterion."""
        if side != "above":
            return np.ones(shape[0])
        low, high = np.full(shape, 1e-12), np.ones(shape)
        for _ in range(40):
            middle = np.sqrt(low * high)
            beyond = _bound(tp, p, fp, n, 1 - middle) > criterion
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.minimum(1.0, runs * np.where(use, high, 1.0).min(axis=1, initial=1.0))

    missing = sum(part.counts["missing"] for part in counts)
    why = reasons(
        shape[0], ("missing", missing > 0), ("undefined", (~whole).any(axis=1)), ("audit", (~sane).any(axis=1))
    )
    none = ~use.all(axis=1)
    low = np.where(none, np.nan, np.where(use, bound, -np.inf).max(axis=1, initial=-np.inf))
    return Estimate(
        options.kind, low, low, np.where(none, np.nan, np.inf), options.level, use.sum(axis=1), counts[0].planned,
        counts[0].counts, why, 1, "run", cap=np.where(none, np.nan, np.where(use, cap, -np.inf).max(axis=1, initial=-np.inf)),
        test=test,
    )  # fmt: skip


register(Kind(
    "rates", "What a yes-or-no attack's rates of true and false positives show about epsilon (delta = 0).", Rates, "counts",
    {}, "guess", "p", rates, lambda o: f"lower bound on epsilon at {100 * o.level:.4g} %, from exact binomial ends", lambda o: 1,
))  # fmt: skip
