"""`train`: no twin of the study's method, what ends an episode, several actions, modules, precisions, Gymnasium's own environments."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rpg_public import Springs, run
from torch import nn

from descent.core.streams import Streams
from descent.papers.rpg import CartPole, LinearGaussian, train
from descent.papers.rpg.control import METHODS
from descent.papers.rpg.method import Draw

F64 = {"dtype": torch.float64}


class Poles:
    """The room's Cart Pole behind the vector protocol; resets by itself in the step that ends, as Gymnasium's same-step mode does."""

    single_observation_space, single_action_space = SimpleNamespace(shape=(4,)), SimpleNamespace(shape=(1,))

    def __init__(self, num_envs):
        self.num_envs, self.problem = num_envs, CartPole(horizon=1)

    def reset(self, *, seed):
        self.state = (2 * torch.from_numpy(np.random.default_rng(seed).random((4, self.num_envs))) - 1) * 0.05
        return self.state.T.numpy().copy(), {}

    def step(self, actions):
        self.state = self.problem.after(self.state, torch.from_numpy(actions.T.copy()))
        over = (self.state[[0, 2]].abs() > torch.tensor(CartPole.limits, **F64)[:, None]).any(0)
        self.state = torch.where(over, 0.01, self.state)
        return self.state.T.numpy().copy(), np.ones(self.num_envs), over.numpy(), np.zeros(self.num_envs, bool), {}


@pytest.mark.parametrize("name", METHODS)
def test_train_is_the_study_s_method_on_the_same_random_numbers(name):
    """Bit for bit: the study's own problem, policy and `learn`, with the streams of `train`."""
    made = train(Poles, horizon=40, budget=150, batch=6, window=3, std=0.5, lr=0.05, method=name, seed=(3, 4), **F64)
    problem, policy, streams = CartPole(horizon=40), LinearGaussian(4, variance=0.25), Streams("rpg")
    sizes = {"batch": 6} if name in ("rpg", "mis", "bh", "gpomdp") else {"snapshot_batch": 33, "mini_batch": 3}
    sizes |= {"window": 3} if name in ("rpg", "mis", "bh") else {}
    sizes = {"snapshot_batch": 15, "mini_batch": 6} if name == "storm" else sizes
    method = METHODS[name](policy, step_size=0.05, **sizes)
    schedule = method.schedule(150, (3, 4), lambda s: streams.numpy("schedule", s))
    state, returns = method.init(torch.zeros(2, 4, **F64)), torch.zeros(2, **F64)
    for k in range(len(schedule.sizes)):
        for snapshot, n, members in schedule.parts(k):
            draw = Draw(snapshot, n, len(members), None if len(members) == 2 else torch.from_numpy(members))
            normals, starts = [], []
            for s in (int((3, 4)[m]) for m in members):
                normals.append(torch.from_numpy(streams.numpy("public", s, k).standard_normal((40, 1, n))))
                reset = int(streams.numpy("environment", s, k).integers(2**31))
                starts.append(torch.from_numpy(np.random.default_rng(reset).random((4, n))))
            rows = policy.controller(method.behaviour(state, draw).flatten(0, 1))
            tr = problem.rollout(rows, torch.cat(normals, -1), torch.cat(starts, -1))
            returns = draw.put(returns, tr.returns().unflatten(0, (-1, n)).mean(-1))
            state = method.learn(state, draw, tr, k + 1)
        torch.testing.assert_close(made.history["mean_return"][k], returns, atol=1e-12, rtol=0)
    torch.testing.assert_close(made.parameters[:, 0], state.theta, atol=1e-12, rtol=1e-12)
    assert made.history["trajectories"].tolist() == schedule.collected.tolist()
    assert made.parameters.abs().min() > 1e-3


class Clock(Springs):
    """Truncated or terminated after `length` steps; counts on regardless, as an environment that resets itself."""

    length, how = 5, "truncated"

    def reset(self, *, seed):
        self.t = 0
        return super().reset(seed=seed)

    def step(self, actions):
        seen, _, _, none, _ = super().step(actions)
        self.t += 1
        over = none | (self.t == self.length)
        return (
            seen,
            np.full(self.num_envs, 2.0),
            over & (self.how == "terminated"),
            over & (self.how == "truncated"),
            {},
        )


@pytest.mark.parametrize("how", ["truncated", "terminated"])
@pytest.mark.parametrize("discount", [1.0, 0.5])
def test_an_episode_ends_when_it_is_terminated_or_truncated(how, discount):
    made = run(type("Made", (Clock,), {"how": how}), horizon=20, discount=discount)
    assert (made.history["mean_length"] == 5).all()
    assert torch.allclose(made.history["mean_return"], torch.tensor(2.0 * sum(discount**t for t in range(5))))
    assert (run(Clock, horizon=3).history["mean_length"] == 3).all()


class One:
    """A single environment; complains when it is stepped after its end."""

    observation_space, action_space = SimpleNamespace(shape=(3,)), SimpleNamespace(shape=(2,), dtype=np.float32)

    seeds = []  # noqa: RUF012

    def reset(self, *, seed):
        self.left = 2 + seed % 5
        self.seeds.append(seed)
        return np.ones(3, np.float32), {}

    def step(self, action):
        assert self.left > 0 and action.shape == (2,) and action.dtype == np.float32
        self.left -= 1
        return np.ones(3, np.float32), 1.0, self.left == 0, False, {}


def test_single_environments_are_run_side_by_side():
    made = train(One, horizon=30, budget=30, batch=10, seed=(0, 1))
    assert made.parameters.shape == (2, 2, 3) and made.parameters.dtype == torch.get_default_dtype()
    assert torch.equal(made.history["mean_return"], made.history["mean_length"])
    assert (made.history["mean_length"] == 4).all()  # ten seeds in a row, lengths 2 to 6
    wanted = int(Streams("rpg").numpy("environment", 0, 0).integers(2**31))
    assert One.seeds[:10] == [wanted + i for i in range(10)]


def test_a_linear_module_without_bias_is_the_linear_policy():
    module = nn.Linear(2, 2, bias=False, **F64)
    nn.init.zeros_(module.weight)
    for method in ("rpg", "bh", "srvrpg", "def"):
        linear, network = run(method=method, **F64), run(policy=module, method=method)
        torch.testing.assert_close(network.parameters, linear.parameters.flatten(), atol=1e-9, rtol=1e-7)
        torch.testing.assert_close(network.module().weight, linear.module().weight, atol=1e-9, rtol=1e-7)
    assert not module.weight.any()


def test_a_module_keeps_its_precision_its_frozen_parameters_and_itself():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 2))
    net[0].bias.requires_grad_(False)
    before = [p.clone() for p in net.parameters()]
    made = run(policy=net, seed=(0, 1))
    assert made.parameters.shape == (2, 6 + 6 + 2) and made.parameters.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)) and net.training
    other = made.module(1)
    assert torch.equal(other[0].bias, net[0].bias) and torch.equal(other[3].bias, made.parameters[1, -2:])
    assert not torch.equal(other[0].weight, net[0].weight)


def test_learning_pays():
    made = run(budget=2000, batch=10, window=8, horizon=30, seed=range(4), **F64)
    returns = made.history["mean_return"]
    assert (returns[-20:].mean(0) > returns[:20].mean(0) + 3).all()
    assert not made.diverged.any()


def test_a_callback_sees_each_update_and_may_stop():
    seen = []

    def watch(step, metrics):
        seen.append((step, metrics["mean_return"]))
        if step == 3:
            raise StopIteration

    made = run(callback=watch)
    assert [s for s, _ in seen] == [1, 2, 3] and made.history["mean_return"].tolist() == [float(r) for _, r in seen]


def test_divergence_is_reported_and_not_raised():
    made = run(
        type(
            "Mad",
            (Springs,),
            {
                "step": lambda self, a: (
                    self.x,
                    np.full(self.num_envs, np.inf),
                    *[np.zeros(self.num_envs, bool)] * 2,
                    {},
                )
            },
        )
    )
    assert made.diverged and made.history["mean_return"].isinf()[0]


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_gymnasium_s_own_vector_environments(mode):
    gymnasium = pytest.importorskip("gymnasium")
    vector = pytest.importorskip("gymnasium.vector")
    if not hasattr(vector, "AutoresetMode"):
        pytest.skip("this Gymnasium has one kind of autoreset")

    def make(n):
        return vector.SyncVectorEnv(
            [lambda: gymnasium.make("Pendulum-v1", max_episode_steps=7)] * n, autoreset_mode=vector.AutoresetMode[mode]
        )

    made = train(make, horizon=20, budget=30, batch=5)
    assert (made.history["mean_length"] == 7).all()
