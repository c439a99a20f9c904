"""Signed ranks by enumeration and scipy, the distance of distributions by scipy and its bound, Holm by statsmodels."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from descent.claims.estimate import kinds  # noqa: F401
from descent.claims.estimate.base import DIVERGED, MISSING, UNDEFINED, Numbers, estimate
from descent.claims.estimate.holm import holm
from descent.claims.estimate.rank import KS, Wilcoxon, signed_rank_law

# -- Wilcoxon ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[1, 2, 3, 4, 5, 6, 7], [1, 1, 2, 2, 2, 5], [0, 0, 1, 1, 1, 1, 3, 3], [1] * 7])
def test_under_every_sign_the_p_is_small_as_rarely_as_it_says(sizes):
    """All signs of given sizes, ties and zeros too: P[p <= a] <= a at every a, and equality without ties."""
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(sizes))))
    got = estimate(Wilcoxon(level=0.6), Numbers.ok(signs * np.array(sizes, float)))
    for side in ("above", "below"):
        p = got.p(0, side)
        reached = np.array([(p <= a).mean() for a in np.unique(p)])
        assert (reached <= np.unique(p) + 1e-12).all()
        if len(set(sizes)) == len(sizes):
            assert reached == pytest.approx(np.unique(p))


def test_the_law_is_that_of_all_signs():
    ranks = np.array(list(itertools.product((0, 1), repeat=6))) @ np.arange(1, 7)
    assert signed_rank_law(6)[:22] == pytest.approx([(ranks >= w).mean() for w in range(22)])


@pytest.mark.parametrize("n", [6, 8, 20, 45])
def test_signed_ranks_are_scipys_exact_ones(n):
    values = np.random.default_rng(n).normal(0.3, 1, (4, n))
    got = estimate(Wilcoxon(), Numbers.ok(values))
    for d, row in enumerate(values):
        for side, alternative in (("above", "greater"), ("below", "less")):
            expected = stats.wilcoxon(row - 0.1, alternative=alternative, method="exact").pvalue
            assert got.p(0.1, side)[d] == pytest.approx(expected, rel=1e-9)


def test_draws_may_lack_numbers():
    values = np.array([[1.0, -2, 3, 4, np.nan, 6, 7], [1, 2, 3, -4, 5, 6, 8]])
    status = np.where(np.isnan(values), MISSING, 0).astype(np.uint8)
    got = estimate(Wilcoxon(), Numbers(values, status, 7))
    short = estimate(Wilcoxon(), Numbers.ok(values[0, ~np.isnan(values[0])]))
    assert got.low[0] == short.low[0] and got.high[0] == short.high[0] and got.n.tolist() == [6, 7]
    assert not got.decidable[0] and got.p(0, "above")[1] == pytest.approx(
        stats.wilcoxon(values[1], alternative="greater").pvalue
    )


def test_the_pseudo_median_is_the_median_of_all_pairs_means():
    values = np.random.default_rng(0).normal(size=(3, 9))
    got = estimate(Wilcoxon(), Numbers.ok(values))
    for d, row in enumerate(values):
        pairs = [(row[i] + row[j]) / 2 for i in range(9) for j in range(i, 9)]
        assert got.value[d] == pytest.approx(np.median(pairs))
        # n = 9 at 95 %: the 6th of 45 from either end (Hollander and Wolfe, table of the signed rank law)
        assert (got.low[d], got.high[d]) == pytest.approx((sorted(pairs)[5], sorted(pairs)[-6]))


def test_interval_and_p_of_signed_ranks_agree():
    values = np.random.default_rng(1).normal(0.4, 1, (300, 10))
    got = estimate(Wilcoxon(), Numbers.ok(values))
    assert ((got.p(0, "above") <= 0.025) == (got.low > 0)).all() and 20 < (got.low > 0).sum() < 280


def test_five_seeds_have_no_interval_at_95_percent():
    five = estimate(Wilcoxon(), Numbers.ok(np.arange(5.0) + 1))
    assert five.why_not() == "no interval at this level exists for so few seeds"
    assert estimate(Wilcoxon(), Numbers.ok(np.arange(6.0) + 1)).low[0] == 1
    assert estimate(Wilcoxon(level=0.9), Numbers.ok(np.arange(5.0) + 1)).low[0] == 1


def test_infinities_and_unknowns_among_ranks():
    values, status = np.array([[1.0, 2, 3, 4, 5, 6, 7, np.nan]]), np.zeros((1, 8), np.uint8)
    status[0, 7] = UNDEFINED
    got = estimate(Wilcoxon(), Numbers(values, status, 8))
    as_low = estimate(Wilcoxon(), Numbers.ok(np.nan_to_num(values, nan=-np.inf)))
    as_high = estimate(Wilcoxon(), Numbers.ok(np.nan_to_num(values, nan=np.inf)))
    assert got.low[0] == as_low.low[0] and got.high[0] == as_high.high[0]
    assert got.p(0, "above")[0] == as_low.p(0, "above")[0]
    status[0, 7] = DIVERGED
    assert estimate(Wilcoxon(diverged="high"), Numbers(values, status, 8)).high[0] == as_high.high[0]


# -- Kolmogorov and Smirnov -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(5, 7), (40, 40)])
def test_the_distance_is_scipys(n, m):
    rng = np.random.default_rng(n)
    a, b = np.round(rng.normal(size=(4, n)), 1), np.round(rng.normal(0.5, 1, size=(4, m)), 1)
    got = estimate(KS(), Numbers.ok(a), Numbers.ok(b))
    expected = [stats.ks_2samp(x, y).statistic for x, y in zip(a, b, strict=True)]
    assert got.value == pytest.approx(expected, abs=1e-12)
    u = rng.random((3, n))
    one = estimate(KS(), Numbers.ok(u))
    assert one.value == pytest.approx([stats.ks_1samp(x, stats.uniform.cdf).statistic for x in u], abs=1e-12)


def test_the_bound_is_massarts():
    rng = np.random.default_rng(0)
    one = estimate(KS(), Numbers.ok(rng.random((1, 100))))
    assert one.high[0] - one.value[0] == pytest.approx(math.sqrt(math.log(2 / 0.05) / 200))
    two = estimate(KS(), Numbers.ok(rng.random((1, 4000))), Numbers.ok(rng.random((1, 4000))))
    assert two.high[0] - two.value[0] == pytest.approx(2 * math.sqrt(math.log(4 / 0.05) / 8000))
    assert two.high[0] < 0.1  # 4,000 chains can show "below .1"


def test_the_interval_holds_the_true_distance():
    rng = np.random.default_rng(2)
    truth = 2 * stats.norm.cdf(0.25) - 1  # two normals half a standard deviation apart
    got = estimate(KS(), Numbers.ok(rng.normal(size=(400, 60))), Numbers.ok(rng.normal(0.5, 1, size=(400, 60))))
    assert ((got.low <= truth) & (truth <= got.high)).mean() >= 0.95
    assert ((got.p(truth, "below") <= 0.05).mean() <= 0.05) and ((got.p(truth, "above") <= 0.05).mean() <= 0.05)


def test_a_distance_needs_every_seed_and_five():
    values = np.random.default_rng(0).random((1, 8))
    whole = Numbers.ok(values)
    values = values.copy()
    values[0, 1] = np.nan
    assert estimate(KS(), whole, Numbers.ok(values)).why_not() == "1 of 8 seeds has no number"
    assert not estimate(KS(), whole, Numbers(values, (np.isnan(values) * UNDEFINED).astype(np.uint8), 8)).decidable[0]
    assert "too few" in estimate(KS(), whole, Numbers.ok(values[:, 2:6])).why_not()
    assert MISSING == 4


# -- Holm -------------------------------------------------------------------------------------------------------------

LEVELS = st.one_of(st.floats(0, 1), st.just(math.nan))


@settings(max_examples=12, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=9))
def test_holm_is_statsmodels_with_what_is_missing_counted_as_1(p):
    filled = np.nan_to_num(p, nan=1.0)
    assert holm(p) == pytest.approx(multipletests(filled, method="holm")[1], abs=1e-12)


def test_holm_corrects_each_draw_by_itself():
    p = np.random.default_rng(0).random((6, 6))
    assert holm(p) == pytest.approx(np.array([multipletests(row, method="holm")[1] for row in p]))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(0, 7))
def test_losing_a_member_never_helps_the_others(p, at):
    lost = [math.nan if i == at % len(p) else v for i, v in enumerate(p)]
    assert (holm(lost) >= holm(p) - 1e-12).all()
