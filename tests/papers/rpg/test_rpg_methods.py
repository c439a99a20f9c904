"""reuse.py, on_policy.py, variance_reduced.py, ascent.py, method.py: limits of the methods, and each direction against
one trajectory at a time."""

import inspect

import numpy as np
import pytest
import rpg_slow as slow
import torch
from hypothesis import given, settings
from hypothesis.strategies import floats, integers
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers.rpg import (
    LQR,
    CartPole,
    LinearGaussian,
    bh,
    defensive,
    gpomdp,
    mis,
    page,
    rpg,
    srvrpg,
    storm,
    svrpg,
)
from descent.papers.rpg.ascent import adam, at_rest, constant
from descent.papers.rpg.method import Draw, first_only, periodic, spend, steady, tossed
from descent.papers.rpg.variance_reduced import mixture_weights, on_policy, telescoped


def off_policy(policy, other, theta, tr, baseline):
    """G_off(other), out of v = G_on - G_off."""
    both = telescoped(policy, baseline)(theta, other, torch.zeros_like(theta), tr)
    return on_policy(policy, theta, tr, baseline) - both


F64 = {"dtype": torch.float64}
REUSE = {"rpg": rpg, "mis": mis, "bh": bh}
REDUCED = {"svrpg": svrpg, "srvrpg": srvrpg, "storm": storm, "page": page, "def": defensive}
EVERY = {**REUSE, "gpomdp": gpomdp, **REDUCED}


def f64(values):
    return torch.tensor(values, **F64)


def sample(problem, policy, behaviour, seed):
    """Trajectories of the policies behaviour (G, N, d)."""
    rows = behaviour.flatten(0, 1)
    rng = np.random.default_rng(seed)
    normals = torch.from_numpy(rng.standard_normal((problem.horizon, 1, len(rows))))
    return problem.rollout(
        policy.controller(rows), normals, torch.from_numpy(rng.random((problem.state_size, len(rows))))
    )


def run(method, problem, policy, draws, seeds=2, start=None):
    """(states, trajectories) after each of the draws (snapshot, count), every seed taking part."""
    state = method.init(torch.zeros(seeds, policy.size, **F64) if start is None else start)
    states, seen = [state], []
    for number, (snapshot, count) in enumerate(draws, 1):
        draw = Draw(snapshot, count, seeds, None)
        seen.append(sample(problem, policy, method.behaviour(state, draw), number))
        state = method.learn(state, draw, seen[-1], number)
        states.append(state)
    return states, seen


PROBLEMS = {"cartpole": (CartPole(horizon=50), LinearGaussian(4)), "lqr": (LQR(), LinearGaussian(2, variance=0.25))}


# -- RPG and its ablations --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["rpg", "mis"])
def test_a_window_of_one_is_gpomdp_to_the_bit(problem, name):
    problem, policy = PROBLEMS[problem]
    draws = [(False, 5)] * 6
    one, _ = run(REUSE[name](policy, window=1, batch=5), problem, policy, draws)
    two, _ = run(gpomdp(policy, batch=5), problem, policy, draws)
    assert torch.equal(one[-1].theta, two[-1].theta) and one[-1].theta.abs().sum() > 0


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", REUSE)
def test_the_loop_equals_one_trajectory_at_a_time_with_a_full_window(problem, name):
    problem, policy = PROBLEMS[problem]
    states, seen = run(REUSE[name](policy, window=3, batch=4), problem, policy, [(False, 4)] * 5)
    for seed in range(2):
        theta, ascend = np.zeros(policy.size), torch_adam(policy.size)
        batches, thetas = [], []
        for u, tr in enumerate(seen):
            thetas = [*thetas, theta][-3:]
            batches = [*batches, slow.unpacked(tr, range(seed * 4, seed * 4 + 4))][-3:]
            _, gradient = getattr(slow, name)(batches, thetas, policy.variance)
            theta = ascend(gradient)
            np.testing.assert_allclose(states[u + 1].theta[seed], theta, rtol=1e-8, atol=1e-10)


def test_the_window_forgets_its_oldest_batch_and_keeps_the_behaviour_policies():
    problem, policy = PROBLEMS["lqr"]
    states, seen = run(rpg(policy, window=3, batch=2), problem, policy, [(False, 2)] * 5)
    assert [s.past_theta.shape[1] for s in states] == [0, 1, 2, 3, 3, 3]
    kept = states[-1].past_theta
    assert torch.equal(kept, torch.stack([s.theta for s in states[2:5]], 1))
    fresh = policy.summarise(seen[2], seen[2].rewards.flip(0).cumsum(0).flip(0)).view(2, 2, -1)
    assert torch.equal(states[-1].past[:, 0], fresh)


def test_old_weights_are_not_kept():
    """The same window weighed at collection time would give another step."""
    problem, policy = PROBLEMS["lqr"]
    states, _ = run(rpg(policy, window=4, batch=3, step_size=0.05), problem, policy, [(False, 3)] * 4)
    ratio, _ = policy.log_ratio_and_divergence(states[-1].past, states[-2].theta, states[-1].past_theta)
    assert (ratio[:, :-1].abs() > 1e-3).all() and ratio[:, -1].abs().max() == 0


# -- the gradient-reuse baselines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("baseline", ["zero", "avg"])
@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", REDUCED)
def test_directions_equal_one_trajectory_at_a_time(name, problem, baseline):
    problem, policy = PROBLEMS[problem]
    method = REDUCED[name](policy, baseline=baseline, ascent="constant", step_size=2e-5)
    draws = [(True, 6), (False, 3), (False, 3), (True, 5), (False, 4)]
    states, seen = run(method, problem, policy, draws)
    variance = policy.variance
    for seed in range(2):
        anchor = direction = None
        for u, (snapshot, n) in enumerate(draws):
            theta = states[u].theta[seed].numpy()
            batch = slow.unpacked(seen[u], range(seed * n, seed * n + n))
            on = slow.step_wise(batch, theta, variance, baseline=baseline)
            if snapshot:
                v = on
            elif name == "def":
                now = slow.mixture_step(batch, theta, anchor, variance, theta, baseline)
                v = direction + now - slow.mixture_step(batch, theta, anchor, variance, anchor, baseline)
            else:
                change = lambda s, a: slow.log_pi(s, a, anchor, variance) - slow.log_pi(s, a, theta, variance)  # noqa: E731, B023
                off = slow.step_wise(batch, anchor, variance, change, baseline)
                v = on + (0.1 if name == "storm" else 1.0) * (direction - off)
            if name != "svrpg" or snapshot:
                anchor, direction = theta, v
            moved = (states[u + 1].theta - states[u].theta)[seed].numpy() / 2e-5
            np.testing.assert_allclose(moved, v, rtol=1e-6, atol=1e-6 * np.abs(v).max())


@pytest.mark.parametrize("name", ["svrpg", "srvrpg", "page", "storm"])
def test_a_mini_batch_at_the_anchor_changes_nothing(name):
    """Right after a snapshot with theta unchanged: G_on - G_off(theta~) = 0, v = v~."""
    problem, policy = PROBLEMS["cartpole"]
    method = REDUCED[name](policy)
    state = method.init(f64([[0.1, 0.2, 1.0, 0.3], [0.0, 0.0, 0.0, 0.0]]))
    draw = Draw(True, 8, 2, None)
    after = method.learn(state, draw, sample(problem, policy, method.behaviour(state, draw), 1), 1)
    stayed = after._replace(theta=state.theta)
    draw = Draw(False, 3, 2, None)
    tr = sample(problem, policy, method.behaviour(stayed, draw), 2)
    off = off_policy(policy, stayed.anchor, stayed.theta, tr, "zero")
    assert_close(off, on_policy(policy, stayed.theta, tr, "zero"))
    if name != "storm":
        v = method.learn(stayed, draw, tr, 2)
        first = 0.9 * after.moments.first + 0.1 * after.direction
        assert_close(v.moments.first, first, atol=1e-12, rtol=1e-10)


def test_storm_with_eta_one_is_gpomdp():
    problem, policy = PROBLEMS["cartpole"]
    draws = [(True, 10)] + [(False, 10)] * 4
    one, _ = run(storm(policy, decay=1.0, snapshot_batch=10, mini_batch=10), problem, policy, draws)
    two, _ = run(gpomdp(policy, batch=10), problem, policy, draws)
    assert_close(one[-1].theta, two[-1].theta, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("name", ["page", "def"])
def test_snapshots_alone_are_gpomdp(name):
    problem, policy = PROBLEMS["cartpole"]
    draws = [(True, 7)] * 4
    one, _ = run(REDUCED[name](policy, snapshot_batch=7), problem, policy, draws)
    two, _ = run(gpomdp(policy, batch=7), problem, policy, draws)
    assert_close(one[-1].theta, two[-1].theta, atol=1e-12, rtol=1e-10)


@settings(max_examples=50, deadline=None)
@given(size=floats(0, 2000), seed=integers(0, 999))
def test_defensive_weights_are_at_most_two_and_one_at_equal_policies(size, seed):
    log_ratio = f64(np.random.default_rng(seed).standard_normal(20) * size)
    own, previous = mixture_weights(log_ratio)
    for weights in (own, previous):
        assert ((weights >= 0) & (weights <= 2 + 1e-12)).all()
    assert_close((own + previous) / 2, torch.ones(20, **F64))  # they are shares of the mixture
    assert_close(torch.stack(mixture_weights(torch.zeros(3, **F64))), torch.ones(2, 3, **F64), atol=1e-15, rtol=0)


def test_defensive_batches_come_half_from_each_policy():
    policy = LinearGaussian(2)
    method = defensive(policy)
    state = method.init(f64([[1.0, 2.0]]))._replace(anchor=f64([[3.0, 4.0]]))
    behaviour = method.behaviour(state, Draw(False, 5, 1, None))
    assert behaviour[0].tolist() == [[1, 2]] * 3 + [[3, 4]] * 2
    assert method.behaviour(state, Draw(True, 4, 1, None))[0].tolist() == [[1, 2]] * 4


def test_the_off_policy_estimate_is_unbiased():
    """E[G_off(theta')] over trajectories of theta is the exact LQR gradient at theta'."""
    problem, policy = PROBLEMS["lqr"]
    theta, other = f64([[-0.2, -0.3]]).expand(40, -1), f64([[-0.24, -0.22]]).expand(40, -1)
    tr = sample(problem, policy, theta[:, None].expand(-1, 1000, -1), 5)
    means = off_policy(policy, other, theta, tr, "zero")
    error = means.std(0) / 40**0.5
    exact = problem.gradient(other[0], 0.25)
    assert ((means.mean(0) - exact).abs() < 4 * error).all()
    # the weights matter: without them the estimate is the gradient at theta, many errors away
    assert ((problem.gradient(theta[0], 0.25) - exact).abs() > 4 * error).any()


def test_members_learn_and_the_others_stay():
    problem, policy = PROBLEMS["cartpole"]
    method = page(policy)
    state = method.init(torch.zeros(3, 4, **F64))
    draw = Draw(True, 4, 2, torch.tensor([0, 2]))
    tr = sample(problem, policy, method.behaviour(state, draw), 1)
    after = method.learn(state, draw, tr, 1)
    assert (
        (after.theta[[0, 2]] != 0).any(1).all() and (after.theta[1] == 0).all() and (after.moments.second[1] == 0).all()
    )
    alone = method.learn(method.init(torch.zeros(2, 4, **F64)), Draw(True, 4, 2, None), tr, 1)
    assert torch.equal(after.theta[[0, 2]], alone.theta) and torch.equal(after.direction[[0, 2]], alone.direction)


# -- ascent -----------------------------------------------------------------------------------------------------------


def torch_adam(size, step_size=0.01):
    theta = torch.zeros(size, **F64, requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=step_size, maximize=True)

    def ascend(gradient):
        theta.grad = torch.from_numpy(np.asarray(gradient, float))
        optimizer.step()
        return theta.detach().numpy().copy()

    return ascend


def test_adam_is_torch_s():
    move, reference = adam(0.03), torch_adam(5, 0.03)
    theta = torch.zeros(1, 5, **F64)
    moments = at_rest(theta)
    rng = np.random.default_rng(0)
    for number in range(1, 30):
        gradient = rng.standard_normal(5) * 10.0 ** rng.integers(-6, 4)
        theta, moments = move(theta, f64(gradient[None]), moments, number)
        np.testing.assert_allclose(theta[0], reference(gradient), rtol=1e-12)


def test_constant_steps():
    theta, moments = constant(0.5)(f64([[1.0]]), f64([[3.0]]), at_rest(f64([[1.0]])), 4)
    assert theta.item() == 2.5 and moments.first.item() == 0


# -- schedules --------------------------------------------------------------------------------------------------------

COINS = lambda seed: np.random.default_rng(seed)  # noqa: E731


def test_trajectory_equalised_schedules():
    """(55, 5, m = 10) is exactly 100 trajectories every 10 updates."""
    schedule = periodic(55, 5, 10)(6000, (1, 2), COINS)
    assert schedule.sizes.shape == (600, 2) and schedule.collected[-1].tolist() == [6000, 6000]
    assert schedule.sizes[:20, 0].tolist() == ([55] + [5] * 9) * 2
    assert (
        schedule.parts(0)[0][:2] == (True, 55) and schedule.parts(1)[0][:2] == (False, 5) and schedule.parts(600) == []
    )


def test_first_only_and_steady():
    assert first_only(25, 10)(100, (1,), COINS).sizes[:, 0].tolist() == [25] + [10] * 8
    assert steady(30)(100, (1,), COINS).sizes[:, 0].tolist() == [30] * 4


@settings(max_examples=40, deadline=None)
@given(budget=integers(1, 700), p=floats(0, 1), large=integers(1, 60), small=integers(1, 9), seed=integers(0, 99))
def test_a_coin_a_seed_spends_each_budget(budget, p, large, small, seed):
    schedule = tossed(large, small, p)(budget, (seed, seed + 1), COINS)
    assert schedule.snapshot[0].all()
    for s in range(2):
        sizes = schedule.sizes[:, s]
        used = sizes[sizes > 0]
        assert (sizes[: len(used)] > 0).all() and budget <= used.sum() < budget + max(large, small)
    alone = tossed(large, small, p)(budget, (seed + 1,), COINS)
    n = len(alone.sizes)
    assert np.array_equal(alone.sizes[:, 0], schedule.sizes[:n, 1]) and not schedule.sizes[n:, 1].any()


def test_parts_cover_every_running_seed_once():
    schedule = spend(40, np.array([[True, False, True], [False, True, False], [False, False, False]]), 20, 10)
    parts = schedule.parts(0)
    assert [(kind, n, rows.tolist()) for kind, n, rows in parts] == [(True, 20, [0, 2]), (False, 10, [1])]


# -- bad settings -----------------------------------------------------------------------------------------------------


BAD = {
    "window": [(0, r"lie in \[1, 100000\], got 0")],
    "batch": [(0, r"lie in \[1, 100000\], got 0"), (2.5, "be a whole number, got 2.5")],
    "confidence": [(1, r"lie in \(0, 1\), got 1")],
    "step_size": [(-0.01, r"lie in \(0, 10\], got -0.01"), (float("nan"), "be a number, got nan")],
    "ascent": [("adm", r"be adam or constant, got 'adm' \(did you mean `adam`\?\)")],
    "snapshot_batch": [(0, r"lie in \[1, 100000\], got 0")],
    "mini_batch": [(-1, r"lie in \[1, 100000\], got -1")],
    "epoch": [(0, r"lie in \[1, 100000\], got 0")],
    "probability": [(1.1, r"lie in \[0, 1\], got 1.1")],
    "decay": [(-0.1, r"lie in \[0, 1\], got -0.1")],
    "baseline": [("mean", "be zero or avg, got 'mean'")],
}


@pytest.mark.parametrize(
    "name, setting, value, limits",
    [
        (name, setting, *case)
        for name, build in EVERY.items()
        for setting in inspect.signature(build).parameters
        for case in BAD.get(setting, ())
    ],
)
def test_a_bad_setting_is_refused_in_one_sentence(name, setting, value, limits):
    with pytest.raises(SettingError, match=f"^{name}: `{setting}` must {limits}"):
        EVERY[name](LinearGaussian(2), **{setting: value})


def test_every_setting_of_every_method_has_a_bad_value_above():
    assert {s for build in EVERY.values() for s in inspect.signature(build).parameters} == {"policy", *BAD}


@pytest.mark.parametrize("variance", [0, -0.3])
def test_a_variance_that_is_not_positive_is_refused(variance):
    with pytest.raises(SettingError, match=r"linear: `variance` must lie in \(0, 100\], got"):
        LinearGaussian(4, variance=variance)
