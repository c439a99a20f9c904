"""Estimators against scipy, statsmodels and closed forms, and at the edges where such code usually returns NaN."""

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from making import checked, estimated, frames, operand, rows
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW, ttost_ind

from descent.claims import audit
from descent.claims.families import bonferroni, holm

RNG = np.random.default_rng(0)
X = np.array([0.31, -0.12, 0.55, 0.40, 0.02, 0.73, 0.18, 0.27])
Y = np.array([0.10, 0.25, -0.30, 0.05, 0.11, 0.20])
ALTERNATIVES = ("two_sided", "less", "greater")


def two(first, second, estimator, predicate=None, **more):
    body = {"values": {"a": operand(method="a"), "b": operand(method="b")}, "estimator": estimator, **more}
    body |= {"predicate": predicate} if predicate else {}
    return checked(body, frames(rows("x", "v", first, method="a"), rows("x", "v", second, method="b")))


# -- means ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_t_interval_and_p_are_scipys(alternative):
    got = estimated(X, {"mean": "t", "level": 0.9, "alternative": alternative, "null": 0.1})
    test = stats.ttest_1samp(X, 0.1, alternative=alternative.replace("_", "-"))
    ends = stats.ttest_1samp(X, 0.1).confidence_interval(0.9)
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(ends))
    assert got.estimate == pytest.approx(X.mean()) and got.p_value == pytest.approx(test.pvalue)


def test_paired_difference_is_the_paired_t_test():
    a, b = RNG.normal(1, 1, 9), RNG.normal(0, 1, 9)
    body = {
        "values": {"a": operand(method="a"), "b": operand(method="b")},
        "statistic": "a - b",
        "estimator": {"mean": "t"},
    }
    got = checked(body, frames(rows("x", "v", a, method="a"), rows("x", "v", b, method="b")))
    assert got.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_log_scale_is_the_t_interval_of_logarithms():
    ratio = np.exp(X)
    got = estimated(ratio, {"mean": "t", "scale": "log"})
    ends = np.exp(stats.ttest_1samp(X, 0).confidence_interval(0.95))
    assert got.estimate == pytest.approx(stats.gmean(ratio))
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(ends))
    assert got.p_value == pytest.approx(stats.ttest_1samp(X, 0).pvalue)  # against a ratio of 1


def test_a_ratio_that_is_not_positive_has_no_logarithm():
    got = estimated([*np.exp(X), -1.0], {"mean": "t", "scale": "log"}, {"above": 0.1})
    assert got.outcome == "undecided" and "1 of 9 seeds have no defined value" in got.reason


def test_welch_difference():
    got = two(X, Y, {"difference": "welch"})
    test = stats.ttest_ind(X, Y, equal_var=False)
    assert got.p_value == pytest.approx(test.pvalue)
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_tost_is_statsmodels_and_agrees_with_its_interval():
    for shift in np.linspace(-0.5, 0.5, 41):
        got = estimated(X + shift, {"tost": "paired", "margin": 0.3}, {"inside": [-0.3, 0.3]})
        p = DescrStatsW(X + shift).ttost_mean(-0.3, 0.3)[0]
        assert got.p_value == pytest.approx(p)
        assert (got.outcome == "holds") == (p < 0.05)
    a, b = X, X[::-1] + RNG.normal(0, 0.1, 8)
    got = two(a, b, {"tost": "independent", "margin": 0.2})
    assert got.p_value == pytest.approx(ttost_ind(a, b, -0.2, 0.2, usevar="unequal")[0])
    ends = CompareMeans(DescrStatsW(a), DescrStatsW(b)).tconfint_diff(0.1, usevar="unequal")
    assert (got.ci_low, got.ci_high) == pytest.approx(ends)


# -- medians, functionals ---------------------------------------------------------------------------------------------


def test_exact_median_interval_is_the_binomial_one():
    values = np.arange(1.0, 11.0)  # n = 10: order statistics 2 and 9, coverage 97.9 %
    got = estimated(values, {"median": "order"})
    assert (got.estimate, got.ci_low, got.ci_high) == (5.5, 2, 9)
    five = estimated(values[:5], {"median": "order"}, {"above": 0})
    assert five.outcome == "undecided" and "no two of 5 seeds" in five.reason


def test_bootstrap_of_the_median_is_close_to_scipys_and_repeats():
    values = RNG.lognormal(0, 1, 25)
    got, again = (estimated(values, {"median": "bootstrap", "resamples": 20000}) for _ in range(2))
    theirs = stats.bootstrap((values,), np.median, method="percentile", n_resamples=20000, random_state=1)
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(theirs.confidence_interval), rel=0.05)
    assert got == again


def test_bootstrap_needs_eight_units_but_the_estimate_five():
    seven = estimated(X[:7], {"median": "bootstrap"}, {"above": -10})
    assert seven.outcome == "undecided" and "7 seeds are too few: a bootstrap interval needs 8" in seven.reason
    assert estimated(X[:7], {"median": "bootstrap"}, {"above": -10, "on": "estimate"}).outcome == "holds"
    assert estimated(X[:4], {"median": "bootstrap"}, {"above": -10, "on": "estimate"}).outcome == "undecided"


def test_a_functional_of_paired_operands_equals_scipys_paired_bootstrap():
    a = RNG.lognormal(1, 0.3, 20)
    b = a * RNG.lognormal(-0.5, 0.1, 20)
    body = {
        "values": {"a": operand(method="a"), "b": operand(method="b")}, "statistic": "a / b",
        "estimator": {"functional": "bootstrap", "of": "median", "resamples": 20000},
    }  # fmt: skip
    records = frames(rows("x", "v", a, method="a"), rows("x", "v", b, method="b"))
    got = checked(body, records)
    theirs = stats.bootstrap((a, b), lambda a, b, axis: np.median(a, axis) / np.median(b, axis), paired=True,
                             vectorized=True, method="percentile", n_resamples=20000, random_state=1)  # fmt: skip
    assert got.estimate == pytest.approx(np.median(a) / np.median(b))
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(theirs.confidence_interval), rel=0.02)
    body["estimator"]["paired"] = False
    apart = checked(body, records)
    assert apart.ci_high - apart.ci_low > 1.5 * (got.ci_high - got.ci_low)  # pairing is what narrows it


def test_clusters_are_resampled_whole():
    seeds = np.repeat(RNG.normal(0, 1, 12), 30)
    made = rows("x", "v", seeds + RNG.normal(0, 0.1, 360))
    records = frames([{**row, "seed": 1000 + i // 30, "rep": i % 30} for i, row in enumerate(made)])
    body = {"unit": ["seed", "rep"], "values": {"v": operand()}, "estimator": {"functional": "bootstrap"}}
    naive = checked(body, records)
    body["estimator"] = {"functional": "bootstrap", "resample": "seed"}
    honest = checked(body, records)
    assert honest.n == 12 and naive.n == 360
    assert honest.ci_high - honest.ci_low > 3 * (naive.ci_high - naive.ci_low)


@pytest.mark.parametrize("of", ["mean", "median", "max", "min", "sum", "std", "rms", "geomean"])
def test_every_aggregate(of):
    values = np.exp(X)
    truth = {"mean": values.mean(), "median": np.median(values), "max": values.max(), "min": values.min(), "sum": values.sum(),
             "std": values.std(ddof=1), "rms": np.sqrt((values**2).mean()), "geomean": stats.gmean(values)}[of]  # fmt: skip
    got = estimated(values, {"functional": "none", "of": of}, {"above": 0})
    assert got.estimate == pytest.approx(truth) and got.outcome == "holds"


# -- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", [5, 8, 12, 20, 30])
def test_wilcoxon_sign_and_sign_flip(alternative, n):
    values = np.random.default_rng(n).normal(0.4, 1, n)
    theirs = alternative.replace("_", "-")
    got = estimated(values, {"test": "wilcoxon", "alternative": alternative})
    assert got.p_value == pytest.approx(stats.wilcoxon(values, alternative=theirs).pvalue)
    got = estimated(values, {"test": "sign", "alternative": alternative})
    assert got.p_value == pytest.approx(stats.binomtest(int((values > 0).sum()), n, 0.5, theirs).pvalue)
    got = estimated(values, {"test": "sign_flip", "alternative": alternative})
    flips = stats.permutation_test((values,), np.mean, permutation_type="samples", alternative=theirs,
                                   n_resamples=20000, random_state=0)  # fmt: skip
    assert got.p_value == pytest.approx(flips.pvalue, abs=0.012)


def test_ties_and_zeros_are_enumerated():
    values = np.array([1, 1, -1, 2, 2, 0, 3, -1.0])
    moved = values[values != 0]
    ranks = stats.rankdata(np.abs(moved))
    totals = [np.sum(ranks * signs) for signs in itertools.product((-1, 1), repeat=len(moved))]
    seen = np.sum(ranks * np.sign(moved))
    got = estimated(values, {"test": "wilcoxon", "alternative": "greater"})
    assert got.p_value == pytest.approx(np.mean(np.array(totals) >= seen - 1e-9))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_mann_whitney_exact_tied_and_large(alternative):
    theirs = alternative.replace("_", "-")
    got = two(X, Y, {"test": "mann_whitney", "alternative": alternative})
    test = stats.mannwhitneyu(X, Y, alternative=theirs, method="exact")
    assert got.p_value == pytest.approx(test.pvalue)
    assert got.estimate == pytest.approx(test.statistic / (len(X) * len(Y)))
    a, b = RNG.normal(0.3, 1, 60), RNG.normal(0, 1, 70)
    got = two(a, b, {"test": "mann_whitney", "alternative": alternative})
    assert got.p_value == pytest.approx(stats.mannwhitneyu(a, b, alternative=theirs).pvalue)
    a, b = np.array([1, 2, 2, 3, 3, 3.0]), np.array([1, 1, 1, 2, 2, 3.0])
    got = two(a, b, {"test": "mann_whitney", "alternative": alternative})
    permuted = stats.permutation_test((a, b), lambda a, b: a.sum() - b.sum(), alternative=theirs, n_resamples=np.inf)
    assert got.p_value == pytest.approx(permuted.pvalue)


def test_censored_units_order_last_in_rank_tests():
    a = np.array([10, 20, 30, np.nan, np.nan, np.nan])
    status = ["ok"] * 3 + ["censored"] * 3
    records = frames(rows("x", "v", a, method="a", status=status), rows("x", "v", [1, 2, 3, 4, 5, 6], method="b"))
    body = {
        "values": {"a": operand(method="a"), "b": operand(method="b")},
        "estimator": {"test": "mann_whitney", "alternative": "greater"},
    }
    got = checked(body, records)
    assert got.estimate == 1 and got.p_value == pytest.approx(1 / math.comb(12, 6)) and got.n_censored == 3


@pytest.mark.parametrize("alternative", ["two_sided", "greater", "less"])
def test_kolmogorov_smirnov(alternative):
    a, b = RNG.normal(0.5, 1, 60), RNG.normal(0, 1.2, 50)
    got = two(a, b, {"test": "ks", "alternative": alternative})
    side = {"two_sided": "two-sided", "greater": "less", "less": "greater"}[
        alternative
    ]  # scipy's is about the functions
    theirs = stats.ks_2samp(a, b, alternative=side)
    assert (got.estimate, got.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert two(a + 2, b, {"test": "ks", "alternative": "greater"}).p_value < 1e-3


def test_auc_and_delong_error():
    a, b = RNG.normal(0.8, 1, 40), np.round(RNG.normal(0, 1, 50), 1)
    area = np.mean([(x > y) + (x == y) / 2 for x in a for y in b])
    got = two(a, b, {"auc": "delong"})
    assert got.estimate == pytest.approx(area)
    # DeLong's error is that of the placement values; the bootstrap is another estimate of the same thing
    x, y = RNG.choice(a, (2000, 40))[:, :, None], RNG.choice(b, (2000, 50))[:, None]
    draws = ((x > y) + (x == y) / 2).mean((1, 2))
    assert got.ci_high - got.ci_low == pytest.approx(2 * 1.96 * np.std(draws), rel=0.1)


def test_a_separated_auc_has_an_open_end_that_is_not_one():
    got = two(X + 9, Y, {"auc": "delong"})
    assert got.estimate == 1 and got.ci_high == 1
    assert got.ci_low == pytest.approx(stats.binomtest(6, 6).proportion_ci(0.95).low)
    assert got.p_value == pytest.approx(stats.mannwhitneyu(X + 9, Y, method="exact").pvalue)


# -- curves -----------------------------------------------------------------------------------------------------------


def along(table, estimator, predicate=None, status=None, **more):
    """One operand across the keys of `table` (setting -> unit values)."""
    body = {"values": {"v": operand(across={"k": list(table)})}, "estimator": estimator, **more}
    body |= {"predicate": predicate} if predicate else {}
    return checked(body, frames(*(rows("x", "v", v, k=k) for k, v in table.items())))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_spearman_pools_units_and_settings(alternative):
    table = {k: RNG.normal(-0.3 * np.log2(k), 1, 7) for k in (1, 2, 4, 8)}
    got = along(table, {"spearman": "pooled", "alternative": alternative})
    x = np.repeat(list(table), 7)
    theirs = stats.spearmanr(x, np.concatenate(list(table.values())), alternative=alternative.replace("_", "-"))
    assert (got.estimate, got.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))


def test_spearman_expression_is_per_unit():
    table = {k: RNG.normal(0.2 * k, 1, 6) for k in (1, 2, 3, 4, 5)}
    got = along(table, {"mean": "t"}, statistic="spearman(k, v)")
    each = [stats.spearmanr(list(table), [table[k][s] for k in table]).statistic for s in range(6)]
    assert got.estimate == pytest.approx(np.mean(each))


def test_least_squares_slope_is_statsmodels():
    table = {k: RNG.normal(2 - 0.5 * np.log(k), 0.3, 6) for k in (1, 2, 4, 8)}
    got = along(table, {"slope": "ols", "x": "log(k)"})
    x, y = np.repeat(np.log(list(table)), 6), np.concatenate(list(table.values()))
    fit = sm.OLS(y, sm.add_constant(x)).fit()
    assert got.estimate == pytest.approx(fit.params[1]) and got.p_value == pytest.approx(fit.pvalues[1])
    assert (got.ci_low, got.ci_high) == pytest.approx(tuple(fit.conf_int()[1]))


def test_slope_and_r2_expressions():
    table = {k: np.exp(RNG.normal(1.5 * np.log(k), 0.2, 6)) for k in (1, 2, 4, 8)}
    fits = [stats.linregress(np.log(list(table)), [np.log(table[k][s]) for k in table]) for s in range(6)]
    got = along(table, {"mean": "t"}, statistic="slope(log(k), log(v))")
    assert got.estimate == pytest.approx(np.mean([f.slope for f in fits]))
    got = along(table, {"mean": "t"}, statistic="r2(log(k), log(v))")
    assert got.estimate == pytest.approx(np.mean([f.rvalue**2 for f in fits]))


def test_logistic_fifty_per_cent_point_is_statsmodels():
    omegas = (0.5, 0.56, 0.6, 0.62, 0.64, 0.66, 0.68, 0.72, 0.8)
    table = {
        w: np.r_[np.ones(k), np.zeros(24 - k)] for w, k in zip(omegas, (0, 0, 2, 7, 6, 16, 16, 21, 24), strict=True)
    }
    x, y = np.repeat(omegas, 24), np.concatenate(list(table.values()))
    fit = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit()
    a, b = fit.params
    got = along(table, {"logistic50": "delta"})
    assert got.estimate == pytest.approx(-a / b, abs=1e-5)
    gradient = np.array([-1 / b, a / b**2])
    half = 1.959964 * np.sqrt(gradient @ fit.cov_params() @ gradient)
    assert got.ci_high - got.estimate == pytest.approx(half, rel=1e-3)
    bootstrap = along(table, {"logistic50": "bootstrap"})
    assert bootstrap.ci_high - bootstrap.ci_low == pytest.approx(2 * half, rel=0.15)


def test_logistic_of_separated_outcomes_lies_in_the_gap():
    got = along(
        {k: np.full(10, float(k > 2)) for k in (0, 1, 2, 3, 4)}, {"logistic50": "bootstrap"}, {"inside": [2, 3]}
    )
    assert got.estimate == pytest.approx(2.5, abs=0.01) and got.outcome == "holds"
    same = along({k: np.ones(10) for k in (0, 1, 2)}, {"logistic50": "bootstrap"}, {"above": 0})
    assert same.outcome == "undecided" and "no curve crosses 50 %" in same.reason


# -- fractions, families, audits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (3, 16), (16, 16), (60, 200)])
def test_clopper_pearson_everywhere_is_statsmodels(k, n):
    low, high = proportion_confint(k, n, 0.05, method="beta")
    low, high = (0.0 if k == 0 else low), (1.0 if k == n else high)
    assert audit.clopper_pearson(k, n) == pytest.approx((low, high), abs=1e-9)
    got = estimated([1.0] * k + [0.0] * (n - k), {"fraction": "clopper_pearson", "that": {"above": 0.5}})
    assert (got.estimate, got.ci_low, got.ci_high) == pytest.approx((k / n, low, high))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_and_bonferroni_are_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert bonferroni(p) == pytest.approx(multipletests(p, method="bonferroni")[1])


def test_a_family_is_corrected_across_checks_and_instances():
    bodies, parts = {}, []
    for i, shift in enumerate((0.5, 0.25, 0.2)):
        parts += rows("x", "v", X + shift - X.mean(), method=f"m{i}")
        bodies[f"c{i}"] = {
            "values": {"v": operand(method=f"m{i}")},
            "estimator": {"mean": "t"},
            "predicate": {"p_below": 0.05},
            "family": "f",
        }
    from making import judged

    got = judged(bodies, frames(parts)).checks
    raw = [c.p_value for c in got]
    assert [c.p_adjusted for c in got] == pytest.approx(multipletests(raw, method="holm")[1])
    assert "Holm over 3 tests" in got[0].reason


def test_a_vector_brings_all_its_p_values_into_the_family():
    table = {k: X - X.mean() + shift for k, shift in ((1, 0.5), (2, 0.25), (3, 0.2))}
    got = along(table, {"mean": "t"}, {"p_below": 0.05}, family={"name": "f", "method": "bonferroni"})
    raw = [stats.ttest_1samp(v, 0).pvalue for v in table.values()]
    assert got.outcome == "undecided" and got.p_adjusted == pytest.approx(3 * got.p_value)
    assert 3 * max(raw) > 0.05 and got.p_value == pytest.approx(next(p for p in raw if 3 * p >= 0.05))


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "bound"),
    [
        (1000, 100, 90, 1e-5, 1.6261), (1000, 200, 150, 1e-5, 0.8200), (500, 100, 60, 1e-5, 0.0507),
        (1000, 100, 100, 0, 3.4930), (2000, 200, 190, 1e-5, 2.3893), (1000, 100, 50, 1e-5, 0),
    ],
)  # fmt: skip
def test_one_run_audit_has_the_oracles_values(canaries, guesses, correct, delta, bound):
    assert audit.one_run_bound(correct, guesses, canaries, delta) == pytest.approx(bound, abs=5e-5)


def test_one_run_p_value_is_the_formula_written_out():
    m, r, v, delta, eps = 1000, 100, 80, 1e-4, 0.9
    s = math.exp(eps) / (1 + math.exp(eps))
    tail = stats.binom.sf(v - 1, r, s)
    extra = max((stats.binom.cdf(v - 1, r, s) - stats.binom.cdf(v - i - 1, r, s)) / i for i in range(1, v + 1))
    assert audit.one_run_p_value(eps, v, r, m, delta) == pytest.approx(tail + 2 * m * delta * extra, rel=1e-9)


def test_ratio_of_rates_audit():
    assert audit.tpr_fpr_bound(20000, 20000, 0, 20000) == pytest.approx(8.6, abs=0.01)
    assert audit.tpr_fpr_bound(680, 1000, 690, 1000) == 0
    assert audit.tpr_fpr_bound(0, 10, 0, 10) == 0


def test_auc_of_scores_and_members():
    scores, member = np.array([3, 1, 2, 0, 5, 4.0]), np.array([1, 0, 1, 0, 1, 0], bool)
    area, low, high = audit.auc(scores, member)
    assert area == pytest.approx(7 / 9) and 0 <= low < area < high <= 1


def test_audits_refuse_nonsense():
    for bad in ((101, 100, 1000), (5, 2000, 1000), (1.5, 3, 9)):
        with pytest.raises(ValueError, match="audit"):
            audit.one_run_bound(*bad)
    with pytest.raises(ValueError, match="fraction"):
        audit.clopper_pearson(1, 0)


# -- edges ------------------------------------------------------------------------------------------------------------

ONE_SAMPLE = [
    {"mean": "t"}, {"mean": "t", "scale": "log"}, {"mean": "bootstrap"}, {"median": "bootstrap"}, {"median": "order"},
    {"functional": "bootstrap"}, {"functional": "bootstrap", "of": "median"}, {"tost": "paired", "margin": 0.1},
    {"test": "wilcoxon"}, {"test": "sign"}, {"test": "sign_flip"}, {"fraction": "clopper_pearson", "that": {"above": 0.5}},
    {"exact": "value"},
]  # fmt: skip
TWO_SAMPLE = [
    {"difference": "welch"}, {"tost": "independent", "margin": 0.1}, {"test": "mann_whitney"}, {"test": "ks"}, {"auc": "delong"},
]  # fmt: skip


def no_nan(result):
    for number in (result.estimate, result.ci_low, result.ci_high, result.p_value, result.p_adjusted):
        assert number is None or not math.isnan(number), result
    return result


def predicate_for(estimator, level=0.5):
    return {"p_below": 0.05} if "test" in estimator else {"above": level}


@pytest.mark.parametrize("estimator", ONE_SAMPLE, ids=str)
@pytest.mark.parametrize("n", [1, 2, 4, 5, 10])
def test_zero_variance(estimator, n):
    got = no_nan(estimated([2.0] * n, estimator, predicate_for(estimator)))
    assert got.estimate is not None
    if "exact" in estimator:
        assert got.outcome == "holds"
    elif n < 5:
        assert got.outcome == "undecided" and "too few" in got.reason
    elif "test" in estimator:
        assert got.p_value == pytest.approx({5: 0.0625, 10: 2 / 1024}[n])  # all positive: order and signs still tell
    elif n == 10:
        assert got.outcome == "holds", got.reason


def test_zero_variance_has_no_t_test():
    got = estimated([2.0] * 10, {"mean": "t", "alternative": "greater"}, {"p_below": 0.05})
    assert got.p_value == 1 and got.outcome == "undecided"  # pfedsop.md: exact ties / zero variance -> p = 1
    assert (got.ci_low, got.ci_high) == (2, 2)


@pytest.mark.parametrize("estimator", ONE_SAMPLE, ids=str)
def test_all_zero(estimator):
    got = no_nan(estimated([0.0] * 10, estimator, predicate_for(estimator)))
    if "test" in estimator:
        assert got.p_value == 1 and got.outcome == "undecided"
    else:
        assert got.outcome in ("fails", "undecided")


@pytest.mark.parametrize("estimator", ONE_SAMPLE, ids=str)
def test_one_diverged_seed_leaves_everything_undecided(estimator):
    got = no_nan(
        estimated([2.0, 2.1, 1.9, 2.2, 2.05, 1.95, 2.0, 2.1, 1.9, np.nan], estimator, predicate_for(estimator))
    )
    assert got.outcome == "undecided", got
    assert (got.n, got.n_ok, got.n_diverged) == (10, 9, 1)
    assert "1 of 10 seeds diverged" in got.reason or "of 1 it is not known" in got.reason


def test_a_substitute_stands_for_a_diverged_seed():
    values = [2.0, 2.1, 1.9, 2.2, 2.05, 1.95, 2.0, 2.1, 1.9, np.nan]
    got = estimated(values, {"mean": "t"}, {"above": 1.5}, substitute={"diverged": 1.0})
    assert got.estimate == pytest.approx((sum(values[:9]) + 1) / 10) and got.outcome == "holds"
    got = estimated(values, {"mean": "t"}, {"above": 1.5}, substitute={"diverged": "inf"})
    assert got.outcome == "undecided"  # an infinity has no mean
    got = estimated(values, {"median": "order"}, {"above": 1.5}, substitute={"diverged": "inf"})
    assert got.outcome == "holds"


@pytest.mark.parametrize("estimator", [*ONE_SAMPLE, *TWO_SAMPLE], ids=str)
def test_all_censored(estimator):
    if estimator in TWO_SAMPLE:
        body = {"values": {"a": operand(method="a"), "b": operand(method="b")}, "estimator": estimator,
                "predicate": {"p_below": 0.05} if "test" in estimator else {"below": 5}}  # fmt: skip
        status = ["censored"] * 10
        records = frames(
            rows("x", "v", [np.nan] * 10, method="a", status=status),
            rows("x", "v", [np.nan] * 10, method="b", status=status),
        )
        got = no_nan(checked(body, records))
        assert got.n_censored == 20
        if "test" in estimator:
            assert got.p_value == 1
    else:
        got = no_nan(estimated([np.nan] * 10, estimator, predicate_for(estimator, 5), status="censored"))
        assert got.n_censored == 10
    if "mean" in estimator or "tost" in estimator or "difference" in estimator:
        assert got.outcome == "undecided"
    if "median" in estimator or "exact" in estimator:
        assert got.outcome == "holds" and got.estimate == math.inf  # never reached: above 5 in every seed


@pytest.mark.parametrize("estimator", TWO_SAMPLE, ids=str)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 10), (2, 2), (4, 10), (5, 5), (10, 10)])
def test_two_constant_samples(estimator, n, m):
    got = no_nan(two([1.0] * n, [1.0] * m, estimator, {"p_below": 0.05}))
    if min(n, m) < 5:
        assert got.outcome == "undecided" and "too few" in got.reason
    elif "tost" in estimator:
        assert got.outcome == "holds"  # equal without spread is equivalent
    else:
        assert got.outcome == "undecided" and got.p_value == 1


@pytest.mark.parametrize(
    "estimator",
    [{"spearman": "pooled"}, {"slope": "ols"}, {"logistic50": "delta"}, {"logistic50": "bootstrap"}],
    ids=str,
)
def test_curves_without_spread_or_units(estimator):
    predicate = {"p_below": 0.05} if "spearman" in estimator else {"above": 0}
    flat = no_nan(along({k: np.ones(8) for k in (1, 2, 3)}, estimator, predicate))
    assert flat.outcome in ("undecided", "fails")
    few = no_nan(along({k: np.array([float(k > 1), 1.0]) for k in (1, 2, 3)}, estimator, predicate))
    assert few.outcome == "undecided" and "2 seeds are too few" in few.reason


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(8)), st.sampled_from([e for e in ONE_SAMPLE if "log" not in str(e)]))
def test_the_order_and_the_names_of_units_change_nothing(order, estimator):
    predicate = predicate_for(estimator)
    assert estimated(X, estimator, predicate) == estimated(X[list(order)], estimator, predicate)


UNITS = st.lists(
    st.tuples(
        st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 1.0, 3.7, 1e120]),
        st.sampled_from(["ok"] * 6 + ["censored", "diverged", "undefined"]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(UNITS, UNITS, st.sampled_from([*ONE_SAMPLE, *TWO_SAMPLE]))
def test_whatever_is_recorded_gives_an_outcome_and_never_nan(first, second, estimator):
    def column(units, method):
        values = [v if s == "ok" else np.nan for v, s in units]
        return rows("x", "v", values, method=method, status=[s for _, s in units])

    records = frames(column(first, "a"), column(second, "b"))
    if estimator in TWO_SAMPLE:
        values = {"a": operand(method="a"), "b": operand(method="b")}
    else:
        values = {"a": operand(method="a", substitute={"undefined": 7})}
    few = {"resamples": 200} if "bootstrap" in estimator.values() else {}
    body = {"values": values, "estimator": {**estimator, **few}, "predicate": predicate_for(estimator)}
    got = no_nan(checked(body, records))
    assert got.outcome in ("holds", "fails", "undecided") and got.reason and "nan" not in got.reason
    if min(len(first), len(second)) < 5 and estimator in TWO_SAMPLE:
        assert got.outcome == "undecided"


CURVES = [
    ({"spearman": "pooled"}, None),
    ({"slope": "ols"}, None),
    ({"logistic50": "bootstrap", "resamples": 200}, None),
    ({"logistic50": "delta"}, None),
    ({"functional": "bootstrap", "of": "median", "paired": False, "resamples": 200}, "slope(log(k), log(v))"),
    ({"functional": "bootstrap", "eligible": 0.5, "resamples": 200}, "max(v) / min(v)"),
    ({"mean": "t"}, "spearman(k, v)"),
    ({"median": "order"}, None),
]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(UNITS, min_size=2, max_size=4), st.sampled_from(CURVES), st.sampled_from(["interval", "estimate", "best"])
)
def test_whatever_is_recorded_along_settings_gives_an_outcome(settings_, kind, on):
    estimator, statistic = kind
    binary = "logistic50" in estimator
    parts = [
        rows("x", "v", [(float(v > 0) if binary else v) if s == "ok" else np.nan for v, s in units], k=k,
             status=[s for _, s in units])
        for k, units in enumerate(settings_, start=1)
    ]  # fmt: skip
    body = {"values": {"v": operand(across={"k": list(range(1, len(parts) + 1))})}, "estimator": estimator}
    body |= {"statistic": statistic} if statistic else {}
    vector = statistic is None and "median" in estimator
    body["predicate"] = {"ordered": "ascending", "on": "estimate"} if on == "best" and vector else {"above": 0.5}
    if on == "estimate":
        body["predicate"]["on"] = "estimate"
    got = no_nan(checked(body, frames(*parts)))
    assert got.outcome in ("holds", "fails", "undecided") and "nan" not in got.reason
