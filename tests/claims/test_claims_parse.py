"""Reading claims: every fault at once, one clear sentence each; the forms that are allowed."""

import dataclasses
import subprocess
import sys

import pytest
import yaml
from making import claim, operand

from descent.claims import kinds, model, parse_claims
from descent.core.errors import ConfigError

WHERE = "config/papers/demo.yaml"


def faults(checks=None, **claim_keys):
    body = claim(claim_keys.pop("checks", checks) or check())
    body |= claim_keys
    with pytest.raises(ConfigError) as caught:
        parse_claims({"c1": body}, WHERE)
    return caught.value.faults


def check(**keys):
    body = {"values": {"v": operand()}, "estimator": {"mean": "t"}, "predicate": {"above": 0}} | keys
    return {"only": {key: value for key, value in body.items() if value is not None}}


# (what is written, the words of the fault)
WRONG = [
    (check(estimater={"mean": "t"}), "checks.only.estimater is not a key here (did you mean `estimator`?); allowed: about,"),
    (check(values={}), "checks.only.values must name at least one operand"),
    (check(values={"v": {"experiment": "x"}}), "values.v.metric is missing"),
    (check(values={"v": operand(wher={"a": 1})}), "values.v.wher is not a key here (did you mean `where`?)"),
    (check(values={"max": operand()}), "values.max must be named by letters, digits and underscores, and not as a function"),
    (check(values={"v": operand(at="lst")}), "values.v.at must be last, first, a step"),
    (check(values={"v": operand(at={"reduce": "avg"})}), "values.v.at.reduce must be mean, median"),
    (check(values={"v": operand(at={"reduce": "max", "weights": "w"})}), "at.weights needs `reduce: mean`, got 'max'"),
    (check(values={"v": operand(at={"from": 1.5, "reduce": "mean"})}), "at.from must be a fraction from 0.0 to 1.0"),
    (check(values={"v": operand(at={"first_below": "w"})}), "values.v.at names `w`, which is no operand"),
    (check(values={"v": operand(at={"first_below": 1, "give": "stp"})}), "at.give must be step or value, got 'stp'"),
    (check(values={"v": operand(at={"fit": "log"})}), "at.fit must be linear, semilog or loglog, got 'log'"),
    (check(values={"v": operand(at={"fit": "loglog", "give": "factor"})}), "factor (exp of the slope) needs `fit: semilog`"),
    (check(values={"v": operand(at={"fit": "loglog", "between": [1e-9, 1e-1]})}), "at.between must be [high, low]"),
    (check(values={"v": operand(unit=3)}), "values.v.unit must be a column such as seed"),
    (check(values={"v": operand(across={"k": [1, 1]})}), "across.k lists a value twice"),
    (check(values={"v": operand(across={"k": 3})}), "across.k must be the list of values along this axis, got 3"),
    (check(values={"v": operand(across={"k": [1]}, where={"k": 1})}), "across.k is fixed as well; give it once"),
    (check(values={"v": operand(across={"v": [1, 2]})}), "across.v is the name of an operand as well; rename the operand"),
    (check(values={"v": operand(where={"eps": "1e-4"})}), "where.eps is text, '1e-4', since YAML wants a point"),
    (check(values={"v": operand(substitute={"divergd": 1})}), "substitute.divergd is not a key here (did you mean `diverged`?)"),
    (check(values={"v": operand(smooth={"span": 100})}), "smooth.of is missing"),
    (check(values={"v": operand(pool="avg")}), "pool must be mean, median"),
    (check(values={"v": operand(**{"is": "dead"})}), "values.v.is must be ok, censored"),
    (check(statistic="v / w"), "statistic names `w`, which is no operand; operands: v"),
    (check(statistic="vv * 2"), "statistic names `vv`, which is no operand (did you mean `v`?)"),
    (check(statistic="lag(v)"), "calls the unknown function `lag` (did you mean `log`?)"),
    (check(statistic="v.__class__"), "statistic cannot be read: `v.__class__` uses `v.__class__`; allowed: numbers"),
    (check(statistic="v[0]"), "statistic cannot be read"),
    (check(statistic="(lambda: v)()"), "statistic cannot be read"),
    (check(statistic="v +"), "is not an expression"),
    (check(among="v >"), "among cannot be read"),
    (check(estimator=None), "estimator is missing; e.g. {mean: t}"),
    (check(estimator={"men": "t"}), "names no estimator, got 'men' (did you mean `mean`?); kinds: mean, median"),
    (check(estimator={"mean": "z"}), "estimator.mean must be t or bootstrap, got 'z'"),
    (check(estimator={"mean": "t", "lvl": 0.9}), "estimator.lvl is not a key here (did you mean `level`?)"),
    (check(estimator={"mean": "t", "level": 95}), "estimator.level must lie strictly between 0 and 1, got 95"),
    (check(estimator={"mean": "t", "median": "order"}), "names 2 estimators, mean or median; keep one"),
    (check(estimator={"tost": "paired"}), "estimator.margin is missing"),
    (check(estimator={"tost": "paired", "margin": -1}), "margin must be a positive half-width"),
    (check(estimator={"fraction": "clopper_pearson"}), "estimator.that is missing"),
    (check(estimator={"functional": "bootstrap", "of": "median", "resample": {"pairs": ["a", "b"]}}), "with pairs needs `of: mean`"),
    (check(estimator={"functional": "bootstrap", "of": "max", "eligible": 0.5}), "eligible needs `of: mean`"),
    (check(estimator={"test": "ks"}, predicate={"p_above": 0.01}), "must name the two samples, since there are 1 operands"),
    (check(estimator={"test": "ks"}, predicate={"p_above": 0.01}, statistic="v"), "statistic has no meaning for {test: ks}"),
    (check(estimator={"audit": "one_run"}), "must name the operand `correct`, which {audit: one_run} reads"),
    (check(predicate={"belw": 0}), "predicate.belw is not a key here (did you mean `below`?)"),
    (check(predicate={}), "predicate states no condition"),
    (check(predicate={"inside": 3}), "predicate.inside must be [low, high], got 3"),
    (check(predicate={"near": {"ref": 1}}), "needs one of tol (absolute) and within (relative to ref)"),
    (check(predicate={"below": "lg(2)"}), "predicate.below must be a number"),
    (check(predicate={"above": 0, "on": "intervall"}), "predicate.on must be interval, estimate"),
    (check(predicate={"above": 0, "on": "fraction"}), "predicate.share is missing"),
    (check(predicate={"above": 0, "share": 0.5}), "predicate.share needs `on: fraction`"),
    (check(predicate={"p_below": 0.05, "on": "interval"}), "cannot look at `interval`; p_below and p_above look at `p`"),
    (check(predicate={"contains": 0, "on": "estimate"}), "looks at an interval, not at `estimate`"),
    (check(predicate={"ordered": "up"}), "ordered must be ascending or descending"),
    (check(predicate={"above": 0, "slack": 1.1}), "slack must be a factor of at least 1 beside `ordered`"),
    (check(predicate={"best": "w"}, statistic={"a": "v", "b": "2*v"}), "names no label of the statistic, got 'w'; labels: a, b"),
    (check(estimator={"median": "order"}, predicate={"p_below": 0.1}), "looks at `p`, which {median: order} does not give; it gives"),
    (check(estimator={"functional": "none"}, predicate={"below": 0, "on": "interval"}), "looks at `interval`, which {functional: none}"),
    (check(estimator={"test": "sign"}, predicate={"below": 0, "on": "low"}), "looks at `low`, which {test: sign} does not give"),
    (check(estimator={"mean": "bootstrap"}, predicate={"p_below": 0.1}), "looks at `p`, which {mean: bootstrap}"),
    (check(over={"k": []}), "checks.only.over must be {axis: [values]}"),
    (check(control="yes please"), "control must be true or false"),
    (check(family={"name": "f", "method": "sidak"}), "family.method must be holm or bonferroni"),
]  # fmt: skip


@pytest.mark.parametrize(("checks", "words"), WRONG, ids=[words[:50] for _, words in WRONG])
def test_each_fault_is_a_sentence_with_file_and_key(checks, words):
    found = faults(checks)
    assert any(words in fault for fault in found), found
    assert all(fault.startswith(f"{WHERE}: claims.c1") and "\n" not in fault for fault in found)


CLAIM_FAULTS = [
    ({"checks": check(predicate=None), "rules": {"reproduced": "only"}}, "names `only`, which has no predicate, so it is only reported and never holds"),
    ({"headline": "olny"}, "headline names no check of this claim, got 'olny' (did you mean `only`?); checks: only"),
    ({"headline": {"check": "only", "k": 3}}, "headline picks no instance of `only`"),
    ({"origin": "papre"}, "origin must be paper, ours or report-only, got 'papre' (did you mean `paper`?)"),
    ({"tag": "guess"}, "tag must be quote, paraphrase or derived"),
    ({"statment": "s"}, "statment is not a key here (did you mean `statement`?)"),
    ({"scales": []}, "scales must be a list of scale names"),
    ({"rules": {"reproducd": "only"}}, "rules.reproducd is not a key here (did you mean `reproduced`?)"),
    ({"rules": {"partly": "only"}}, "rules.reproduced is missing"),
    ({"rules": {"reproduced": "onyl"}}, "names no check, got 'onyl' (did you mean `only`?); checks: only"),
    ({"rules": {"reproduced": {"al": ["only"]}}}, "must hold exactly one of all, any, at_least"),
    ({"rules": {"reproduced": {"all": ["only"], "any": ["only"]}}}, "must hold exactly one of"),
    ({"rules": {"reproduced": {"all": []}}}, "must list checks or rules, got []"),
    ({"rules": {"reproduced": {"at_least": 0, "of": ["only"]}}}, "at_least must be a whole number from 1"),
    ({"rules": {"reproduced": {"more_than": 2, "of": ["only"]}}}, "more_than must lie strictly between"),
    ({"rules": {"reproduced": {"fails": "x"}}}, "rules.reproduced.fails names no check"),
    ({"rules": {"reproduced": {"all": ["only"], "each": "k"}}}, "each must be an axis that a check goes `over`, got 'k'"),
    ({"rules": None}, "rules is missing; needed: reproduced"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "words"), CLAIM_FAULTS, ids=[words[:50] for _, words in CLAIM_FAULTS])
def test_faults_of_a_claim(keys, words):
    found = faults(**keys)
    assert any(words in fault for fault in found), found


def test_all_faults_are_reported_at_once_and_once():
    checks = {
        "a": {"over": {"k": [1, 2, 3]}, "values": {"v": operand(metrc="x")}, "estimator": {"mean": "u"}},
        "b": {"values": {"v": operand()}, "statistic": "w", "estimator": {"mean": "t"}, "predicate": {"abov": 1}},
    }
    found = faults(checks, headline="c")
    assert len(found) == len(set(found)) == 6, found  # three instances of `a` share theirs


def test_an_expanded_check_must_say_all_or_any():
    checks = {
        "a": {
            "over": {"k": [1, 2]},
            "values": {"v": operand(where={"k": "{k}"})},
            "estimator": {"mean": "t"},
            "predicate": {"above": 0},
        }
    }
    (fault,) = faults(checks, rules={"reproduced": "a"})
    assert "is ambiguous: `a` goes over k; write {all: [a]} or {any: [...]}" in fault
    parse_claims({"c1": claim(checks, {"all": ["a"]})})
    parse_claims({"c1": claim(checks, {"at_least": 1, "each": "k", "of": "a"})})


def test_crossing_levels_may_not_wait_for_each_other():
    values = {"a": operand(at={"first_below": "b"}), "b": operand(at={"first_below": "a"})}
    (fault,) = faults(check(values=values, statistic="a - b"))
    assert "wait for each other's levels in a circle: a, b" in fault


def test_templates_keep_the_type_of_what_they_stand_for():
    checks = {
        "a": {
            "over": [{"l": 0.1, "name": "zo"}, {"l": 0.05, "name": "sam"}],
            "about": "{name} at {l}",
            "values": {"v": operand(method="{name}", where={"smoothing": "{l}"})},
            "estimator": {"mean": "t"},
            "predicate": {"below": "2 * {l}"},
            "family": "f_{name}",
        }
    }
    (a,) = parse_claims({"c1": claim(checks)})["c1"].checks.values()
    one, two = a.instances
    assert one.values["v"].where == {"smoothing": 0.1} and two.values["v"].method == "sam"
    assert one.about == "zo at 0.1" and two.family.name == "f_sam"
    assert two.predicate.conditions[0].bounds == (0.1,) and two.label == "l=0.05, name=sam"


def test_yaml_reads_on_as_true_and_is_understood():
    body = yaml.safe_load(
        "{values: {v: {experiment: x, metric: v}}, estimator: {mean: t}, predicate: {below: 1, on: estimate}}"
    )
    assert True in body["predicate"]  # YAML 1.1
    (a,) = parse_claims({"c1": claim({"a": body})})["c1"].checks.values()
    assert a.instances[0].predicate.on == "estimate"


def test_defaults():
    (a,) = parse_claims({"c1": claim(check())})["c1"].checks.values()
    (instance,) = a.instances
    assert instance.estimator.options["level"] == 0.95 and instance.predicate.on == "interval"
    assert instance.values["v"].unit == ("seed",) and instance.values["v"].at.kind == "last"
    assert instance.statistic[""].text == "v"


def test_every_key_of_the_model_is_described():
    for card in vars(model).values():
        if dataclasses.is_dataclass(card):
            for field in dataclasses.fields(card):
                assert field.metadata.get("description", "").endswith("."), (card.__name__, field.name)
    for kind in kinds.KINDS.values():
        assert kind.doc and all(kind.varieties.values()) and all(option.doc for option in kind.options.values())
        assert all(on in kinds.ON for on in kind.gives)


def test_reading_claims_and_auditing_need_neither_pandas_nor_scipy():
    code = (
        "import sys\n"
        "for name in ('pandas', 'scipy', 'statsmodels', 'torch'): sys.modules[name] = None\n"
        "from descent.claims import parse_claims\n"
        "import descent.claims.audit\n"
        "parse_claims({'c1': {'statement': 's', 'headline': 'a', 'rules': {'reproduced': 'a'}, 'checks': {'a': {'values':"
        " {'v': {'experiment': 'x', 'metric': 'v'}}, 'estimator': {'mean': 't'}, 'predicate': {'above': 0}}}}})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
