"""Error rates through the judge: what must hold of every estimator in use, at a fixed small number of draws.

docs/error-rates.md has the same rates from many draws; it is held to the registry here, so the reader's refusals are those
that the simulation shows. Margins are 4 standard errors of the simulated share.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest

from descent.claims.decide.verdict import REPRODUCED
from descent.claims.error_rates.cases import cases, spoilt_cases
from descent.claims.error_rates.document import audit_table, least_table
from descent.claims.error_rates.simulated import NOT_REPRODUCED, N, least, rates
from descent.claims.estimate.base import KINDS
from descent.claims.judge import judge, judge_source
from descent.claims.operands.planned import MetricInfo

PAGE = Path(__file__).parents[2] / "docs" / "error-rates.md"
CASES, SPOILT = list(cases()), list(spoilt_cases())
DRAWS = 600
EXACT = ("median", "quantile", "share", "sign", "ks", "bench")  # hold for every law
NORMAL = ("normal", "clustered")


def names(which):
    return [f"{case.name} ({case.data})" for case in which]


def at_most(share, level, draws):
    """Whether a simulated share may be one of at most `level`."""
    return share <= level + 4 * math.sqrt(level * (1 - level) / draws) + 1e-12


def level_of(case):
    """How often a verdict may be wrong on one side."""
    return 0.05 if case.p is not None or "alpha" in case.estimator or case.estimator["kind"] == "tolerance" else 0.025


@pytest.mark.parametrize("case", CASES, ids=names(CASES))
def test_verdicts_are_wrong_no_more_often_than_their_level(case):
    """Where the estimator's assumptions hold, on either side; elsewhere its interval still covers 85 %."""
    for n in case.sizes[:: 2 if case.slow > 1 else 1]:
        got = rates(case, n, DRAWS)
        if got.refused:
            assert got.reproduced == got.not_reproduced == 0, n
        elif case.data in NORMAL or case.estimator["kind"] in EXACT:
            assert at_most(got.reproduced, level_of(case), got.draws), (n, got)
            assert at_most(got.not_reproduced, level_of(case), got.draws), (n, got)
        else:
            nominal = 0.90 if "alpha" in case.estimator else 0.95
            assert got.coverage > nominal - 0.05 - 4 * math.sqrt(0.1 * 0.9 / got.draws), (n, got)


@pytest.mark.parametrize("case", SPOILT, ids=names(SPOILT))
def test_a_missing_seed_decides_nothing_and_helps_nobody(case):
    for n in (8, 20):
        world = case.world(DRAWS, n)
        judged = judge_source(case.claims(), world, scale="study")[0]
        missing = (world.operands["v"].status == 4).any(axis=(1, 2))
        assert 0.1 < missing.mean() < 1 and (judged.verdict[missing] == 0).all()
        wrong = [(judged.verdict == verdict).mean() for verdict in (REPRODUCED, NOT_REPRODUCED)]
        assert all(at_most(share, 0.025, DRAWS) for share in wrong), wrong


FEW = [case for case in CASES if case.slow < 10 and not case.records and case.estimator["kind"] != "quantile"]


@pytest.mark.parametrize("case", FEW + SPOILT, ids=names(FEW + SPOILT))
def test_a_draw_is_judged_as_its_records_are(case):
    """The rows a job would have written, judged one paper at a time: the same numbers and the same verdict."""
    n = case.sizes[-2] if case.estimator["kind"] == "bench" else 10
    world = case.world(3, n)
    together = judge_source(case.claims(), world, scale="study")[0]
    for draw in range(3):
        alone = judge("simulated", case.claims(), {"s": world.frame(draw)}, world.planned, scale="study")[0]
        check, found = alone.checks[0], together.made["q"][0].parts[0].estimate
        assert alone.verdict == together.word(draw)
        for one, many in ((check.estimate, found.value), (check.ci_low, found.low), (check.ci_high, found.high)):
            assert (one is None and not np.isfinite(many[draw])) or one == pytest.approx(many[draw], rel=1e-9)
        assert check.used == found.n[draw] and MetricInfo().resolution == 0


def test_records_that_share_a_seeds_effect_are_refused_as_replicates():
    case = next(case for case in CASES if case.records)
    got = rates(case, 10, 500)
    assert "`record` needs independent records" in got.refused and got.coverage < 0.75
    assert got.decided == got.reproduced == got.not_reproduced == 0


def test_a_family_of_eight_is_wrong_as_rarely_as_one():
    """Holm over eight checks without an effect: any of them decided for, at most 5 % of the time."""
    case = next(c for c in CASES if c.p is not None and c.estimator["kind"] == "t")
    claims = case.claims()
    claim = claims["c"]
    claim["estimates"] = {f"q{i}": claim["estimates"]["q"] for i in range(8)}
    world = case.world(2000, 10)
    values = np.random.default_rng(0).normal(size=(2000, 10, 8))

    class Eight:
        planned, draws = world.planned, world.draws
        at = -1

        def table(self, operand, levels, rows):
            self.at += 1
            table = world.table(operand, levels, rows)
            return type(table)(table.keys, table.cells._replace(value=values[..., self.at : self.at + 1]))

    claim["checks"] = {
        f"c{i}": {"estimate": f"q{i}", "above": 0, "decide": {"p": 0.05, "family": "all"}} for i in range(8)
    }
    claim["headline"] = "c0"
    claim["rules"] = {"reproduced": {"any": [f"c{i}" for i in range(8)]},
                      "not_reproduced": {"any": [{"not": f"c{i}"} for i in range(8)]}}  # fmt: skip
    judged = judge_source(claims, Eight(), scale="study")[0]
    wins = (judged.verdict == REPRODUCED).mean()
    assert at_most(wins, 0.05, 2000) and wins > 0.02


# -- the page and the registry ----------------------------------------------------------------------------------------


def rows_of(page):
    """The cells of the first table's lines."""
    table = page.split("## Missing seeds")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ][1:]


def covered(cell):
    """The coverage that a cell shows, as a share."""
    return float(re.match(r"\*?([\d.]+)", cell)[1]) / 100


def test_the_page_has_every_case_and_what_it_shows_is_simulated_again():
    rows = rows_of(PAGE.read_text())
    assert [row[:3] for row in rows] == [[case.label, case.law, case.data] for case in CASES]
    for case, row in list(zip(CASES, rows, strict=True))[::7]:
        if case.slow == 1:
            n = case.sizes[0]
            got = rates(case, n, 2000)
            shown = covered(row[3 + N.index(n)])
            assert abs(got.coverage - shown) < 4 * math.sqrt(max(shown * (1 - shown), 1e-3) / 2000)
            assert ("*" in row[3 + N.index(n)]) == bool(got.refused)


def test_the_registry_accepts_what_the_page_shows_to_cover_90_percent():
    text = PAGE.read_text()
    shown = dict(zip(CASES, rows_of(text), strict=True))
    for name, kind in KINDS.items():
        assert dict(kind.data) == least(name, CASES, lambda case, n: covered(shown[case][3 + N.index(n)])), name
    assert least_table() in text and audit_table() in text


def test_the_least_n_of_a_few_draws_is_found_as_on_the_page():
    some = [
        case
        for case in CASES
        if case.estimator == {"kind": "t"} and case.data in ("normal", "heavy") and case.p is None
    ]
    assert least("t", some, lambda case, n: rates(case, n, 2000).coverage) == {"normal": 5, "heavy": None}
