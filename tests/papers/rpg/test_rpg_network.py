"""network.py and physics.py: the network policy against the linear one and finite differences, and MuJoCo's code path
on a small environment with Gymnasium's interface, so that no physics are needed."""

import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import descent.papers.rpg.physics as physics
from descent.core.errors import SettingError
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.rpg import CartPole, Gymnasium, LinearGaussian, NetworkGaussian
from descent.papers.rpg.control import METHODS
from descent.papers.rpg.linear import reward_to_go
from descent.papers.rpg.network import Past
from descent.papers.rpg.problem import Trajectories
from descent.papers.rpg.room import ROOM
from descent.runner.run import perform

F64 = {"dtype": torch.float64}


class Linear(NetworkGaussian):
    """One linear layer: the network's code computing the linear policy."""

    def __init__(self, state_size, action_size, variance):
        super().__init__(state_size, action_size, variance=variance)
        self.shapes, self.size = ((action_size, state_size),), action_size * state_size


def trajectories(horizon, d, a, rows, seed=0):
    rng = np.random.default_rng(seed)
    alive = (np.arange(horizon)[:, None] < rng.integers(1, horizon + 1, rows)).astype(float)
    states, actions = (rng.standard_normal((horizon, size, rows)) * alive[:, None] for size in (d, a))
    parts = states, actions, alive * rng.random((horizon, rows))
    return Trajectories(*map(torch.from_numpy, (*parts, alive)))


def random(*shape, seed=1, size=0.4):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape) * size)


def test_a_linear_network_is_the_linear_policy():
    tr, linear, network = trajectories(9, 3, 1, 2 * 4 * 5), LinearGaussian(3, variance=0.5), Linear(3, 1, 0.5)
    theta, past_theta, weights = random(2, 3), random(2, 4, 3, seed=2), random(2, 4, 5, seed=3).exp()
    to_go = reward_to_go(tr.rewards)
    one = linear.summarise(tr, to_go).view(2, 4, 5, -1)
    two = Past(*(part.unflatten(0, (2, 4, 5)) for part in network.summarise(tr, to_go)))
    for a, b in zip(
        linear.log_ratio_and_divergence(one, theta, past_theta),
        network.log_ratio_and_divergence(two, theta, past_theta),
        strict=True,
    ):
        assert_close(a, b, atol=1e-10, rtol=1e-10)
    assert_close(linear.gradient(one, theta, weights), network.gradient(two, theta, weights))
    shares = [x - x[:, -1:] for x in (p.log_likelihoods(q, past_theta) for p, q in ((linear, one), (network, two)))]
    assert_close(*shares)
    rows = trajectories(9, 3, 1, 2 * 5)
    other, weights = random(2, 3, seed=4), random(9, 2, 5) * rows.alive.view(9, 2, 5)
    assert_close(*(p.step_log_ratios(p.means(theta, rows), p.means(other, rows), rows) for p in (linear, network)))
    terms = lambda p: [(theta, p.means(theta, rows), weights), (other, p.means(other, rows), -0.5 * weights)]  # noqa: E731
    assert_close(*(p.mean_score(rows, terms(p)) for p in (linear, network)))
    states, normal = random(3, 6), random(1, 6, seed=5)
    assert_close(linear.controller(random(6, 3))(states, normal), network.controller(random(6, 3))(states, normal))


def test_gradients_equal_finite_differences():
    policy, h = NetworkGaussian(3, 2, hidden=4, variance=0.5), 1e-6
    tr = trajectories(6, 3, 2, 2 * 2 * 3)
    past = Past(*(part.unflatten(0, (2, 2, 3)) for part in policy.summarise(tr, reward_to_go(tr.rewards))))
    theta, weights = random(2, policy.size), random(2, 2, 3).exp()

    def objective(theta):
        """(1 / N) sum W sum_t w_t log pi, one trajectory at a time."""
        total = torch.zeros(2, **F64)
        for s in range(2):
            for k in range(2):
                for n in range(3):
                    mean = policy.mean(theta[s : s + 1], past.states[s, k, n][None])[0]
                    steps = -((past.actions[s, k, n] - mean) ** 2).sum(-1) / (2 * 0.5) * past.alive[s, k, n]
                    total[s] += weights[s, k, n] * (past.to_go[s, k, n] * steps).sum() / 3
        return total

    got = policy.gradient(past, theta, weights)
    for i in range(0, policy.size, 5):
        step = torch.zeros(policy.size, **F64)
        step[i] = h
        assert_close(got[:, i], (objective(theta + step) - objective(theta - step)) / (2 * h), rtol=1e-5, atol=1e-7)
    with torch.no_grad():  # the training loop records no gradients
        assert torch.equal(policy.gradient(past, theta, weights), got)


def test_xavier_start_is_each_seeds_own():
    policy = NetworkGaussian(8, 2)
    assert policy.variance == LinearGaussian(8).variance == 0.3
    assert policy.size == 8 * 32 + 32 * 32 + 32 * 2
    start = policy.start(Streams("rpg"), (500, 501))
    assert torch.equal(policy.start(Streams("rpg"), (501,)), start[1:])
    bound = [(6 / 40) ** 0.5, (6 / 64) ** 0.5, (6 / 34) ** 0.5]
    for part, limit in zip(start.split([256, 1024, 64], 1), bound, strict=True):
        assert 0.9 * limit < part.abs().max() <= limit


def test_a_network_drives_the_cart_pole_too():
    problem, policy = CartPole(horizon=30), NetworkGaussian(4, 1, hidden=5)
    theta = random(3, policy.size)
    noise, start = random(30, 1, 3), torch.full((4, 3), 0.6, **F64)
    tr = problem.rollout(policy.controller(theta), noise, start)
    means = torch.stack([policy.mean(theta, tr.states[t].T[:, None])[:, 0].T for t in range(30)])
    assert_close(tr.actions, (means + policy.std * noise) * tr.alive[:, None])


# -- Gymnasium's interface --------------------------------------------------------------------------------------------


class Pole:
    """The room's Cart Pole behind Gymnasium's interface."""

    observation_space, action_space = SimpleNamespace(shape=(4,)), SimpleNamespace(shape=(1,))
    made = 0

    def __init__(self):
        self.problem = CartPole(horizon=1)
        type(self).made += 1

    def reset(self, *, seed):
        self.state = torch.from_numpy(np.random.default_rng(seed).uniform(-0.05, 0.05, (4, 1)))
        return self.state[:, 0].numpy().copy(), {}

    def step(self, action):
        self.state = self.problem.after(self.state, torch.from_numpy(action)[:, None])
        over = bool((self.state[[0, 2], 0].abs() > torch.tensor(CartPole.limits)).any())
        return self.state[:, 0].numpy().copy(), 1.0, over, False, {}


def test_an_environment_of_gymnasium_gives_the_same_trajectories():
    problem, policy = Gymnasium("pendulum", horizon=60, discount=0.99, make=Pole), LinearGaussian(4)
    theta, noise = random(6, 4), random(60, 1, 6, seed=5, size=0.5)
    start = torch.from_numpy(np.random.default_rng(1).random((4, 6)))
    tr = problem.rollout(policy.controller(theta), noise, start)
    assert torch.equal(tr.alive, problem.rollout(policy.controller(theta), noise, start).alive)
    own = CartPole(horizon=60, discount=0.99)
    first = (tr.states[0] / own.spread + 1) / 2  # both start from the same states
    twin = own.rollout(policy.controller(theta), noise, first)
    assert torch.equal(tr.alive, twin.alive)
    assert_close(tr.rewards, twin.rewards)
    assert_close(tr.actions, twin.actions, atol=1e-9, rtol=1e-9)
    assert_close(tr.states, twin.states, atol=1e-9, rtol=1e-9)
    assert 0 < tr.alive.mean() < 1 and Pole.made == 6


SWIMMER = dict(
    environment="swimmer", horizon=25, discount=1.0, variance=0.3, policy="network", hidden=6, block=2, budget=24, batch=4,
    snapshot_batch=6, mini_batch=3,
)  # fmt: skip


@pytest.fixture
def no_physics(monkeypatch):
    monkeypatch.setattr(physics, "maker", lambda environment: Pole)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_runs_on_physics_with_a_network(no_physics, method):
    variants = (
        Variant(
            method,
            {},
            {**SWIMMER, "window": 3, "epoch": 3, "baseline": "avg"},
            (500, 501),
            takes=ROOM.methods[method].settings,
        ),
    )
    job = Job("rpg", "swimmer", "all", "paper", "train", "descent.papers.rpg.control", (), variants)
    frame = perform(job).frame(job)
    assert set(frame["metric"]) == {"mean_return", "fresh", "auc", "final_return"} and (frame["status"] == "ok").all()
    alone = Job(
        "rpg",
        "swimmer",
        "all",
        "paper",
        "train",
        "x",
        (),
        (Variant(method, {}, variants[0].params, (501,), takes=variants[0].takes),),
    )
    part = perform(Job(**{**alone.__dict__, "module": job.module})).frame(alone)
    whole = frame[frame["seed"] == 501].reset_index(drop=True)
    np.testing.assert_allclose(part["value"], whole["value"], rtol=1e-6)


def test_a_resumed_network_run_gives_the_same_bytes(no_physics, tmp_path):
    from descent.core.checkpoint import FileCheckpoint

    class Killed(BaseException):
        pass

    class Dying(FileCheckpoint):
        left = 3

        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            self.left -= 1
            if not self.left:
                raise Killed

    variants = (Variant("rpg", {}, {**SWIMMER, "window": 3}, (500,), takes=ROOM.methods["rpg"].settings),)
    job = Job("rpg", "swimmer", "all", "paper", "train", "descent.papers.rpg.control", (), variants)
    with pytest.raises(Killed):
        perform(job, checkpoint=Dying(tmp_path / "c", "key", every=0))
    resumed = perform(job, checkpoint=FileCheckpoint(tmp_path / "c", "key", every=0)).frame(job)
    assert resumed.equals(perform(job).frame(job))


def test_absent_packages_are_named_in_one_sentence(monkeypatch):
    import builtins

    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name in ("gymnasium", "mujoco"):
            raise ImportError(f"No module named '{name}'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(
        SettingError, match=r"`environment` swimmer needs the packages gymnasium and mujoco .*'descent\[mujoco\]'"
    ):
        Gymnasium("swimmer")


@pytest.mark.parametrize(
    "environment, sentence",
    [
        ("walker", r"`environment` must be cartpole, .*, got 'walker'"),
        ("lqr", "lqr is no MuJoCo task; these are pendulum"),
    ],
)
def test_an_environment_without_physics_is_refused(environment, sentence):
    with pytest.raises(SettingError, match=sentence):
        Gymnasium(environment)


@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("gymnasium", "mujoco")),
    reason="gymnasium and mujoco are not installed (extra `mujoco`)",
)
@pytest.mark.parametrize("environment, sizes", [("pendulum", (4, 1)), ("swimmer", (8, 2)), ("cheetah", (17, 6))])
def test_the_real_tasks(environment, sizes):
    problem = Gymnasium(environment, horizon=30)
    assert (problem.state_size, problem.action_size) == sizes
    policy = NetworkGaussian(*sizes, hidden=8)
    theta, noise = random(3, policy.size), random(30, sizes[1], 3)
    start = torch.full((sizes[0], 3), 0.3, **F64)
    one, two = (problem.rollout(policy.controller(theta), noise, start) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    if environment != "pendulum":
        assert (one.alive == 1).all()
