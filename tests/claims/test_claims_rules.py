"""Decisions and rules: Kleene's laws, monotone predicates, words over instances, verdicts with missing cells."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import claim, estimated, frames, judged, operand, rows

from descent.claims import cell, parse_claims, rules
from descent.claims.decide import all_of, any_of, at_least, best, interval_holds, negated, ordered
from descent.claims.model import Condition, Rule

KLEENE = st.sampled_from([True, False, None])
LISTS = st.lists(KLEENE, min_size=1, max_size=6)
NUMBERS = st.floats(-10, 10)
INTERVALS = st.tuples(NUMBERS, NUMBERS).map(sorted).map(tuple)


# -- Kleene -----------------------------------------------------------------------------------------------------------


@given(LISTS)
def test_de_morgan_and_double_negation(values):
    assert negated(all_of(values)) is any_of([negated(v) for v in values])
    assert negated(any_of(values)) is all_of([negated(v) for v in values])
    assert all(negated(negated(v)) is v for v in values)


@given(LISTS, st.randoms())
def test_order_does_not_matter_and_counting_generalises(values, random):
    mixed = random.sample(values, len(values))
    assert all_of(mixed) is all_of(values) and any_of(mixed) is any_of(values)
    assert at_least(len(values), values) is all_of(values) and at_least(1, values) is any_of(values)


@given(LISTS, st.integers(1, 6))
def test_an_undecided_result_covers_all_that_its_unknowns_could_be(values, k):
    """A decision is only made when no way of settling the undecided ones could change it, and whenever none could."""
    unknown = [i for i, v in enumerate(values) if v is None]
    for how in (all_of, any_of, lambda v: at_least(k, v)):
        outcomes = set()
        for settled in itertools.product([True, False], repeat=len(unknown)):
            full = list(values)
            for i, v in zip(unknown, settled, strict=True):
                full[i] = v
            outcomes.add(how(full))
        assert how(values) is (outcomes.pop() if len(outcomes) == 1 else None)


# -- predicates -------------------------------------------------------------------------------------------------------


@given(INTERVALS, NUMBERS, st.floats(0, 5))
def test_thresholds_are_monotone(interval, bound, more):
    """Easier thresholds never turn `holds` into something less, nor wider intervals an undecided one into a decision."""
    order = {False: 0, None: 1, True: 2}
    for word, sign in (("below", 1), ("at_most", 1), ("above", -1), ("at_least", -1)):
        strict = interval_holds(Condition(word, (bound,)), *interval)
        easier = interval_holds(Condition(word, (bound + sign * more,)), *interval)
        assert order[easier] >= order[strict]
        wide = interval_holds(Condition(word, (bound,)), interval[0] - more, interval[1] + more)
        assert wide is None or wide is strict


@given(INTERVALS, NUMBERS)
def test_an_interval_decides_as_all_its_points_would(interval, bound):
    low, high = interval
    points = np.linspace(low, high, 7)
    for word in ("below", "above", "at_most", "at_least"):
        condition = Condition(word, (bound,))
        truths = {interval_holds(condition, p, p) for p in points}
        whole = interval_holds(condition, low, high)
        assert whole is (truths.pop() if len(truths) == 1 else None)
        opposite = {"below": "at_least", "above": "at_most", "at_most": "above", "at_least": "below"}[word]
        assert interval_holds(Condition(opposite, (bound,)), low, high) is negated(whole)


@given(INTERVALS, NUMBERS)
def test_contains_and_excludes_are_opposites_and_always_decided(interval, x):
    inside = interval_holds(Condition("contains", (x,)), *interval)
    assert inside is not None and inside is not interval_holds(Condition("excludes", (x,)), *interval)


@settings(max_examples=50)
@given(st.lists(INTERVALS, min_size=2, max_size=5))
def test_order_of_intervals_is_certain_or_undecided(intervals):
    centres = [((low + high) / 2,) * 2 for low, high in intervals]
    for direction in ("ascending", "descending"):
        sure, of_points = ordered(direction, 1.0, intervals), ordered(direction, 1.0, centres)
        assert sure is None or sure is of_points
        positive = [(low + 11, high + 11) for low, high in intervals]
        assert ordered(direction, 1.0, positive) is not True or ordered(direction, 1.5, positive) is True
    winner = best(0, "highest", intervals)
    assert winner is not True or best(0, "highest", centres) is True
    assert winner is not True or all(best(i, "highest", intervals) is False for i in range(1, len(intervals)))


def test_decisions_refuse_nan():
    with pytest.raises(ValueError, match="NaN"):
        interval_holds(Condition("below", (1,)), float("nan"), 2)


@pytest.mark.parametrize(
    ("values", "predicate", "outcome"),
    [
        ([1, 1, 1, 1, 3], {"below": 2, "on": "every_unit"}, "fails"),
        ([1, 1, 1, 1, 3], {"below": 2, "on": "fraction", "share": 0.8}, "holds"),
        ([1, 1, 1, 3, 3], {"below": 2, "on": "fraction", "share": 0.8}, "fails"),
        ([1, 1, 1, 1, np.nan], {"below": 2, "on": "every_unit"}, "undecided"),
        ([1, 1, 1, 3, np.nan], {"below": 2, "on": "every_unit"}, "fails"),
        ([1, 1, 1, 1, np.nan], {"below": 2, "on": "fraction", "share": 0.8}, "holds"),
        ([1, 1, 1, 1, np.nan], {"below": 2, "on": "fraction", "share": 0.9}, "undecided"),
        ([1], {"below": 2, "on": "every_unit"}, "holds"),
    ],
)
def test_every_unit_and_a_share_of_them(values, predicate, outcome):
    assert estimated(values, {"mean": "t"}, predicate).outcome == outcome


def test_ends_of_the_interval_are_decided():
    values = [0.4, 0.5, 0.6, 0.45, 0.55]  # 95 % interval [0.40, 0.60]
    assert estimated(values, {"mean": "t"}, {"below": 0.5}).outcome == "undecided"
    assert estimated(values, {"mean": "t"}, {"below": 0.5, "on": "low"}).outcome == "holds"
    assert estimated(values, {"mean": "t"}, {"below": 0.5, "on": "high"}).outcome == "fails"
    assert estimated(values, {"mean": "t"}, {"contains": 0.5, "narrower": 0.2}).outcome == "holds"
    assert estimated(values, {"mean": "t"}, {"contains": 0.5, "narrower": 0.05}).outcome == "fails"
    assert estimated(values, {"mean": "t"}, {"near": {"ref": 0.5, "within": 0.25}}).outcome == "holds"
    assert estimated(values, {"mean": "t"}, {"near": {"ref": 0.5, "tol": 0.05}}).outcome == "undecided"
    assert estimated(values, {"mean": "t"}, {"inside": [2, 3]}).outcome == "fails"


def test_p_values_decide_in_both_directions():
    low = [-1, -1.2, -0.9, -1.1, -1.3, -0.8]
    assert estimated(low, {"mean": "t", "alternative": "less"}, {"p_below": 0.05}).outcome == "holds"
    got = estimated(low, {"mean": "t", "alternative": "greater"}, {"p_below": 0.05})
    assert got.outcome == "fails" and "the opposite is significant" in got.reason
    assert (
        estimated([-1, 1, 0.5, -0.5, 0.1, -0.2], {"mean": "t", "alternative": "less"}, {"p_below": 0.05}).outcome
        == "undecided"
    )
    assert estimated(low, {"mean": "t"}, {"p_above": 0.05}).outcome == "fails"


# -- rules ------------------------------------------------------------------------------------------------------------

MISSING, UNTESTED = rules.MISSING, rules.UNTESTED


def over(*outcomes, axis="k"):
    return [({axis: i}, outcome) for i, outcome in enumerate(outcomes)]


def parsed(rule, **checks):
    """The rule as the parser reads it, over checks with these axes."""
    bodies = {}
    for name, cells in checks.items():
        axes = {a: sorted({where[a] for where, _ in cells}) for a in cells[0][0]}
        where = {a: f"{{{a}}}" for a in axes}
        bodies[name] = {"values": {"v": operand(where=where)}, "estimator": {"mean": "t"}, "predicate": {"above": 0}}
        bodies[name] |= {"over": axes} if axes else {}
    return parse_claims({"c": claim(bodies, rule) | {"rules": {"reproduced": rule}}})["c"].rules["reproduced"]


def value(rule, forgive=False, **checks):
    return rules.holds(parsed(rule, **checks), checks, forgive=forgive)


def one(outcome):
    return [({}, outcome)]


def test_words():
    a, b, n = one(True), one(False), one(None)
    assert value({"all": ["a", "b"]}, a=a, b=b) is False
    assert value({"any": ["a", "n"]}, a=a, n=n) is True
    assert value({"all": ["a", "n"]}, a=a, n=n) is None
    assert value({"not": "n"}, n=n) is None
    assert value({"not": {"any": ["b"]}}, b=b) is True
    assert value({"at_least": 2, "of": ["a", "b", {"not": "b"}]}, a=a, b=b) is True
    assert value({"more_than": 0.5, "of": ["a", "b"]}, a=a, b=b) is False
    assert value("a", a=a) is True and value({"fails": "b"}, b=b) is True


def test_fails_and_holds_ask_what_was_decided():
    assert value({"fails": "n"}, n=one(None)) is False  # not decided against
    assert value({"not": {"fails": "n"}}, n=one(None)) is True
    assert value({"holds": "n"}, n=one(None)) is False
    assert value({"fails": "m"}, m=one(MISSING)) is None


def test_instances_are_counted_one_by_one():
    a = over(True, True, None, False)
    assert value({"all": ["a"]}, a=a) is False
    assert value({"any": ["a"]}, a=a) is True
    assert value({"at_least": 2, "of": ["a"]}, a=a) is True
    assert value({"at_least": 3, "of": ["a"]}, a=a) is None
    assert value({"more_than": 0.5, "of": ["a"]}, a=a) is None
    assert value({"any": [{"fails": "a"}]}, a=a) is True
    assert value({"at_least": 2, "of": [{"fails": "a"}]}, a=a) is False
    assert value({"at_least": 2, "of": [{"not": {"holds": "a"}}]}, a=a) is True


def test_each_counts_the_values_of_an_axis():
    a = [({"p": p, "r": r}, outcome) for p, r, outcome in (
        ("x", 1, True), ("x", 2, True), ("y", 1, True), ("y", 2, False), ("z", 1, True), ("z", 2, None))]  # fmt: skip
    b = [({"p": p}, True) for p in "xyz"]
    count = lambda k, of: value({"at_least": k, "each": "p", "of": of}, a=a, b=b)  # noqa: E731
    assert count(1, ["a", "b"]) is True
    assert count(2, ["a", "b"]) is None
    assert count(3, ["a", "b"]) is False
    assert count(3, {"any": ["a"]}) is True
    assert count(1, {"all": [{"fails": "a"}]}) is False
    assert value({"all": {"any": ["a"]}, "each": "p"}, a=a, b=b) is True
    assert value({"any": {"all": [{"holds": "a"}, "b"]}, "each": "p"}, a=a, b=b) is True
    assert value({"all": {"any": {"all": ["a"]}, "each": "r"}, "each": "p"}, a=a, b=b) is True


def test_missing_instances_are_unknown_and_may_be_left_out():
    a = over(True, MISSING)
    assert value({"all": ["a"]}, a=a) is None
    assert value({"all": ["a"]}, forgive=True, a=a) is True
    assert value({"all": ["a"]}, forgive=True, a=over(MISSING, MISSING)) is None
    assert value({"all": ["a"]}, forgive=True, a=over(None, MISSING)) is None
    assert value({"at_least": 2, "of": ["a"]}, forgive=True, a=a) is False
    assert (
        value({"all": ["a", "b"]}, forgive=True, a=one(True), b=one(MISSING)) is None
    )  # a whole check is not forgiven
    both = {"a": over(True, MISSING), "b": over(True, MISSING)}
    assert value({"all": ["a", "b"], "each": "k"}, forgive=True, **both) is True


def test_checks_of_other_scales_do_not_count():
    assert value({"all": ["a", "b"]}, a=one(True), b=one(UNTESTED)) is True
    assert value({"all": ["b"]}, b=one(UNTESTED)) is None


@given(st.lists(st.sampled_from([True, False, None, MISSING]), min_size=1, max_size=5))
def test_forgiving_never_decides_against_what_remains(outcomes):
    rule = Rule("all", parts=(Rule("check", check="a"),))
    strict, lenient = (rules.holds(rule, {"a": over(*outcomes)}, forgive=f) for f in (False, True))
    assert strict is lenient or (strict is None and lenient is True and MISSING in outcomes)


# -- verdicts ---------------------------------------------------------------------------------------------------------


def made(**levels):
    """Operand `v` around these levels on 8 seeds, one value of `k` each."""
    return frames(
        *(
            rows("x", "v", level + 0.01 * np.random.default_rng(3).standard_normal(8), k=k)
            for k, level in levels.items()
        )
    )


def above(**keys):
    return {
        "over": {"k": ["p", "q"]},
        "values": {"v": operand(where={"k": "{k}"})},
        "estimator": {"mean": "t"},
        "predicate": {"above": 0},
        **keys,
    }


def test_the_first_true_rule_is_the_verdict():
    checks = {"a": above()}
    assert judged(checks, made(p=1, q=1)).verdict == "reproduced"
    assert judged(checks, made(p=1, q=-1)).verdict == "not reproduced"
    assert judged(checks, made(p=1, q=0)).verdict == "inconclusive"


def test_a_missing_cell_means_at_most_partly():
    result = judged({"a": above()}, made(p=1), missing={cell("x", k="q"): "no data"})
    assert result.verdict == "partly" and result.reason.endswith("missing: no data")
    assert judged({"a": above()}, made(p=-1)).verdict == "not reproduced"
    assert judged({"a": above()}, made(p=0)).verdict == "inconclusive"
    assert judged({"a": above()}, {}, missing={"x": "not asked for"}).verdict == "not run"


def test_a_control_that_fails_makes_it_inconclusive_and_is_named():
    control = {
        "values": {"v": operand(where={"k": "q"})},
        "estimator": {"mean": "t"},
        "predicate": {"below": 0},
        "control": True,
    }
    checks = {"a": {**above(), "over": {"k": ["p"]}}, "null": control}
    assert judged(checks, made(p=1, q=-1), reproduced={"all": ["a"]}).verdict == "reproduced"
    result = judged(checks, made(p=1, q=1), reproduced={"all": ["a"]})
    assert result.verdict == "inconclusive" and result.reason.startswith("a control fails") and "null" in result.reason
    # only the control was run: nothing of the claim remains
    assert judged(checks, made(q=-1), reproduced={"all": ["a"]}).verdict == "not run"


def test_a_check_of_another_scale_is_left_out():
    checks = {"a": {**above(), "over": {"k": ["p"]}}, "big": {**above(), "over": {"k": ["q"]}, "scales": ["paper"]}}
    result = judged(checks, made(p=1), scale="study")
    assert result.verdict == "reproduced"
    assert [c.outcome for c in result.checks] == ["holds", "untested"]
    assert judged(checks, made(p=1), scale="paper").verdict in ("inconclusive", "partly")


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "predicate", [{"above": 0}, {"above": 0, "on": "estimate"}, {"p_below": 0.05}, {"above": 0, "on": "low"}], ids=str
)
def test_fewer_than_five_seeds_decide_nothing(n, predicate):
    records = frames(rows("x", "v", 5 + 0.001 * np.arange(n)))
    body = {"values": {"v": operand()}, "estimator": {"mean": "t"}, "predicate": predicate}
    result = judged({"a": body}, records)
    assert result.verdict == "inconclusive" and "too few: a verdict needs 5" in result.reason


def test_the_headline_is_the_instance_asked_for_or_the_one_that_stands_in_the_way():
    checks = {"a": above()}
    assert judged(checks, made(p=1, q=-1)).headline.instance == "k=q"
    assert judged(checks, made(p=1, q=-1), headline={"check": "a", "k": "p"}).headline.instance == "k=p"
