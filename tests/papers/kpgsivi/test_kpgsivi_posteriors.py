"""Logistic regression and the diffusion against a plain loop; the observations that are drawn."""

import math

import numpy as np
import pytest
from kpgsivi_plain import (
    BASE,
    F64,
    SEEDS,
    STREAMS,
    draw,
    expect,
    job_of,
    need,
    regression,
    regression_target,
    sample,
    sliced,
    states_of,
    subsets,
    trained,
)  # fmt: skip
from scipy.special import logsumexp

from descent.papers.kpgsivi.targets import OBSERVED, Diffusion
from descent.runner.run import perform


@pytest.mark.parametrize("method", ["kpg", "ksivi"])
def test_diffusion(method):
    states = states_of(0, 80, 100)
    p = {"target": "diffusion", "path_steps": 100, "observations": 20, "log_variance": -3.0, "step_size": 0.002}
    job = job_of("diffusion", (method, p))
    records, p = perform(job, needs=need(**{"states diffusion": states})), BASE | p
    target = Diffusion(OBSERVED, dtype=F64)
    lines = draw("directions", 0, 5, 100).numpy()
    rows = {name: [] for name in ("sliced", "floor", "deviation_ratio", "mean_error", "path_error", "mll")}
    for seed in SEEDS:
        truth, floor, pool = subsets(states, seed, 60)
        twin = trained(method, target, p, seed)
        z = sample(twin, draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 100)).numpy()
        many = sample(twin, draw("density latents", seed, 50, 3), draw("density", seed, 50, 100)).numpy()
        gaps = (truth[:, None] - many[None]) / 0.01  # (N, n, d)
        kde = logsumexp(-0.5 * gaps**2, axis=1) - math.log(50 * 0.01 * math.sqrt(2 * math.pi))
        for name, value in {
            "sliced": sliced(z, truth, lines),
            "floor": sliced(floor, truth, lines),
            "deviation_ratio": (z.std(0, ddof=1) / pool.std(0, ddof=1)).mean(),
            "mean_error": (abs(z.mean(0) - pool.mean(0)) / pool.std(0, ddof=1)).mean(),
            "path_error": math.sqrt(((z.mean(0) - pool.mean(0)) ** 2).mean()),
            "mll": kde.sum(),
        }.items():
            rows[name].append(value)
    for name, wanted in rows.items():
        expect(records, job, name, wanted, 6)


def test_drawn_observations_follow_the_steeper_drift():
    """Another size than the official one: the path that defines the data drifts by beta u (1 - u^2)."""
    from descent.papers.kpgsivi.fitting import diffusion

    target = diffusion(STREAMS, 20, 4)
    random, u, path = STREAMS.numpy("path", 0, 20, 4), 0.0, []
    for noise in random.standard_normal(20):
        u += 10 * u * (1 - u**2) * 0.01 + math.sqrt(0.01) * noise
        path.append(u)
    wanted = np.array(path)[[4, 9, 14, 19]] + 0.1 * random.standard_normal(4)
    assert target.observed[4::5].tolist() == pytest.approx(wanted, abs=1e-6)
    assert target.dim == 20 and float(target.weight.sum()) == pytest.approx(400)


def test_logistic():
    data, states = regression(), states_of(2, 80, 5)
    p = {"target": "logistic"}
    job = job_of("logistic", ("kpg", p))
    records, p = perform(job, data=data, needs=need(**{"states logistic": states})), BASE | p
    target, lines = regression_target(data), draw("directions", 0, 5, 5).numpy()
    rows = {
        name: []
        for name in ("sliced", "floor", "correlation_slope", "correlation_error", "correlation_floor", "log_likelihood")
    }
    upper = np.triu_indices(5, 1)
    for seed in SEEDS:
        truth, floor, pool = subsets(states, seed, 60)
        twin = trained("kpg", target, p, seed)
        z = sample(twin, draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 5)).numpy()
        want, got, other = (np.corrcoef(x.T)[upper] for x in (pool, z, floor))
        x, y = data["waveform"]["test_features"], data["waveform"]["test_labels"].astype(float)
        chance = 1 / (1 + np.exp(-z @ x.T))
        likelihood = np.where(y == 1, chance, 1 - chance).mean(0)
        for name, value in {
            "sliced": sliced(z, truth, lines),
            "floor": sliced(floor, truth, lines),
            "correlation_slope": (want * got).sum() / (want**2).sum(),
            "correlation_error": math.sqrt(((want - got) ** 2).mean()),
            "correlation_floor": (want * other).sum() / (want**2).sum(),
            "log_likelihood": np.log(likelihood).mean(),
        }.items():
            rows[name].append(value)
    for name, wanted in rows.items():
        expect(records, job, name, wanted, 6)
