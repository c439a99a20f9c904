"""The judge end to end: what decides, what never does, what missing seeds and controls do."""

import numpy as np
import pytest
from making import claim, normal, operand, planned, rows, together, verdict_of

from descent.claims.judge import judge
from descent.claims.operands.planned import Lost, MetricInfo, Planned

RATIO = {"operands": {"a": operand("a"), "b": operand("b")}, "value": "a / b", "scale": "log"}
GAP = {"operands": {"a": operand("a"), "b": operand("b")}, "value": "a - b"}
HALF = claim({"ratio": RATIO}, {"half": {"estimate": "ratio", "below": 0.8}},
             {"reproduced": "half", "not_reproduced": {"not": "half"}})  # fmt: skip


def two(a, b, **more):
    return rows(a, "a", **more), rows(b, "b", **more)


# -- estimates and their interval -------------------------------------------------------------------------------------


def test_a_ratio_is_estimated_in_logs_and_shown_as_a_ratio_with_its_criterion():
    a, b = np.exp(normal(0.0, 0.1, seed=1)), np.exp(normal(np.log(2), 0.1, seed=2))
    result = verdict_of(HALF, *two(a, b))
    head = result.headline
    d = np.log(a / b)
    from scipy import stats

    half = stats.t.ppf(0.975, 9) * d.std(ddof=1) / np.sqrt(10)
    assert head.estimate == pytest.approx(np.exp(d.mean())) and head.ci_low == pytest.approx(np.exp(d.mean() - half))
    assert result.verdict == "reproduced" and head.criterion == "< 0.8" and head.n_claimed == 10
    assert "a is y of a, last record, in e" in head.quantity and head.used == head.planned == 10


def test_one_estimate_has_one_interval_whatever_looks_at_it():
    looks = {f"c{i}": {"estimate": "ratio", "below": 0.5 + i / 10} for i in range(5)}
    result = verdict_of(claim({"ratio": RATIO}, looks), *two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2)))
    assert len({(c.estimate, c.ci_low, c.ci_high, c.level, c.quantity) for c in result.checks}) == 1
    assert len(result.estimates) == 1


def test_names_of_checks_change_no_byte_of_an_estimate():
    frames = two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2))
    one = verdict_of(claim({"ratio": RATIO}, {"low": {"estimate": "ratio", "below": 0.8}}), *frames)
    other = verdict_of(claim({"ratio": RATIO}, {"another": {"estimate": "ratio", "below": 0.8}}), *frames)
    assert [e.__dict__ for e in one.estimates] == [e.__dict__ for e in other.estimates]


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "inconclusive"), (-0.5, "reproduced"), (0.5, "not reproduced")])
def test_what_straddles_is_inconclusive_and_only_a_decided_check_is_against(shift, verdict):
    frames = two(0.8 * np.exp(normal(shift, 0.3, seed=3)), np.ones(10))
    assert verdict_of(HALF, *frames).verdict == verdict


def test_equality_is_an_interval_inside_a_margin_of_level_one_minus_two_alpha():
    tost = {**GAP, "estimator": {"kind": "t", "alpha": 0.05}}
    close = claim({"gap": tost}, {"alike": {"estimate": "gap", "inside": [-0.05, 0.05]}})
    result = verdict_of(close, *two(normal(1.0, 0.02, seed=1), np.full(10, 1.0)))
    assert result.verdict == "reproduced" and result.headline.level == pytest.approx(0.9)
    assert verdict_of(close, *two(normal(1.0, 0.5, seed=1), np.full(10, 1.0))).verdict == "inconclusive"


def test_few_seeds_and_no_variation_decide_nothing():
    assert "too few" in verdict_of(HALF, *two([0.1, 0.2, 0.1, 0.15], [1, 1, 1, 1])).reason
    same = verdict_of(HALF, *two([0.5] * 10, [1.0] * 10))
    assert same.verdict == "inconclusive" and "declare its resolution" in same.reason


def test_a_resolution_widens_an_interval_and_lets_a_constant_decide():
    whole = {"operands": {"a": operand("a", resolution=1)}}
    result = verdict_of(claim({"n": whole}, {"few": {"estimate": "n", "below": 12}}), rows([10] * 10, "a"))
    assert (result.headline.ci_low, result.headline.ci_high, result.verdict) == (9.5, 10.5, "reproduced")
    plan = planned(together(rows([10] * 10, "a")), y=MetricInfo(resolution=1))
    plain = claim({"n": {"operands": {"a": operand("a")}}}, {"few": {"estimate": "n", "below": 12}})
    assert verdict_of(plain, rows([10] * 10, "a"), plan=plan).headline.ci_high == 10.5


def test_exact_quantities_decide_by_their_value_and_identities_verify():
    exact = {**GAP, "estimator": "exact"}
    holds = claim({"gap": exact}, {"none": {"estimate": "gap", "at_most": 0}})
    assert verdict_of(holds, *two([1.0, 1.0], [1.0, 1.0])).verdict == "reproduced"
    assert verdict_of(holds, *two([2.0, 2.0], [1.0, 1.0])).headline.outcome == "against"
    differs = verdict_of(holds, *two([1.0, 2.0], [1.0, 1.0]))
    assert differs.verdict == "inconclusive" and "not exact" in differs.reason
    identity = claim({"gap": {**GAP, "estimator": "identity"}}, {"none": {"estimate": "gap", "at_most": 0}})
    assert verdict_of(identity, *two([1.0, 1.0], [1.0, 1.0])).verdict == "verified"


# -- missing, censored, diverged --------------------------------------------------------------------------------------


def test_an_absent_seed_is_counted_and_leaves_the_check_open():
    frames = two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2))
    plan = planned(together(*frames))
    result = verdict_of(HALF, frames[0][frames[0]["seed"] != 1003], frames[1], plan=plan)
    assert result.verdict == "inconclusive" and (
        result.headline.used,
        result.headline.planned,
        result.headline.n_missing,
    ) == (9, 10, 1)
    assert "1 of 10 seeds has no number" in result.reason and "seed 1003" in result.reason


def test_a_step_that_a_run_never_reached_is_missing():
    runs = {seed: [5.0, 4.0, 3.0] if seed != 1002 else [5.0] for seed in range(1000, 1008)}
    at = claim({"y": {"operands": {"a": operand("a", read=2)}}}, {"low": {"estimate": "y", "below": 10}})
    result = verdict_of(at, rows(runs, "a"))
    assert result.verdict == "inconclusive" and "step 2 is not recorded" in result.reason


CROSSING = {"first_above": 3}


def crossing(values, estimator="median", **check):
    runs = {1000 + i: np.linspace(0, v, 11) for i, v in enumerate(values)}
    one = {"operands": {"a": operand("a", read=CROSSING)}, "estimator": estimator}
    return verdict_of(claim({"t": one}, {"soon": {"estimate": "t", **check}}), rows(runs, "a"))


def test_a_level_never_reached_lies_beyond_the_last_step_and_enters_a_median():
    values = [6] * 9 + [1]  # the last never reaches 3
    assert crossing(values, below=8).verdict == "reproduced"
    mean = crossing(values, "t", below=8)
    assert mean.verdict == "inconclusive" and "never reached" in mean.reason
    assert crossing([6] * 4 + [1] * 6, below=8).verdict == "inconclusive"


def test_what_diverged_is_worst_on_the_side_that_the_metric_says():
    frame = rows(normal(1, 0.1), "a", status={1000: "diverged"})
    one = claim({"y": {"operands": {"a": operand("a")}, "estimator": "median"}},
                {"low": {"estimate": "y", "below": 2}, "high": {"estimate": "y", "above": 0}}, {"reproduced": {"all": ["low", "high"]}})  # fmt: skip
    for better in ("lower", "higher"):
        result = verdict_of(one, frame, plan=planned(together(frame), y=MetricInfo(better)))
        assert result.verdict == "reproduced" and result.headline.n_diverged == 1
    share = claim(
        {"ok": {"operands": {"a": operand("a")}, "value": "a < 2", "estimator": "share"}},
        {"most": {"estimate": "ok", "above": 0.3}},
    )
    result = verdict_of(share, frame, plan=planned(together(frame), y=MetricInfo("lower")))
    assert result.headline.estimate == 0.9


def test_a_share_counts_a_condition_with_its_exact_interval():
    share = claim(
        {"hit": {"operands": {"a": operand("a")}, "value": "a >= 1", "estimator": "share"}},
        {"most": {"estimate": "hit", "above": 0.65}},
    )
    result = verdict_of(share, rows([1] * 10, "a"))
    assert result.headline.ci_low == pytest.approx(0.6915, abs=1e-4) and result.verdict == "reproduced"


def test_every_record_is_a_replicate_where_the_claim_says_so():
    runs = {seed: normal(0, 1, 40, seed) for seed in range(1000, 1005)}
    one = {"operands": {"a": operand("a", read="all")}, "value": "a > -9", "estimator": "share", "replicate": "record"}
    spread = claim({"hit": one}, {"most": {"estimate": "hit", "above": 0.9}})
    result = verdict_of(spread, rows(runs, "a"))
    assert result.verdict == "reproduced" and result.headline.used == 200
    short = {**runs, 1004: runs[1004][:30]}
    assert verdict_of(spread, rows(short, "a")).headline.n_missing == 10


def test_dropping_rows_of_any_seeds_never_makes_a_verdict_better():
    rng = np.random.default_rng(0)
    good = {"inconclusive": 0, "not reproduced": 0, "partly": 1, "reproduced": 2}
    rule = {
        "reproduced": {"all": ["far", "apart", "hit"]},
        "partly": "apart",
        "not_reproduced": {"any": [{"not": "apart"}, {"not": "hit"}]},
    }
    one = claim(
        {"ratio": RATIO, "gap": {**GAP, "estimator": {"kind": "jackknife"}}, "n": {"operands": {"b": operand("b")}, "value": "b > 1", "estimator": "share"},
         "all": {"operands": {"a": operand("a"), "b": operand("b")}, "value": {"a": "a", "b": "b"}, "contrast": "adjacent"}},
        {"far": {"estimate": "ratio", "below": 0.8, "decide": {"p": 0.05, "family": "f"}}, "apart": {"estimate": "gap", "below": 0},
         "hit": {"estimate": "n", "above": 0.5, "decide": {"p": 0.05, "family": "f"}}, "up": {"estimate": "all", "ordered": "ascending"}},
        {**rule, "reproduced": {"all": ["far", "apart", "hit", "up"]}},
    )  # fmt: skip
    seen = set()
    for trial in range(60):
        frames = two(normal(1, 0.3, seed=trial), normal(rng.choice([0.4, 1.1, 1.4, 2.0]), 0.4, seed=trial + 99))
        plan = planned(together(*frames))
        whole = verdict_of(one, *frames, plan=plan).verdict
        lost = rng.choice(10, size=rng.integers(1, 10), replace=False) + 1000
        which = rng.integers(3)
        kept = [f[~f["seed"].isin(lost)] if which in (i, 2) else f for i, f in enumerate(frames)]
        after = verdict_of(one, *kept, plan=plan).verdict
        seen.add(whole)
        assert good[after] <= good[whole], (trial, whole, after)
    assert seen >= {"reproduced", "inconclusive", "not reproduced"}


# -- controls, families, several at once ------------------------------------------------------------------------------

STILL = {"still": {"estimate": "own", "inside": [0.5, 1.5]}}


@pytest.mark.parametrize(
    ("control", "says"),
    [
        (normal(1.0, 0.01), ""),  # holds
        (normal(3.0, 0.01), "still is decided against"),
        (normal(1.4, 0.5), "still is open"),
        (np.array([1.0, 1.1, 1.2, 1.0]), "still is open"),
    ],
)
def test_a_control_must_hold(control, says):
    gated = {**HALF, "estimates": {**HALF["estimates"], "own": {"operands": {"c": operand("c")}}}, "controls": STILL}
    result = verdict_of(gated, *two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2)), rows(control, "c"))
    assert result.verdict == ("inconclusive" if says else "reproduced") and says in result.reason


def test_a_control_without_records_gates_as_well():
    gated = {**HALF, "estimates": {**HALF["estimates"], "own": {"operands": {"c": operand("c")}}}, "controls": STILL}
    frames = two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2))
    result = verdict_of(gated, *frames, plan=planned(together(*frames), {"e": [Lost("no data", "c")]}))
    assert result.verdict == "inconclusive" and "still is not run: no data" in result.reason


def family(n, shift, level=0.05):
    frames = [rows(normal(shift if i == 0 else 0.0, 1.0, seed=i), f"m{i}") for i in range(n)]
    over = {"over": {"m": [f"m{i}" for i in range(n)]}, "operands": {"x": operand("{m}")}}
    return frames, claim(
        {"x": over}, {"up": {"estimate": "x", "above": 0, "decide": {"p": level}}}, {"reproduced": {"any": "up"}}
    )


def test_p_values_are_corrected_in_their_family_and_a_missing_one_counts_as_one():
    frames, one = family(8, 0.9)  # alone p = .01
    result = verdict_of(one, *frames)
    first = result.checks[0]
    assert first.p_value == pytest.approx(0.01, abs=0.005) and first.p_adjusted == pytest.approx(8 * first.p_value)
    plan = planned(together(*frames), {"e": [Lost("gone", f"m{i}") for i in range(4, 8)]})
    plan = Planned({"e": plan.cells["e"][:4]}, plan.lost)
    fewer = verdict_of(one, *frames[:4], plan=plan)
    assert fewer.checks[0].p_adjusted == pytest.approx(8 * first.p_value)


def test_a_p_decides_against_only_by_the_reversed_test_in_a_family_of_its_own():
    frames, one = family(3, -3.0)
    result = verdict_of(
        {**one, "rules": {"reproduced": {"all": "up"}, "not_reproduced": {"any": {"not": "up"}}}}, *frames
    )
    assert [c.outcome for c in result.checks] == ["against", "open", "open"] and result.verdict == "not reproduced"


def test_ordered_and_best_need_every_contrast_and_one_of_k_speaks_against():
    def judged(means, **check):
        frames = [rows(normal(m, 0.1, seed=i), name) for i, (name, m) in enumerate(zip("abc", means, strict=True))]
        value = {
            "operands": {n: operand(n) for n in "abc"},
            "value": {n: n for n in "abc"},
            "contrast": check.pop("contrast"),
        }
        return verdict_of(
            claim(
                {"x": value}, {"it": {"estimate": "x", **check}}, {"reproduced": "it", "not_reproduced": {"not": "it"}}
            ),
            *frames,
        )

    up = {"ordered": "ascending", "contrast": "adjacent"}
    assert judged((1, 2, 3), **up).verdict == "reproduced"
    assert judged((1, 2, 2), **up).verdict == "inconclusive"
    worse = judged((1, 3, 2), **up)
    assert worse.verdict == "not reproduced" and worse.headline.estimate_id == "x: c less b"
    best = {"best": "highest", "contrast": {"against": "c"}}
    assert judged((1, 2, 3), **best).verdict == "reproduced" and judged((1, 3, 2), **best).verdict == "not reproduced"
    assert len(judged((1, 2, 3), **best).headline.contrasts) == 2


def test_two_laws_are_alike_where_the_upper_end_of_their_distance_is_small():
    rng = np.random.default_rng(0)
    one = claim(
        {"d": {"operands": {"a": operand("a"), "b": operand("b")}, "estimator": "ks"}},
        {"alike": {"estimate": "d", "below": 0.1}},
    )
    assert verdict_of(one, *two(rng.normal(size=4000), rng.normal(size=4000))).verdict == "reproduced"
    assert verdict_of(one, *two(rng.normal(size=400), rng.normal(size=400))).verdict == "inconclusive"


def audit(correct, guesses, nominal, leak=95):
    frames = [rows([n], m, metric, seeds=[1000]) for m, c in (("private", correct), ("leaky", leak))
              for metric, n in (("correct", c), ("guesses", guesses), ("canaries", 1000))]  # fmt: skip
    run = {
        m: {"operands": {k: operand(m, k) for k in ("correct", "guesses", "canaries")}, "estimator": "audit"}
        for m in ("private", "leaky")
    }
    p = {"p": 0.05}
    return verdict_of(claim(run, {"found": {"estimate": "private", "no_more_than": nominal, "decide": p}},
                            {"reproduced": "found", "not_reproduced": {"not": "found"}},
                            controls={"caught": {"estimate": "leaky", "more_than": nominal, "decide": p}}), *frames)  # fmt: skip


def test_an_audit_says_nothing_where_it_could_not_have_found_more():
    assert audit(50, 100, 1.0).verdict == "reproduced"
    assert audit(95, 100, 1.0).verdict == "not reproduced"
    blunt = audit(50, 100, 4.0)  # 100 right guesses of 100 show 3.47
    assert (
        blunt.verdict == "inconclusive"
        and blunt.headline.outcome == "open"
        and "could be shown" in blunt.headline.reason
    )
    assert "caught is open" in audit(50, 100, 1.0, leak=55).reason


def test_measured_time_is_judged_by_interleaved_blocks():
    rng = np.random.default_rng(1)
    frames = [rows({0: cost * np.exp(0.1 * rng.normal(size=25))}, m) for m, cost in (("a", 1.0), ("b", 2.0))]
    one = {
        "operands": {m: operand(m, read="all") for m in "ab"},
        "value": "a / b",
        "scale": "log",
        "estimator": "bench",
    }
    result = verdict_of(claim({"cost": one}, {"cheap": {"estimate": "cost", "below": 0.7}}), *frames)
    assert result.verdict == "reproduced" and result.headline.unit == "block"
    few = [f[f["step"] < 10] for f in frames]
    assert (
        verdict_of(claim({"cost": one}, {"cheap": {"estimate": "cost", "below": 0.7}}), *few).verdict == "inconclusive"
    )


# -- scope, scales, the words -----------------------------------------------------------------------------------------

BOTH = claim(
    {"ratio": {"over": {"data": ["d1", "d2"]}, **RATIO, "operands": {m: operand(m, where={"data": "{data}"}) for m in "ab"}}},
    {"half": {"estimate": "ratio", "below": 0.8}}, {"reproduced": "half", "not_reproduced": {"not": "half"}},
)  # fmt: skip


def pair(data, a=1.0):
    return two(normal(a, 0.1, seed=1), normal(2, 0.1, seed=2), data=data)


def test_what_an_import_lacks_caps_the_verdict_at_partly_and_names_what_ran():
    lost = {"e": [Lost("d2 not available from http://x", None, {"data": "d2"})]}
    result = verdict_of(BOTH, *pair("d1"), plan=planned(together(*pair("d1")), lost))
    assert result.verdict == "partly" and "reproduced on data=d1" in result.scope and "d2 not available" in result.scope
    worse = verdict_of(BOTH, *pair("d1", 3.0), plan=planned(together(*pair("d1", 3.0)), lost))
    assert worse.verdict == "not reproduced"
    none = verdict_of(BOTH, rows([1.0], "z", experiment="other"), plan=Planned({}, {"e": [Lost("nothing here")]}))
    assert none.verdict == "not run" and none.reason == "nothing here"


def test_the_worst_instance_is_the_headline_and_named():
    result = verdict_of(BOTH, *pair("d1"), *pair("d2", 2.0))
    assert (
        result.headline.instance == "data=d2"
        and result.headline.outcome == "against"
        and result.reason.startswith("data=d2")
    )


def test_scales_smoke_and_claims_that_are_only_reported():
    frames = two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2))
    assert verdict_of({**HALF, "scales": ["paper"], "elsewhere": "too dear"}, *frames).reason == "too dear"
    assert verdict_of(HALF, *frames, scale="smoke").verdict == "smoke"
    only = {k: v for k, v in HALF.items() if k not in ("checks", "rules")} | {
        "origin": "report-only",
        "headline": "ratio",
    }
    result = verdict_of(only, *frames)
    assert result.verdict == "reported" and result.headline.estimate == pytest.approx(0.5, abs=0.03)


def test_every_check_says_what_it_does_to_the_claim():
    checks = {"half": {"estimate": "ratio", "below": 0.8}, "worse": {"estimate": "ratio", "above": 1.0}}
    one = claim({"ratio": RATIO, "gap": GAP}, checks, {"reproduced": "half", "not_reproduced": "worse"},
                comparisons={"beside": {"estimate": "ratio", "below": 0.1}})  # fmt: skip
    result = verdict_of(one, *two(normal(1, 0.1, seed=1), normal(2, 0.1, seed=2)))
    effects = {c.check: (c.role, c.outcome, c.effect) for c in result.checks}
    assert effects == {
        "half": ("for", "for", "supports"), "worse": ("against", "against", "supports"),
        "beside": ("reported", "against", "none"), "gap": ("reported", "reported", "none"),
    }  # fmt: skip
    assert (
        result.rules["not_reproduced"]["sentence"] == "worse"
        and result.rules["reproduced"]["tree"]["outcome"] == "true"
    )


def test_a_claim_that_does_not_fit_its_records_is_told_in_a_sentence():
    from descent.core.errors import ConfigError

    frames = (rows([1.0] * 6, "a", data="x"), rows([1.0] * 6, "a", data="y"), rows([1.0] * 6, "b", data="x"))
    with pytest.raises(ConfigError, match="differ in `data`"):
        verdict_of(HALF, *frames)
    with pytest.raises(ConfigError, match="names the axis `dta`"):
        wrong = claim(
            {"y": {"operands": {"a": operand("a", where={"dta": "x"})}}}, {"low": {"estimate": "y", "below": 1}}
        )
        plan = Planned(
            {"e": [c.__class__(c.method, {"dta": "x"}, c.seeds) for c in planned(together(*frames)).cells["e"]]}
        )
        judge("p", {"c": wrong}, together(*frames), plan, scale="study")
