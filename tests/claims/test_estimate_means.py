"""The t family against scipy, closed forms and numbers worked by hand, draw by draw."""

import math

import numpy as np
import pytest
from scipy import stats

from descent.claims.estimate import kinds  # noqa: F401
from descent.claims.estimate.base import CENSORED, DIVERGED, MISSING, OK, UNDEFINED, Numbers, estimate
from descent.claims.estimate.means import Jackknife, T, Tolerance


def draws(d=6, n=9, seed=0, law="normal"):
    rng = np.random.default_rng(seed)
    return rng.normal(0.4, 1, (d, n)) if law == "normal" else rng.lognormal(0.3, 0.5, (d, n))


def spoilt(code, value=np.nan, n=8, at=2):
    """A draw of n numbers of which one has another status."""
    values, status = draws(1, n), np.zeros((1, n), np.uint8)
    values[0, at], status[0, at] = value, code
    return Numbers(values, status, n)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_t_is_scipys_draw_by_draw(level):
    values = draws()
    got = estimate(T(level=level), Numbers.ok(values))
    for d, row in enumerate(values):
        interval = stats.ttest_1samp(row, 0).confidence_interval(level)
        assert got.value[d] == pytest.approx(row.mean(), rel=1e-13)
        assert (got.low[d], got.high[d]) == pytest.approx((interval.low, interval.high), rel=1e-12)
        for side, alternative in (("above", "greater"), ("below", "less")):
            expected = stats.ttest_1samp(row, 0.3, alternative=alternative).pvalue
            assert got.p(0.3, side)[d] == pytest.approx(expected, rel=1e-10)
    assert got.decidable.all() and (got.n == 9).all()


def test_worked_by_hand():
    """1 to 5: mean 3, sd sqrt(2.5), t(4) at 97.5 % is 2.776445."""
    got = estimate(T(), Numbers.ok([3, 1, 2, 5, 4.0]))
    half = 2.7764451051977934 * math.sqrt(2.5 / 5)
    assert (got.value[0], got.low[0], got.high[0]) == pytest.approx((3, 3 - half, 3 + half), rel=1e-12)
    assert got.words == "mean over seeds, 95 % t interval"


def test_the_log_scale_is_t_of_logarithms_shown_as_a_ratio():
    values = draws(law="lognormal")
    log, plain = estimate(T(scale="log"), Numbers.ok(values)), estimate(T(), Numbers.ok(np.log(values)))
    for name in ("value", "low", "high"):
        assert getattr(log, name) == pytest.approx(np.exp(getattr(plain, name)), rel=1e-13)
    assert log.p(1.2, "above") == pytest.approx(plain.p(math.log(1.2), "above"), rel=1e-12)
    assert log.p(-1, "above") == pytest.approx(0) and log.p(0, "below") == pytest.approx(1)
    assert log.words == "geometric mean over seeds, 95 % t interval"


@pytest.mark.parametrize("bad", [0.0, -2.0])
def test_the_log_scale_refuses_what_is_not_positive(bad):
    got = estimate(T(scale="log"), Numbers.ok([1, 2, 3, 4, 5, bad]))
    assert not got.decidable[0] and np.isnan(got.value[0])
    assert got.why_not() == "the log scale needs positive numbers, and a seed has none; estimate a difference"


def test_tost_is_two_t_tests_and_agrees_with_its_interval():
    values = draws(400, 12, 3) * 0.2
    got = estimate(T(alpha=0.05), Numbers.ok(values))
    assert got.level == pytest.approx(0.9)
    inside = got.p((-0.2, 0.2), "inside")
    by_interval = (got.low > -0.2) & (got.high < 0.2)
    assert (by_interval == (inside < 0.05)).all() and 40 < by_interval.sum() < 390
    low = stats.ttest_1samp(values, -0.2, axis=1, alternative="greater").pvalue
    high = stats.ttest_1samp(values, 0.2, axis=1, alternative="less").pvalue
    assert inside == pytest.approx(np.maximum(low, high), rel=1e-9)
    outside = got.p((-0.2, 0.2), "outside")
    assert outside == pytest.approx(np.minimum(1, 2 * np.minimum(1 - low, 1 - high)), rel=1e-7, abs=1e-12)


def test_level_and_alpha_are_one_thing():
    with pytest.raises(ValueError, match="give `level` or `alpha`, not both"):
        T(level=0.95, alpha=0.05)
    with pytest.raises(ValueError):
        T(level=0.4)
    with pytest.raises(ValueError):
        T(resamples=2000)


# -- what may not decide ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fewer_than_five_seeds_decide_nothing(n):
    got = estimate(T(), Numbers.ok(np.arange(float(n)).reshape(1, n)))
    assert not got.decidable[0] and np.isnan(got.p(0, "above")[0])
    assert got.why_not() == f"{n} seed{'s are' if n > 1 else ' is'} too few: this estimate decides nothing below 5"
    assert np.isfinite(got.low[0]) == (n >= 2)  # shown all the same


def test_no_seed_at_all_is_missing():
    got = estimate(T(), Numbers.ok(np.empty((2, 0)), planned=3))
    assert not got.decidable.any() and np.isnan(got.value).all() and got.why_not(1) == "3 of 3 seeds have no number"


@pytest.mark.parametrize(
    ("code", "word", "sentence"),
    [
        (DIVERGED, "diverged", "1 of 8 seeds diverged, so they have no mean; a median or a share takes them"),
        (CENSORED, "censored", "1 of 8 seeds never reached the level, so they have no mean; a median or a share takes them"),
        (UNDEFINED, "undefined", "1 of 8 seeds has no defined value"),
    ],
)  # fmt: skip
def test_an_outcome_without_a_number_is_never_dropped(code, word, sentence):
    got = estimate(T(), spoilt(code, np.inf))
    assert not got.decidable[0] and np.isnan(got.value[0]) and got.why_not() == sentence
    assert got.counts[word][0] == 1 and got.counts["ok"][0] == 7


def test_a_missing_seed_is_counted_shown_and_decides_nothing():
    numbers = spoilt(MISSING)
    got = estimate(T(), numbers)
    rest = np.delete(numbers.values[0], 2)
    assert got.value[0] == pytest.approx(rest.mean()) and got.n[0] == 7 and got.planned == 8
    assert not got.decidable[0] and got.why_not() == "1 of 8 seeds has no number"
    short = estimate(T(), Numbers.ok(draws(1, 8), planned=10))  # columns that are not even there
    assert short.counts["missing"][0] == 2 and short.why_not() == "2 of 10 seeds have no number"


def test_draws_are_judged_each_by_itself():
    values = np.tile(np.arange(8.0), (3, 1))
    status = np.zeros((3, 8), np.uint8)
    status[1, 0], values[1, 0] = DIVERGED, np.nan
    values[2] = 4.0
    got = estimate(T(), Numbers(values, status, 8))
    assert got.decidable.tolist() == [True, False, False]
    assert "diverged" in got.why_not(1) and "same number" in got.why_not(2) and got.why_not(0) == ""


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9, -3e-7])
def test_numbers_that_agree_up_to_rounding_are_no_sample(value):
    rounding = 1 + np.arange(6) * 2.0**-52
    for values in (np.full(6, value), value * rounding):
        got = estimate(T(), Numbers.ok(values))
        assert not got.decidable[0] and np.isnan(got.low[0]) and got.value[0] == pytest.approx(value)
        assert "declare its resolution, or that it is exact" in got.why_not()


def test_rounding_of_a_difference_is_judged_beside_its_operands():
    """Differences of 1e-17 of numbers near 1 "reproduced" above 0 in the first edition."""
    values = np.array([1.0, 2, 3, 2.5, 4, 3.1]) * 1e-17
    got = estimate(T(), Numbers.ok(values, size=1.0))
    assert not got.decidable[0]
    assert estimate(T(), Numbers.ok(values)).decidable[0]  # small numbers are numbers
    ratio = estimate(T(scale="log"), Numbers.ok(1 + np.array([1, 2, 3, 2, 1, 0]) * 2.0**-52))
    assert not ratio.decidable[0]


def test_zero_one_data_under_t_say_share():
    got = estimate(T(), Numbers.ok([1.0] * 9 + [0.0]))
    assert not got.decidable[0]
    assert (
        got.why_not()
        == "the numbers take two values only, so a t interval does not hold; estimate a share, or declare their resolution"
    )


def test_a_resolution_bounds_the_interval_from_below_and_the_p_with_it():
    values = np.array([10, 10, 11, 12, 10, 11, 9, 10.0]) / 1000
    plain, wide = (estimate(T(), Numbers.ok(values), resolution=r) for r in (0, 0.5))
    assert wide.low[0] == pytest.approx(wide.value[0] - 0.5) and wide.high[0] == pytest.approx(wide.value[0] + 0.5)
    assert plain.p(0, "above")[0] < 1e-5 and wide.p(0, "above")[0] == 1 and wide.p(-0.6, "above")[0] < 1e-5
    narrow = estimate(T(), Numbers.ok(values), resolution=1e-9)
    assert (narrow.low[0], narrow.high[0]) == (plain.low[0], plain.high[0])


def test_a_declared_resolution_says_how_far_equal_numbers_may_differ():
    got = estimate(T(), Numbers.ok([12.0] * 10), resolution=0.5)
    assert got.decidable[0] and (got.low[0], got.high[0]) == (11.5, 12.5)
    assert got.p(11, "above")[0] == 0 and got.p(11.6, "above")[0] == 1
    steps = estimate(T(), Numbers.ok([12.0] * 9 + [13]), resolution=0.5)
    assert steps.decidable[0] and steps.low[0] <= 11.6 and steps.high[0] >= 12.6
    assert not estimate(T(), Numbers.ok([12.0] * 9 + [20]), resolution=0.5).decidable[0]
    assert not estimate(T(), Numbers.ok([12.0] * 4), resolution=0.5).decidable[0]


# -- jackknife --------------------------------------------------------------------------------------------------------


def left_out(values, functional):
    """(D, n + 1): functional of all seeds, then of all but each. functional: (..., n) -> (...)."""
    columns = [functional(values)]
    columns += [functional(np.delete(values, i, axis=-1)) for i in range(values.shape[-1])]
    return np.stack(columns, axis=-1)


def test_the_jackknife_of_a_mean_is_the_t_interval():
    values = draws()
    got = estimate(Jackknife(), Numbers.ok(left_out(values, lambda v: v.mean(-1)), planned=9))
    t = estimate(T(), Numbers.ok(values))
    for name in ("value", "low", "high"):
        assert getattr(got, name) == pytest.approx(getattr(t, name), rel=1e-9)
    assert got.p(0.1, "above") == pytest.approx(t.p(0.1, "above"), rel=1e-8)
    assert (got.n == 9).all() and got.decidable.all()


def test_the_jackknife_error_is_the_formula_written_out():
    values = draws(1, 7, 4, "lognormal")
    table = left_out(values, lambda v: np.log(v.mean(-1)))
    got = estimate(Jackknife(level=0.9), Numbers.ok(table, planned=7))
    pseudo = 7 * table[0, 0] - 6 * table[0, 1:]
    error = pseudo.std(ddof=1) / math.sqrt(7)  # the same error by Tukey's pseudo-values
    half = stats.t.ppf(0.95, 6) * error
    assert (got.low[0], got.high[0]) == pytest.approx((table[0, 0] - half, table[0, 0] + half), rel=1e-10)


def test_a_ratio_of_means_on_the_log_scale():
    rng = np.random.default_rng(8)
    a, b = rng.gamma(5, size=(1, 10)), rng.gamma(9, size=(1, 10))
    both = np.stack([a, b], axis=1)
    ratio = left_out(both, lambda v: v[:, 0].mean(-1) / v[:, 1].mean(-1))
    log = estimate(Jackknife(scale="log"), Numbers.ok(ratio, planned=10))
    plain = estimate(Jackknife(), Numbers.ok(np.log(ratio), planned=10))
    assert (log.low[0], log.high[0]) == pytest.approx((math.exp(plain.low[0]), math.exp(plain.high[0])))


def test_the_jackknife_of_a_median_is_refused():
    """Leaving one of an even number out leaves one of two medians: its error is not that of the median."""
    got = estimate(Jackknife(), Numbers.ok(left_out(draws(1, 10), lambda v: np.median(v, -1)), planned=10))
    assert not got.decidable[0] and "two values" in got.why_not()


def test_a_functional_that_does_not_exist_without_a_seed_decides_nothing():
    table = left_out(draws(1, 8), lambda v: v.mean(-1))
    table[0, 3] = np.inf
    got = estimate(Jackknife(), Numbers.ok(table, planned=8))
    assert not got.decidable[0] and np.isnan(got.value[0])
    status = np.zeros((1, 9), np.uint8)
    table[0, 3], status[0, 3] = np.nan, UNDEFINED
    assert not estimate(Jackknife(), Numbers(table, status, 8)).decidable[0]
    table = left_out(draws(1, 8), lambda v: v.mean(-1))
    status[0, 3], status[0, 0] = OK, UNDEFINED
    assert not estimate(Jackknife(), Numbers(table, status, 8)).decidable[0]
    assert (
        estimate(Jackknife(), Numbers.ok(left_out(draws(1, 8), lambda v: v.mean(-1)), planned=9)).counts["missing"][0]
        == 1
    )


# -- tolerance --------------------------------------------------------------------------------------------------------


def test_eight_runs_lie_below_mean_plus_1_88_sd():
    """80 % of runs lie below this bound with 95 % confidence (the table of one-sided normal tolerance factors)."""
    values = draws(1, 8)
    got = estimate(Tolerance(), Numbers.ok(values))
    factor = (got.high[0] - values.mean()) / values.std(ddof=1)
    assert factor == pytest.approx(1.8754, abs=1e-4)
    k95 = estimate(Tolerance(quantile=0.95), Numbers.ok(draws(1, 10)))
    assert (k95.high[0] - draws(1, 10).mean()) / draws(1, 10).std(ddof=1) == pytest.approx(2.911, abs=1e-3)


def test_the_tolerance_p_agrees_with_its_bound():
    values = draws(300, 8, 5)
    got = estimate(Tolerance(), Numbers.ok(values))
    assert ((got.p(1.5, "below") < 0.05) == (got.high < 1.5)).all()
    assert ((got.p(0.3, "above") < 0.05) == (got.low > 0.3)).all()
    assert got.p(1.5, "below") + got.p(1.5, "above") == pytest.approx(1, abs=1e-9)


def test_the_half_quantile_is_the_mean():
    values = draws(5, 7)
    got, t = estimate(Tolerance(quantile=0.5), Numbers.ok(values)), estimate(T(level=0.9), Numbers.ok(values))
    assert got.low == pytest.approx(t.low, rel=1e-8) and got.high == pytest.approx(t.high, rel=1e-8)
