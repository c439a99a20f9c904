"""The paper at smoke scale: every job runs, every figure is drawn from its records and every claim names one."""

from pathlib import Path

import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.runner.run import execute

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory, data):
    """The plan and the folder of its results."""
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "wdro", "scale": "smoke", "seeds": "dev", "bench": True}))
    folder = tmp_path_factory.mktemp("wdro")
    for job in plan.of("wdro"):  # measured time too, as for a run on request
        execute(job, folder, say=lambda text: None)
    return plan, folder


def test_every_figure_is_drawn_and_every_claim_has_one(smoke):
    from descent.papers.wdro.figures import FIGURES
    from descent.report import theme
    from descent.report.figures import ResultFrames
    from descent.results.stored import Results

    plan, folder = smoke
    frames = ResultFrames(Results(plan, "wdro", folder, folder))
    with theme.apply(frames.room):
        figures = {name: draw(frames) for name, draw in FIGURES.items()}
    for name, figure in figures.items():
        shown = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
        assert all(ax.lines or ax.images or ax.collections or ax.patches or ax.texts for ax in shown), name
        assert all(ax.get_xlabel() or ax.get_shared_x_axes().get_siblings(ax) != [ax] for ax in shown), name
    claims = plan.papers["wdro"].claims.values()
    named = {getattr(claim, "figure", None) or claim["figure"] for claim in claims}
    assert named <= set(FIGURES)


def test_exact_experiments_do_not_depend_on_the_seed(smoke):
    import pandas as pd

    plan, folder = smoke
    for job in (*plan.of("wdro", "gradients"), *plan.of("wdro", "critical")):
        frame = pd.read_parquet(folder / job.id / "records.parquet")
        assert frame["seed"].nunique() == 2
        groups = frame.groupby(["problem", "epsilon", "metric"])["value"]
        assert (groups.nunique() == 1).all()
