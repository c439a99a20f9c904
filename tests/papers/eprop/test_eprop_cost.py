"""Measured time: both ways of an update have the same gradients, and the figure shows the time of one network."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.context import Context
from descent.core.streams import Streams
from descent.data import load
from descent.data.presence import present
from descent.papers.eprop.cost import bench

ROOT = Path(__file__).resolve().parents[3]


def job_of(scale):
    (job,) = make_plan(ROOT, read_study(ROOT, {"papers": "eprop", "scale": scale, "seeds": "dev", "bench": True})).of(
        "eprop", "cost"
    )
    return job


def test_the_stacked_step_and_the_cells_make_the_same_update():
    if not present("reach_generated").on_disk:
        pytest.skip("dataset reach_generated is not fetched: make data")
    job = job_of("smoke")
    context = Context(torch.device("cpu"), Streams("eprop"), {"reach_generated": load("reach_generated")})
    calls = {job.variants[number].method: call for number, call in bench(job, context).items()}
    assert set(calls) == {"bptt", "eprop", "cell_bptt", "cell_eprop"}
    found = {}
    for rule in ("bptt", "eprop"):
        ours = 10 * calls[rule]().mean.W  # Adam's first moment is a tenth of the gradient
        cells = calls[f"cell_{rule}"]()
        assert ours.shape == (2, 16, 16) and (ours - cells).norm() < 1e-4 * cells.norm()
        found[rule] = cells
        # and the second update starts from where the first ended: Adam and the falling penalty are the same
        later = calls[rule]().mean.W
        assert ((later - 0.9 * ours / 10) * 10 - calls[f"cell_{rule}"]()).norm() < 1e-3 * cells.norm()
    assert (found["bptt"] - found["eprop"]).norm() > 0.01 * found["bptt"].norm()


def test_the_sizes_are_the_study_s_and_the_paper_s():
    sizes = {(v.params["units"], v.params["stack"]): (v.params, len(v.seeds)) for v in job_of("study").variants}
    assert {size: seeds for size, (_, seeds) in sizes.items()} == {(100, 1): 1, (100, 8): 8, (200, 1): 1}
    trained = {
        scale: make_plan(ROOT, read_study(ROOT, {"papers": "eprop", "scale": scale}), any_data=True).of("eprop", "rules")[0].variants[0].params
        for scale in ("study", "paper")
    }  # fmt: skip
    for scale, size in (("study", (100, 8)), ("paper", (200, 1))):
        own = sizes[size][0]
        same = (
            "units",
            "alpha",
            "batch",
            "stratified",
            "length",
            "cue_delays",
            "hold_delays",
            "stride",
            "lr",
            "penalty",
        )
        assert {name: own[name] for name in same} == {name: trained[scale][name] for name in same}


def test_the_figure_shows_the_time_of_one_network():
    pytest.importorskip("seaborn")
    from descent.papers.eprop.figures import times
    from descent.papers.eprop.room import ROOM
    from descent.report import theme

    cost = pd.DataFrame(
        [{"metric": "step_cpu_seconds", "method": method, "units": units, "stack": stack, "value": value * stack}
         for method, value in (("bptt", 0.002), ("cell_bptt", 0.008)) for units, stack in ((100, 1), (100, 8)) for _ in range(3)]
    )  # fmt: skip

    class Frames:
        def records(self, experiment):
            assert experiment == "cost"
            return cost

    with theme.apply(ROOM):
        ax = times(Frames()).axes[0]
    assert sorted(line.get_ydata()[0] for line in ax.lines) == pytest.approx([2, 2, 8, 8])
    assert [np.round(line.get_xdata()[0]) for line in ax.lines] == [0, 1, 0, 1]
