"""The repository as a whole: one style, and an order of jobs that keeps the machine busy."""

import subprocess
import sys

import pytest

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
    assert study.priority("dualpriv/accuracy/dpsgd") > study.priority("dualpriv/ablation/m1")
    assert all(
        study.priority(need) > study.priority(id)
        for id, job in study.plan.jobs.items()
        for ids in job.needs.values()
        for need in ids
    )
