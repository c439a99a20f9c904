"""Measured time: the calls are the experiment's own steps, and the figure multiplies evaluations by what one costs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.context import Context
from descent.core.streams import Streams
from descent.papers.wdro.cost import bench, workload

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def job(data):
    (job,) = make_plan(ROOT, read_study(ROOT, {"papers": "wdro", "scale": "smoke", "seeds": "dev", "bench": True})).of(
        "wdro", "cost"
    )
    return job


@pytest.fixture
def context(data):
    return Context(torch.device("cpu"), Streams("wdro"), data)


def test_a_call_is_worth_the_evaluations_that_it_says(job, context):
    """3,000 evaluations of 60 data: 11 steps of 16 x 16, 3 of 60 x 16, 5 of 60 x 10; a second call goes on from there."""
    each = {v.method: workload(v, context)[2] for v in job.variants}
    assert each == {"psgd": 256, "saa": 960, "library": 600}
    calls = bench(job, context)
    steps = {"psgd": 11, "saa": 3, "library": 5}
    for number, variant in enumerate(job.variants):
        method, state, _ = workload(variant, context)
        block, noise = variant.params["block"], []
        with torch.no_grad():
            for k in range(2 * steps[variant.method]):
                if method.draw is not None and not noise:
                    drawn = method.draw(k // block, block)
                    noise = [
                        type(drawn)(*(x[i] for x in drawn)) if isinstance(drawn, tuple) else drawn[i]
                        for i in range(block)
                    ]
                state, _ = method.step(state, noise.pop(0) if noise else None)
        calls[number]()
        after = calls[number]()
        for mine, theirs in zip(after, state, strict=True):
            parts = zip(mine, theirs, strict=True) if isinstance(mine, tuple) else [(mine, theirs)]
            assert all(torch.equal(a, b) for a, b in parts), variant.method


def test_time_to_a_gap_is_evaluations_times_the_cost_of_one(job):
    from descent.papers.wdro.figures import time_to_gap
    from descent.papers.wdro.room import ROOM
    from descent.report import theme

    cost = pd.DataFrame(
        [{"metric": "step_cpu_seconds", "method": "saa", "problem": "diabetes", "evaluations": 1000, "value": v}
         for v in (0.3, 0.4, 0.5)]
    )  # fmt: skip
    gaps = {0: 0.5, 100: 0.02, 200: 0.009, 400: 0.0009}
    runs = pd.DataFrame(
        [{"method": "saa", "problem": "diabetes", "seed": s, "step": k, "value": gap * (1 if s else 2)} for s in (0, 1) for k, gap in gaps.items()]
    )  # fmt: skip

    class Frames:
        def records(self, experiment):
            assert experiment == "cost"
            return cost

        def select(self, experiment, metric):
            assert (experiment, metric) == ("baselines", "risk_gap")
            return runs

    with theme.apply(ROOM):
        left, right = time_to_gap(Frames()).axes[:2]
    each = 0.4 / 1000 / 2  # two seeds side by side
    # within 1e-2: seed 1 after 200, seed 0 (twice the gap) after 400; within 1e-3: seed 1 after 400, seed 0 never
    assert np.sort(left.lines[0].get_ydata()) == pytest.approx(np.array([200, 400]) * each)
    assert left.lines[1].get_ydata()[0] == pytest.approx(300 * each)
    assert right.lines[0].get_ydata() == pytest.approx([400 * each]) and right.texts[0].get_text() == "1×"
