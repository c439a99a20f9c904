"""The curves of an earlier, independent implementation, whose numbers are written here, and the benchmark's plain loop, which must be the
same method."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from descent.core.context import Context
from descent.core.streams import Streams
from descent.papers.rpg import CartPole, LinearGaussian, ascend
from descent.papers.rpg.control import METHODS
from descent.papers.rpg.lockstep import Entry

SEEDS = tuple(range(600, 606))  # development seeds

# T_150: median and interquartile range over 20 seeds, N = 5; the budget here is what the test needs
WINDOWS = {1: (3742, 523, 4600), 8: (2175, 400, 3000), 16: (2085, 357, 3000)}
# AUC weighted by trajectories, half-width of its 95 % interval over 20 seeds; ten trajectories an update
BASE = {
    "rpg": (121.8, 2.5), "svrpg": (109.0, 4.3), "srvrpg": (105.9, 5.6), "page": (98.8, 6.5), "def": (89.6, 7.4),
    "storm": (78.4, 3.0), "gpomdp": (76.0, 3.7),
}  # fmt: skip
# T_150: (method, N) with window 4
EQUAL = {("rpg", 5): 2388, ("gpomdp", 20): 8670}
# AUC at window 64, N = 5, budget 5000; RPG's was 132.8
ESTIMATORS = {"mis": 112.9, "bh": 145.5}


def entry(policy, name, method, budget, **changes):
    build = METHODS[method]
    start = torch.zeros(len(SEEDS), 4, dtype=torch.float64)
    return Entry(name, build(policy, **changes), SEEDS, budget, start)


@pytest.fixture(scope="module")
def curves():
    """Everything in one lock-step batch."""
    policy = LinearGaussian(4)
    entries = [entry(policy, f"window {w}", "rpg", budget, window=w, batch=5) for w, (*_, budget) in WINDOWS.items()]
    entries += [entry(policy, f"base {m}", m, 6000) for m in BASE]
    entries += [
        entry(policy, "equal rpg 5", "rpg", 3000, batch=5, window=4),
        entry(policy, "equal gpomdp 20", "gpomdp", 11000, batch=20),
    ]
    entries += [entry(policy, f"estimator {m}", m, 5000, window=64, batch=5) for m in ESTIMATORS]
    return ascend(Context(torch.device("cpu"), Streams("rpg"), {}), CartPole(), policy, entries)


def crossing(curve):
    """(S,) collected trajectories when the moving average over 100 of them first reaches 150."""
    returns, collected, sizes = curve.values["mean_return"], curve.schedule.collected, curve.schedule.sizes
    found = np.full(returns.shape[1], np.inf)
    for s in range(returns.shape[1]):
        width = round(100 / sizes[sizes[:, s] > 0, s].mean())
        smooth = [returns[max(0, u - width + 1) : u + 1, s].mean() for u in range(len(returns))]
        hits = np.flatnonzero(np.array(smooth) >= 150)
        found[s] = collected[hits[0], s] if len(hits) else np.inf
    return found


def area(curve):
    return (curve.values["mean_return"] * curve.schedule.sizes).sum(0) / curve.schedule.sizes.sum(0)


@pytest.mark.slow
@pytest.mark.parametrize("window", WINDOWS)
def test_windows_reach_150_when_an_independent_implementation_did(curves, window):
    median, spread, _ = WINDOWS[window]
    error = 1.2533 * spread / 1.349 * (1 / len(SEEDS) + 1 / 20) ** 0.5
    assert abs(np.median(crossing(curves[f"window {window}"])) - median) < 4 * error


@pytest.mark.slow
@pytest.mark.parametrize("method", BASE)
def test_areas_of_the_comparison_are_those_of_an_independent_implementation(curves, method):
    mean, half = BASE[method]
    error = half / 2.09 * (1 + 20 / len(SEEDS)) ** 0.5
    assert abs(area(curves[f"base {method}"]).mean() - mean) < 4 * error


@pytest.mark.slow
def test_rpg_leads_the_comparison(curves):
    means = {method: area(curves[f"base {method}"]).mean() for method in BASE}
    assert max(means, key=means.get) == "rpg"


@pytest.mark.slow
def test_a_window_stands_in_for_a_batch_as_in_an_independent_implementation(curves):
    medians = {key: np.median(crossing(curves[f"equal {key[0]} {key[1]}"])) for key in EQUAL}
    for key, median in EQUAL.items():
        assert medians[key] == pytest.approx(median, rel=0.15)


@pytest.mark.slow
def test_estimators_at_a_large_window_as_in_an_independent_implementation(curves):
    areas = {method: area(curves[f"estimator {method}"]) for method in ESTIMATORS}
    for method, mean in ESTIMATORS.items():
        error = areas[method].std(ddof=1) / len(SEEDS) ** 0.5 * 1.5  # theirs and ours
        assert abs(areas[method].mean() - mean) < 4 * error
    assert areas["bh"].mean() > 132.8 > areas["mis"].mean()


# -- the benchmark ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def benchmark_module():
    path = Path(__file__).parents[3] / "benchmarks" / "rpg.py"
    spec = importlib.util.spec_from_file_location("rpg_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["Numpy", "Tight"])
def test_the_benchmark_s_loops_are_the_same_method(benchmark_module, kind):
    updates = 25
    batch, repeated = benchmark_module.batched(3, updates)
    loop = benchmark_module.loop(getattr(benchmark_module, kind)(), updates, repeated()[0])
    for ours, theirs in zip(batch, loop, strict=True):
        np.testing.assert_allclose(theirs, ours[0], atol=1e-10)
    assert np.abs(theirs).max() > 0.05


def test_the_benchmark_s_vectorised_baseline_is_the_same_method(benchmark_module):
    updates = 25
    batch, repeated = benchmark_module.batched(3, updates)
    for ours, theirs in zip(batch, benchmark_module.plain(3, updates, repeated()[1]), strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-10)
    assert np.abs(theirs).max() > 0.05


def test_the_benchmark_times_everyone(benchmark_module):
    found = benchmark_module.compare(2, 3)
    assert set(found) == {"official", "tight", "plain", "batch", "floor"} and all(s > 0 for s in found.values())
    table = benchmark_module.run_times(2, 2)
    assert len(table) == 6 and all(took > 0 for took in table.values())
