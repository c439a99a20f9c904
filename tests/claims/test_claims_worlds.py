"""Every paper's claims in ten fixed draws of their worlds: power as docs/dry-runs.md has it, and what must never come out."""

import copy
import re
from pathlib import Path

import pytest
from making import claim, operand

from descent.claims.dry_run import dry_run
from descent.claims.judge import judge_source
from descent.claims.operands.planned import Cell, Planned
from descent.claims.read.parse import parse_claims
from descent.claims.telling import result
from descent.claims.worlds import WorldSource, parse_world
from descent.config.plan import make_plan, room_of
from descent.config.read import read_paper, read_study, registered
from descent.config.required import must_exist
from descent.core.errors import ConfigError
from descent.workflow.dry_runs import dry_runs

ROOT = Path(__file__).parents[2]
DRAWS = 10
PAPERS = registered(ROOT)
SLACK = 0.35  # between ten draws here and the page's: three standard errors of a share of .8, rounded down


def published() -> dict[str, tuple[float, float, float]]:
    """Claim -> the shares of docs/dry-runs.md at study scale: as stated, swapped, no effect."""
    text = (ROOT / "docs/dry-runs.md").read_text(encoding="utf-8").split("## Scale study")[1].split("## Scale")[0]
    rows = re.findall(r"^\| (\w+\.\w+) \| (\d+) % \| (\d+) % \| (\d+) %", text, re.MULTILINE)
    return {claim: tuple(int(share) / 100 for share in shares) for claim, *shares in rows}


@pytest.fixture(scope="module", params=PAPERS)
def ran(request):
    return request.param, dry_runs(ROOT, "study", request.param, DRAWS)[request.param]


def test_the_page_has_every_claim_that_is_tried(ran):
    slug, outcomes = ran
    tried = {f"{slug}.{one.claim}" for one in outcomes if one.shares}
    assert tried == {claim for claim in published() if claim.startswith(f"{slug}.")}, "make dry-runs"


def test_claims_come_out_and_are_refuted_as_often_as_the_page_says(ran):
    slug, outcomes = ran
    for one in outcomes:
        if one.shares and not one.why:
            stated, swapped, _ = published()[f"{slug}.{one.claim}"]
            assert one.shares["as stated"].get("reproduced", 0) == pytest.approx(stated, abs=SLACK), one.claim
            assert one.shares["swapped"].get("not reproduced", 0) == pytest.approx(swapped, abs=SLACK), one.claim
            if (
                stated > 0.5
            ):  # else the world itself speaks against the claim, and its reverse may well be what is claimed
                assert "reproduced" not in one.shares["swapped"], one.claim


def test_where_nothing_is_there_nothing_is_reproduced(ran):
    slug, outcomes = ran
    for one in outcomes:
        if one.shares and not one.why:
            assert published()[f"{slug}.{one.claim}"][2] <= 0.05, one.claim
            assert one.shares["no effect"].get("reproduced", 0) <= 0.2, (one.claim, one.shares["no effect"])


def test_missing_seeds_and_broken_controls_conclude_nothing(ran):
    slug, outcomes = ran
    claims = parse_claims(read_paper(ROOT, slug).claims)
    for one in outcomes:
        if one.shares and not one.why:
            if any(q[0].kind.decides == "exact" for q in claims[one.claim].quantities.values()):
                assert "reproduced" not in one.shares["seeds missing"], one.claim  # a count of no seed may stand
            else:
                assert one.shares["seeds missing"] == {"inconclusive": 1.0}, one.claim
        if "control broken" in one.shares:
            assert one.shares["control broken"] == {"inconclusive": 1.0}, one.claim


@pytest.mark.parametrize("slug", PAPERS)
def test_renaming_every_check_changes_no_byte_of_an_estimate(slug):
    plan = make_plan(ROOT, read_study(ROOT, {"papers": slug}), any_data=True)
    paper = plan.papers[slug]
    source = WorldSource(parse_world(paper.world, slug), must_exist(plan, slug, room_of(paper)), 1)

    def estimates(claims):
        judged = judge_source(claims, source, scale="study")
        return [result(slug, "study", one) for one in judged]

    def renamed(node):
        return node if not isinstance(node, str) else f"{node}_x"

    def walk(rule, names):
        if isinstance(rule, str):
            return renamed(rule) if rule in names else rule
        if isinstance(rule, list):
            return [walk(r, names) for r in rule]
        return (
            {k: v if k in ("each", "at_least") else walk(v, names) for k, v in rule.items()}
            if isinstance(rule, dict)
            else rule
        )

    other = copy.deepcopy(dict(paper.claims))
    for body in other.values():
        if body.get("checks"):
            names = set(body["checks"])
            body["rules"] = walk(body["rules"], names)
            body["headline"] = walk(body["headline"], names)
            body["checks"] = {renamed(k): v for k, v in body["checks"].items()}
            for group in ("controls", "comparisons"):
                body[group] = {renamed(k): v for k, v in body.get(group, {}).items()}
            body["alternatives"] = {
                renamed(k): {**v, "instead_of": renamed(v["instead_of"])}
                for k, v in body.get("alternatives", {}).items()
            }
    before, after = estimates(paper.claims), estimates(other)
    for one, two in zip(before, after, strict=True):
        assert repr(one.estimates) == repr(two.estimates) and one.verdict == two.verdict
        intervals = {}
        for check in one.checks:  # no estimate with two intervals
            assert intervals.setdefault(check.estimate_id, (check.ci_low, check.ci_high, check.level)) == (
                check.ci_low,
                check.ci_high,
                check.level,
            )


# -- a world by itself ------------------------------------------------------------------------------------------------

RULES = [
    {"experiment": "e", "metric": "y", "mean": 1.0, "sd": 0.1},
    {
        "experiment": "e",
        "metric": "y",
        "method": "b",
        "mean": "2 * size",
        "spread": 0.1,
        "law": "lognormal",
        "correlation": 1.0,
        "diverged": 0.5,
    },
]


def world(rules=RULES, draws=2000):
    cells = [Cell(m, {"size": s}, tuple(range(1000, 1010))) for m in "ab" for s in (1, 3)]
    return WorldSource(parse_world(rules, "x"), Planned({"e": cells}), draws)


def numbers(source, **more):
    from descent.claims.read.operands import Operand

    return source.table(Operand.model_validate(operand(**more)), {}, False)


def test_a_rule_gives_mean_spread_and_failures_and_the_last_that_fits_holds():
    a = numbers(world(), where={"size": 1})
    assert a.cells.value.shape == (2000, 10, 1) and a.cells.value.mean() == pytest.approx(1, abs=0.005)
    assert a.cells.value.std() == pytest.approx(0.1, rel=0.03) and not a.cells.rank.any()
    b = numbers(world(), method="b", where={"size": 3})
    import numpy as np

    assert np.nanmedian(b.cells.value) == pytest.approx(6, rel=0.01) and (b.cells.rank > 0).mean() == pytest.approx(
        0.5, abs=0.02
    )


def test_draws_are_the_same_every_time_and_a_seed_s_luck_is_shared():
    import numpy as np

    one, two = (numbers(world(draws=50), where={"size": 1}).cells.value for _ in range(2))
    assert (one == two).all()
    other = numbers(world(draws=50), where={"size": 3}).cells.value
    assert 0.3 < np.corrcoef(one.ravel(), other.ravel())[0, 1] < 0.7


def test_experiments_with_common_streams_may_share_a_seed_s_luck():
    import numpy as np

    def apart(**more):
        rules = [
            {"experiment": e, "metric": "y", "mean": 1.0, "sd": 0.1, "correlation": 0.9, **(more if e == "f" else {})}
            for e in "ef"
        ]
        cells = [Cell("a", {}, tuple(range(1000, 1010)))]
        source = WorldSource(parse_world(rules, "x"), Planned({"e": cells, "f": cells}), 500)
        one, two = (numbers(source, experiment=e).cells.value.ravel() for e in "ef")
        return np.corrcoef(one, two)[0, 1]

    assert abs(apart()) < 0.05 and apart(common="e") == pytest.approx(0.9, abs=0.02)


def test_a_world_that_says_too_little_or_nonsense_is_told():
    with pytest.raises(ConfigError, match=r"the world says nothing of e .method a, size 1., metric z"):
        numbers(world(), metric="z", where={"size": 1})
    with pytest.raises(ConfigError, match=r"x: world.0.law must be"):
        parse_world([{**RULES[0], "law": "cauchy"}], "x")
    with pytest.raises(ConfigError, match="`spread` goes with"):
        parse_world([{**RULES[0], "spread": 0.1}], "x")


def test_an_equality_is_tried_three_margins_away():
    same = claim({"gap": {"operands": {"a": operand(where={"size": 1}), "b": operand(where={"size": 3})}, "value": "a - b", "estimator": {"kind": "t", "alpha": 0.05}}},
                 {"alike": {"estimate": "gap", "inside": [-0.2, 0.2]}}, {"reproduced": "alike", "not_reproduced": {"not": "alike"}})  # fmt: skip
    outcome = dry_run(parse_claims({"c": same})["c"], world(draws=100), "study", "x")
    assert outcome.shares["as stated"] == {"reproduced": 1.0} and outcome.shares["no effect"] == {"not reproduced": 1.0}
