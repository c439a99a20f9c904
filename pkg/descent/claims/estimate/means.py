"""Means and what behaves like one: Student's t of a number a seed, the jackknife over seeds, the normal quantile.

Numbers are sorted before they are summed, so that no byte depends on how the seeds are called. On the log scale the
logarithms are estimated and everything is shown back-transformed: the mean is then the geometric mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import special, stats

from descent.claims.estimate.base import (
    CENSORED,
    DIVERGED,
    LEAST_SEEDS,
    OK,
    ROUNDING,
    UNDEFINED,
    Estimate,
    Kind,
    Numbers,
    Options,
    Side,
    reasons,
    register,
)

Scale = Literal["linear", "log"]
HUGE = 1e150  # beyond it a square is no number any more


class Scaled(Options):
    """Options of the t family."""

    level: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence level of the two-sided interval.")
    scale: Scale = Field(default="linear", description="log: of positive ratios; the geometric mean, shown as a ratio.")


class T(Scaled):
    """Mean of one number a seed with Student's t interval."""

    kind: Literal["t"] = "t"
    alpha: float | None = Field(
        default=None, gt=0, lt=0.5, description="Level of each of the two one-sided tests of an `inside` criterion; the "
                                        "interval then has level 1 - 2 alpha. Instead of `level`."
    )  # fmt: skip

    @model_validator(mode="after")
    def _one_level(self) -> T:
        if self.alpha is not None and "level" in self.model_fields_set:
            raise ValueError("give `level` or `alpha`, not both: with `alpha` the level is 1 - 2 alpha")
        return self

    @property
    def confidence(self) -> float:
        """The interval's level."""
        return self.level if self.alpha is None else 1 - 2 * self.alpha


class Jackknife(Scaled):
    """A functional of pooled seeds, its error by leaving out one seed at a time, t with n - 1 degrees of freedom."""

    kind: Literal["jackknife"] = "jackknife"


class Tolerance(Scaled):
    """A quantile of the seeds under a normal law, by the noncentral t: most seeds lie below (or above) its bound."""

    kind: Literal["tolerance"] = "tolerance"
    level: float = Field(
        default=0.90, gt=0.5, lt=1, description="Level of the two-sided interval: each end alone has more."
    )
    quantile: float = Field(default=0.8, gt=0, lt=1, description="0.8: the number that 80 % of seeds lie below.")


@dataclass(frozen=True)
class Sorted:
    """Finite numbers of D draws on the scale of estimation, ascending, what is not there last and NaN.

    x: (D, n). n: (D,). spoilt: reasons that leave no value. distinct: (D,) how many different numbers, up to rounding.
    """

    x: NDArray[np.float64]
    n: NDArray[np.int64]
    spoilt: tuple[tuple[str, Any], ...]
    distinct: NDArray[np.int64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """(D,) NaN where there is no number."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(np.isnan(self.x), 0.0, self.x).sum(axis=1) / self.n

    def squares(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """(D,) sum of squared deviations."""
        off = self.x - mean[:, None]
        return np.where(np.isnan(off), 0.0, off * off).sum(axis=1)

    @property
    def spread(self) -> NDArray[np.float64]:
        """(D,) largest minus smallest."""
        last = np.take_along_axis(self.x, np.maximum(self.n - 1, 0)[:, None], axis=1)[:, 0]
        return last - self.x[:, 0]


def sort(values: NDArray[np.float64], status: NDArray[np.uint8], size: Any, scale: Scale) -> Sorted:
    """The Sorted numbers of (D, n) values with a status each."""
    ok = status == OK
    x = np.where(ok, values, np.nan)
    positive = np.zeros(len(x), bool)
    floor = np.maximum(np.broadcast_to(np.asarray(size, float), (len(x),)), 1 / HUGE)
    if scale == "log":
        positive = (ok & ~(values > 0)).any(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            x = np.where(x > 0, np.log(x), np.nan)
        floor = np.maximum(floor, 1.0)  # a ratio is known to rounding of 1
    infinite = (np.abs(x) > HUGE).any(axis=1)
    x = np.sort(np.where(np.abs(x) > HUGE, np.nan, x), axis=1)
    n = np.sum(~np.isnan(x), axis=1)
    largest = np.maximum(np.max(np.abs(np.nan_to_num(x)), axis=1, initial=0.0), floor)
    with np.errstate(invalid="ignore"):
        steps = np.diff(x, axis=1) > ROUNDING * largest[:, None]
        # many tiny steps do not make a spread
        flat = x - x[:, :1] <= ROUNDING * largest[:, None]
    distinct = np.where((flat | np.isnan(x)).all(axis=1), 1, 1 + steps.sum(axis=1))
    spoilt = (
        ("diverged", (status == DIVERGED).any(axis=1)),
        ("censored", (status == CENSORED).any(axis=1)),
        ("undefined", (status == UNDEFINED).any(axis=1)),
        ("positive", positive),
        ("unbounded", infinite),
    )
    return Sorted(x, n, spoilt, distinct)


def _back(scale: Scale, *numbers: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    with np.errstate(over="ignore"):
        return [np.exp(x) for x in numbers] if scale == "log" else list(numbers)


def _criterion(scale: Scale, criterion: Any) -> NDArray[np.float64]:
    c = np.asarray(criterion, float)
    if scale == "linear":
        return c
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(c > 0, np.log(c), -np.inf)


def _finish(options: Scaled, numbers: Numbers, s: Sorted, level: float, value, low, high, test) -> Estimate:
    """The Estimate, its reasons in the order in which they are told."""
    counts = numbers.counts
    none = np.any([where for _, where in s.spoilt], axis=0) | (s.n == 0)
    value, low, high = (np.where(none, np.nan, x) for x in (value, low, high))
    constant = s.distinct <= 1
    low, high = (np.where(constant, np.nan, x) for x in (low, high))
    value, low, high = _back(options.scale, value, low, high)
    why = reasons(
        numbers.draws, *s.spoilt, ("missing", counts["missing"] > 0), ("few", s.n < LEAST_SEEDS),
        ("unbounded", np.isnan(value)), ("constant", constant), ("two", s.distinct == 2),
    )  # fmt: skip
    with np.errstate(over="ignore", invalid="ignore"):
        spread = s.spread if options.scale == "linear" else value * np.expm1(s.spread)
    return Estimate(
        options.kind, value, low, high, level, s.n, numbers.planned, counts, why, LEAST_SEEDS, numbers.noun,
        spread=spread, test=test,
    )  # fmt: skip


def _student(centre, error, df, scale: Scale):
    """p-values of a t statistic: centre and error (D,) on the scale of estimation, df (D,)."""

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            t = (centre - _criterion(scale, criterion)) / error
        return special.stdtr(df, -t if side == "above" else t)

    return test


def t(options: T, numbers: Numbers) -> Estimate:
    """Mean of one number a seed, Student's t interval (scipy.stats.ttest_1samp)."""
    s = sort(numbers.values, numbers.status, numbers.size, options.scale)
    df = np.maximum(s.n - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = s.mean
        error = np.where(s.n > 1, np.sqrt(s.squares(mean) / df / s.n), np.nan)
    half = special.stdtrit(df, 0.5 + options.confidence / 2) * error
    test = _student(mean, error, df, options.scale)
    return _finish(options, numbers, s, options.confidence, mean, mean - half, mean + half, test)


def jackknife(options: Jackknife, numbers: Numbers) -> Estimate:
    """The functional of all seeds, numbers.values[:, 0]; its error from the columns that leave out one seed each.

    error^2 = (n - 1) / n * sum of squared deviations of the n values from their mean (Tukey 1958), t(n - 1).
    """
    left = Numbers(numbers.values[:, 1:], numbers.status[:, 1:], numbers.planned, None, numbers.size, numbers.noun)
    s = sort(left.values, left.status, left.size, options.scale)
    whole = sort(numbers.values[:, :1], numbers.status[:, :1], numbers.size, options.scale)
    s = Sorted(s.x, s.n, (*((n, a | b) for (n, a), (_, b) in zip(s.spoilt, whole.spoilt, strict=True)),), s.distinct)
    df = np.maximum(s.n - 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = whole.x[:, 0]
        error = np.where(s.n > 1, np.sqrt(s.squares(s.mean) * (s.n - 1) / s.n), np.nan)
    half = special.stdtrit(df, 0.5 + options.level / 2) * error
    test = _student(centre, error, df, options.scale)
    return _finish(options, left, s, options.level, centre, centre - half, centre + half, test)


def tolerance(options: Tolerance, numbers: Numbers) -> Estimate:
    """mean + z sd, the normal quantile, with the noncentral t's interval (one-sided tolerance bounds, both ends)."""
    s = sort(numbers.values, numbers.status, numbers.size, options.scale)
    df = np.maximum(s.n - 1, 1)
    z, root = stats.norm.ppf(options.quantile), np.sqrt(np.maximum(s.n, 1))
    tail = (1 - options.level) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = s.mean
        deviation = np.where(s.n > 1, np.sqrt(s.squares(mean) / df), np.nan)
    sizes, where = np.unique(s.n, return_inverse=True)
    many = np.maximum(sizes, 2)
    factor = [stats.nct.ppf(q, many - 1, z * np.sqrt(many)) / np.sqrt(many) for q in (tail, 1 - tail)]
    low, high = (mean + k[where] * deviation for k in factor)

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            statistic = (mean - _criterion(options.scale, criterion)) / deviation * root
        tail_of = stats.nct.sf if side == "above" else stats.nct.cdf
        return tail_of(statistic, df, -z * root)

    return _finish(options, numbers, s, options.level, mean + z * deviation, low, high, test)


def _mean(scale: Scale) -> str:
    return "geometric mean" if scale == "log" else "mean"


def percent(share: float) -> str:
    """`95 %`, `97.5 %`."""
    return f"{100 * share:.6g} %"


register(
    Kind(
        "t", "The mean of one number a seed.", T, "seeds",
        {"normal": 5, "skewed": 10, "heavy": None, "binary": None, "clustered": 5},
        "seed", "interval and p", t, lambda o: f"{_mean(o.scale)} over seeds, {percent(o.confidence)} t interval",
    )
)  # fmt: skip
register(
    Kind(
        "jackknife", "A functional of pooled seeds (a 50 % point, log(mean/mean), a rank correlation).", Jackknife,
        "jackknife", {"normal": 5, "skewed": 10, "heavy": None, "binary": None, "clustered": 5},
        "seed", "interval and p", jackknife,
        lambda o: f"of all seeds pooled, {percent(o.level)} interval by leaving out one seed at a time",
    )
)  # fmt: skip
register(
    Kind(
        "tolerance", "A quantile of the seeds under a normal law.", Tolerance, "seeds",
        {"normal": 5, "skewed": None, "heavy": None, "binary": None, "clustered": 5},
        "seed", "interval and p", tolerance,
        lambda o: f"{percent(o.quantile)} quantile of the seeds under a normal law, "
                  f"{percent(1 - (1 - o.level) / 2)} bound on either side",
    )
)  # fmt: skip
