"""Long robustness runs (make soak): the real smoke study killed again and again ends with the bytes of a quiet one."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT, snakemake

pytestmark = pytest.mark.soak

SMOKE = ("--config", "scale=smoke")
KILLS = 12


@pytest.fixture
def checkouts(tmp_path):
    """Two clones of this checkout, data in place."""
    folders = []
    for name in ("quiet", "killed"):
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / name)], check=True)
        shutil.copytree(ROOT / "data", tmp_path / name / "data")
        folders.append(tmp_path / name)
    return folders


def test_killed_again_and_again_the_study_ends_with_the_same_bytes(checkouts):
    quiet, killed = checkouts
    target = ("--", "reports/smoke/index.html")
    snakemake(quiet, *SMOKE, *target)
    environment = {k: v for k, v in os.environ.items() if k != "DESCENT_ROOT"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    chance = random.Random(0)
    for _ in range(KILLS):
        command = [sys.executable, "-m", "snakemake", *SMOKE, *target]
        process = subprocess.Popen(
            command,
            cwd=killed,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=chance.uniform(3, 25))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        unlock = [sys.executable, "-m", "descent", "unlock"]
        subprocess.run(unlock, cwd=killed, env=environment, check=True, stdout=subprocess.DEVNULL)
    snakemake(killed, *SMOKE, *target)
    names = [p.relative_to(quiet) for p in sorted((quiet / "results/smoke").rglob("records.parquet"))]
    names += [p.relative_to(quiet) for p in sorted((quiet / "reports/smoke").rglob("verdicts.json"))]
    assert names
    differ = [str(n) for n in names if (quiet / n).read_bytes() != (killed / n).read_bytes()]
    assert not differ
