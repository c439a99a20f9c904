"""lqr_error.py: the protocol, its streams, its bounds, and the errors of an independent implementation."""

import numpy as np
import pytest
import rpg_slow as slow
import torch

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.rpg.lqr_error import TARGET, Sample
from descent.runner.run import perform

SHARED = dict(batch=5, horizon=20, discount=1.0, variance=0.25, replications=40, confidence=0.2)
CONTEXT = Context(torch.device("cpu"), Streams("rpg"), {})


def job(methods=("rpg", "mis", "bh"), windows=(1, 2, 4), drifts=(0.002, 0.03), seeds=(500, 501), **changes):
    variants = tuple(
        Variant(m, {"drift": d, "window": w}, {**SHARED, "drift": d, "window": w, **changes}, seeds)
        for m in methods
        for d in drifts
        for w in windows
    )
    return Job(
        "rpg", "lqr_error", "all", "smoke", "train", "descent.papers.rpg.lqr_error", ("drift", "window"), variants
    )


def table(*args, **options):
    j = job(*args, **options)
    return perform(j).frame(j)


def test_the_policies_drift_by_known_steps_along_one_direction():
    sample = Sample({**SHARED, "drift": 0.03}, 4, CONTEXT, 500)
    steps = sample.past_theta.diff(dim=1)
    np.testing.assert_allclose(steps.norm(dim=-1), 0.03, rtol=1e-12)
    np.testing.assert_allclose(steps, steps[:, :1].expand_as(steps), rtol=1e-9)
    np.testing.assert_allclose(sample.past_theta[:, -1], np.tile(TARGET, (40, 1)))
    assert len({tuple(row) for row in steps[:, 0].tolist()}) == 40
    np.testing.assert_allclose(sample.exact, [-12.4720173079, -1.7479882421], atol=1e-9)


@pytest.mark.parametrize("method", ["rpg", "mis", "bh"])
def test_errors_equal_one_trajectory_at_a_time(method):
    params = {**SHARED, "drift": 0.03, "replications": 3, "window": 3}
    sample = Sample(params, 5, CONTEXT, 500)
    got = sample.measure(Variant(method, {}, params, (500,)))["squared_error"]
    tr, theta = trajectories(params, 5, 500), np.array(TARGET)
    for r in range(3):
        thetas = sample.past_theta[r, -3:].numpy()
        window = [[slow.unpacked(tr, [(r * 5 + k) * 5 + n])[0] for n in range(5)] for k in (2, 3, 4)]
        _, estimate = getattr(slow, method)(window, [*thetas[:-1], theta], 0.25)
        assert got[r].item() == pytest.approx(((estimate - sample.exact.numpy()) ** 2).sum(), rel=1e-7)


def trajectories(params, window, seed):
    """The trajectories of a Sample, sampled again."""
    from descent.papers.rpg import LQR
    from descent.papers.rpg.lqr_error import draw

    sample = Sample(params, window, CONTEXT, seed)
    normals, uniforms, _ = draw(CONTEXT, seed, params["replications"], window, 5, 20)
    rows = sample.past_theta[:, :, None].expand(-1, -1, 5, -1).flatten(0, 2)
    return LQR().rollout(sample.policy.controller(rows), normals, uniforms)


def test_all_estimators_agree_for_one_batch_and_share_their_trajectories():
    frame = table(windows=(1,))
    errors = frame[frame["metric"] == "squared_error"].pivot_table(
        index=["drift", "seed", "step"], columns="method", values="value"
    )
    np.testing.assert_allclose(errors["mis"], errors["rpg"], rtol=1e-12)
    np.testing.assert_allclose(errors["bh"], errors["rpg"], rtol=1e-12)


def test_windows_seeds_and_drifts_are_no_companions():
    """The newest policies' trajectories are the same whatever the longest window, the other seeds and the other drifts."""
    whole = table()
    alone = table(methods=("mis",), windows=(2,), drifts=(0.03,), seeds=(501,))
    keys = ["method", "drift", "window", "seed", "step", "metric"]
    both = alone.merge(whole, on=keys, suffixes=("", "_whole"))
    assert len(both) == len(alone)
    np.testing.assert_allclose(both["value"], both["value_whole"], rtol=1e-9)


def test_weights_are_bounded_and_their_sums_are_near_one():
    frame = table(windows=(1, 2, 8), seeds=(500, 501, 502))
    excess = frame[frame["metric"] == "bound_excess"]["value"]
    assert len(excess) == 2 * 2 * 3 and (excess <= 0).all()
    sums = frame[frame["metric"] == "weight_sum"]["value"]
    assert ((sums > 0.8) & (sums < 1.2)).all()
    largest = frame[frame["metric"] == "largest_weight"]
    assert (largest[largest["window"] == 1]["value"] == 1).all()
    assert (largest[largest["method"] == "bh"]["value"] <= 1 + 1e-12).all()


def test_a_hopeless_drift_stays_finite_for_rpg():
    frame = table(methods=("rpg",), windows=(16,), drifts=(0.5,))
    assert (frame["status"] == "ok").all()


def test_mean_squared_errors_of_an_independent_implementation():
    """Its 2000 replications, drift 0.002: 4164, 1883, 963, 501, 242 for windows 1 to 16, slope about -1."""
    frame = table(("rpg",), (1, 2, 4, 8, 16), (0.002,), tuple(range(500, 520)), replications=100)
    errors = frame[frame["metric"] == "squared_error"].groupby("window")["value"]
    mean, error = errors.mean(), errors.std() / 2000**0.5
    prototype = np.array([4164, 1883, 963, 501, 242])
    assert (np.abs(mean - prototype) < 4 * np.sqrt(2) * error).all(), (mean, error)
    slope = np.polyfit(np.log([1, 2, 4, 8, 16]), np.log(mean), 1)[0]
    assert -1.15 < slope < -0.85
    per_seed = frame[frame["metric"] == "mean_squared_error"].groupby("window")["value"].mean()
    np.testing.assert_allclose(per_seed, mean, rtol=1e-12)


def test_stale_windows_have_heavy_tails():
    """Drift 0.03: plain weights cost several times the error at windows 8 and 16, though not in the median; RPG's weights
    sum to 0.95 to 0.97 there."""
    frame = table(("rpg", "mis"), (8, 16), (0.03,), tuple(range(500, 520)), replications=100)
    errors = frame[frame["metric"] == "squared_error"].groupby(["method", "window"])["value"]
    for window in (8, 16):
        assert errors.mean()["mis", window] > 2 * errors.mean()["rpg", window]
        assert 0.8 < errors.median()["mis", window] / errors.median()["rpg", window] < 1.25
    sums = frame[frame["metric"] == "weight_sum"].groupby(["method", "window"])["value"].mean()
    assert (sums["rpg"] > 0.94).all() and (sums["rpg"] < 0.97).all()
