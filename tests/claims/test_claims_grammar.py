"""Reading claims: what is refused, and the sentence that says what to write instead."""

import copy
import random
import re
from pathlib import Path

import pytest
import yaml
from making import claim, operand

from descent.claims.read.parse import parse_claims
from descent.config.claimed import claim_names
from descent.config.plan import room_of
from descent.config.read import read_paper
from descent.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
PAPERS = ("zoflat", "rpg", "gmfg", "ssi", "dualpriv")
ESTIMATE = {"operands": {"a": operand("a"), "b": operand("b")}, "value": "a - b"}
GOOD = claim({"gap": ESTIMATE}, {"above": {"estimate": "gap", "above": 0}})


def changed(**parts):
    return {**copy.deepcopy(GOOD), **parts}


def faults(raw):
    with pytest.raises(ConfigError) as error:
        parse_claims({"c1": raw}, "config/papers/x.yaml")
    return error.value.faults


def estimate(**parts):
    return changed(estimates={"gap": {**ESTIMATE, **parts}})


def check(**parts):
    return changed(checks={"above": {"estimate": "gap", **parts}})


AUDIT = {"operands": {n: operand(metric=n) for n in ("correct", "guesses", "canaries")}, "estimator": "audit"}


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (changed(rules={"reproduced": "gap"}), "names the estimate `gap`: a point decides nothing; write a check of it"),
        (changed(rules={"reproduced": "abov"}), "names no check, got 'abov' (did you mean `above`?)"),
        (changed(rules={"reproduced": {"fails": "above"}}), "write {not: check}: decided against"),
        (changed(rules={"reproduced": {"not": "above"}}), "may not rest on `above` being decided against"),
        (changed(rules={"reproduced": "above", "not_reproduced": "above"}), "both for and against the claim"),
        (check(above=0, family="x"), "write it inside `decide: {p: 0.05, family: x}`"),
        (check(above=0, decide={"family": "x"}), "decide.p is missing"),
        (check(p_above=0.05), "a large p supports nothing; write `inside: [low, high]`"),
        (check(contains=0), "an interval that contains something supports nothing"),
        (check(above=0, on="low"), "a point or one end of an interval decides nothing"),
        (check(above=0, below=1), "exactly one criterion"),
        (check(), "this one has none"),
        (check(inside=[1, 0]), "`inside` takes two numbers, [low, high]"),
        (check(above="1.0e"), "must be a number, `1.0e` is not an expression"),
        (check(estimate="gpa", above=0), "names no estimate, got 'gpa' (did you mean `gap`?)"),
        (check(above=0, where={"data": "x"}), "picks no instance of `gap`"),
        (estimate(value="a / b"), "is a ratio, whose mean is dominated by its tail: write `scale: log`"),
        (estimate(value="log(a) - log(b)", scale="log"), "is a logarithm already"),
        (estimate(value="a - c"), "reads `c`, which is no operand"),
        (estimate(value="a.b"), "uses `a.b`; allowed"),
        (estimate(value="a"), "operands.b is read by nothing"),
        (estimate(value={"a": "a", "b": "b"}), "gives several numbers a seed"),
        (estimate(contrast="adjacent"), "needs several numbers to compare"),
        (estimate(value={"a": "a", "b": "b"}, contrast={"against": "c"}), "must be one of a, b, got 'c'"),
        (estimate(estimator="share"), "must be a condition, such as `x >= 1`"),
        (estimate(estimator="bootstrap"), "must be one of t,"),
        (estimate(estimator={"kind": "t", "resamples": 9}), "nothing resamples"),
        (estimate(estimator={"kind": "t", "levl": 0.9}), "(did you mean `level`?)"),
        (estimate(statistic="a"), "it is called `value`"),
        (estimate(over={"data": ["x"]}, value="a - b * {dta}"), "uses {dta}, which `over` does not give; it gives data"),
        (estimate(over={"data": []}), "must give every axis a list of values"),
        (estimate(operands={"a": {**operand(), "read": "end"}}), "last, first, all, a step"),
        (estimate(operands={"a": {**operand(), "at": 3}, "b": operand("b")}), "it is called `read`"),
        (estimate(operands={"a": {**operand(), "read": {"window": [0, 9, 10], "reduce": "mean"}}, "b": operand("b")}), "two bounds"),
        (estimate(operands={"a": {"experiment": "e", "metric": "y"}, "b": operand("b")}), "operands.a.method is missing"),
        (estimate(data="hevy"), "(did you mean `heavy`?)"),
        (changed(origin="report-only"), "a report-only claim has no `checks`"),
        (changed(headline="gap"), "names no check, got 'gap'"),
        (changed(headline=["above", "abve"]), "(did you mean `above`?)"),
        (changed(checks={**GOOD["checks"], "spare": {"estimate": "gap", "below": 1}}), "stands in no rule"),
        (changed(controls={"above": {"estimate": "gap", "above": 0}}), "is the name of one of the checks too"),
        (changed(statment="s"), "(did you mean `statement`?)"),
        (estimate(estimator="identity", value="a - b") | {"checks": {"above": {"estimate": "gap", "above": 0}, "x": {"estimate": "g2", "above": 0}},
          "estimates": {"gap": {**ESTIMATE, "estimator": "identity"}, "g2": ESTIMATE}, "rules": {"reproduced": {"all": ["above", "x"]}}},
         "an identity cannot come out otherwise"),
        (claim({"a": AUDIT}, {"none": {"estimate": "a", "no_more_than": 3, "decide": {"p": 0.05}}}),
         "counts only beside a control that the same procedure catches"),
        (claim({"a": AUDIT}, {"none": {"estimate": "a", "below": 3}}), "needs `more_than` or `no_more_than`"),
        (claim({"a": {**AUDIT, "operands": {"correct": operand()}}}, {"x": {"estimate": "a", "more_than": 3, "decide": {"p": 0.05}}}),
         "must be correct, guesses, canaries"),
    ],
)  # fmt: skip
def test_refused_with_what_to_write_instead(raw, sentence):
    found = faults(raw)
    assert any(sentence in fault for fault in found), found
    assert all(fault.startswith("config/papers/x.yaml: claims.c1") and "\n" not in fault for fault in found)


def test_all_faults_are_told_at_once_and_each_once():
    raw = estimate(over={"data": ["x", "y"]}, value="a - c", spare=1)
    raw["checks"]["above"]["abve"] = 3
    found = faults(raw)
    assert len(found) == len(set(found)) == 2, found


@pytest.mark.parametrize("slug", PAPERS)
def test_every_name_in_a_claim_is_one_that_the_paper_has(slug):
    paper = read_paper(ROOT, slug)
    names = claim_names(paper, room_of(paper))
    from descent.claims import reference_faults

    def told(raw):
        return reference_faults(parse_claims(raw), names, "x")

    assert told(paper.claims) == []
    raw = yaml.safe_load(yaml.safe_dump(paper.claims))
    for body in raw.values():
        body["figure"] = "gapz"
        for each in body["estimates"].values():
            for one in each["operands"].values():
                one["metric"] = one["metric"] + "z"
    found = told(raw)
    assert sum("names no figure" in f for f in found) == len(raw) and sum("does not declare" in f for f in found) > len(
        raw
    )


# -- mutations --------------------------------------------------------------------------------------------------------

SPICE = [None, True, 0, -1, 3.5, float("nan"), float("inf"), 1e308, "", "x", "{data}", "inf", "a/b", [], [[]], ["x"], [1, 2], {}, {"all": "x"},
         {"x": []}, {1: 2}, {"not": []}, {"fails": {"all": ["x"]}}, {"kind": []}, {"kind": "t", "level": 2}, {"window": []}]  # fmt: skip


def places(node, path=()):
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from places(value, (*path, i))


def mutated(claims, rng):
    """One claim with one place changed: another value, a key gone, misspelt or copied from elsewhere."""
    name = rng.choice(list(claims))
    raw = {name: copy.deepcopy(claims[name])}
    where = rng.choice([p for p in places(raw) if len(p) > 1])
    holder = raw
    for key in where[:-1]:
        holder = holder[key]
    kind = rng.randrange(4)
    if kind == 0 or not isinstance(holder, dict):
        holder[where[-1]] = copy.deepcopy(rng.choice(SPICE))
    elif kind == 1:
        del holder[where[-1]]
    elif kind == 2:
        key = str(where[-1])
        holder[key[:-1] + rng.choice("abz_")] = holder.pop(where[-1])
    else:
        other = raw
        for key in rng.choice([p for p in places(raw) if len(p) > 2]):
            other = other[key]
        holder[where[-1]] = copy.deepcopy(other)
    return raw


@pytest.mark.parametrize("slug", PAPERS)
def test_any_mutation_gives_a_sentence_or_a_claim(slug):
    claims = read_paper(ROOT, slug).claims
    rng = random.Random(slug)
    refused = 0
    for _ in range(120):
        raw = mutated(claims, rng)
        try:
            parse_claims(raw, "config/papers/x.yaml")
        except ConfigError as error:
            refused += 1
            for fault in error.faults:
                assert "\n" not in fault and re.match(r"config/papers/x\.yaml: claims", fault), (raw, fault)
    assert refused > 60
