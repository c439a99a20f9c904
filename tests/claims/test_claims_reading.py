"""From the run of one seed to one number: readings, crossings, fits, smoothing, and the statuses that travel with them."""

import math

import numpy as np
import pytest
from making import claim, operand, planned, rows, together, verdict_of
from pydantic import TypeAdapter

from descent.claims.operands.reading import Series, read, smoothed
from descent.claims.operands.recorded import RecordsSource
from descent.claims.read.operands import Crossing, Fit, Operand, Reading, Smooth, Window
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, RANKS, UNDEFINED

STEPS = [0, 10, 20, 30, 40]
VALUES = [8.0, 4.0, 2.0, 1.0, 0.5]


def series(values, steps=STEPS, status=None):
    ranks = [RANKS[s] for s in status] if status else [OK] * len(values)
    return Series(np.asarray(steps), np.asarray(values, float), np.asarray(ranks, np.uint8))


def number(values, how, steps=STEPS, status=None, **others):
    from descent.claims.operands.reading import Number
    from descent.claims.read.claim import level_of
    from descent.claims.read.operands import Crossing

    how = TypeAdapter(Reading).validate_python(how)
    level = Number(level_of(how).constant) if isinstance(how, Crossing) else None
    got = read(series(values, steps, status), how, others.get, level)
    return got.value, got.rank


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("last", 0.5), ("first", 8), (20, 2), ({"window": "all", "reduce": "max"}, 8),
        ({"window": [20, "last"], "reduce": "mean"}, 3.5 / 3), ({"window": [10, 30], "reduce": "median"}, 2),
        ({"window": [0.5, 1.0], "reduce": "sum"}, 3.5), ({"window": [0.5, 0.75], "reduce": "min"}, 1),
        ({"window": "all", "every": 20, "reduce": "sum"}, 10.5), ({"window": "all", "reduce": "geomean"}, 2),
        ({"window": "all", "reduce": "std"}, np.std(VALUES, ddof=1)), ({"window": "all", "reduce": "auc"}, np.trapezoid(VALUES, STEPS) / 40),
        ({"first_below": 2}, 20), ({"first_below": 2.1}, 20), ({"first_below": 1.9}, 30), ({"first_above": 8}, 0),
        ({"first_below": 9, "window": [10, "last"]}, 10), ({"first_below": 2, "give": "value"}, 2),
    ],
)  # fmt: skip
def test_readings(how, expected):
    assert number(VALUES, how) == (pytest.approx(expected), OK)


@pytest.mark.parametrize(
    "built", [Window(window=[0, "last"], reduce="mean"), Crossing(first_above=2.0), Fit(fit="linear", give="slope")]
)
def test_a_reading_that_is_built_already_is_taken_as_it_is(built):
    made = Operand.model_validate({"experiment": "s", "metric": "v", "read": built})
    assert made.read is built and made.model_dump()["read"] == built.model_dump()


def test_a_level_never_reached_is_censored_and_a_value_there_undefined():
    assert number(VALUES, {"first_below": 0.1}) == (math.inf, CENSORED)
    assert number(VALUES, {"first_below": 0.1, "give": "value"})[1] == UNDEFINED


def test_the_value_of_one_metric_where_another_crosses():
    assert number([0, 5, 25, 125, 625], {"first_below": 1, "watch": "v", "give": "value"}, v=series(VALUES)) == (
        125,
        OK,
    )
    assert (
        number([0, 5], {"first_below": 1, "watch": "v", "give": "value"}, steps=[0, 10], v=series(VALUES))[1] == MISSING
    )
    assert number(VALUES, {"first_below": 1, "watch": "v"})[1] == MISSING


def test_what_follows_a_divergence_is_not_progress():
    status = ["ok", "ok", "ok", "diverged", "diverged"]
    values = [8, 4, 2, np.nan, np.nan]
    assert number(values, "last", status=status)[1] == DIVERGED
    assert number(values, {"window": "all", "reduce": "mean"}, status=status)[1] == DIVERGED
    assert number(values, {"window": [0, 20], "reduce": "mean"}, status=status) == (pytest.approx(14 / 3), OK)
    assert number(values, {"first_below": 2}, status=status) == (20, OK)
    assert number(values, {"first_below": 1}, status=status) == (math.inf, DIVERGED)
    assert number(values, {"fit": "semilog", "give": "slope"}, status=status)[1] == DIVERGED


def test_a_step_or_window_that_the_run_never_reached_is_missing():
    assert number(VALUES, 50)[1] == MISSING and number(VALUES, 15)[1] == MISSING
    assert number(VALUES, {"window": [0, 100], "reduce": "mean"})[1] == MISSING


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
    given = {
        "slope": slope,
        "intercept": intercept,
        "r2": np.corrcoef(tx, ty)[0, 1] ** 2,
        "points": keep.sum(),
        "factor": np.exp(slope),
    }
    for give, expected in given.items():
        assert number(y, {"fit": fit, "give": give}, steps=k) == (pytest.approx(expected), OK)


def test_fits_between_shares_of_the_start_above_a_floor_and_of_the_last_points():
    k = np.arange(60)
    y = np.maximum(10 * 0.5**k, 1e-12)  # a floor that would spoil the fit
    between = {"fit": "semilog", "between": [1e-1, 1e-9], "give": "factor"}
    assert number(y, between, steps=k)[0] == pytest.approx(0.5)
    assert number(y, {"fit": "semilog", "above": 1e-9, "last": 5, "give": "factor"}, steps=k)[0] == pytest.approx(0.5)
    assert number(y, {"fit": "semilog", "above": 1e-9, "last": 5, "give": "points"}, steps=k)[0] == 5
    assert number(y, {**between, "between": [1e-1, 0.9e-1]}, steps=k)[1] == UNDEFINED
    assert number([1.0] * 60, {"fit": "linear", "give": "r2"}, steps=k) == (1, OK)


def test_smoothing_is_trailing_and_shorter_at_the_start():
    run = series([1.0, 2, 3, 4, 5, 6], range(6))
    fresh = {"fresh": series([4, 6, 5, 5, 5, 5], range(6))}
    assert smoothed(run, Smooth(window=3), fresh.get).value.tolist() == [1, 1.5, 2, 3, 4, 5]
    assert smoothed(run, Smooth(span=15, of="fresh"), fresh.get).value.tolist() == [1, 1.5, 2, 3, 4, 5]
    assert smoothed(run, Smooth(window=100), fresh.get).value[-1] == 3.5
    assert (smoothed(run, Smooth(span=15, of="none"), fresh.get).rank == UNDEFINED).all()
    bad = series([1, 2, np.nan, 4], range(4), ["ok", "ok", "undefined", "ok"])
    assert smoothed(bad, Smooth(window=2), fresh.get).rank.tolist() == [OK, OK, UNDEFINED, UNDEFINED]


# -- through the records ----------------------------------------------------------------------------------------------


def table(frames, replicate=False, plan=None, **more):
    records = together(*frames)
    return RecordsSource(records, plan or planned(records)).table(
        Operand.model_validate(operand(**more)), {}, replicate
    )


def test_every_planned_seed_has_a_column_and_settings_are_the_last_axis():
    frames = [rows([1, 2, 3], "a", size=s) for s in (1, 2)]
    plan = planned(together(*frames))
    got = table([frames[0], frames[1][frames[1]["seed"] != 1001]], plan=plan, across={"size": [1, 2]})
    assert got.keys == ((1000,), (1001,), (1002,)) and got.cells.value.shape == (1, 3, 2)
    assert got.cells.rank[0].tolist() == [[OK, OK], [OK, MISSING], [OK, OK]] and "seed 1001" in got.why


def test_a_record_that_calls_infinity_ok_is_undefined_and_numbers_of_a_setting_are_equal_within_rounding():
    assert table([rows([1, np.inf], "a")]).cells.rank[0, :, 0].tolist() == [OK, UNDEFINED]
    assert table([rows([1, 2], "a", size=0.1 + 0.2)], where={"size": 0.3}).cells.value[0, :, 0].tolist() == [1, 2]


def test_an_exact_operand_is_one_number_that_its_seeds_agree_on():
    assert table([rows([2.0, 2.0], "a")], exact=True).keys == ((),)
    assert table([rows([2.0, 2.1], "a")], exact=True).cells.rank.item() == UNDEFINED


def test_substitutes_and_statuses():
    frame = rows([1, 2, 3], "a", status={1001: "diverged", 1002: "censored"})
    assert table([frame], substitute={"diverged": 9.0}).cells.value[0].ravel().tolist() == [1, 9, math.inf]
    got = table([frame], substitute={"diverged": math.inf, "censored": math.inf})
    assert got.cells.rank[0].ravel().tolist() == [OK, DIVERGED, CENSORED]
    assert table([frame], **{"is": "diverged"}).cells.value[0].ravel().tolist() == [0, 1, 0]


def test_pairs_of_seeds_leave_out_a_seed_with_all_its_pairs():
    from making import claim, verdict_of

    pairs = [(a, b, abs(a - b)) for a in range(1000, 1006) for b in range(a + 1, 1006)]
    frame = rows([v for _, _, v in pairs], "a", seeds=[a for a, _, _ in pairs]).assign(step=[b for _, b, _ in pairs])
    plan = planned({"e": rows([0.0] * 6, "a")})
    one = {"operands": {"d": operand(pairs="step")}, "estimator": {"kind": "jackknife", "pool": "mean"}}
    result = verdict_of(claim({"d": one}, {"near": {"estimate": "d", "below": 9}}), frame, plan=plan)
    assert result.headline.estimate == pytest.approx(np.mean([v for _, _, v in pairs])) and result.headline.used == 6
    short = frame[frame["step"] != 1005]
    assert (
        verdict_of(claim({"d": one}, {"near": {"estimate": "d", "below": 9}}), short, plan=plan).verdict
        == "inconclusive"
    )


# -- the words of a number --------------------------------------------------------------------------------------------


def headline(operands, **more):
    runs = {s: [4.0, 2.0, 1.0 + 0.01 * (s - 1000)] for s in range(1000, 1010)}
    frames = [rows(runs, "a", metric) for metric in "xyz"]
    estimate = {"operands": operands, "estimator": {"kind": "t", "alpha": 0.05}, **more}
    return verdict_of(claim({"d": estimate}, {"near": {"estimate": "d", "below": 9}}), *frames).headline


def test_what_operands_share_is_said_once():
    three = {name.upper(): operand(metric=name) for name in "xyz"}
    assert headline(three, value="max(X, Y, Z)").quantity == (
        "max(X, Y, Z), where X is x, Y is y, Z is z, each of a, last record, in e"
    )
    three["Z"]["read"] = "first"
    assert "; Z is z of a, first record, in e" in headline(three, value="max(X, Y, Z)").quantity


def test_few_words_are_the_claim_s_own_or_the_arithmetic_and_its_metric():
    two = {"old": operand(metric="x"), "new": operand(metric="x", read="first")}
    assert headline(two, value="new - old").short == "new - old of x"
    assert headline(two, value="new - old", words="the way that was made").short == "the way that was made"
    fit = {"s": operand(metric="x", read={"fit": "semilog", "give": "factor"})}
    assert headline(fit).short == "factor of the fit to x"
