"""problem.py: the dynamics against the formulas one step at a time, and the LQR's exact return and gradient."""

import math

import numpy as np
import pytest
import torch
from rpg_slow import cart_pole

from descent.core.errors import SettingError
from descent.papers.rpg import LQR, CartPole, LinearGaussian
from descent.papers.rpg.linear import reward_to_go

F64 = {"dtype": torch.float64}
START = (0.01, -0.02, 0.03, 0.04)


def as_uniform(state, spread):
    return (torch.tensor(state, **F64)[:, None] / spread + 1) / 2


def noise_free(theta, horizon=200):
    problem = CartPole(horizon=horizon)
    controller = LinearGaussian(4).controller(torch.tensor([theta], **F64))
    return problem.rollout(controller, torch.zeros(horizon, 1, 1, **F64), as_uniform(START, problem.spread))


def test_cart_pole_at_rest_falls_after_31_steps():
    tr = noise_free([0.0, 0, 0, 0])
    assert tr.returns().item() == 31
    np.testing.assert_allclose(tr.states[1, :, 0], [0.0096, -0.0204299107, 0.0308, 0.0494632529], atol=5e-11)


def test_cart_pole_with_a_good_policy_survives():
    tr = noise_free([1.0, 2, 30, 4])
    assert tr.returns().item() == 200
    np.testing.assert_allclose(tr.states[1, :, 0], [0.0096, -0.0003336727, 0.0308, 0.0193324599], atol=5e-11)
    np.testing.assert_allclose(
        tr.states[10, :, 0], [0.0220689213, 0.1404235475, 0.0219266065, -0.1151189933], atol=5e-11
    )


def rollout(problem, theta, rows, seed=3, std=0.3**0.5):
    rng = np.random.default_rng(seed)
    normals = torch.from_numpy(rng.standard_normal((problem.horizon, 1, rows)))
    start = torch.from_numpy(rng.random((problem.state_size, rows)))
    theta = torch.tensor(theta, **F64).expand(rows, -1)
    policy = LinearGaussian(problem.state_size, variance=std**2)
    return problem.rollout(policy.controller(theta), normals, start), normals * policy.std, start


@pytest.mark.parametrize("theta", [[0.0, 0, 0, 0], [0.5, -1, 3, 1], [20.0, 40, 300, 50], [1.0, 2, 30, 4]])
def test_cart_pole_equals_one_step_at_a_time(theta):
    problem = CartPole(horizon=120)
    tr, noise, start = rollout(problem, theta, 12)
    for j in range(12):
        states, actions, rewards = cart_pole(
            np.array(theta), noise[:, 0, j].numpy(), (2 * start[:, j].numpy() - 1) * 0.05
        )
        n = len(rewards)
        assert tr.alive[:, j].tolist() == [1.0] * n + [0.0] * (120 - n)
        np.testing.assert_allclose(tr.states[:n, :, j], states, atol=1e-10)
        np.testing.assert_allclose(tr.actions[:n, 0, j], actions, atol=1e-9)
        np.testing.assert_array_equal(tr.rewards[:, j], tr.alive[:, j])
        assert not tr.states[n:, :, j].any() and not tr.actions[n:, :, j].any()


def test_the_force_is_clipped_and_the_action_is_not():
    problem = CartPole(horizon=2)
    theta = torch.tensor([[0.0, 0, 1e4, 0]], **F64)
    start = as_uniform((0.0, 0, 0.01, 0), problem.spread)
    tr = problem.rollout(LinearGaussian(4).controller(theta), torch.zeros(2, 1, 1, **F64), start)
    assert tr.actions[0].item() == pytest.approx(100)
    pushed = problem.after(torch.tensor([[0.0], [0], [0.01], [0]], **F64), torch.tensor([[10.0]], **F64))
    np.testing.assert_allclose(tr.states[1], pushed, atol=1e-15)


def test_mean_return_of_the_first_policy():
    tr, _, _ = rollout(CartPole(), [0.0, 0, 0, 0], 20_000)
    returns = tr.returns()
    assert returns.mean().item() == pytest.approx(41.06, abs=0.1 + 2 * returns.std().item() / 20_000**0.5)
    assert 19 <= returns.min() <= 23 and 150 <= returns.max() <= 200


def test_a_longer_horizon_only_goes_on():
    short, noise, start = rollout(CartPole(horizon=30), [1.0, 2, 30, 4], 5)
    more = torch.cat((noise / 0.3**0.5, torch.zeros(40, 1, 5, **F64)))
    long = CartPole(horizon=70).rollout(
        LinearGaussian(4).controller(torch.tensor([[1.0, 2, 30, 4]] * 5, **F64)), more, start
    )
    for one, two in zip(short, long, strict=True):
        torch.testing.assert_close(one, two[:30], atol=1e-13, rtol=0)


def test_discounted_rewards():
    tr, _, _ = rollout(CartPole(horizon=40, discount=0.9), [1.0, 2, 30, 4], 3)
    np.testing.assert_allclose(tr.returns(), [(1 - 0.9**40) / (1 - 0.9)] * 3)


# -- LQR --------------------------------------------------------------------------------------------------------------

EXACT = {
    (-0.2, -0.3): (-13.0221685859, (-12.4720173079, -1.7479882421)),
    (0.0, 0.0): (-27.4414480264, (-106.0168784389, -118.6663367604)),
}


@pytest.mark.parametrize("theta", EXACT)
def test_lqr_exact_return_and_gradient(theta):
    point = torch.tensor(theta, **F64)
    value, slope = EXACT[theta]
    assert LQR().value(point, 0.25).item() == pytest.approx(value, abs=1e-10)
    np.testing.assert_allclose(LQR().gradient(point, 0.25), slope, atol=1e-9)


def test_lqr_optimum():
    problem = LQR()
    best = problem.optimum(0.25)
    np.testing.assert_allclose(best, [-1.1776, -0.6352], atol=5e-5)
    assert problem.value(best, 0.25).item() == pytest.approx(-9.7611722050, abs=1e-9)
    assert problem.gradient(best, 0.25).norm() < 1e-8


def test_lqr_gradient_equals_finite_differences_and_batches():
    problem, h = LQR(discount=0.9), 1e-5
    points = torch.tensor([[-0.2, -0.3], [-1.0, 0.4], [0.1, 0.0]], **F64)
    for i in range(2):
        step = torch.zeros(2, **F64)
        step[i] = h
        slope = (problem.value(points + step, 0.25) - problem.value(points - step, 0.25)) / (2 * h)
        np.testing.assert_allclose(problem.gradient(points, 0.25)[:, i], slope, rtol=1e-6)


def test_lqr_rollout_one_step_at_a_time():
    problem, theta = LQR(), np.array([-0.2, -0.3])
    tr, noise, start = rollout(problem, theta.tolist(), 6, std=0.5)
    A, B, Q = np.array(LQR.A), np.array(LQR.B), np.diag(LQR.Q)
    for j in range(6):
        x = (2 * start[:, j].numpy() - 1) * 3
        for t in range(20):
            u = theta @ x + noise[t, 0, j].item()
            assert tr.actions[t, 0, j].item() == pytest.approx(u, abs=1e-12)
            assert tr.rewards[t, j].item() == pytest.approx(-(x @ Q @ x + 0.1 * u * u), abs=1e-12)
            x = A @ x + B * u


@pytest.fixture(scope="module")
def many():
    """200,000 LQR trajectories of the target policy, and their gradients one by one."""
    problem, policy = LQR(), LinearGaussian(2, variance=0.25)
    tr, _, _ = rollout(problem, [-0.2, -0.3], 200_000, std=0.5)
    kept = policy.summarise(tr, reward_to_go(tr.rewards))
    theta = torch.tensor([[-0.2, -0.3]], **F64)
    each = policy.gradient(kept[:, None, None], theta.expand(200_000, -1), torch.ones(200_000, 1, 1, **F64))
    return tr, each


def test_monte_carlo_return_and_gradient_agree_with_the_exact_ones(many):
    tr, each = many
    value, slope = EXACT[-0.2, -0.3]
    returns = tr.returns()
    assert abs(returns.mean().item() - value) < 4 * returns.std().item() / 200_000**0.5
    error = each.std(0) / 200_000**0.5
    np.testing.assert_allclose(error, [0.26, 0.17], atol=0.01)
    assert ((each.mean(0) - torch.tensor(slope, **F64)).abs() < 2 * error).all()


@pytest.mark.parametrize("kind", [CartPole, LQR])
@pytest.mark.parametrize(
    "bad, sentence",
    [
        ({"horizon": 0}, r"`horizon` must lie in \[1, 100000\], got 0"),
        ({"discount": 1.5}, r"`discount` must lie in \[0, 1\], got 1.5"),
    ],
)
def test_a_bad_problem_is_refused_in_one_sentence(kind, bad, sentence):
    with pytest.raises(SettingError, match=f"{kind.__name__.lower()}: {sentence}"):
        kind(**bad)


def test_limits():
    assert math.isclose(CartPole.limits[1], 0.2094395, abs_tol=1e-7)
