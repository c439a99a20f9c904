"""The ground truth: a plain Hamiltonian Monte Carlo, and what it finds on the real problems."""

import math

import numpy as np
import pytest
import torch
from kpgsivi_plain import F64, STREAMS, draw, expect, job_of, regression, values
from torch.testing import assert_close

from descent.papers.kpgsivi.measures import Sliced, correlation_slope
from descent.papers.kpgsivi.targets import OBSERVED, Diffusion
from descent.runner.run import perform


def test_truth_is_a_plain_hmc():
    p = {
        "target": "diffusion",
        "chains": 3,
        "transitions": 6,
        "truth_leapfrog": 2,
        "truth_step": 0.02,
        "spread": 0.3,
        "centre": -1.0,
        "snapshots": 2,
    }
    job = job_of("truth", ("hmc", p), seeds=(500,))
    records = perform(job)
    target = Diffusion(drawn_observations(10, 2), 5, dtype=F64)
    z = -1.0 + 0.3 * draw("start of the truth", 500, 3, 10)
    accepted, kept = [], []
    # 4 transitions to the first snapshot (half of 6, and half of the rest), then 2; every piece has streams of its own
    for piece, count in ((0, 4), (1, 2)):
        momenta = draw("momenta of the truth", 500, count, 3, 10, k=1000 * piece)
        coins = torch.rand((count, 3), generator=STREAMS.torch("coins of the truth", 500, 1000 * piece)).double()
        for i in range(count):
            for chain in range(3):
                x, v = z[chain].clone(), momenta[i, chain]
                start = -float(target.log_prob(x[None, None])) + 0.5 * float(v @ v)
                v = v + 0.01 * target.score(x[None, None])[0, 0]
                for j in range(2):
                    x = x + 0.02 * v
                    v = v + (0.02 if j == 0 else 0.01) * target.score(x[None, None])[0, 0]
                end = -float(target.log_prob(x[None, None])) + 0.5 * float(v @ v)
                accepted.append(math.log(float(coins[i, chain])) < start - end)
                if accepted[-1]:
                    z[chain] = x
        kept.append(z.clone())
    assert_close(torch.from_numpy(records.arrays["states diffusion"]).double(), torch.stack(kept), atol=1e-3, rtol=1e-3)
    expect(records, job, "acceptance", [np.mean(accepted)], 6)


def drawn_observations(steps, observations):
    """The observations of a diffusion that is not the official one."""
    random, u, path = STREAMS.numpy("path", 0, steps, observations), 0.0, []
    for noise in random.standard_normal(steps):
        u += 10 * u * (1 - u**2) * 0.01 + 0.1 * noise
        path.append(u)
    every = steps // observations
    return np.array(path)[every - 1 :: every] + 0.1 * random.standard_normal(observations)


@pytest.fixture(scope="module")
def waveform():
    from descent.data import load
    from descent.data.presence import present

    if not present("waveform").on_disk:
        pytest.skip("dataset waveform is not fetched: make data")
    return {"waveform": load("waveform")}


@pytest.fixture(scope="module")
def found(waveform):
    """Short chains on the 400 rows of waveform: the job and its records."""
    p = {"target": "logistic", "chains": 400, "transitions": 80, "truth_leapfrog": 15, "truth_step": 0.06}
    job = job_of("truth", ("hmc", p | {"spread": 0.0, "centre": 0.0, "snapshots": 4}), seeds=(500,))
    return job, perform(job, data=waveform)


def test_the_posterior_of_waveform(found):
    """Within the error of 400 chains of what long ones found: first weight 5.74, deviation .81; how well it predicts."""
    job, records = found
    for metric, wanted, tolerance in (
        ("first_mean", 5.74, 0.2),
        ("first_deviation", 0.81, 0.1),
        ("log_likelihood", -0.3419, 0.003),
        ("accuracy", 0.857, 0.004),
        ("acceptance", 0.95, 0.03),
    ):
        value = float(values(records, job, metric)["value"].iloc[0])
        assert value == pytest.approx(wanted, abs=tolerance), metric


def test_two_halves_of_the_truth_are_a_floor_apart(found):
    """The floors that stand beside every distance and every slope of correlations."""
    states = torch.from_numpy(found[1].arrays["states logistic"])
    one, two = states[:, :200].reshape(-1, 22), states[:, 200:].reshape(-1, 22)
    slope, error = correlation_slope(two[None], one)
    assert 0.9 < float(slope) < 1.1 and float(error) < 0.06
    apart = Sliced(one[None], draw("directions", 0, 200, 22).float())(two[None])
    assert 0.015 < float(apart) < 0.06


def test_predictions_of_the_truth_by_hand():
    """Log predictive probability and accuracy on the test rows, a row and a weight at a time."""
    data = regression()
    p = {"target": "logistic", "chains": 5, "transitions": 4, "truth_leapfrog": 2, "truth_step": 0.1, "snapshots": 2}
    job = job_of("truth", ("hmc", p | {"spread": 0.5, "centre": 0.3}), seeds=(500,))
    records = perform(job, data=data)
    weights = records.arrays["states logistic"].reshape(-1, 5).astype(float)
    x, y = data["waveform"]["test_features"], data["waveform"]["test_labels"]
    likelihood, right = [], []
    for row, label in zip(x, y, strict=True):
        chance = np.mean([1 / (1 + math.exp(-row @ w)) for w in weights])
        likelihood.append(math.log(chance if label == 1 else 1 - chance))
        right.append((chance > 0.5) == (label == 1))
    expect(records, job, "log_likelihood", [np.mean(likelihood)], 4, tolerance=1e-4)
    expect(records, job, "accuracy", [np.mean(right)], 4, tolerance=1e-6)
    expect(records, job, "first_mean", [weights[:, 0].mean()], 4, tolerance=1e-4)
    expect(records, job, "first_deviation", [weights[:, 0].std(ddof=1)], 4, tolerance=1e-4)


def test_the_posterior_of_the_diffusion():
    """At observed times the path's deviation is about a tenth."""
    p = {"target": "diffusion", "path_steps": 100, "observations": 20, "chains": 300, "transitions": 60}
    p |= {"truth_leapfrog": 20, "truth_step": 0.05, "spread": 0.3, "centre": -1.0, "snapshots": 2}
    job = job_of("truth", ("hmc", p), seeds=(500,))
    records = perform(job)
    states = records.arrays["states diffusion"].reshape(-1, 100)
    deviation = states.std(0)[4::5]
    assert (deviation > 0.06).all() and (deviation < 0.14).all() and 0.08 < deviation.mean() < 0.12
    assert 0.4 < float(values(records, job, "acceptance")["value"].iloc[0]) < 0.7
    assert np.abs(states.mean(0)[4::5] - np.array(OBSERVED)).max() < 0.3
