"""The front page: all papers, the paper's claims counted apart from ours, small, the same bytes each time."""

import json
import shutil

import pandas as pd
import pytest
from html_check import Page

from descent.core.errors import DataError
from descent.report import front
from descent.report.front import matching, write_front

PAPERS = {"hill": "Smoothed descent finds wide valleys", "later": "A paper that was not run"}


@pytest.fixture
def folder(published, tmp_path):
    shutil.copytree(published[1], tmp_path / "study")
    return tmp_path / "study"


def test_verdicts_of_all_papers_and_not_run_where_there_are_none(published):
    text = (published[1] / "index.html").read_text()
    page = Page(text)
    assert "A paper that was not run" in page.text and "papers=later" in page.text
    for name in ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "x1", "x2"):
        assert f"hill.{name}" in page.ids
        assert f"hill/index.html#{name}" in page.links
    assert text.count('class="claim-group"') == 9 and text.count('data-verdict="inconclusive"') == 3


def test_only_the_papers_claims_are_counted(published):
    page = Page((published[1] / "index.html").read_text())
    assert "1 reproduced 1 partly 1 not reproduced 3 inconclusive 1 not run" in page.text
    assert "7 claims of 1 paper" in page.text
    assert "Not counted above: 1 claim of our own (1 reproduced); 1 claim only reported (1 reported)" in page.text
    assert page.text.count("ours, not the paper's") >= 1


def test_a_paper_of_another_run_is_shown_as_it_lies_there(folder, published):
    other = json.loads((folder / "hill" / "verdicts.json").read_text())
    other = {
        **other,
        "paper": "later",
        "title": "Judged before",
        "claims": [{**c, "paper": "later"} for c in other["claims"]],
    }
    (folder / "later").mkdir()
    (folder / "later" / "verdicts.json").write_text(json.dumps(other))
    write_front(folder, PAPERS, published[0].plan.study)
    page = Page((folder / "index.html").read_text())
    assert "Judged before" in page.text and "later.c1" in page.ids and "14 claims of 2 papers" in page.text
    table = pd.read_csv(folder / "verdicts.csv")
    assert table.groupby("paper").size().to_dict() == {"hill": 9, "later": 9}
    assert len(pd.read_csv(folder / "checks.csv")) == 2 * sum(len(c["checks"]) for c in other["claims"])


def test_the_same_verdicts_give_the_same_bytes(folder, published):
    before = {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name != "cost.html"}
    for path in folder.glob("*.*"):
        path.unlink()
    write_front(folder, {**PAPERS, "elsewhere": "A paper that another run judged"}, published[0].plan.study)
    assert {path.name: path.read_bytes() for path in folder.glob("*.*") if path.name != "cost.html"} == before


def test_ten_papers_stay_under_five_megabytes(folder, published, monkeypatch):
    papers = {}
    for i in range(10):
        papers[f"p{i}"] = f"Paper {i}"
        shutil.copytree(folder / "hill", folder / f"p{i}")
        judged = json.loads((folder / "hill" / "verdicts.json").read_text())
        claims = [{**c, "paper": f"p{i}", "checks": c["checks"] * 4} for c in judged["claims"]]
        (folder / f"p{i}" / "verdicts.json").write_text(json.dumps({**judged, "paper": f"p{i}", "claims": claims}))
    write_front(folder, papers, published[0].plan.study)
    with_pictures = (folder / "index.html").stat().st_size
    assert with_pictures < 5_000_000 and "data:image/png" in (folder / "index.html").read_text()
    monkeypatch.setattr(front, "BUDGET", with_pictures - 1)  # too big: the pictures go, the claims stay
    write_front(folder, papers, published[0].plan.study)
    text = (folder / "index.html").read_text()
    assert "data:image/png" not in text and text.count('class="claim-group"') == 90


def test_cost_against_budget_on_a_page_of_its_own(published):
    page = Page((published[1] / "cost.html").read_text())
    assert "of a budget of 3000 for all papers" in page.text and "hill" in page.text
    assert "seconds" not in Page((published[1] / "index.html").read_text()).text.replace("in seconds;", "")


def test_broken_verdicts_are_named(folder, published):
    (folder / "hill" / "verdicts.json").write_text("{")
    with pytest.raises(DataError, match=r"hill/verdicts.json is not valid JSON; delete it"):
        write_front(folder, PAPERS, published[0].plan.study)


def test_no_paper_at_all(tmp_path, published):
    write_front(tmp_path, PAPERS, published[0].plan.study)
    page = Page((tmp_path / "index.html").read_text())
    assert page.faults == [] and "0 claims of 0 papers" in page.text
    assert next(iter(pd.read_csv(tmp_path / "verdicts.csv"))) == "paper"


def test_a_claim_finds_its_figure_by_name_or_by_its_beginning():
    pictures = [{"name": "F10"}, {"name": "F1_toy"}]
    assert matching(pictures, "F1")["name"] == "F1_toy" and matching(pictures, "F2") is None
    assert matching(pictures, None) is None


def test_smoke_says_so(smoked):
    page = Page((smoked[1] / "index.html").read_text())
    assert "smoke: no verdicts" in page.text and "smoke: no verdict" in page.text
