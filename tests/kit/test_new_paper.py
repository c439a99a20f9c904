"""`descent new`: what it writes passes every test that a room must pass, as it stands, and goes the whole way to a page."""

import os
import shutil
import subprocess
import sys

import pytest

from descent.core.errors import ConfigError
from descent.kit.new import new
from support import ROOT

SLUG = "mypaper"


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
    done = run(folder, "-m", "descent", "new", SLUG, "--title", "Momentum and curvature")
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


def test_the_new_paper_passes_its_own_tests_the_contract_and_the_device_battery(checkout):
    named = (
        "tests/papers",
        "tests/contract/test_contract.py",
        "tests/contract/test_public.py",
        "tests/contract/test_walls.py",
    )
    done = run(
        checkout,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        *named,
        "tests/devices/test_battery.py",
        "-k",
        f"{SLUG} or walls or import",
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout


def test_the_new_paper_goes_from_one_command_to_its_page(checkout):
    done = run(checkout, "-m", "snakemake", "--cores", "1", "--config", "scale=smoke", "--", "reports/smoke/index.html")
    assert done.returncode == 0, done.stdout[-5000:]
    page = (checkout / f"reports/smoke/{SLUG}/index.html").read_text()
    assert "Momentum and curvature" in page and "heavy ball" in page
    assert (checkout / f"reports/smoke/{SLUG}/figures/F1.svg").is_file()
