"""What a reader is shown: the example of docs/papers, and the figures drawn from a smoke run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "papers" / "pfedsop.md"


def blocks():
    return re.findall(r"```python[a-z -]*\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


def test_the_example_runs_with_the_training_packages_alone(tmp_path):
    setup, example, loop = blocks()
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    more = 'print(float(fed.history["accuracy"][-1]))\neta2, own, shared = .1, dict(net.state_dict()), dict(net.state_dict())\n'
    more += "x, y = dict(mine.state_dict()), dict(net.state_dict())\n"
    refuse = "import sys\nfor name in ('scipy', 'pydantic', 'matplotlib', 'sklearn'):\n    sys.modules[name] = None\n"
    (tmp_path / "example.py").write_text(refuse + setup + example + more + loop)
    done = subprocess.run([sys.executable, tmp_path / "example.py"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) > 0.8


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    from descent.report.figures import ResultFrames
    from descent.results.stored import Results
    from descent.runner.run import execute

    plan = make_plan(ROOT, read_study(ROOT, {"papers": "pfedsop", "scale": "smoke", "seeds": "dev"}))
    folder = tmp_path_factory.mktemp("pfedsop")
    for job in plan.of("pfedsop"):
        execute(job, folder, say=lambda text: None)
    return ResultFrames(Results(plan, "pfedsop", folder))


def test_every_figure_is_drawn_and_says_what_it_shows(frames):
    from descent.papers.pfedsop.figures import FIGURES
    from descent.report import theme
    from descent.report.figures import texts

    with theme.apply(frames.room):
        for name, draw in FIGURES.items():
            figure = draw(frames)
            shown = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
            assert all(ax.lines or ax.images or ax.collections or ax.patches or ax.containers for ax in shown), name
            assert all(ax.get_xlabel() or ax.get_xticklabels() for ax in shown), name
            caption, alt = texts(draw)
            assert caption != alt and alt.endswith("."), name


def test_paired_differences_are_paired(frames):
    """The forest's number is the mean over seeds of pFedSOP less the baseline."""
    from descent.papers.pfedsop.figures import a_seed, interval

    ours = a_seed(frames, "comparison", "accuracy", "pfedsop", "classes-2")
    theirs = a_seed(frames, "comparison", "accuracy", "ditto", "classes-2")
    rows = frames.records("comparison")
    rows = rows[(rows["metric"] == "accuracy") & (rows["partition"] == "classes-2") & (rows["step"] == 4)]
    table = rows.pivot_table(index="seed", columns="method", values="value")
    assert interval(ours - theirs)[0] == pytest.approx((table["pfedsop"] - table["ditto"]).mean())
