"""Tests by ranks, signs and distribution functions. scipy where it has the test; exact enumeration where ties or zeros
would send scipy to an approximation at few units."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from descent.claims.audit import auc_interval, delong
from descent.claims.estimate import Estimate, counted, generator, quantity, spoilt, too_few, withheld
from descent.claims.functional import median
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED, Sample

OPPOSITE = {"less": "greater", "greater": "less"}
EXACT_SIGNS = 14  # 2^14 sign flips are enumerated, more are sampled
EXACT_SPLITS = 20_000  # splits of tied samples that are enumerated
FLIPS = 20_000


def one_sample(sample: Sample, variety: str, alternative: str, key: str) -> Estimate:
    """Wilcoxon's signed ranks, the sign test, the sign-flip test of the mean. All zero: p = 1."""
    what = {"wilcoxon": "the median", "sign": "the share of positive values", "sign_flip": "the mean"}[variety]
    result = counted(sample, what)
    if why := spoilt(sample, ranks=variety != "sign_flip"):
        return withheld(result, f"{why}, so the test is undecided")
    value = sample.value
    moved = value[value != 0]
    share = float((value > 0).mean() + (value == 0).mean() / 2)
    shown = {"wilcoxon": median(value), "sign": share}.get(variety)
    result = replace(result, value=shown if shown is not None else float(value.mean()))
    if why := too_few(sample.n, sample.noun):
        result = withheld(result, why)
    if not len(moved):
        return replace(result, p=1.0, p_reverse=1.0)
    if variety == "sign":
        positive = int((moved > 0).sum())
        test = lambda a: float(stats.binomtest(positive, len(moved), 0.5, a.replace("_", "-")).pvalue)  # noqa: E731
    elif variety == "wilcoxon":
        test = _signed_rank_test(moved)
    else:
        test = _sign_flip_test(value, key)
    p = test(alternative)
    return replace(result, p=p, p_reverse=test(OPPOSITE[alternative]) if alternative in OPPOSITE else 1.0)


def _signed_rank_test(moved: np.ndarray):
    """Wilcoxon's test of values that are not zero. Exact for 12 or fewer, ties included."""
    rank = stats.rankdata(np.abs(moved)) * np.sign(moved)
    if len(moved) <= 12:
        return _flips_of(rank, None)
    # scipy only needs the order of the absolute values and the signs; the ranks have both, and no infinities
    return lambda alternative: float(stats.wilcoxon(rank, alternative=alternative.replace("_", "-")).pvalue)


def _sign_flip_test(value: np.ndarray, key: str):
    return _flips_of(value, None if len(value) <= EXACT_SIGNS else generator(key))


def _flips_of(value: np.ndarray, rng: np.random.Generator | None):
    """The test of sum(value) among all sign flips (or FLIPS random ones, the observed one counted in)."""
    n = len(value)
    if rng is None:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    else:
        bits = np.concatenate([np.ones((1, n), int), rng.integers(0, 2, (FLIPS, n))])
    totals = (2 * bits - 1) @ np.abs(value)
    seen = float(value.sum())
    slack = 1e-9 * float(np.abs(value).sum())  # equal sums may differ in the last bits
    if rng is not None:
        totals[0] = seen

    def test(alternative: str) -> float:
        less, greater = float((totals <= seen + slack).mean()), float((totals >= seen - slack).mean())
        return {"less": less, "greater": greater, "two_sided": min(1.0, 2 * min(less, greater))}[alternative]

    return test


# -- two samples ------------------------------------------------------------------------------------------------------


def both(first: Sample, second: Sample, what: str, **numbers: Any) -> Estimate:
    """An Estimate with the counts of two independent samples; n is the smaller one's."""
    joint = Sample(np.concatenate([first.value, second.value]), np.concatenate([first.rank, second.rank]), first.noun)
    sizes = quantity(first) if first.n == second.n else f"{first.n} and {second.n} {first.noun}"
    return Estimate(
        what=f"{what} of two samples of {sizes}", n=min(first.n, second.n), n_ok=joint.count(OK),
        n_censored=joint.count(CENSORED), n_diverged=joint.count(DIVERGED), n_undefined=joint.count(UNDEFINED),
        noun=first.noun, **numbers,
    )  # fmt: skip


def _usable(first: Sample, second: Sample, result: Estimate) -> Estimate:
    if why := spoilt(first, ranks=True) or spoilt(second, ranks=True):
        return withheld(result, f"{why}, so the test is undecided")
    why = too_few(min(first.n, second.n), first.noun)
    return withheld(result, why) if why else result


def two_samples(first: Sample, second: Sample, variety: str, alternative: str) -> Estimate:
    """Mann-Whitney (the alternative is about the first sample) or Kolmogorov-Smirnov."""
    if variety == "ks":
        result = _usable(first, second, both(first, second, "the Kolmogorov-Smirnov distance"))
        if spoilt(first, ranks=True) or spoilt(second, ranks=True):
            return result
        # the larger sample is the one whose distribution function lies lower
        side = {"greater": "less", "less": "greater", "two_sided": "two-sided"}
        ranks = stats.rankdata(np.concatenate([first.value, second.value]), method="dense")
        a, b = ranks[: first.n], ranks[first.n :]
        test = stats.ks_2samp(a, b, alternative=side[alternative])
        reverse = stats.ks_2samp(a, b, alternative=side[OPPOSITE[alternative]]) if alternative in OPPOSITE else None
        return replace(result, value=float(test.statistic), p=float(test.pvalue),
                       p_reverse=float(reverse.pvalue) if reverse else 1.0)  # fmt: skip
    result = _usable(first, second, both(first, second, "the probability that the first exceeds the second"))
    if spoilt(first, ranks=True) or spoilt(second, ranks=True):
        return result
    ranks = stats.rankdata(np.concatenate([first.value, second.value]))
    share = float((ranks[: first.n].sum() - first.n * (first.n + 1) / 2) / (first.n * second.n))
    test = _mann_whitney(ranks, first.n)
    reverse = test(OPPOSITE[alternative]) if alternative in OPPOSITE else 1.0
    return replace(result, value=share, p=test(alternative), p_reverse=reverse)


def _mann_whitney(ranks: np.ndarray, n: int):
    """The test as a function of the alternative: all splits where ties and few units meet, else scipy's."""
    a, b = ranks[:n], ranks[n:]
    tied = len(np.unique(ranks)) < len(ranks)
    if len(np.unique(ranks)) == 1:
        return lambda alternative: 1.0
    if tied and math.comb(len(ranks), n) <= EXACT_SPLITS:
        splits = np.array(list(itertools.combinations(range(len(ranks)), n)))
        totals, seen = ranks[splits].sum(1), a.sum()

        def test(alternative: str) -> float:
            less, greater = float((totals <= seen + 1e-9).mean()), float((totals >= seen - 1e-9).mean())
            return {"less": less, "greater": greater, "two_sided": min(1.0, 2 * min(less, greater))}[alternative]

        return test
    method = "exact" if not tied and max(len(a), len(b)) <= 50 else "asymptotic"
    return lambda alternative: float(
        stats.mannwhitneyu(a, b, alternative=alternative.replace("_", "-"), method=method).pvalue
    )


def auc(first: Sample, second: Sample, options: Mapping[str, Any]) -> Estimate:
    """AUC of the first sample against the second with DeLong's interval, p against 0.5."""
    level = options["level"]
    result = _usable(first, second, both(first, second, "the AUC", level=level))
    if spoilt(first, ranks=True) or spoilt(second, ranks=True) or min(first.n, second.n) < 2:
        return result
    area, low, high = auc_interval(first.value, second.value, level)
    _, error = delong(first.value, second.value)
    if error > 0:
        z = (area - 0.5) / error
        less, greater = float(stats.norm.cdf(z)), float(stats.norm.sf(z))
        p = {"less": less, "greater": greater, "two_sided": 2 * min(less, greater)}
    else:  # fully separated, or constant: the rank test knows
        test = _mann_whitney(stats.rankdata(np.concatenate([first.value, second.value])), first.n)
        p = {alternative: test(alternative) for alternative in ("less", "greater", "two_sided")}
    chosen = options["alternative"]
    return replace(result, value=area, low=low, high=high, p=min(1.0, p[chosen]),
                   p_reverse=p[OPPOSITE[chosen]] if chosen in OPPOSITE else 1.0)  # fmt: skip
