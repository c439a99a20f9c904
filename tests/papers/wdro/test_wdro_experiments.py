"""Each experiment at a tiny size: what it records equals a plain loop from the formulas, without the room's own helpers."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from wdro_plain import plain_cloud, project, sampled_dual, shifted_cloud, squared, squared_slope

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.context import Need
from descent.core.streams import Streams
from descent.papers.wdro.critical import distinct
from descent.runner.run import perform

ROOT = Path(__file__).resolve().parents[3]
STREAMS = Streams("wdro")


@pytest.fixture(scope="module")
def plan(data):
    return make_plan(ROOT, read_study(ROOT, {"papers": "wdro", "scale": "smoke", "seeds": "dev"}))


def job_of(plan, experiment, block, **changes):
    """The smoke job with some settings changed in all its variants."""
    (job,) = [j for j in plan.of("wdro", experiment) if j.block == block]
    return replace(job, variants=tuple(replace(v, params={**v.params, **changes}) for v in job.variants))


def frame_of(job, data, **needs):
    return perform(job, data=data, needs=needs).frame(job)


def table(data, rows, columns=slice(None)):
    kept = np.round(np.linspace(0, 441, rows)).astype(int)
    x, y = data["diabetes"]["features"][kept], data["diabetes"]["target"][kept]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return x[:, columns], y


def exact_square(w, lam, x, y):
    """(F, gradient in (w, lam)) at radius 0.1."""
    r, s2 = x @ w - y, w @ w
    mse = np.mean(r**2)
    gw = lam / (lam - s2) * 2 * (r @ x) / len(y) + mse * lam / (lam - s2) ** 2 * 2 * w
    return lam * 0.01 + mse * lam / (lam - s2), np.append(gw, 0.01 - mse * s2 / (lam - s2) ** 2)


def smooth_square(w, lam, x, y, sigma, eps):
    """F^eps from its Gaussian integral and its gradient by central differences."""

    def value(w, lam):
        r, s2, d = x @ w - y, w @ w, x.shape[1]
        ea = eps / sigma**2 + 2 * (lam - s2)
        logs = math.log(sigma**2 * ea / eps) + (d - 1) * math.log(1 + 2 * lam * sigma**2 / eps)
        return lam * 0.01 + np.mean(r**2 + 2 * r**2 * s2 / ea) - eps / 2 * logs

    slopes = []
    for j in range(len(w)):
        move = np.zeros_like(w)
        move[j] = 1e-6
        slopes.append((value(w + move, lam) - value(w - move, lam)) / 2e-6)
    return value(w, lam), np.append(slopes, (value(w, lam + 1e-6) - value(w, lam - 1e-6)) / 2e-6)


def best_square(x, y):
    """min over w of (rmse + |w|/10)^2 and its lam, by plain gradient descent."""
    w = np.linalg.lstsq(x, y, rcond=None)[0]
    for _ in range(20_000):
        r, s = x @ w - y, np.linalg.norm(w)
        rmse = math.sqrt(np.mean(r**2))
        w = w - 0.05 * 2 * (rmse + 0.1 * s) * ((r @ x) / len(y) / rmse + 0.1 * w / s)
    r, s = x @ w - y, np.linalg.norm(w)
    rmse = math.sqrt(np.mean(r**2))
    return w, s**2 + s * rmse / 0.1, (rmse + 0.1 * s) ** 2


def test_gradients_record_the_worst_of_the_fixed_points(plan, data):
    frame = frame_of(job_of(plan, "gradients", "all"), data)
    x, y = table(data, 60)
    rng = STREAMS.numpy("points", 0)
    w = rng.standard_normal((4, 10))
    norm, share = rng.random((2, 4))
    w = w / np.linalg.norm(w, axis=1, keepdims=True) * norm[:, None]
    for eps in (0.1, 0.001):
        worst = far = 0.0
        for k in range(4):
            value, gradient = exact_square(w[k], 1.5 + 8.5 * share[k], x, y)
            smooth, slope = smooth_square(w[k], 1.5 + 8.5 * share[k], x, y, 0.3, eps)
            worst, far = max(worst, np.linalg.norm(slope - gradient)), max(far, abs(smooth - value))
        own = frame[(frame["problem"] == "diabetes") & np.isclose(frame["epsilon"], eps)]
        got = own.pivot_table(index="seed", columns="metric", values="value")
        assert len(got) == 2 and (got.nunique() == 1).all()  # nothing is drawn
        assert got["gradient_error"].iloc[0] == pytest.approx(worst, rel=1e-5)
        assert got["value_error"].iloc[0] == pytest.approx(far, rel=1e-9)


def test_critical_records_distances_levels_and_what_the_worst_case_flips(plan, data):
    frame = frame_of(job_of(plan, "critical", "diabetes"), data)
    x, y = table(data, 60)
    _w, lam, value = best_square(x, y)
    got = frame[frame["epsilon"] == 0.001].groupby("metric")["value"].first()
    assert got["optimum"] == pytest.approx(value, abs=1e-9) and got["lam_optimum"] == pytest.approx(lam, rel=1e-4)
    assert got["lam_distance"] == pytest.approx(abs(got["lam_smoothed"] - got["lam_optimum"]))
    assert 0 < got["plateau"] < 1e-3 and got["distance"] > 0
    loose = frame[frame["epsilon"] == 0.1].groupby("metric")["value"].first()
    assert loose["plateau"] > 100 * got["plateau"] and loose["distance"] > 10 * got["distance"]

    job = job_of(plan, "critical", "cancer_mixed")
    records = perform(job, data=data)
    frame = records.frame(job)
    got = frame.groupby("metric")["value"].first()
    gain = records.arrays["cancer_mixed_gain"]
    assert got["flipped"] == (gain > 1e-4).sum() and got["tied"] == (abs(gain) <= 1e-4).sum() and got["tied"] > 0
    assert len(gain) == 200 == len(records.arrays["cancer_mixed_margin"])


def test_of_points_that_lie_together_one_is_kept_and_searches_that_did_not_end_are_left_out():
    points = torch.tensor(
        [[1.0, 0.0], [0.0, 2.0], [1.0 + 1e-9, 0.0], [5.0, 5.0], [0.0, 2.0 - 1e-9]], dtype=torch.float64
    )
    left = torch.tensor([0.0, 1e-9, 0.0, 1.0, 0.0], dtype=torch.float64)
    assert distinct(points, left).tolist() == [[0.0, 2.0], [1.0, 0.0]]


def test_the_wells_critical_points_are_stationary_and_their_distance_is_one_sided(plan, data):
    job = job_of(plan, "critical", "wells")
    records = perform(job, data=data)
    frame = records.frame(job)
    x, y = records.arrays["wells_features"], records.arrays["wells_labels"]
    assert len(x) == 60 and (y == -1).sum() == 12

    def exact(w):  # the definition, on a fine grid
        z, s, a = y * (x @ w), np.linalg.norm(w), np.linspace(0, 2, 20_001)
        inside = 1 / (1 + np.exp(z[:, None] - s * a)) - 0.5 * a**2
        return inside.max(1).mean() + 0.002 * s**2

    deep = records.arrays["wells_minima"]
    for w in deep:
        here = exact(w)
        assert all(exact(w + 0.02 * np.array([math.cos(t), math.sin(t)])) > here for t in np.linspace(0, 6, 7))
    for eps in (0.1, 0.001):
        mine = records.arrays[f"wells_minima_{eps:g}"]
        want = max(min(np.linalg.norm(m - d) for d in deep) for m in mine)
        own = frame[frame["epsilon"] == eps].groupby("metric")["value"].first()
        assert own["distance"] == pytest.approx(want) and own["critical_points"] == len(mine)


def test_sampling_records_distances_to_both_gradients(plan, data):
    job = job_of(plan, "sampling", "diabetes2", rows=12)
    frame = frame_of(job, data)
    x, y = table(data, 12, [2, 8])
    for seed in {s for v in job.variants for s in v.seeds}:
        rng = STREAMS.numpy("point", seed)
        w = rng.standard_normal(2)
        norm, share = rng.random(2)
        w, lam = w / np.linalg.norm(w) * (0.2 + 0.6 * norm), 2 + 4 * share
        u = STREAMS.normal("cloud", [seed], (12, 1, 64, 2))[0, :, 0].numpy()
        for sampler in ("plain", "shifted"):
            for eps in (0.1, 0.001):
                for m in (16, 64):
                    draws = [
                        plain_cloud(a, b, n[:m], 0.1)
                        if sampler == "plain"
                        else shifted_cloud("squared", w, 0.0, lam, a, b, n[:m], 0.1, eps)
                        for a, b, n in zip(x, y, u, strict=True)
                    ]
                    _, gw, _, gl = sampled_dual(squared, squared_slope, w, 0.0, lam, x, y, draws, eps, 0.1)
                    own = frame[(frame["seed"] == seed) & (frame["sampler"] == sampler) & (frame["samples"] == m)]
                    own = own[np.isclose(own["epsilon"], eps)].groupby("metric")["value"].first()
                    g = np.append(gw, gl)
                    smooth, exact = smooth_square(w, lam, x, y, 0.1, eps)[1], exact_square(w, lam, x, y)[1]
                    assert own["sampling_error"] == pytest.approx(np.linalg.norm(g - smooth), rel=1e-4, abs=1e-7)
                    assert own["total_error"] == pytest.approx(np.linalg.norm(g - exact), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("experiment", "block", "rows", "columns", "sigma"),
    [("shifted", "all", 60, slice(None), 0.3), ("plain", "diabetes2", 60, [2, 8], 0.1)],
)
def test_runs_record_exact_gaps_of_the_plain_loop(plan, data, experiment, block, rows, columns, sigma):
    """Thirty steps of every schedule, one seed; also which schedule has which epsilon and which sizes grow."""
    job = job_of(plan, experiment, block, steps=30, points=100)
    job = replace(job, variants=tuple(replace(v, seeds=v.seeds[-1:]) for v in job.variants))
    problem = {"all": "diabetes"}.get(block, block)
    x, y = table(data, rows, columns)
    best = best_square(x, y)[2]
    known = pd.DataFrame(
        [{"problem": problem, "metric": "optimum", "epsilon": 0.1, "value": best},
         {"problem": problem, "metric": "plateau", "epsilon": 0.01, "value": 0.25}]
    )  # fmt: skip
    frame = frame_of(job, data, critical=Need(known))
    epsilons = {
        "constant 1e-1": lambda k: 0.1, "constant 1e-2": lambda k: 0.01, "constant 1e-3": lambda k: 1e-3,
        "constant 1e-4": lambda k: 1e-4, "0.1 (k+1)^-1/2": lambda k: 0.1 * (k + 1) ** -0.5,
        "0.1 (k+1)^-1": lambda k: max(0.1 / (k + 1), 1e-6), "(k+1)^-1/2": lambda k: (k + 1) ** -0.5,
    }  # fmt: skip
    d = x.shape[1]
    for variant in job.variants:
        (seed,), growth = variant.seeds, variant.params["samples_growth"]
        w, lam, total, mw, ml, gaps = np.zeros(d), 5.0, 0.0, np.zeros(d), 0.0, {}
        for k in range(30):
            block_number, i = divmod(k, 25)
            count, m = (25, 5)[block_number], int(16 * (25 * block_number + 1) ** growth)
            ids = STREAMS.numpy("rows", seed, block_number).integers(0, rows, (count, 16))[i]
            u = STREAMS.normal("draws", [seed], (count, 16, 1, m, d), block_number)[0, i, :, 0].numpy()
            eps = epsilons[variant.params["schedule"]](k)
            draws = [
                shifted_cloud("squared", w, 0.0, lam, x[j], y[j], n, sigma, eps)
                if experiment == "shifted"
                else plain_cloud(x[j], y[j], n, sigma)
                for j, n in zip(ids, u, strict=True)
            ]
            _, gw, _, gl = sampled_dual(squared, squared_slope, w, 0.0, lam, x[ids], y[ids], draws, eps, 0.1)
            step = 0.05 / math.sqrt(k + 1)
            total, mw, ml = total + step, mw + step * w, ml + step * lam
            w, _, lam = project(w - step * gw, 0.0, lam - 20 / math.sqrt(k + 1) * gl, 1.0, 1.1, 50.0)
            gaps[k + 1] = (
                exact_square(w, lam, x, y)[0] - best,
                exact_square(mw / total, ml / total, x, y)[0] - best,
                lam,
            )
        own = frame[(frame["schedule"] == variant.params["schedule"])]
        if "samples_growth" in job.axes:
            own = own[np.isclose(own["samples_growth"], growth)]
        wide = own[own["step"] > 0].pivot_table(index="step", columns="metric", values="value")
        assert {1, 30} <= set(wide.index)
        for k, row in wide.iterrows():
            np.testing.assert_allclose([row["gap"], row["mean_gap"], row["lam"]], gaps[k], atol=2e-7, rtol=1e-5)
        plateau = own[own["metric"] == "plateau"]
        assert (plateau["value"] == 0.25).all() and len(plateau) == (variant.params["schedule"] == "constant 1e-2")


def test_the_mixed_runs_keep_lam_inside_and_their_gap_is_the_objective_s(plan, data, study):
    job = job_of(plan, "mixed", "all", steps=20, points=100)
    known = pd.DataFrame([{"problem": "cancer_mixed", "metric": "optimum", "epsilon": 0.1, "value": 0.3}])
    frame = frame_of(job, data, critical=Need(known))
    wide = frame.pivot_table(index=["schedule", "seed", "step"], columns="metric", values="value").reset_index()
    assert wide["lam"].between(1, 100).all() and len(wide) == 5 * 2 * wide["step"].nunique()
    early = wide[wide["step"] == 1]
    # step 0 is the same for all schedules; after one step those with another epsilon_0 differ
    assert early.groupby("seed")["gap"].nunique().eq(3).all()
    problem = study("cancer_mixed", rows=200)
    from descent.papers.wdro import Point

    start = Point(
        torch.full((1, 30), 0.01, dtype=torch.float64),
        torch.zeros(1, dtype=torch.float64),
        torch.full((1,), 10.0, dtype=torch.float64),
    )
    assert early["gap"].abs().max() < 10 * abs(problem.exact(start).value.item() - 0.3) + 1


def test_baselines_count_evaluations_and_are_measured_alike(plan, data):
    job = job_of(plan, "baselines", "diabetes2", rows=20, evaluations=20_000)
    frame = frame_of(job, data)
    x, y = table(data, 20, [2, 8])
    w, _, best = best_square(x, y)
    ols = np.linalg.lstsq(x, y, rcond=None)[0]
    erm = (math.sqrt(np.mean((x @ ols - y) ** 2)) + 0.1 * np.linalg.norm(ols)) ** 2 - best
    own = frame[(frame["method"] == "erm")].groupby("metric")["value"].first()
    assert own["risk_gap"] == pytest.approx(erm, abs=1e-8) and own["distance"] == pytest.approx(
        np.linalg.norm(ols - w), abs=1e-5
    )
    last = frame.groupby("method")["step"].max()
    assert last["psgd"] == 20_000 // 256 * 256 and last["saa"] == 20_000 // 320 * 320
    assert last["library"] == 200 * 20 + (20_000 - 4_000) // 200 * 200 and last["erm"] == 0
    assert (frame["step"] <= 20_000).all() and (frame.loc[frame["metric"] == "risk_gap", "value"] > -1e-9).all()
    first = frame[(frame["method"] == "library") & (frame["step"] <= 4_000)]
    assert len(first) and (first["step"] % 20 == 0).all()
