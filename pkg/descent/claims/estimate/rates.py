"""The audit of a yes-or-no attack: what its true and false positive rates show about epsilon (delta = 0)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from descent.claims.estimate.base import OK, Estimate, Kind, Numbers, Options, Side, reasons, register


class Rates(Options):
    """A lower bound on epsilon: log of the least true positive rate over the largest false positive rate."""

    kind: Literal["rates"] = "rates"
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Confidence of the lower bound; each rate's end errs with half."
    )


def _bound(tp: NDArray, p: NDArray, fp: NDArray, n: NDArray, error: NDArray | float) -> NDArray[np.float64]:
    """log(lower TPR / upper FPR), Clopper and Pearson's ends, each at half of `error`; never below 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        low = np.where(tp > 0, stats.beta.ppf(error / 2, tp, p - tp + 1), 0.0)
        high = np.where(fp < n, stats.beta.isf(error / 2, fp + 1, n - fp), 1.0)
        return np.maximum(0.0, np.log(low / high))


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
    error = (1 - options.level) / runs
    bound, cap = _bound(tp, p, fp, n, error), _bound(p, p, np.zeros(shape), n, error)

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        """runs times the smallest level of error at which a run's bound exceeds the criterion."""
        if side != "above":
            return np.ones(shape[0])
        low, high = np.full(shape, 1e-12), np.ones(shape)
        for _ in range(40):
            middle = np.sqrt(low * high)
            beyond = _bound(tp, p, fp, n, middle) > criterion
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
