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
    from descent.report.figures import NotRun, ResultFrames
    from descent.results.stored import Results

    plan, folder = smoke
    frames = ResultFrames(Results(plan, "guesscheck", folder))
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


def test_throughput_is_drawn_from_measurements():
    """Guesses a second are the batch over the time; accepted ones that times the acceptance probability."""
    import numpy as np
    import pandas as pd

    from descent.papers.guesscheck.figures import throughput
    from descent.papers.guesscheck.room import ROOM
    from descent.report import theme

    cost = pd.DataFrame(
        [{"metric": "step_cpu_seconds", "way": way, "width": 5, "depth": 10, "batch": 4096, "value": 0.004 + 1e-5 * i, "status": "ok"}
         for way in ("official", "plain", "literal", "subset") for i in range(20)]
    )  # fmt: skip
    sweep = pd.DataFrame(
        [{"metric": metric, "method": "guess_check", "activation": "linear", "depth": 10, "value": value, "status": "ok", "seed": s}
         for metric, value in (("log10_acceptance", -5.0), ("effective_size", 80.0)) for s in range(3)]
    )  # fmt: skip

    class Frames:
        def records(self, experiment):
            return cost

        def select(self, experiment, metric, method, **where):
            assert (experiment, where) == ("depth", {"activation": "linear", "depth": 10})
            return sweep[sweep["metric"] == metric]

    with theme.apply(ROOM):
        left, right = throughput(Frames()).axes[:2]
    assert len(left.lines) == 3 and len(right.lines) == 4
    middle = np.median(cost["value"].iloc[:20])
    assert left.lines[0].get_ydata()[0] == pytest.approx(4096 / middle)
    assert right.lines[0].get_ydata()[0] == pytest.approx(4096 / middle * 1e-5)
    assert right.lines[3].get_ydata()[0] == pytest.approx(80 / middle)
