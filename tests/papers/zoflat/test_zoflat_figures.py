"""figures.py on a smoke run: every figure is drawn, stand-ins and configurations that were not run are named."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.data.presence import present
from descent.report import theme
from descent.report.figures import NotRun, ResultFrames
from descent.results.stored import Results
from descent.runner.run import execute

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    if not all(present(name).on_disk for name in ("a5a", "splice", "movie_snippets")):
        pytest.skip("the embedded datasets are not fetched: make data")
    mpl.use("agg")
    folder = tmp_path_factory.mktemp("smoke")
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "zoflat", "scale": "smoke", "seeds": "dev"}))
    for experiment in ("toy", "convex", "encode", "language"):
        for job in plan.of("zoflat", experiment):
            execute(job, folder, say=lambda text: None)
    return ResultFrames(Results(plan, "zoflat", folder))


def texts(figure):
    return {
        text.get_text()
        for ax in figure.axes
        for text in (ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts)
    }


def test_every_figure_is_drawn(frames):
    from descent.papers.zoflat.figures import FIGURES

    assert list(FIGURES) == ["F1", "F2", "F3", "F4", "F5", "F6"]
    with theme.apply(frames.room):
        for name, function in FIGURES.items():
            figure = function(frames)
            assert any(line.get_xdata().size for ax in figure.axes for line in ax.lines), f"{name} is empty"
            assert function.__doc__ and "Alt:" in function.__doc__
            figure.canvas.draw()


def test_stand_ins_and_what_was_not_run_are_named(frames):
    from descent.papers.zoflat.figures import linear_models, trace_against_loss

    with theme.apply(frames.room):
        for figure in (linear_models(frames), trace_against_loss(frames)):
            shown = texts(figure)
            assert "SVM, splice (stand-in)" in shown and "SVM, w5a" not in shown
            assert any(text.startswith("not run: left out at") for text in shown)


def test_colours_mean_methods(frames):
    from descent.papers.zoflat.figures import linear_models

    with theme.apply(frames.room):
        figure = linear_models(frames)
        by_label = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
        assert by_label == {theme.label(m): theme.colour(m) for m in ("gd", "zo", "dd", "sam")}


def test_an_experiment_that_was_not_run_ends_in_its_reason(frames, tmp_path):
    from descent.papers.zoflat.figures import language_model

    study = read_study(ROOT, {"papers": "zoflat", "scale": "paper"})
    empty = ResultFrames(Results(make_plan(ROOT, study), "zoflat", tmp_path))
    with theme.apply(empty.room), pytest.raises(NotRun, match="checkpoint_dir"):
        language_model(empty)
