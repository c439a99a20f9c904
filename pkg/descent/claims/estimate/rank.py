"""Wilcoxon's signed ranks and the Kolmogorov-Smirnov distance, both exact or bounded at any number of seeds.

Signed ranks are written as pairs (Tukey): W+ is the number of pairs, a seed with itself too, whose mean lies above the
criterion. So p and interval say the same, a harder criterion is never easier, and ties count against the claim.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from descent.claims.estimate.base import (
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
from descent.claims.estimate.counting import ALL, Ordered, ends
from descent.claims.estimate.means import percent


class Wilcoxon(Ordered):
    """Pseudo-median of one number a seed (Hodges and Lehmann), by signed ranks; needs a symmetric law."""

    kind: Literal["wilcoxon"] = "wilcoxon"


class KS(Options):
    """Largest distance of two distribution functions, its interval by the bound of Dvoretzky, Kiefer and Wolfowitz."""

    kind: Literal["ks"] = "ks"
    level: float = Field(
        default=0.95, gt=0.5, lt=1, description="Least confidence level of the interval, both ends at once."
    )


# -- signed ranks -----------------------------------------------------------------------------------------------------


@lru_cache
def signed_rank_law(n: int) -> NDArray[np.float64]:
    """P[W+ >= w] for w = 0..n (n + 1) / 2 + 1: W+ of n numbers whose signs are fair coins (Wilcoxon 1945)."""
    mass = np.zeros(n * (n + 1) // 2 + 1)
    mass[0] = 1.0
    for i in range(1, n + 1):
        mass = (mass + np.concatenate([np.zeros(i), mass[:-i]])) / 2
    return np.append(np.cumsum(mass[::-1])[::-1], 0.0)


def _signed_rank_tail(n: int, tail: float) -> int:
    """The largest k with P[W+ <= k - 1] <= tail; 0 where there is none. The law is symmetric."""
    return int(np.searchsorted(signed_rank_law(n)[::-1][1:], tail, side="right"))


def _walsh(values: NDArray[np.float64], hole: float) -> NDArray[np.float64]:
    """(D, n (n + 1) / 2) ascending means of all pairs, a number with itself too; NaN last. inf - inf becomes `hole`."""
    i, j = np.triu_indices(values.shape[1])
    with np.errstate(invalid="ignore"):
        means = values[:, i] / 2 + values[:, j] / 2
    torn = np.isinf(values[:, i]) & np.isinf(values[:, j]) & np.isnan(means)
    return np.sort(np.where(torn, hole, means), axis=1)


def wilcoxon(options: Wilcoxon, numbers: Numbers) -> Estimate:
    """Median of the pairs' means; interval between their order statistics; p of the signed ranks."""
    low_at, high_at = ends(numbers, options.diverged)
    n = np.sum(~np.isnan(low_at), axis=1)
    below, above = _walsh(low_at, -np.inf), _walsh(high_at, np.inf)
    pairs = n * (n + 1) // 2
    tail = (1 - options.level) / 2
    sizes, where = np.unique(n, return_inverse=True)
    k = np.array([_signed_rank_tail(int(size), tail) for size in sizes])[where]
    last = below.shape[1] - 1
    pick = lambda table, at: np.take_along_axis(table, np.clip(at, 0, last)[:, None], axis=1)[:, 0]  # noqa: E731
    low, high = np.where(k < 1, -np.inf, pick(below, k - 1)), np.where(k < 1, np.inf, pick(above, pairs - k))
    a, b = (pick(t, (pairs - 1) // 2) / 2 + pick(t, pairs // 2) / 2 for t in (below, above))
    value = np.where(a == b, a, np.nan)
    low, high, value = (np.where(n > 0, x, np.nan) for x in (low, high, value))
    counts = numbers.counts
    why = reasons(numbers.draws, ("missing", counts["missing"] > 0), ("few", n < LEAST_SEEDS), ("open", k < 1))

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        # W+ is the number of pairs whose mean is beyond the criterion; a pair on it counts against the claim
        c = np.asarray(criterion, float)[..., None]
        beyond = (below > c).sum(axis=1) if side == "above" else (above < c).sum(axis=1)
        p = np.empty(len(n))
        for size in sizes.tolist():
            p[n == size] = signed_rank_law(size)[beyond[n == size]]
        return p

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


# -- distance of distributions ----------------------------------------------------------------------------------------


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(D,) largest distance of the two empirical distribution functions (scipy.stats.ks_2samp)."""
    both = np.concatenate([a, b], axis=1)
    order = np.argsort(both, axis=1, kind="stable")
    ordered = np.take_along_axis(both, order, axis=1)
    weight = np.concatenate([np.full(a.shape, 1 / a.shape[1]), np.full(b.shape, -1 / b.shape[1])], axis=1)
    gap = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
    last = np.concatenate([ordered[:, 1:] != ordered[:, :-1], np.ones((len(a), 1), bool)], axis=1)  # of equal numbers
    return np.where(last, np.abs(gap), 0.0).max(axis=1)


def ks(options: KS, first: Numbers, second: Numbers | None = None) -> Estimate:
    """Distance of two samples, or of one sample of probabilities F(x) from the uniform law.

    |F_n - F| <= sqrt(log(2 / a) / (2 n)) everywhere with probability 1 - a (Massart 1990); two samples share the error.
    """
    samples = [first] if second is None else [first, second]
    bad = [(s.status != OK) & (s.status != MISSING) & ~np.isinf(s.values) for s in samples]
    why = reasons(
        first.draws, ("missing", np.any([s.counts["missing"] > 0 for s in samples], axis=0)),
        ("undefined", np.any([b.any(axis=1) for b in bad], axis=0)),
        ("few", np.full(first.draws, min(s.values.shape[1] for s in samples) < LEAST_SEEDS)),
    )  # fmt: skip
    whole = np.all([~np.isnan(s.values).any(axis=1) for s in samples], axis=0)
    filled = [np.nan_to_num(s.values, nan=0.0, posinf=np.inf, neginf=-np.inf) for s in samples]
    sizes = [s.values.shape[1] for s in samples]
    if second is None:
        n, u = sizes[0], np.sort(filled[0], axis=1)
        i = np.arange(n)
        distance = np.maximum(np.abs((i + 1) / n - u), np.abs(u - i / n)).max(axis=1)
    else:
        distance = _distances(*filled)
    distance = np.where(whole, distance, np.nan)
    root = sum(1 / np.sqrt(n) for n in sizes)
    share = 2 * len(samples)  # the error is split between the samples
    half = root * np.sqrt(np.log(share / (1 - options.level)) / 2)

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        beyond = (distance - criterion) if side == "above" else (criterion - distance)
        return np.minimum(1.0, share * np.exp(-2 * (np.maximum(beyond, 0.0) / root) ** 2))

    n = np.full(first.draws, min(sizes))
    counts = {name: sum((s.counts[name] for s in samples[1:]), first.counts[name]) for name in first.counts}
    return Estimate(
        options.kind, distance, np.maximum(distance - half, 0.0), np.minimum(distance + half, 1.0), options.level, n,
        first.planned, counts, why, LEAST_SEEDS, first.noun, test=test,
    )  # fmt: skip


register(
    Kind(
        "wilcoxon", "The pseudo-median of one number a seed, by signed ranks.", Wilcoxon, "seeds",
        ALL, "seed", "interval and p", wilcoxon,
        lambda o: f"pseudo-median over seeds, {percent(o.level)} interval by signed ranks",
        lambda o: next(n for n in range(LEAST_SEEDS, 64) if _signed_rank_tail(n, (1 - o.level) / 2) > 0),
    )
)  # fmt: skip
register(
    Kind(
        "ks", "The largest distance of two distribution functions.", KS, "two", ALL, "seed", "interval and p", ks,
        lambda o: f"Kolmogorov-Smirnov distance, {percent(o.level)} interval by the DKW bound",
    )
)  # fmt: skip
