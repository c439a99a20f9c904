"""Every figure can be drawn from a run at smoke scale, and says so where there is nothing to draw."""

from pathlib import Path

import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.runner.run import execute

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "guesscheck", "scale": "smoke", "seeds": "dev"}))
    folder = tmp_path_factory.mktemp("guesscheck")
    for job in plan.of("guesscheck"):
        execute(job, folder, say=lambda text: None)
    return plan, folder


def test_every_figure_is_drawn(smoke):
    from descent.papers.guesscheck.figures import FIGURES
    from descent.report import theme
    from descent.report.figures import Frames, NotRun
    from descent.results.stored import Results

    plan, folder = smoke
    frames = Frames(Results(plan, "guesscheck", folder))
    absent = {}
    with theme.apply(frames.room):
        for name, draw in FIGURES.items():
            try:
                figure = draw(frames)
            except NotRun as why:
                absent[name] = str(why)
                continue
            assert figure.axes and any(ax.lines or ax.collections for ax in figure.axes), name
    assert set(absent) == {"throughput"}  # measured on request only
    assert all(claim.get("figure") in FIGURES for claim in plan.papers["guesscheck"].claims.values())
