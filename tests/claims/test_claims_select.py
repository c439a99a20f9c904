"""From records to one number a unit: selecting, reading, smoothing, status, missing cells."""

import math

import numpy as np
import pandas as pd
import pytest
from making import checked, curve, estimated, frames, judged, operand, rows

from descent.claims import cell
from descent.claims.faults import Faults
from descent.claims.parse_values import read_operand
from descent.claims.select import MissingCell, Records
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED
from descent.core.errors import ConfigError

STEPS = [0, 10, 20, 30, 40]
VALUES = [8.0, 4.0, 2.0, 1.0, 0.5]


def numbers(records, **keys):
    faults = Faults("f")
    read = read_operand({"experiment": "x", "metric": "v", **keys}, "p", faults, ["seed"])
    assert not faults.found, faults.found
    return Records(frames(records) if isinstance(records, list) else records).table(read)


def number(series, at, steps=STEPS, status="ok", **more):
    table = numbers(curve("x", "v", steps, series, status=status) + more.pop("extra", []), at=at, **more)
    return table.cells.value.item(), int(table.cells.rank.item())


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("last", 0.5), ("first", 8), (20, 2), ({"reduce": "max"}, 8), ({"from": 20, "reduce": "mean"}, 3.5 / 3),
        ({"from": 10, "to": 30, "reduce": "median"}, 2), ({"from": 0.5, "reduce": "sum"}, 3.5),
        ({"from": 0.5, "to": 0.75, "reduce": "min"}, 1), ({"every": 20, "reduce": "sum"}, 10.5),
        ({"reduce": "geomean"}, 2), ({"reduce": "std"}, np.std(VALUES, ddof=1)),
        ({"reduce": "auc"}, np.trapezoid(VALUES, STEPS) / 40),
        ({"first_below": 2}, 20), ({"first_below": 2.1}, 20), ({"first_below": 1.9}, 30), ({"first_above": 8}, 0),
        ({"first_below": 9, "from": 10}, 10), ({"first_below": 2, "give": "value"}, 2),
    ],
)  # fmt: skip
def test_readings(at, expected):
    assert number(VALUES, at) == (pytest.approx(expected), OK)


def test_a_level_never_reached_is_censored_a_value_there_undefined():
    assert number(VALUES, {"first_below": 0.1}) == (math.inf, CENSORED)
    assert number(VALUES, {"first_below": 0.1, "give": "value"})[1] == UNDEFINED
    assert number(VALUES, {"first_below": 0.1, "give": "value", "never": "censored"}) == (math.inf, CENSORED)


def test_the_step_of_one_metric_read_off_another():
    cost = curve("x", "cost", STEPS, [0, 5, 25, 125, 625])
    got = numbers(
        curve("x", "v", STEPS, VALUES) + cost, metric="cost", at={"first_below": 1, "watch": "v", "give": "value"}
    )
    assert got.cells.value.item() == 125


def test_divergence_in_a_series():
    status = ["ok", "ok", "ok", "diverged", "diverged"]
    series = [8, 4, 2, np.nan, np.nan]
    assert number(series, "last", status=status)[1] == DIVERGED
    assert number(series, {"reduce": "mean"}, status=status)[1] == DIVERGED
    assert number(series, {"to": 20, "reduce": "mean"}, status=status) == (pytest.approx(14 / 3), OK)
    assert number(series, {"first_below": 2}, status=status) == (20, OK)  # reached before it diverged
    assert number(series, {"first_below": 1}, status=status)[1] == DIVERGED
    assert number(series, {"fit": "semilog"}, status=status)[1] == DIVERGED
    assert number([8, np.inf, 2, 1, 1], "last", status=["ok", "diverged", "ok", "ok", "ok"]) == (1, OK)


def test_a_number_that_is_not_finite_is_never_ok():
    frame = frames(curve("x", "v", STEPS, VALUES))
    frame["x"].loc[4, "value"] = np.inf  # a record that calls it ok
    assert int(numbers(frame).cells.rank.item()) == UNDEFINED


@pytest.mark.parametrize("fit", ["linear", "semilog", "loglog"])
def test_fits_are_polyfit(fit):
    rng = np.random.default_rng(1)
    k = np.arange(0, 41)
    y = {"linear": 3 + 0.2 * k, "semilog": 5 * np.exp(-0.3 * k), "loglog": 4 * np.maximum(k, 0.5) ** -1.5}[fit]
    y = y * np.exp(0.05 * rng.standard_normal(41))
    keep = k > 0 if fit == "loglog" else k >= 0
    tx = np.log(k[keep]) if fit == "loglog" else k[keep]
    ty = y[keep] if fit == "linear" else np.log(y[keep])
    slope, intercept = np.polyfit(tx, ty, 1)
    r2 = np.corrcoef(tx, ty)[0, 1] ** 2
    for give, expected in (("slope", slope), ("intercept", intercept), ("r2", r2), ("points", keep.sum())):
        assert number(y, {"fit": fit, "give": give}, steps=k) == (pytest.approx(expected), OK)
    if fit == "semilog":
        assert number(y, {"fit": fit, "give": "factor"}, steps=k)[0] == pytest.approx(np.exp(slope))


def test_fits_between_fractions_of_the_start_above_a_floor_and_of_the_last_points():
    k = np.arange(60)
    y = np.maximum(10 * 0.5**k, 1e-12)  # a floor that would spoil the fit
    assert number(y, {"fit": "semilog", "between": [1e-1, 1e-9], "give": "factor"}, steps=k)[0] == pytest.approx(0.5)
    assert number(y, {"fit": "semilog", "above": 1e-9, "last": 5, "give": "factor"}, steps=k)[0] == pytest.approx(0.5)
    assert number(y, {"fit": "semilog", "above": 1e-9, "last": 5, "give": "points"}, steps=k)[0] == 5
    assert number(y, {"fit": "semilog", "between": [1e-1, 0.9e-1], "give": "slope"}, steps=k)[1] == UNDEFINED
    assert number([1.0] * 60, {"fit": "linear", "give": "r2"}, steps=k) == (1, OK)  # constant: no NaN
    assert number([0.0] * 60, {"fit": "semilog", "give": "r2"}, steps=k)[1] == UNDEFINED


def test_smoothing_is_trailing_and_shorter_at_the_start():
    series = [1.0, 2, 3, 4, 5, 6]
    records = curve("x", "v", range(6), series) + curve("x", "fresh", range(6), [4, 6, 5, 5, 5, 5])
    for k, expected in ((0, 1), (1, 1.5), (2, 2), (5, 5)):
        assert numbers(records, at=k, smooth=3).cells.value.item() == pytest.approx(expected)
    # 15 trajectories at 5 a record: three records
    assert numbers(records, at=5, smooth={"span": 15, "of": "fresh"}).cells.value.item() == pytest.approx(5)
    assert numbers(records, at=5, smooth=100).cells.value.item() == pytest.approx(3.5)
    bad = curve("x", "v", range(6), [1, 2, np.nan, 4, 5, 6], status=["ok", "ok", "undefined", "ok", "ok", "ok"])
    assert [int(numbers(bad, at=k, smooth=2).cells.rank.item()) for k in range(6)] == [0, 0, 2, 2, 0, 0]


def test_weights_are_another_metric():
    records = curve("x", "v", [0, 1, 2], [1, 2, 9]) + curve("x", "w", [0, 1, 2], [1, 3, 0])
    assert numbers(records, at={"reduce": "mean", "weights": "w"}).cells.value.item() == 1.75


def test_where_matches_numbers_words_lists_and_nothing():
    parts = [
        row for i, (a, b) in enumerate([(0.1, "u"), (0.2, "v"), (None, "v")]) for row in rows("x", "v", [i], a=a, b=b)
    ]
    assert numbers(parts, where={"a": 0.1}).cells.value.item() == 0
    assert numbers(parts, where={"a": 0.1 + 1e-17, "b": "u"}).cells.value.item() == 0
    assert numbers(parts, where={"a": None}).cells.value.item() == 2
    both = numbers(parts, where={"a": [0.1, 0.2]}, unit=["a"])
    assert both.keys == ((0.1,), (0.2,)) and both.cells.value.ravel().tolist() == [0, 1]
    mixed = frames(rows("x", "v", [1], eps="inf") + rows("x", "v", [2], eps=3))
    assert numbers(mixed, where={"eps": 3}).cells.value.item() == 2
    infinite = rows("x", "v", [1], eps=math.inf) + rows("x", "v", [2], eps=3.0)
    assert numbers(infinite, where={"eps": math.inf}).cells.value.item() == 1


def test_across_keeps_the_order_that_is_asked_for():
    parts = [row for k in (1, 2, 4) for row in rows("x", "v", [k, 10 * k], k=k)]
    table = numbers(parts, across={"k": [4, 1, 2]})
    assert table.labels == ("k=4", "k=1", "k=2") and table.cells.value.tolist() == [[4, 1, 2], [40, 10, 20]]


def test_units_can_be_any_columns_or_none():
    parts = [{**row, "point": i % 3, "seed": i // 3} for i, row in enumerate(rows("x", "v", range(6)))]
    assert len(numbers(parts, unit=["seed", "point"]).keys) == 6
    with pytest.raises(ConfigError, match=r"selects several records for one seed: they differ in `point` \(0, 1, 2\)"):
        numbers(parts)
    with pytest.raises(ConfigError, match="names the column `pint`, which x does not have \\(did you mean `point`"):
        numbers(parts, unit=["seed", "pint"])
    assert numbers(rows("x", "v", [7]), unit=None).cells.value.item() == 7


def test_steps_can_be_units():
    table = numbers(curve("x", "v", STEPS, VALUES), unit="step")
    assert table.noun == "steps" and table.cells.value.ravel().tolist() == VALUES


@pytest.mark.parametrize(
    ("pool", "expected"), [("mean", 4.5), ("median", 4), ("max", 9), ("min", 1), ("sum", 18), ("count", 4)]
)
def test_pooled_units_become_one_exact_number(pool, expected):
    table = numbers(rows("x", "v", [1, 3, 5, 9]), pool=pool)
    assert table.units == () and table.cells.value.item() == expected


def test_pooling_keeps_what_is_not_ok():
    assert int(numbers(rows("x", "v", [1, np.nan]), pool="mean").cells.rank.item()) == DIVERGED
    assert (
        numbers(rows("x", "v", [1, 2, np.nan], status=["ok", "ok", "censored"]), pool="median").cells.value.item() == 2
    )


def test_status_as_a_number_and_substitutes():
    status = ["ok", "censored", "diverged", "undefined"]
    parts = rows("x", "v", [1, np.nan, np.nan, np.nan], status=status)
    assert numbers(parts, **{"is": "diverged"}).cells.value.ravel().tolist() == [0, 0, 1, 0]
    assert numbers(parts, substitute=9).cells.value.ravel().tolist() == [1, 9, 9, 9]
    table = numbers(parts, substitute={"censored": 61, "diverged": math.inf})
    assert table.cells.rank.ravel().tolist() == [OK, OK, CENSORED, UNDEFINED]


# -- missing cells ----------------------------------------------------------------------------------------------------


def reason(records, missing=None, **keys):
    faults = Faults("f")
    read = read_operand({"experiment": "x", "metric": "v", **keys}, "p", faults, ["seed"])
    with pytest.raises(MissingCell) as caught:
        Records(records, missing).table(read)
    return str(caught.value)


def test_reasons_of_missing_cells():
    records = frames(rows("x", "v", [1, 2], method="zo", data="a5a"))
    assert reason({}, method="zo") == "no records of x (method zo), metric v"
    assert reason(records, method="gd") == "no records of x (method gd), metric v"
    assert reason(records, metric="w") == "no records of the metric `w` in x"
    assert "(did you mean `v`?)" in reason(records, metric="vv")
    assert "step 7 is not recorded" in reason(records, method="zo", at=7)
    told = {"y": "no", cell("x", data="w5a"): "w5a not available", cell("x", method="gd"): "failed"}
    assert reason(records, told, method="zo", where={"data": "w5a"}) == "w5a not available"
    assert reason(records, told, method="gd", where={"data": "a5a"}) == "failed"
    assert reason({}, {"x": "skipped"}) == "skipped"
    assert reason(records, told, where={"data": ["w5a", "b"]}, unit=["seed"]) == "w5a not available"


def test_a_vector_with_a_missing_setting_is_a_missing_cell():
    records = frames(rows("x", "v", [1, 2], k=1) + rows("x", "v", [1, 2], k=2))
    got = reason(records, {cell("x", k=4): "too big"}, across={"k": [1, 2, 4]})
    assert got == "too big"


def test_pairs_use_the_seeds_both_have():
    body = {
        "values": {"a": operand(method="a"), "b": operand(method="b")},
        "statistic": "a - b",
        "estimator": {"mean": "t"},
    }
    records = frames(
        rows("x", "v", np.arange(8.0), method="a"), rows("x", "v", np.arange(6.0), method="b", first_seed=1001)
    )
    got = checked(body, records)
    assert got.n == 6 and got.estimate == 1
    apart = frames(rows("x", "v", [1], method="a"), rows("x", "v", [1], method="b", first_seed=9))
    result = judged({"only": body | {"predicate": {"above": 0}}}, apart)
    assert result.verdict == "not run" and "a and b have no seeds in common" in result.reason


def test_a_seed_missing_in_one_setting_is_not_paired():
    records = frames(rows("x", "v", np.arange(8.0), k=1), rows("x", "v", np.arange(6.0), k=2))
    body = {
        "values": {"v": operand(across={"k": [1, 2]})},
        "statistic": "last(v) - first(v)",
        "estimator": {"mean": "t"},
    }
    assert checked(body, records).n == 6


def test_units_of_different_kinds_do_not_pair():
    parts = [{**row, "point": i} for i, row in enumerate(rows("x", "v", range(6), method="a"))]
    body = {
        "values": {"a": operand(method="a", unit="point"), "b": operand(method="b")},
        "statistic": "a - b",
        "estimator": {"mean": "t"},
    }
    with pytest.raises(ConfigError, match="pairs operands whose units differ"):
        checked(body, frames(parts, rows("x", "v", range(6), method="b")))


def test_a_coarser_operand_is_repeated_along_the_finer():
    fine = [
        {**row, "point": i % 3, "seed": 1000 + i // 3}
        for i, row in enumerate(rows("x", "v", np.arange(18.0), method="a"))
    ]
    body = {
        "values": {"a": operand(method="a", unit=["seed", "point"]), "b": operand(method="b")},
        "statistic": "a - b",
        "estimator": {"mean": "t"},
    }
    got = checked(body, frames(fine, rows("x", "v", 3 * np.arange(6.0), method="b")))
    assert got.n == 18 and got.estimate == 1


def test_categorical_columns_and_parquet_types_are_read():
    frame = frames(rows("x", "v", np.arange(6.0), method="a") + rows("x", "v", np.arange(6.0) + 1, method="b"))["x"]
    frame = frame.astype({"method": "category", "metric": "category", "status": "category", "seed": "int64"})
    body = {
        "values": {"a": operand(method="a"), "b": operand(method="b")},
        "statistic": "b - a",
        "estimator": {"mean": "t"},
    }
    assert checked(body, {"x": frame}).estimate == 1
    assert isinstance(frame["method"].dtype, pd.CategoricalDtype)


def test_among_cannot_drop_what_is_not_known():
    parts = rows("x", "v", [1, 1, 1, 1, 1, 9.0]) + rows("x", "snr", [9, 9, 9, 9, 9, np.nan])
    body = {
        "values": {"v": operand(), "snr": operand(metric="snr")},
        "statistic": "v",
        "among": "snr > 5",
        "predicate": {"below": 2, "on": "every_unit"},
    }
    got = checked(body, frames(parts))
    assert got.outcome == "undecided" and got.n == 6
    nobody = checked(body | {"among": "snr > 50 and v > 5"}, frames(parts[:5] + parts[6:11]))
    assert nobody.outcome == "undecided" and "no unit is left" in nobody.reason


def test_duplicate_records_are_refused():
    twice = frames(rows("x", "v", [1, 2]) + rows("x", "v", [1, 2]))
    with pytest.raises(ConfigError, match="two records of one seed at one step"):
        numbers(twice)


def test_counts_are_shown():
    got = estimated(
        [1.0] * 7, {"mean": "t"}, {"above": 0}, status=["ok", "ok", "ok", "ok", "censored", "diverged", "undefined"]
    )
    assert (got.n, got.n_ok, got.n_censored, got.n_diverged, got.n_undefined) == (7, 4, 1, 1, 1)
    assert got.reason == (
        "1 of 7 seeds never reached the level and 1 of 7 seeds diverged and 1 of 7 seeds have no defined value, so their mean is undecided"
    )
