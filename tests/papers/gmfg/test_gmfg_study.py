"""The experiments at smoke scale: what they count, what they record, and that every figure can be drawn from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.papers.gmfg.outer import first_below
from descent.runner.run import execute, perform

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The plan and the folder of its results."""
    plan = make_plan(ROOT, read_study(ROOT, {"papers": "gmfg", "scale": "smoke", "seeds": "dev"}))
    folder = tmp_path_factory.mktemp("gmfg")
    for job in plan.of("gmfg"):
        execute(job, folder, say=lambda text: None)
    return plan, folder


def test_the_first_index_below_and_why_there_is_none():
    errors = np.array([[1.0, 1.0, 1.0, 1e-7], [1e-7, 0.5, np.nan, 5.0], [1.0, 0.4, np.nan, np.nan]])
    count, status = first_below(errors, 1e-6)
    assert status == ["ok", "censored", "diverged", "ok"]  # the last was there before it broke
    np.testing.assert_array_equal(count, [1, np.inf, np.nan, 0])


def test_every_figure_is_drawn(smoke):
    from descent.papers.gmfg.figures import FIGURES
    from descent.report import theme
    from descent.report.figures import ResultFrames
    from descent.results.stored import Results

    plan, folder = smoke
    frames = ResultFrames(Results(plan, "gmfg", folder))
    with theme.apply(frames.room):
        figures = {name: draw(frames) for name, draw in FIGURES.items()}
    for name, figure in figures.items():
        shown = [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]
        assert all(ax.lines or ax.images or ax.collections for ax in shown), name
    assert {claim["figure"] for claim in plan.papers["gmfg"].claims.values()} <= set(FIGURES)


def test_graphons_share_their_slopes_and_the_oracle_stands_beside_the_records(smoke):
    import pandas as pd

    frame = pd.read_parquet(smoke[1] / "gmfg/graphons/all/records.parquet")
    slopes = frame[frame["metric"] == "K_error"].pivot_table(index=["seed", "step"], columns="graphon", values="value")
    assert (slopes["unifatt"] == slopes["threshold"]).all() and slopes["unifatt"].nunique() > 4
    rho = frame[frame["metric"] == "rho"].groupby("graphon")["value"].first()
    assert 0 < rho["unifatt"] < rho["threshold"] < 1


def test_records_count_gradient_steps_not_updates(smoke):
    (job,) = smoke[0].of("gmfg", "baselines")
    loose = [replace(v, params={**v.params, "tolerance": 0.1}) for v in job.variants]
    frame = perform(replace(job, variants=tuple(loose))).frame(job)
    counts = frame[frame["metric"].isin(["updates_needed", "gradient_steps_needed"]) & (frame["status"] == "ok")]
    wide = counts.pivot_table(index=["method", "seed"], columns="metric", values="value")
    each = (wide["gradient_steps_needed"] / wide["updates_needed"]).dropna().groupby("method").first()
    assert each["pg"] == 20 and each["single"] == 2
    assert {"picard", "damped"}.isdisjoint(each.index) and "picard" in wide.index
