"""Quantiles, shares and signs against scipy, exact enumeration and the truth; infinities and unknowns."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from descent.claims.estimate import kinds  # noqa: F401
from descent.claims.estimate.base import CENSORED, DIVERGED, MISSING, OK, UNDEFINED, Numbers, estimate
from descent.claims.estimate.counting import Bench, Median, Quantile, Share, Sign, least_of_quantile, ranks


def with_status(values, code, at, value=np.nan):
    values = np.atleast_2d(np.asarray(values, float)).copy()
    status = np.zeros(values.shape, np.uint8)
    status[:, at], values[:, at] = code, value
    return Numbers(values, status, values.shape[1])


# -- quantiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("n", [5, 6, 8, 11, 20, 40])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_order_statistics_hold_the_quantile_exactly_as_often_as_the_binomial_says(share, n, level):
    (k,), (u,) = (part for part in ranks(np.array([n]), share, level))
    below, above = stats.binom.cdf(k - 1, n, share), stats.binom.sf(u - 1, n, share)
    tail = (1 - level) / 2 + 1e-12
    assert below <= tail and above <= tail  # covered at least as often as the level, at each end
    if k >= 1:
        assert stats.binom.cdf(k, n, share) > tail - 2e-12  # and no narrower interval is
    if u <= n:
        assert stats.binom.sf(u - 2, n, share) > tail - 2e-12


def test_the_median_of_ten_lies_between_the_second_and_the_ninth():
    got = estimate(Median(), Numbers.ok([7, 1, 10, 3, 9, 2, 8, 4, 6, 5.0]))
    assert (got.value[0], got.low[0], got.high[0]) == (5.5, 2, 9)
    assert got.words == "median over seeds, 95 % interval between order statistics"


@pytest.mark.parametrize(("level", "share", "least"), [(0.95, 0.5, 6), (0.9, 0.5, 5), (0.95, 0.9, 5), (0.99, 0.5, 8)])
def test_least_seeds(level, share, least):
    assert least_of_quantile(share, level) == least
    for n in (least - 1, least):
        got = estimate(Quantile(quantile=share, level=level), Numbers.ok(np.arange(float(n))))
        assert got.decidable[0] == (n == least)


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_p_is_scipys_quantile_test(share):
    values = np.round(np.random.default_rng(0).normal(size=(5, 12)), 1)  # with ties
    got = estimate(Quantile(quantile=share), Numbers.ok(values))
    for d, row in enumerate(values):
        for criterion in (-0.5, 0.0, row[3], 0.7):
            for side, alternative in (("above", "greater"), ("below", "less")):
                expected = stats.quantile_test(row, q=criterion, p=share, alternative=alternative).pvalue
                assert got.p(criterion, side)[d] == pytest.approx(expected, rel=1e-12)


def test_p_agrees_with_the_interval():
    values = np.random.default_rng(1).normal(size=(500, 11))
    got = estimate(Median(), Numbers.ok(values))
    assert ((got.p(0.2, "above") <= 0.025) == (got.low > 0.2)).all()
    assert ((got.p(0.2, "below") <= 0.025) == (got.high < 0.2)).all()


def test_censored_seeds_lie_beyond_the_last():
    got = estimate(Median(), with_status(np.arange(1.0, 11), CENSORED, slice(0, 3), np.inf))
    assert (got.value[0], got.low[0], got.high[0]) == (8.5 - 1 + 1, 5, np.inf)
    assert got.decidable[0] and got.counts["censored"][0] == 3 and got.n[0] == 10
    most = estimate(Median(), with_status(np.arange(1.0, 11), CENSORED, slice(0, 6), np.inf))
    assert most.value[0] == np.inf and most.low[0] == 8
    half = estimate(Median(), with_status(np.arange(1.0, 11), CENSORED, slice(0, 5), np.inf))
    assert half.value[0] == np.inf  # between a number and infinity: never NaN


def test_the_worst_end_is_declared_and_else_unknown():
    numbers = with_status(np.arange(1.0, 11), DIVERGED, [0, 5])
    high, low, open_ = (estimate(Median(diverged=end), numbers) for end in ("high", "low", None))
    assert (high.low[0], high.high[0]) == (3, np.inf) and (low.low[0], low.high[0]) == (-np.inf, 9)
    assert open_.low[0] == low.low[0] and open_.high[0] == high.high[0]  # the harder end on both sides
    assert np.isnan(open_.value[0]) and open_.decidable[0]


def test_a_bound_is_between_what_it_may_be():
    """A ratio whose numerator was never reached is at least what the last round gives."""
    values = np.array([[2.0, 3, 4, 5, 6, 7, 8, 9]])
    status = np.zeros((1, 8), np.uint8)
    status[0, [2, 6]] = CENSORED
    upper = values.copy()
    upper[0, [2, 6]] = np.inf
    got = estimate(Median(), Numbers(values, status, 8, upper))
    plain = estimate(Median(), Numbers.ok(values))
    assert got.low[0] == plain.low[0] == 2 and got.high[0] == np.inf
    assert got.p(2.5, "above")[0] == plain.p(2.5, "above")[0] and got.p(8.5, "below")[0] > plain.p(8.5, "below")[0]


def test_an_undefined_seed_never_makes_a_check_easier():
    values = np.random.default_rng(2).normal(1, 1, (200, 9))
    full = estimate(Median(), Numbers.ok(values))
    for code in (UNDEFINED, DIVERGED):
        got = estimate(Median(), with_status(values, code, 4))
        assert (got.low <= full.low).all() and (got.high >= full.high).all()
        assert (got.p(0, "above") >= full.p(0, "above") - 1e-15).all()
    absent = estimate(Median(), with_status(values, MISSING, 4))
    assert not absent.decidable.any() and (absent.n == 8).all()


@pytest.mark.parametrize("size", [3, 4])
def test_coverage_of_discrete_laws_by_enumeration(size):
    """All samples of 6 dice with `size` faces: the interval holds the median at least 95 % of the time, ties or not."""
    samples = np.array(list(itertools.product(range(1, size + 1), repeat=6)), float)
    got = estimate(Median(), Numbers.ok(samples))
    truth = (size + 1) / 2
    assert ((got.low <= truth) & (got.high >= truth)).mean() >= 0.95


def test_bench_counts_blocks():
    ratios = np.exp(np.random.default_rng(3).normal(0.5, 0.1, (2, 24)))
    got = estimate(Bench(), Numbers.ok(ratios, noun="block"))
    median = estimate(Median(), Numbers.ok(ratios))
    assert (got.low == median.low).all() and got.decidable.all()
    assert got.words == "median over blocks, 95 % interval between order statistics"
    few = estimate(Bench(), Numbers.ok(ratios[:, :19]))
    assert few.why_not() == "19 blocks are too few: this estimate decides nothing below 20"


# -- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 8, 20, 40])
def test_a_share_is_scipys_binomtest(n):
    values = np.array([[1.0] * k + [0.0] * (n - k) for k in range(n + 1)])
    got = estimate(Share(level=0.9), Numbers.ok(values))
    for k in range(n + 1):
        test = stats.binomtest(k, n, 0.3, "greater")
        interval = stats.binomtest(k, n).proportion_ci(0.9, "exact")
        assert (got.low[k], got.high[k]) == pytest.approx((interval.low, interval.high), abs=1e-10)
        assert got.p(0.3, "above")[k] == pytest.approx(test.pvalue, rel=1e-10)
        assert got.p(0.3, "below")[k] == pytest.approx(stats.binomtest(k, n, 0.3, "less").pvalue, rel=1e-10)
        assert got.value[k] == k / n


@pytest.mark.parametrize(("n", "low"), [(5, 0.478), (8, 0.631), (10, 0.692), (17, 0.805)])
def test_what_n_of_n_shows(n, low):
    got = estimate(Share(above=0), Numbers.ok(np.ones(n)))
    assert (got.value[0], got.high[0]) == (1, 1) and got.low[0] == pytest.approx(low, abs=1e-3)


def test_conditions():
    values = [0.0, 1, 2, 3, 4, 5, np.inf, -np.inf]
    for options, count in ((Share(below=3), 4), (Share(above=3), 3), (Share(above=1, below=4), 2)):
        assert estimate(options, Numbers.ok(values)).value[0] * 8 == pytest.approx(count)


def test_outcomes_count_as_declared():
    numbers = with_status(np.arange(10.0), DIVERGED, [0, 1])
    assert estimate(Share(below=5), numbers).value[0] == 0.3  # a diverged run is no success
    assert estimate(Share(below=5, diverged=True), numbers).value[0] == 0.5
    never = with_status(np.arange(10.0), CENSORED, [0, 1], np.inf)
    assert estimate(Share(below=5), never).value[0] == 0.3
    assert estimate(Share(below=5, censored=True), never).value[0] == 0.5


def test_what_is_not_known_counts_at_neither_end():
    numbers = with_status(np.arange(10.0), UNDEFINED, [0, 9])
    got = estimate(Share(below=5), numbers)
    least, most = (stats.binomtest(k, 10).proportion_ci(0.95, "exact") for k in (4, 6))
    assert np.isnan(got.value[0]) and got.low[0] == pytest.approx(least.low) and got.high[0] == pytest.approx(most.high)
    assert got.p(0.2, "above")[0] == pytest.approx(stats.binomtest(4, 10, 0.2, "greater").pvalue)


def test_a_share_of_other_numbers_asks_what_counts():
    got = estimate(Share(), Numbers.ok([0, 1, 1, 0, 0.5, 1]))
    assert got.why_not() == "the numbers are not 0 or 1; say `below` or `above` what counts"


def test_sizes_may_differ_between_draws():
    values = np.array([[1.0, 1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 1, 0, np.nan]])
    got = estimate(Share(), Numbers.ok(values))
    assert got.n.tolist() == [7, 6] and got.value.tolist() == [6 / 7, 4 / 6]
    assert got.low[1] == pytest.approx(stats.binomtest(4, 6).proportion_ci(0.95, "exact").low)


def test_the_sign_test_leaves_zeros_out():
    values = np.array([[1.0, 2, 0, -1, 3, 5, 0, 2, 1], [0] * 9])
    got = estimate(Sign(), Numbers.ok(values))
    assert got.n.tolist() == [7, 0] and got.value[0] == 6 / 7
    assert got.p(0.5, "above")[0] == pytest.approx(stats.binomtest(6, 7, 0.5, "greater").pvalue)
    assert not got.decidable[1] and math.isnan(got.low[1])


def test_the_sign_of_infinities():
    got = estimate(Sign(), with_status([1.0, 2, 3, -1, 2, 3, 4], CENSORED, 3, np.inf))
    assert got.value[0] == 1 and got.n[0] == 7
    assert (estimate(Sign(), with_status(np.ones(7), DIVERGED, 3)).counts["ok"] == 6).all() and OK == 0
