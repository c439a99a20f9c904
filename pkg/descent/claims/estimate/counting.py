"""What counts and orders: quantiles by order statistics, shares, signs, bench blocks.

They take infinities: a censored number lies beyond all others, a diverged one is the worst, and one of which nothing is
known may lie anywhere, so it stands at the end that makes the check harder. Exact for every law.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import stats

from descent.claims.estimate.base import (
    CENSORED,
    DIVERGED,
    LEAST_SEEDS,
    MISSING,
    OK,
    Estimate,
    Kind,
    Numbers,
    Options,
    Side,
    reasons,
    register,
)
from descent.claims.estimate.means import percent
from descent.privacy.audit import clopper_pearson

LEAST_BLOCKS = 20
ALL: dict[str, int | None] = {"normal": 5, "skewed": 5, "heavy": 5, "binary": 5, "clustered": 5}


class Ordered(Options):
    """Options of estimators that order seeds."""

    level: float = Field(default=0.95, gt=0.5, lt=1, description="Least confidence level of the two-sided interval.")
    diverged: Literal["high", "low"] | None = Field(
        default=None, description="The worst end, where a seed that diverged stands; left out, it may lie at either."
    )


class Median(Ordered):
    """Median of one number a seed, its interval between order statistics."""

    kind: Literal["median"] = "median"


class Quantile(Ordered):
    """A quantile of one number a seed, its interval between order statistics."""

    kind: Literal["quantile"] = "quantile"
    quantile: float = Field(gt=0, lt=1, description="0.9: the number that 90 % of seeds lie below.")


class Bench(Options):
    """Median ratio of two costs over interleaved blocks, its interval between order statistics."""

    kind: Literal["bench"] = "bench"
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Least confidence level of the two-sided interval.")


class Share(Options):
    """Share of seeds, with Clopper and Pearson's exact interval. Without `below` and `above` the numbers are 0 or 1."""

    kind: Literal["share"] = "share"
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Least confidence level of the two-sided interval.")
    below: float | None = Field(default=None, description="Counts a seed whose number is less.")
    above: float | None = Field(
        default=None, description="Counts a seed whose number is more; with `below`, one between."
    )
    diverged: bool = Field(default=False, description="Whether a seed that diverged counts.")
    censored: bool | None = Field(
        default=None, description="Whether a seed that never reached the level counts; left out, its infinity says it."
    )


class Sign(Ordered):
    """Share of positive numbers among those that are not 0: the sign test."""

    kind: Literal["sign"] = "sign"


def ends(numbers: Numbers, diverged: Literal["high", "low"] | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(D, n) the least and the largest that each number can be; NaN where a seed is missing."""
    low = np.where(np.isnan(numbers.values), -np.inf, numbers.values)
    high = np.where(np.isnan(numbers.values), np.inf, numbers.values)
    if numbers.upper is not None:
        high = np.where(np.isnan(numbers.upper), high, np.maximum(high, numbers.upper))
    if diverged is not None:
        worst = np.inf if diverged == "high" else -np.inf
        gone = numbers.status == DIVERGED
        low, high = np.where(gone, worst, low), np.where(gone, worst, high)
    absent = numbers.status == MISSING
    return np.where(absent, np.nan, low), np.where(absent, np.nan, high)


def middle(ordered: NDArray[np.float64], n: NDArray[np.int64], share: float = 0.5) -> NDArray[np.float64]:
    """(D,) quantile of ascending numbers (D, n) whose last are NaN; half way between two where it falls between."""
    at = share * n
    low = np.clip(np.ceil(at - 1e-9).astype(int) - 1, 0, None)
    high = np.clip(np.floor(at + 1e-9).astype(int), 0, np.maximum(n - 1, 0))
    a, b = (np.take_along_axis(ordered, i[:, None], axis=1)[:, 0] for i in (np.minimum(low, high), high))
    with np.errstate(invalid="ignore"):
        return np.where(a == b, a, a / 2 + b / 2)


def ranks(n: NDArray[np.int64], share: float, level: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(D,) (k, u): [x_(k), x_(u)] holds the quantile with at least this confidence; k < 1 or u > n: that end is open."""
    tail = (1 - level) / 2
    k = stats.binom.ppf(tail, n, share)  # P[Bin < k] <= tail
    u = stats.binom.isf(tail, n, share) + 1  # P[Bin >= u] <= tail
    return np.nan_to_num(k).astype(int), np.nan_to_num(u, nan=1).astype(int)


def _order(options: Any, numbers: Numbers, share: float, diverged, least: int, pair=None) -> Estimate:
    low_at, high_at = ends(numbers, diverged)
    n = np.sum(~np.isnan(low_at), axis=1)
    below, above = np.sort(low_at, axis=1), np.sort(high_at, axis=1)
    k, u = ranks(n, share, options.level)
    columns = below.shape[1] - 1
    low = np.take_along_axis(below, np.clip(k - 1, 0, columns)[:, None], axis=1)[:, 0]
    high = np.take_along_axis(above, np.clip(u - 1, 0, columns)[:, None], axis=1)[:, 0]
    low, high = np.where(k < 1, -np.inf, low), np.where(u > n, np.inf, high)
    a, b = middle(below, n, share), middle(above, n, share)
    value = np.where(a == b, a, np.nan)
    counts = numbers.counts
    why = reasons(
        numbers.draws, ("missing", counts["missing"] > 0), ("few", n < least), ("open", (k < 1) & (u > n))
    )  # fmt: skip

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        c = np.asarray(criterion, float)[..., None]
        if side == "above":  # scipy.stats.quantile_test, with the ends that make it harder
            return stats.binom.cdf((low_at <= c).sum(axis=1), n, share)
        return stats.binom.sf((high_at < c).sum(axis=1) - 1, n, share)

    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.where(n > 0, np.nanmax(np.where(n[:, None] > 0, above, 0), axis=1) - below[:, 0], np.nan)
    low, high, value = (np.where(n > 0, x, np.nan) for x in (low, high, value))
    return Estimate(
        options.kind, value, low, high, options.level, n, numbers.planned, counts, why, least, numbers.noun,
        spread=spread, test=test,
    )  # fmt: skip


def median(options: Median, numbers: Numbers) -> Estimate:
    """Median and the order statistics that hold it (scipy.stats.quantile_test)."""
    return _order(options, numbers, 0.5, options.diverged, LEAST_SEEDS)


def quantile(options: Quantile, numbers: Numbers) -> Estimate:
    """Quantile and the order statistics that hold it."""
    return _order(options, numbers, options.quantile, options.diverged, LEAST_SEEDS)


def bench(options: Bench, numbers: Numbers) -> Estimate:
    """Median ratio over interleaved blocks: a number a block, 20 or more."""
    positive = (numbers.status == OK) & ~(numbers.values > 0)
    status = np.where(positive, np.uint8(3), numbers.status)
    return _order(options, Numbers(numbers.values, status, numbers.planned, noun="block"), 0.5, None, LEAST_BLOCKS)


# -- shares -----------------------------------------------------------------------------------------------------------


def _binomial(options: Any, numbers: Numbers, sure, possible, n, *more) -> Estimate:
    """Of n (D,), at least `sure` and at most `possible` count: Clopper and Pearson's interval over both."""
    low, high = np.full(len(n), np.nan), np.full(len(n), np.nan)
    for size in np.unique(n[n > 0]).tolist():
        here = n == size
        low[here] = clopper_pearson(sure[here], size, options.level)[0]
        high[here] = clopper_pearson(possible[here], size, options.level)[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(sure == possible, sure / n, np.nan)
    counts = numbers.counts
    why = reasons(numbers.draws, *more, ("missing", counts["missing"] > 0), ("few", n < LEAST_SEEDS))

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        c = np.clip(np.asarray(criterion, float), 0, 1)
        return stats.binom.sf(sure - 1, n, c) if side == "above" else stats.binom.cdf(possible, n, c)

    return Estimate(
        options.kind,
        value,
        low,
        high,
        options.level,
        n,
        numbers.planned,
        counts,
        why,
        LEAST_SEEDS,
        numbers.noun,
        test=test,
    )


def share(options: Share, numbers: Numbers) -> Estimate:
    """Share of seeds that count (scipy.stats.binomtest). What is not known counts at neither end."""
    low_at, high_at = ends(numbers, None)
    status = numbers.status
    known = status == OK
    if options.below is None and options.above is None:
        strange = (known & ~np.isin(numbers.values, (0, 1))).any(axis=1)
        sure, possible = low_at == 1, high_at >= 1
        sure = np.where(known, sure, False)
        possible = np.where(known, possible, True)
    else:
        strange = np.zeros(numbers.draws, bool)
        top = np.inf if options.below is None else options.below
        bottom = -np.inf if options.above is None else options.above
        # inf < inf is false, yet an infinity does lie above any number
        under = (high_at < top) | (options.below is None)
        over = (low_at > bottom) | (options.above is None)
        sure = under & over
        possible = ((low_at < top) | (options.below is None)) & ((high_at > bottom) | (options.above is None))
    for code, counted in ((DIVERGED, options.diverged), (CENSORED, options.censored)):
        if counted is not None:
            sure, possible = np.where(status == code, counted, sure), np.where(status == code, counted, possible)
    there = status != MISSING
    n = there.sum(axis=1)
    return _binomial(
        options, numbers, (sure & there).sum(axis=1), (possible & there).sum(axis=1), n, ("share", strange)
    )  # fmt: skip


def sign(options: Sign, numbers: Numbers) -> Estimate:
    """Share of positive numbers among those that are not 0; half is no tendency (the sign test)."""
    low_at, high_at = ends(numbers, options.diverged)
    moved = ~np.isnan(low_at) & ~((low_at == 0) & (high_at == 0))
    n = moved.sum(axis=1)
    return _binomial(options, numbers, ((low_at > 0) & moved).sum(axis=1), ((high_at > 0) & moved).sum(axis=1), n)


def least_of_quantile(share: float, level: float) -> int:
    """Fewest seeds with which an end of the quantile's interval exists: 6 for the median at 95 %."""
    tail = (1 - level) / 2
    return max(LEAST_SEEDS, int(np.ceil(np.log(tail) / np.log(min(share, 1 - share)) - 1e-9)))


_ORDER = "between order statistics"
register(
    Kind(
        "median", "The median of one number a seed; censored and diverged seeds are in it.", Median, "seeds", ALL,
        "seed", "interval and p", median, lambda o: f"median over seeds, {percent(o.level)} interval {_ORDER}",
        lambda o: least_of_quantile(0.5, o.level),
    )
)  # fmt: skip
register(
    Kind(
        "quantile", "A quantile of one number a seed; censored and diverged seeds are in it.", Quantile, "seeds", ALL,
        "seed", "interval and p", quantile,
        lambda o: f"{percent(o.quantile)} quantile over seeds, {percent(o.level)} interval {_ORDER}",
        lambda o: least_of_quantile(o.quantile, o.level),
    )
)  # fmt: skip
register(
    Kind(
        "bench", "The median ratio of two costs measured in interleaved blocks.", Bench, "seeds",
        dict.fromkeys(("normal", "skewed", "heavy"), LEAST_BLOCKS), "block",
        "interval and p", bench, lambda o: f"median over blocks, {percent(o.level)} interval {_ORDER}",
        lambda o: LEAST_BLOCKS,
    )
)  # fmt: skip
register(
    Kind(
        "share", "The share of seeds that count.", Share, "seeds", ALL, "seed", "interval and p", share,
        lambda o: f"share of seeds, exact {percent(o.level)} interval",
    )
)  # fmt: skip
register(
    Kind(
        "sign", "The share of seeds with a positive number, zeros left out; against one half it is the sign test.",
        Sign, "seeds", ALL, "seed", "interval and p", sign,
        lambda o: f"share of seeds above 0, exact {percent(o.level)} interval",
    )
)  # fmt: skip
