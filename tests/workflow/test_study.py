"""The whole path on the tiny paper: records, verdicts, pages, MLflow; byte-identical twice; last steps fail alone."""

import filecmp
import json
import os
import re
from pathlib import Path

import pytest

from support import make_project, snakemake

SMOKE = ("--config", "scale=smoke")


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two checkouts in which the smoke study was run."""
    folders = []
    for name in ("one", "two"):
        with pytest.MonkeyPatch.context() as patch:
            folder = make_project(tmp_path_factory.mktemp(name) / "project", patch)
        target = () if name == "one" else ("--", "reports/smoke/index.html")
        snakemake(folder, *SMOKE, *target)
        folders.append(folder)
    return folders


def files(folder):
    """What the study publishes and must repeat: everything but costs, times and Snakemake's own marks."""
    for top in ("reports", "results"):
        for path in sorted((folder / top).rglob("*")):
            inside = path.relative_to(folder)
            private = {"logs", "mlflow", "mlartifacts", "gpus"} & set(inside.parts)
            if path.is_file() and not private and not path.name.startswith((".", "cost", "run.json", "mlflow")):
                yield inside


def test_two_checkouts_have_the_same_bytes(studies):
    one, two = studies
    names = list(files(two))
    assert any(n.name == "index.html" for n in names) and any(n.suffix == ".parquet" for n in names)
    assert any(n.name == "verdicts.csv" for n in names) and any(n.suffix == ".npz" for n in names)
    differ = [str(n) for n in names if not filecmp.cmp(one / n, two / n, shallow=False)]
    assert not differ


def test_afterwards_there_is_nothing_to_do(studies):
    assert "Nothing to be done" in snakemake(studies[0], "-n", *SMOKE).stdout


def test_the_runs_are_in_mlflow_under_one_key_each(studies):
    runs = json.loads((studies[0] / "results/smoke/mlflow/tiny.json").read_text())["runs"]
    assert "smoke/verdicts" in runs and len(set(runs.values())) == len(runs)


def test_a_changed_claim_is_judged_anew_and_trains_nothing(studies):
    path = studies[1] / "config/papers/tiny.yaml"
    text = path.read_text()
    path.write_text(text.replace("Gradient descent ends lower than noisy descent.", "Plain descent ends lower."))
    try:
        output = snakemake(studies[1], "-n", *SMOKE, "--", "reports/smoke/index.html").stdout
    finally:
        path.write_text(text)
    planned = set(re.findall(r"^(\w+) +\d+$", output, flags=re.M))
    assert {"judge", "front"} <= planned, output
    assert not [rule for rule in planned if rule.startswith("train") or rule == "select"], output


def test_a_tracking_server_that_is_down_fails_the_mirror_alone_and_last(studies):
    folder = studies[1]
    done = snakemake(folder, "--config", "scale=smoke", "tracking={uri: 'http://127.0.0.1:9'}", check=False)
    assert done.returncode != 0
    assert "FAILED  track tiny" in done.stdout and "127.0.0.1:9" in done.stdout and "Traceback" not in done.stdout
    assert (folder / "reports/smoke/index.html").is_file()
    assert not (folder / "results/smoke/mlflow/tiny.json").exists()
    assert os.path.isfile(folder / "reports/smoke/verdicts.csv")


def test_snakemake_s_own_report_holds_the_figures_and_the_verdicts(studies):
    snakemake(studies[0], *SMOKE, "--report", "study.html")
    text = (studies[0] / "study.html").read_text()
    assert "verdicts.csv" in text and "This file holds what this run made" in text
    for figure in json.loads((studies[0] / "reports/smoke/tiny/figures/figures.json").read_text()):
        assert f'"figure": "{figure["name"]}", "shows": "{figure["alt"]}"' in text


def test_the_plan_is_resolved_once_and_handed_to_the_scripts(project, monkeypatch):
    from descent.workflow import study as module
    from descent.workflow.study import Study

    monkeypatch.delenv("DESCENT_PLAN", raising=False)
    whole = Study(project, {"scale": "smoke"})
    monkeypatch.setenv("DESCENT_PLAN", "")
    whole.hand_over()
    monkeypatch.setattr(module, "make_plan", lambda *words: (_ for _ in ()).throw(AssertionError("resolved again")))
    assert Study(project, {"scale": "smoke"}).plan == whole.plan
    with pytest.raises(AssertionError, match="resolved again"):
        _ = Study(project, {"scale": "study"}).plan


def test_a_second_run_or_dry_run_of_the_same_results_leaves_the_plan_of_the_first_alone(project, monkeypatch):
    from descent.workflow.handover import handed_over
    from descent.workflow.study import Study

    monkeypatch.setenv("DESCENT_PLAN", "")
    first = Study(project, {"scale": "smoke"})
    first.hand_over()
    named, file = os.environ["DESCENT_PLAN"], Path(os.environ["DESCENT_PLAN"].partition(" ")[2])
    before = file.read_bytes()
    other = Study(project, {"scale": "smoke", "bench": True})
    other.hand_over()
    assert os.environ["DESCENT_PLAN"] != named and list(other.plan.jobs) and other.plan.jobs != first.plan.jobs
    monkeypatch.setenv("DESCENT_PLAN", named)
    assert file.read_bytes() == before and handed_over(first.config) is not None
