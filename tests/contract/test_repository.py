"""The repository as a whole: one style, and an order of jobs that keeps the machine busy."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from descent.workflow.study import Study
from support import ROOT


@pytest.mark.parametrize("command", [["check", "."], ["format", "--check", "."]])
def test_one_style(command):
    done = subprocess.run([sys.executable, "-m", "ruff", *command, "-q"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


def test_what_others_wait_for_starts_first(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("DESCENT_ROOT", raising=False)
    study = Study(ROOT, {"papers": "dualpriv"})
    base, tune, chosen, waits = (
        study.priority(f"dualpriv/{job}")
        for job in ("pretrain/base-content", "tune/all", "chosen/all", "accuracy/dpzo")
    )
    assert base > tune > chosen > waits
    # Of jobs that nobody waits for, the one with more rows.
    assert study.priority("dualpriv/accuracy/dpsgd") > study.priority("dualpriv/accuracy/dpzo")
    assert all(
        study.priority(need) > study.priority(id)
        for id, job in study.plan.jobs.items()
        for ids in job.needs.values()
        for need in ids
    )


# What `snakemake --lint` says of this workflow, and why it stays.
LINTS = {
    "Specify a conda environment or container for each rule.": "one pinned environment serves every rule: requirements.txt",
    "Param results is a prefix of input or output file but hardcoded": "the folder of all results: a job reads others' below it",
    "Mixed rules and functions in same snakefile.": "the one function turns an error of the configuration into a sentence",
}


def test_snakemake_lints_only_what_is_said_here(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "pkg")}
    options = ["--lint", "--config", "papers=ssi", f"results={tmp_path}/results"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    found = set(re.findall(r"^ {4}\* (.*?):?$", done.stdout + done.stderr, re.M))
    assert found == set(LINTS), f"{found ^ set(LINTS)}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("command", [["snakefmt", "--check", "Snakefile", "workflow"], ["codespell"], ["basedpyright"]])
def test_what_lint_runs_beyond_ruff(command):
    tool = shutil.which(command[0])
    if tool is None:
        pytest.skip(f"{command[0]} is not installed: pip install -r requirements-dev.txt")
    options = ["--pythonpath", sys.executable] if command[0] == "basedpyright" else []
    done = subprocess.run([tool, *command[1:], *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def test_every_hook_is_local_and_every_yaml_parses():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    listed = subprocess.run(["git", "ls-files", "*.yaml", "*.yml"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    done = subprocess.run(
        [sys.executable, ".ci/yaml_parses.py", *listed.stdout.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and listed.stdout, done.stdout


def test_no_text_of_the_engine_cites_a_document_that_is_not_here():
    """Derivations and sources stand in docs/papers/; what only its writers could open is no source."""
    absent = re.compile(r"\bthe specification\b|\bprototypes?\b|\b\w+\.md, section|\bour plan\b", re.I)
    for path in sorted((ROOT / "pkg/descent").rglob("*")):
        if path.suffix in (".py", ".html", ".yaml", ".js") and not {"papers", "claims"} & set(path.parts):
            found = absent.search(path.read_text(encoding="utf-8"))
            assert not found, f"{path.relative_to(ROOT)}: {found[0]}"
