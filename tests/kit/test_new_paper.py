"""`descent new`: what it writes passes every test that a room must pass, as it stands, and goes the whole way to a page.

The commands are those of docs/adding-a-paper.md, in its order.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from descent.core.errors import ConfigError
from descent.kit.new import new
from support import ROOT

SLUG, TITLE = "mypaper", "Momentum and curvature"
GUIDE = (ROOT / "docs" / "adding-a-paper.md").read_text(encoding="utf-8")
COMMANDS = [
    re.split(r"\s{2,}#", line)[0]
    for block in re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.S | re.M)
    for line in block.splitlines()
]
PREPARED = ["make data", ". .venv/bin/activate", "make lint"]
"""Commands of the guide that prepare or judge the machine rather than the paper: not run here."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of this repository's code without its papers' configurations, and one new paper in it."""
    folder = tmp_path_factory.mktemp("checkout")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "papers")
    for name in ("workflow", "profiles", "docs"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "pkg", folder / "pkg", ignore=unwanted)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__", "papers"))
    (folder / "pkg/descent/papers").mkdir()
    (folder / "pkg/descent/papers/__init__.py").write_text('"""One room a paper."""\n')
    shutil.copytree(ROOT / "config", folder / "config", ignore=unwanted)
    (folder / "config/papers").mkdir()
    for name in ("Snakefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "data.dvc").write_text("outs: []\n")
    done = run(folder, "-m", "descent", "new", SLUG, "--title", TITLE)
    assert done.returncode == 0, done.stdout
    return folder


def run(folder, *arguments):
    """Run Python in the checkout, with its code and not this one's."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DESCENT_ROOT", "PYTEST"))}
    environment |= {"PYTHONPATH": str(folder / "pkg"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, text=True, timeout=900,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def test_no_file_keeps_the_skeleton_s_words(tmp_path):
    (tmp_path / "config").mkdir()
    for path in new(tmp_path, "sgd2", title="A title", authors="A. Author"):
        text = path.read_text()
        assert "mypaper" not in text + str(path) and "TITLE" not in text and "AUTHORS" not in text, path


@pytest.mark.parametrize("slug", ["My-Paper", "x", "lambda", "2fast", "a" * 21])
def test_a_name_that_cannot_be_a_package_is_refused(tmp_path, slug):
    with pytest.raises(ConfigError, match="new: the paper's name must be 2 to 20 lower-case letters"):
        new(tmp_path, slug, title="")


def test_nothing_is_overwritten(tmp_path):
    kept = tmp_path / "docs/papers/momentum.md"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    with pytest.raises(ConfigError, match=r"new: docs/papers/momentum\.md is there already"):
        new(tmp_path, "momentum", title="")
    assert kept.read_text() == "mine" and not (tmp_path / "pkg").exists()


def test_the_new_paper_has_the_repository_s_style(checkout):
    for command in (["check", "."], ["format", "--check", "."]):
        done = run(checkout, "-m", "ruff", *command, "-q")
        assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in PREPARED and "descent new" not in c])
def test_a_command_of_the_guide_works(checkout, command):
    words = shlex.split(command.replace("--cores all", "--cores 1"))
    done = run(checkout, *(words[1:] if words[0] == "python" else ("-m", *words)))
    assert done.returncode == 0, done.stdout[-5000:]
    assert "pytest" not in words or re.search(r"\d+ passed", done.stdout), done.stdout


def test_the_guide_begins_with_the_data_and_shows_the_command_that_was_run_here():
    assert COMMANDS[:3] == ["make data", ". .venv/bin/activate", f'python -m descent new {SLUG} --title "{TITLE}"']
    assert set(PREPARED) <= set(COMMANDS)


def test_the_new_paper_has_its_page(checkout):
    """Made by the guide's last commands."""
    page = (checkout / f"reports/smoke/{SLUG}/index.html").read_text()
    assert TITLE in page and "heavy ball" in page
    assert (checkout / f"reports/smoke/{SLUG}/figures/F1.svg").is_file()
