"""Tables of final values: intervals that fit what they show, and what is read of a seed's records."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from descent.claims.estimate.base import Numbers
from descent.core.declare import Metric
from descent.report.finals import (
    Cell,
    final_values,
    results_csv,
    statistic_of,
    summarise,
    table_interval,
    table_options,
)
from descent.report.finals import Finals as Table

LOSS = Metric("", "Loss.", "lower", log=True)
SHARE = Metric("", "Share.", "higher", range=(0.0, 1.0))
PLAIN = Metric("", "A number.")


def cell(values, metric=PLAIN, column=None):
    values = np.asarray(values, float)
    return summarise(values, ["ok"] * len(values), metric, table_options(metric, column or [values]))


def test_outcomes_of_0_and_1_are_a_share_with_its_exact_interval():
    got = cell([1.0] * 9 + [0.0])
    exact = stats.binomtest(9, 10).proportion_ci(0.95, "exact")
    assert got.statistic == "share" and (got.value, got.low, got.high) == pytest.approx((0.9, exact.low, exact.high))
    one = cell([1.0] * 8, SHARE)
    assert one.high == 1 and one.low == pytest.approx(0.631, abs=1e-3)  # 8 of 8 is not certainty
    assert cell([1.0] * 8).statistic == "mean"  # nothing says that these are shares


def test_a_bounded_mean_keeps_its_t_interval_inside_the_range():
    values = np.array([0.99, 0.97, 1.0, 0.995, 0.85, 0.999])
    assert stats.t.interval(0.95, 5, values.mean(), stats.sem(values))[1] > 1
    declared, seen = cell(values, SHARE), cell(values, PLAIN)
    assert declared.statistic == "mean" and declared.value == pytest.approx(values.mean()) and declared.high == 1.0
    assert declared.low == pytest.approx(stats.t.interval(0.95, 5, values.mean(), stats.sem(values))[0])
    assert seen.statistic == "median" and (seen.low, seen.high) == (0.85, 1.0)
    inside = cell([0.4, 0.5, 0.45, 0.6, 0.55], PLAIN)
    assert inside.statistic == "mean" and 0 < inside.low < inside.high < 1


def test_the_range_cuts_what_a_neighbouring_cell_chose():
    options = table_options(PLAIN, [np.array([0.4, 0.5, 0.6])])
    got = table_interval(SHARE, Numbers.ok([0.99, 0.97, 1.0, 0.995, 0.85, 0.999]), options)
    assert got.high[0] == 1.0 and got.low[0] > 0.9


def test_positive_quantities_never_have_a_negative_end():
    values = np.array([0.01, 3.0, 0.2, 40.0, 0.5, 1.1])
    assert stats.t.interval(0.95, 5, values.mean(), stats.sem(values))[0] < 0
    for metric in (LOSS, PLAIN):  # declared so, or seen to be so
        got = cell(values, metric)
        log = stats.t.interval(0.95, 5, np.log(values).mean(), stats.sem(np.log(values)))
        assert got.statistic == "geometric mean" and (got.low, got.high) == pytest.approx(tuple(np.exp(log)))


def test_a_column_shows_one_statistic():
    wild, calm = np.array([0.01, 3.0, 0.2, 40.0, 0.5]), np.array([10.0, 11, 12, 11, 10])
    for values in (wild, calm):
        assert cell(values, PLAIN, [wild, calm]).statistic == "geometric mean"
    assert cell(calm).statistic == "mean"


def test_counts_with_zeros_have_a_median_among_them():
    got = cell([0.0, 0, 1, 0, 7, 30, 2, 0])
    assert got.statistic == "median" and (got.value, got.low, got.high) == (0.5, 0, 30)


def test_numbers_of_either_sign_have_a_mean():
    got = cell([-1.0, 2, 0.5, -0.3, 1])
    low, high = stats.t.interval(0.95, 4, np.mean([-1.0, 2, 0.5, -0.3, 1]), stats.sem([-1.0, 2, 0.5, -0.3, 1]))
    assert got.statistic == "mean" and (got.low, got.high) == pytest.approx((low, high))


def test_equal_numbers_have_no_interval_and_what_is_not_ok_no_value():
    assert not cell([5.0] * 6, PLAIN).has_interval and cell([5.0] * 6).value == 5
    got = summarise(np.array([1.0, np.inf]), ["ok", "censored"], LOSS)
    assert np.isnan(got.value) and got.not_ok == "1 of 2 censored" and got.n == 2
    assert np.isnan(summarise(np.array([]), [], LOSS).value)


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([PLAIN, SHARE, LOSS]))
def test_no_end_leaves_the_unit_interval_of_what_lies_in_it(values, metric):
    got = cell(values, metric)
    assert not got.has_interval or (got.low >= 0 and got.low <= got.high)
    assert not got.has_interval or metric.range is None or got.high <= 1


# -- what is read of a seed's records ---------------------------------------------------------------------------------


def frame(values, metric="v", statuses=None):
    rows = [
        {"method": "m", "seed": seed, "step": step, "metric": metric, "value": value,
         "status": "ok" if statuses is None else statuses[seed][step]}
        for seed, series in enumerate(values) for step, value in enumerate(series)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def read(values, final, statuses=None):
    found = final_values(frame(values, statuses=statuses), {"v": Metric("", "V.", final=final)})
    return list(zip(found["value"], found["status"], strict=True))


def test_last_tail_mean_and_none():
    values = [list(range(20)), [5.0] * 20]
    assert read(values, "last") == [(19, "ok"), (5, "ok")]
    assert read(values, "tail") == [(18.5, "ok"), (5, "ok")]  # two of twenty records
    assert read(values, "mean") == [(9.5, "ok"), (5, "ok")]
    assert read(values, "none") == []
    assert read([[3.0]], "tail") == [(3, "ok")]


def test_a_mean_is_as_bad_as_its_worst_record():
    statuses = [["ok", "diverged", "ok"], ["ok"] * 3]
    got = read([[1.0, np.nan, 3.0], [1.0, 2, 3]], "mean", statuses)
    assert got[0][1] == "diverged" and np.isnan(got[0][0]) and got[1] == (2, "ok")


def test_other_metrics_keep_their_last_record_and_the_order_of_rows():
    both = pd.concat([frame([[1.0, 2.0]], "w"), frame([[1.0, 3.0]])], ignore_index=True)
    found = final_values(both, {"v": Metric("", "V.", final="mean")})
    assert found[["metric", "value"]].to_numpy().tolist() == [["w", 2.0], ["v", 2.0]]


def test_results_csv_says_what_each_number_is():
    rows = [("gd", {"data": "a"}, {"loss": cell([1.0, 2, 3, 4, 9], LOSS), "hit": cell([1.0, 1, 0, 1, 1])})]
    text = results_csv([Table("e", ["data"], ["loss", "hit"], [], rows)])
    head, loss, hit = text.splitlines()
    assert head == "experiment,method,setting,metric,n,n_ok,value,ci_low,ci_high,statistic"
    assert loss.startswith("e,gd,data=a,loss,5,5,") and loss.endswith(",geometric mean") and hit.endswith(",share")
    assert Cell().not_ok == "" and statistic_of(table_options(PLAIN, [])) == "mean"
