"""The user's environment decides nothing: a smoke study has the same bytes in ten hostile ones."""

import os
import shutil
import subprocess
import sys

import pytest
import yaml
from hostile import ENVIRONMENTS, prepared

from soak import differences, outputs, tally
from support import ROOMS, ROOT, make_project

PAGE = ("--config", "scale=smoke", "--", "reports/smoke/index.html")
FIGURES = '''
"""The tiny paper's figure."""

from descent.report import theme


def courses(frames):
    """Loss of both methods over the steps, mean and interval; it would be drawn in LaTeX at 30 dots an inch by a user's settings.

    Alt: Two curves that fall.
    """
    figure, axes = theme.grid(1, 2, height=2.6)
    for ax, world in zip(axes[0], ("round", "long"), strict=True):
        for method in ("noisy", "gd"):
            theme.band(ax, frames.select("race", "loss", method, world=world), method=method)
        ax.set(yscale="log", xlabel="step", ylabel="loss", title=f"world ${world}$")
    theme.legend(figure, axes)
    return figure


FIGURES = {"courses": courses}
'''


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """The tiny room with a figure of its own, for the claim to show."""
    folder = tmp_path_factory.mktemp("rooms")
    shutil.copytree(ROOMS / "tiny", folder / "drawn", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "drawn").glob("*.py"):
        path.write_text(path.read_text().replace("tiny.", "drawn.").replace("from tiny", "from drawn"))
    (folder / "drawn" / "figures.py").write_text(FIGURES)
    return folder


@pytest.fixture
def run(room, monkeypatch):
    """Runs a smoke study in a new checkout below `folder`, in the named environments at once; returns what it published."""

    def go(folder, names):
        project = make_project(folder / "project", monkeypatch)
        (project / "pkg").symlink_to(ROOT / "pkg")
        text = yaml.safe_load((project / "config/papers/tiny.yaml").read_text())
        text["package"] = "drawn"
        text["claims"]["c1"]["figure"] = "courses"
        (project / "config/papers/tiny.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
        settings, umask = prepared(names, folder, f"{room}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        environment = {k: v for k, v in os.environ.items() if k not in ("DESCENT_ROOT", "OMP_NUM_THREADS")} | settings
        environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *PAGE], cwd=project, env=environment, umask=umask, timeout=600,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        )  # fmt: skip
        assert done.returncode == 0, f"{names}: {done.stdout[-3000:]}"
        found = outputs(project)
        assert {"results/smoke/tiny/race/round/records.parquet", "reports/smoke/tiny/figures/courses.svg",
                "reports/smoke/tiny/figures/courses.png", "reports/smoke/index.html"} <= set(found)  # fmt: skip
        return found

    return go


def test_ten_hostile_environments_at_once_change_no_byte(run, tmp_path):
    """Where they do, `make soak` tells which of them."""
    assert len(ENVIRONMENTS) == 10
    for name in ("plain", "hostile"):
        (tmp_path / name).mkdir()
    plain = run(tmp_path / "plain", [])
    fault = differences(plain, run(tmp_path / "hostile", list(ENVIRONMENTS)))
    assert not fault, fault


@pytest.mark.soak
def test_each_hostile_environment_alone_changes_no_byte(run, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = run(tmp_path / "plain", [])
    for i, name in enumerate(ENVIRONMENTS):
        (tmp_path / str(i)).mkdir()
        with tally(f"a smoke study with {name}") as told:
            try:
                told(differences(plain, run(tmp_path / str(i), [name])))
            except AssertionError as error:
                told(f"it failed: {error}")
