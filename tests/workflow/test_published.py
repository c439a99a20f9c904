"""What a run changes of the committed report is said, with the reason; costs of this machine stay out of it."""

import json
import shutil
import subprocess
from types import SimpleNamespace

import pytest

from descent.core.errors import StudyError
from descent.core.files import write_json
from descent.report.judged import read_verdicts, sealed
from descent.workflow import manage, published
from descent.workflow.ending import succeeded
from descent.workflow.study import Study


def git(folder, *words):
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=folder, check=True,
                   capture_output=True)  # fmt: skip


def claim(name, verdict, estimate, experiments=("race",)):
    head = {"estimate": estimate, "ci_low": estimate - 1, "ci_high": estimate + 1}
    return {"claim": name, "verdict": verdict, "headline": head, "experiments": list(experiments), "reason": ""}


def verdicts(*claims, **words):
    base = {"paper": "tiny", "label": "study", "counts": {}, "missing": [], "datasets": {}, "sources": {"race": ["a"]}}
    return sealed({**base, "claims": list(claims), **words})


COST = 'paper,experiment,block,wall_seconds,machine\ntiny,race,round,1.5,"Plan9 mips, 2 cores"\n'


@pytest.fixture
def committed(project):
    """A checkout whose report is committed, and its study."""
    folder = project / "reports" / "study"
    write_json(folder / "tiny" / "verdicts.json", verdicts(claim("c1", "reproduced", 2.0), claim("c2", "partly", 1.0)))
    (folder / "tiny" / "cost.csv").write_text(COST)
    (folder / "verdicts.csv").write_text(
        "paper,claim,verdict,estimate,ci_low,ci_high\ntiny,c1,reproduced,2,1,3\ntiny,c2,partly,1,0,2\n"
    )
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "the report")
    return SimpleNamespace(
        root=project, report=folder, study=Study(project, {}), path=folder / "tiny" / "verdicts.json"
    )


def told(committed):
    return "\n".join(succeeded(committed.study))


def test_a_run_that_gives_what_is_published_says_so_in_a_line(committed):
    assert told(committed).strip() == "Verdicts as published: 2 of 2."


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"missing": [{"experiment": "race", "reason": "w5a not available from https://x"}]}, "w5a not available"),
        ({"datasets": {"digits": {"hash": "b", "stand_in": None}}}, "other data: digits"),
        ({"sources": {"race": ["b"]}}, "the code of its experiments is not the published one"),
        ({}, "another machine"),
    ],
    ids=["import", "data", "code", "machine"],
)
def test_a_verdict_that_differs_is_named_with_the_reason(committed, change, reason, monkeypatch):
    monkeypatch.setattr(published, "other_versions", lambda: "")
    write_json(committed.path, verdicts(claim("c1", "partly", 2.5), claim("c2", "partly", 1.25), **change))
    text = told(committed)
    assert "Verdicts as published: 1 of 2:" in text
    assert "tiny c1: published reproduced, here partly: " + reason in text
    assert "The same verdict from other numbers than the published ones: 1." in text
    assert "Tracked files of reports/study that differ from the commit: 1 (git diff --stat reports/study" in text
    assert "git checkout -- reports/study" in text


def test_other_versions_and_other_numbers_are_told_apart(committed, monkeypatch):
    write_json(committed.path, verdicts(claim("c1", "partly", 2.5), claim("c2", "partly", 1.0)))
    monkeypatch.setattr(published, "other_versions", lambda: "torch 9.9 where 2.13.0 is pinned")
    assert "here partly: torch 9.9 where 2.13.0 is pinned" in told(committed)
    monkeypatch.setattr(published, "other_versions", lambda: "")
    monkeypatch.setattr(published, "here", lambda: "Plan9 mips")
    assert "here partly: other numbers (estimate 2.5; published: 2.0)" in told(committed)


def test_without_git_or_without_a_committed_report_nothing_is_said(committed):
    shutil.rmtree(committed.root / ".git")
    assert succeeded(committed.study) == []


def test_costs_measured_here_stay_out_of_tracked_files_until_they_are_published(committed, capsys):
    assert committed.study.costs("tiny").as_posix() == "results/study/cost/tiny"
    (committed.report / "later").mkdir()
    assert committed.study.costs("later").as_posix() == "reports/study/later"  # nothing published to overwrite
    mine = committed.root / "results/study/cost/tiny/cost.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text(COST.replace("1.5", "9.5"))
    assert "What it took on this machine: results/study/cost" in told(committed)
    assert manage.costs(committed.root, "study") == 0
    assert "9.5" in (committed.report / "tiny" / "cost.csv").read_text()


def test_check_compares_with_the_commit_and_not_with_what_lies_there(committed, monkeypatch, capsys):
    monkeypatch.setattr(manage, "_finished", lambda *words: True)
    assert manage.check(committed.root, "study", None) == 0
    text = (committed.report / "verdicts.csv").read_text()
    (committed.report / "verdicts.csv").write_text(
        text.replace("c1,reproduced", "c1,partly").replace("1,0,2", "1,0,2.5")
    )
    assert manage.check(committed.root, "study", None) == 1
    out = capsys.readouterr().out
    assert "tiny c1: committed reproduced, fresh partly" in out and "tiny c2: ci_high committed 2, fresh 2.5" in out
    assert "other bytes: verdicts.csv" in out
    with pytest.raises(StudyError, match=r"git has no reports/smoke/verdicts\.csv"):
        manage.check(committed.root, "smoke", None)


def test_a_report_that_was_checked_out_again_is_not_taken_for_that_of_the_run(committed, monkeypatch):
    """Nothing to be done says nothing of a file that was put back: its records tell."""
    monkeypatch.setattr(
        manage.subprocess,
        "run",
        lambda *words, **options: SimpleNamespace(returncode=0, stdout="Nothing to be done", stderr=""),
    )
    assert not manage._finished(committed.root, "study", None, [])
    assert json.loads(committed.path.read_text())["claims"]


def test_edited_verdicts_are_not_published(committed):
    """A hand that turns `partly` into `reproduced`, or one bit, is seen by every reader of the file."""
    text = committed.path.read_text()
    committed.path.write_text(text.replace('"partly"', '"reproduced"'))
    with pytest.raises(StudyError, match=r"verdicts\.json is damaged or edited; delete it and snakemake remakes it"):
        read_verdicts(committed.path)
    assert succeeded(committed.study)[0].startswith("The committed report could not be compared"), "told, not raised"
    with pytest.raises(StudyError, match="damaged or edited"):
        manage.front(committed.root, "study")
