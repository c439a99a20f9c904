"""Checkouts in miniature to run the workflow in, and where the tests' own rooms lie."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ROOT / "tests" / "rooms"


def make_project(folder: Path, monkeypatch, papers=("tiny",)) -> Path:
    """Copy the workflow into `folder` with the papers of tests/rooms."""
    (folder / "config" / "papers").mkdir(parents=True)
    for name in ("workflow", "profiles"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copy(ROOT / "config" / "config.yaml", folder / "config")
    for paper in papers:
        shutil.copy(ROOMS / f"{paper}.yaml", folder / "config" / "papers")
    (folder / "data.dvc").write_text("outs: []\n")
    monkeypatch.setenv("DESCENT_ROOT", str(folder))
    return folder


def snakemake(folder: Path, *arguments: str, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Run snakemake in `folder` as a user would; returns the finished process with its output as text."""
    environment = {k: v for k, v in os.environ.items() if k != "DESCENT_ROOT"}
    environment |= {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{ROOMS}", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, **options,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"snakemake {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done
