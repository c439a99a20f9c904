"""Every experiment on the simulated accelerator: the CPU's numbers, no waiting and no copies inside a loop."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core import iterate
from descent.runner.run import perform
from devices.simulated import DEVICE, Accelerator

ROOT = Path(__file__).resolve().parents[3]
EXPERIMENTS = ("graphons", "rates", "best_response", "frequency", "noise", "sampling", "coupling", "baselines")


@pytest.fixture(scope="module")
def plan():
    return make_plan(ROOT, read_study(ROOT, {"papers": "gmfg", "scale": "smoke", "seeds": "dev"}))


def _short(params):
    caps = {"updates": 3, "slope_cap": 20, "intercept_cap": 20, "slope_steps": 3, "intercept_steps": 3}
    return {name: min(params[name], cap) for name, cap in caps.items() if name in params}


def short_job(plan, experiment):
    (job,) = plan.of("gmfg", experiment)
    return replace(job, variants=tuple(replace(v, params=v.params | _short(v.params)) for v in job.variants))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_loops_neither_wait_nor_copy(plan, experiment, monkeypatch):
    job = short_job(plan, experiment)
    want = perform(job).frame(job)
    with Accelerator() as sim:
        monkeypatch.setattr(iterate, "WATCH", sim.phase)
        got = perform(job, device=DEVICE).frame(job)
        for phase in ("step", "measure"):
            for kind in ("sync", "upload", "host"):
                assert sim.count(kind, phase) == 0, sim.report(kind)
        assert sim.count("sync", "fetch") > 0  # it was watched: metrics are fetched, between the steps
    assert (got["status"] == want["status"]).all()
    a, b = got["value"].to_numpy(), want["value"].to_numpy()
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device: graphs are replayed on the CPU in test_gmfg_model_free"
)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_gpu_with_its_graphs_agrees_with_the_cpu(plan, experiment):
    job = short_job(plan, experiment)
    want, got = perform(job).frame(job), perform(job, device="cuda").frame(job)
    np.testing.assert_allclose(got["value"].to_numpy(), want["value"].to_numpy(), rtol=1e-6, atol=1e-9)
