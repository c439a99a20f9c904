"""The front page: all papers, the paper's claims counted apart from ours, small, the same bytes each time."""

import json
import shutil

import pandas as pd
import pytest
from hill.make import plan_of, write_results
from html_check import Page

from descent.core.errors import DataError
from descent.report import front
from descent.report.front import matching, write_front
from descent.report.judged import read_verdicts, sealed

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
    (folder / "later" / "verdicts.json").write_text(json.dumps(sealed(other)))
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
        made = sealed({**judged, "paper": f"p{i}", "claims": claims})
        (folder / f"p{i}" / "verdicts.json").write_text(json.dumps(made))
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


def edited(text):
    judged = json.loads(text)
    judged["claims"][0]["verdict"] = "reproduced" if judged["claims"][0]["verdict"] != "reproduced" else "partly"
    return json.dumps(judged)


@pytest.mark.parametrize(
    "change",
    [lambda text: "{", lambda text: "[]", lambda text: text.replace('"c1"', '"c8"', 1), edited],
    ids=["cut", "other", "name", "verdict"],
)
def test_damaged_or_edited_verdicts_are_named_and_not_published(folder, published, change):
    path = folder / "hill" / "verdicts.json"
    path.write_text(change(path.read_text()))
    before = (folder / "verdicts.csv").read_bytes()
    with pytest.raises(
        DataError, match=r"hill/verdicts\.json is damaged or edited; delete it and snakemake remakes it"
    ):
        write_front(folder, PAPERS, published[0].plan.study)
    assert (folder / "verdicts.csv").read_bytes() == before


def test_verdicts_of_other_records_than_those_here_are_named(folder, published, tmp_path):
    results = write_results(plan_of(tmp_path), tmp_path)
    path = folder / "hill" / "verdicts.json"
    assert read_verdicts(path, results)["paper"] == "hill"
    job = next(j for j in results.jobs() if j.kind == "train")
    records = results.folder / job.id / "records.parquet"
    frame = pd.read_parquet(records)
    frame["value"] = frame["value"] * 2
    frame.to_parquet(records)
    with pytest.raises(DataError, match=r"hill/verdicts\.json was made from other records than those in .*delete it"):
        read_verdicts(path, results)
    records.unlink()  # where the records are not at hand, as on a fresh clone, there is nothing to compare with
    assert read_verdicts(path, results)["paper"] == "hill"


def test_verdicts_whose_seal_was_taken_away_are_refused(folder, published):
    path = folder / "hill" / "verdicts.json"
    judged = json.loads(path.read_text())
    del judged["digest"]
    path.write_text(json.dumps(judged))
    for results in (None, published[0]):
        with pytest.raises(DataError, match="damaged or edited"):
            read_verdicts(path, results)


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
