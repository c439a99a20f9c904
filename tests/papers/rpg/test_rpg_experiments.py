"""Every experiment against a plain loop: one seed, one trajectory, one time step at a time, settings written from the papers.

A job is that of config/papers/rpg.yaml, made small (horizon, budget, seeds); whatever else it should be is a number of this file.
"""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rpg_slow as slow

from descent.config.plan import make_plan
from descent.config.read import read_paper, read_study
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.rpg.room import ROOM
from descent.runner.run import perform

ROOT = Path(__file__).parents[3]
STREAMS = Streams("rpg")
HORIZON, SEED = 40, 501
BLOCK = 50  # trajectories whose numbers are drawn at once


@pytest.fixture(scope="module")
def jobs():
    return make_plan(ROOT, read_study(ROOT, {"papers": "rpg", "scale": "study"}), any_data=True).jobs


def small(job, budget, horizon=HORIZON):
    """The same variants, short runs of two seeds."""
    variants = tuple(
        replace(v, params={**v.params, "budget": budget, "horizon": horizon}, seeds=(500, SEED)) for v in job.variants
    )
    return replace(job, variants=variants)


def recorded(frame, metric, **where):
    """(steps, values) of SEED."""
    rows = frame[(frame["metric"] == metric) & (frame["seed"] == SEED)]
    for axis, value in where.items():
        rows = rows[rows[axis] == value]
    assert len(rows) and (rows["status"] == "ok").all()
    return rows["step"].to_numpy(), rows["value"].to_numpy()


# -- the plain loop ---------------------------------------------------------------------------------------------------


def numbers(number, horizon, states):
    """(noise (T,), uniforms (d,)) of the seed's trajectory `number`, from 0."""
    rng = STREAMS.numpy("rollout", SEED, number // BLOCK)
    normal, uniform = rng.standard_normal((horizon, 1, BLOCK)), rng.random((states, BLOCK))
    return normal[:, 0, number % BLOCK], uniform[:, number % BLOCK]


def cart_pole(theta, number):
    noise, uniform = numbers(number, HORIZON, 4)
    return slow.cart_pole(theta, math.sqrt(0.3) * noise, 0.1 * uniform - 0.05)


def lqr(theta, number):
    noise, uniform = numbers(number, 20, 2)
    return lqr_episode(theta, noise, uniform)


def lqr_episode(theta, noise, uniform):
    x, states, actions, rewards = 6 * uniform - 3, [], [], []
    for e in noise:
        u = float(theta @ x) + 0.5 * e
        states.append(x)
        actions.append(u)
        rewards.append(-(0.9 * x[0] ** 2 + 0.1 * x[1] ** 2 + 0.1 * u**2))
        x = np.array([0.9 * x[0] + 0.1 * x[1] + 0.1 * u, 0.9 * x[1] + 0.9 * u])
    return np.array(states), np.array(actions), np.array(rewards)


class Adam:
    """Uphill."""

    def __init__(self, size, step_size):
        self.m, self.v, self.t, self.step_size = np.zeros(size), np.zeros(size), 0, step_size

    def __call__(self, theta, g):
        self.t += 1
        self.m, self.v = 0.9 * self.m + 0.1 * g, 0.999 * self.v + 0.001 * g * g
        return theta + self.step_size * (self.m / (1 - 0.9**self.t)) / (np.sqrt(self.v / (1 - 0.999**self.t)) + 1e-8)


def learn(budget, direction, *, size=4, episode=cart_pole, step_size=0.01, watch=None):
    """[(trajectories collected, mean return, fresh ones, watched)] of every update.

    direction(k, theta, sample) -> v; sample(n, parameters=theta) -> n fresh trajectories.
    """
    theta, adam, used, rows = np.zeros(size), Adam(size, step_size), 0, []
    k = 0
    while used < budget:
        fresh = []

        def sample(n, parameters=None, fresh=fresh, theta=theta, used=used):
            drawn = [episode(theta if parameters is None else parameters, used + len(fresh) + j) for j in range(n)]
            fresh.extend(drawn)
            return drawn

        theta = adam(theta, direction(k, theta, sample))
        used += len(fresh)
        rows.append((used, np.mean([tr[2].sum() for tr in fresh]), len(fresh), watch(theta) if watch else None))
        k += 1
    return rows


def reusing(estimate, n, window, variance=0.3):
    past = []

    def direction(k, theta, sample):
        past.append((sample(n), theta))
        kept = past[-window:]
        return estimate([batch for batch, _ in kept], [other for _, other in kept], variance)[1]

    return direction


def plain(n, baseline, variance=0.3):
    return lambda k, theta, sample: slow.step_wise(sample(n), theta, variance, baseline=baseline)


def off(batch, other, theta, baseline):
    ratio = lambda s, a: slow.log_pi(s, a, other, 0.3) - slow.log_pi(s, a, theta, 0.3)  # noqa: E731
    return slow.step_wise(batch, other, 0.3, ratio, baseline)


def corrected(kind, baseline):
    """SVRPG, SRVRPG (55, 5, every 10th), STORM (25, 10, eta 0.9), PAGE, DEF (55, 5, a coin of 0.1)."""
    kept = SimpleNamespace(theta=None, v=None)
    coin = STREAMS.numpy("schedule", SEED)
    heads = coin.random(200 // 5 + 1) < 0.1

    def direction(k, theta, sample):
        on = lambda batch: slow.step_wise(batch, theta, 0.3, baseline=baseline)  # noqa: E731
        snapshot = k == 0 if kind == "storm" else k % 10 == 0 if kind in ("svrpg", "srvrpg") else k == 0 or heads[k]
        if snapshot:
            v = on(sample(25 if kind == "storm" else 55))
        elif kind == "def":
            batch = sample(3) + sample(2, kept.theta)
            weigh = lambda which: slow.mixture_step(batch, theta, kept.theta, 0.3, which, baseline)  # noqa: E731
            v = kept.v + weigh(theta) - weigh(kept.theta)
        elif kind == "storm":
            batch = sample(10)
            v = on(batch) + (1 - 0.9) * (kept.v - off(batch, kept.theta, theta, baseline))
        else:
            batch = sample(5)
            v = kept.v + on(batch) - off(batch, kept.theta, theta, baseline)
        if snapshot or kind != "svrpg":
            kept.theta, kept.v = theta, v
        return v

    return direction


def agrees(frame, rows, **where):
    """Steps, returns and fresh trajectories of every update, and the two summaries."""
    used, returns, fresh, _ = (np.array(column) for column in zip(*rows, strict=True))
    for metric, wanted in (("mean_return", returns), ("fresh", fresh)):
        steps, values = recorded(frame, metric, **where)
        assert steps.tolist() == used.tolist()
        np.testing.assert_allclose(values, wanted, rtol=1e-9)
    last, late = int(used[-1]), used > 0.9 * used[-1]
    for metric, wanted in (
        ("auc", np.average(returns, weights=fresh)),
        ("final_return", np.average(returns[late], weights=fresh[late])),
    ):
        steps, values = recorded(frame, metric, **where)
        assert steps.tolist() == [last] and values[0] == pytest.approx(wanted, rel=1e-9)


# -- the experiments --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def window(jobs):
    job = small(jobs["rpg/window/all"], 60)
    return perform(job).frame(job)


WINDOW = [
    ("gpomdp", 1),
    *(("rpg", w) for w in (2, 4, 8, 16, 32, 64)),
    *((m, w) for m in ("mis", "bh") for w in (8, 64)),
]


def test_window_runs_what_it_should(window):
    assert set(zip(window["method"], window["window"], strict=True)) == set(WINDOW)


@pytest.mark.parametrize(("method", "size"), [case for case in WINDOW if case[1] <= 8])
def test_window(window, method, size):
    """N = 5, windows that overflow after a few of the twelve updates."""
    direction = plain(5, "zero") if method == "gpomdp" else reusing(getattr(slow, method), 5, size)
    agrees(window, learn(60, direction), method=method, window=size)


@pytest.fixture(scope="module")
def base(jobs):
    found = {}
    for table in ("zero", "avg"):
        job = small(jobs[f"rpg/base/{table}"], 120)
        found[table] = perform(job).frame(job)
    return found


def test_base_runs_what_it_should(base):
    others = {"gpomdp", "svrpg", "srvrpg", "storm", "page", "def"}
    assert set(base["zero"]["method"]) == {"rpg", *others} and set(base["avg"]["method"]) == others


@pytest.mark.parametrize("table", ["zero", "avg"])
@pytest.mark.parametrize("method", ["gpomdp", "svrpg", "srvrpg", "storm", "page", "def"])
def test_base(base, table, method):
    """Ten trajectories an update on average; the budget reaches a second snapshot."""
    direction = plain(10, table) if method == "gpomdp" else corrected(method, table)
    agrees(base[table], learn(120, direction), method=method)


def test_base_of_rpg(base):
    agrees(base["zero"], learn(120, reusing(slow.rpg, 10, 8)), method="rpg")


def test_equal(jobs):
    """A window of 4 and N against 4 N."""
    job = small(jobs["rpg/equal/all"], 80)
    assert {(v.method, v.params["batch"]) for v in job.variants} == {
        ("rpg", 5),
        ("rpg", 10),
        ("gpomdp", 20),
        ("gpomdp", 40),
    }
    frame = perform(job).frame(job)
    agrees(frame, learn(80, reusing(slow.rpg, 5, 4)), method="rpg", batch=5)
    agrees(frame, learn(80, reusing(slow.rpg, 10, 4)), method="rpg", batch=10)
    for n in (20, 40):
        agrees(frame, learn(80, plain(n, "zero")), method="gpomdp", batch=n)


def test_the_area_is_recorded_where_budgets_are_equal(jobs):
    job = small(jobs["rpg/equal/all"], 40)
    job = replace(
        job, variants=(job.variants[0], replace(job.variants[1], params={**job.variants[1].params, "budget": 50}))
    )
    frame = perform(job).frame(job)
    assert "auc" not in set(frame["metric"]) and (frame["metric"] == "final_return").sum() == 4


def exact_return(theta):
    """J of the LQR, T = 20, sigma = 0.5, with matrices."""
    a, b = np.array([[0.9, 0.1], [0, 0.9]]), np.array([[0.1], [0.9]])
    cost, f, s, total = np.diag([0.9, 0.1]) + 0.1 * np.outer(theta, theta), a + b @ theta[None], 3 * np.eye(2), 0.0
    for _ in range(20):
        total -= np.trace(cost @ s) + 0.1 * 0.25
        s = f @ s @ f.T + 0.25 * b @ b.T
    return total


def test_lqr_train(jobs):
    job = small(jobs["rpg/lqr_train/all"], 60, horizon=20)
    frame = perform(job).frame(job)
    for method, size in (("gpomdp", 1), ("rpg", 4)):
        direction = plain(5, "zero", 0.25) if size == 1 else reusing(slow.rpg, 5, size, 0.25)
        rows = learn(60, direction, size=2, episode=lqr, watch=lambda theta: -9.7611722050 - exact_return(theta))
        steps, values = recorded(frame, "regret", method=method, window=size)
        assert steps.tolist() == [row[0] for row in rows]
        np.testing.assert_allclose(values, [row[3] for row in rows], rtol=1e-7)
        agrees(frame, rows, method=method, window=size)


@pytest.mark.parametrize("drift", [0.002, 0.03])
def test_lqr_error(jobs, drift):
    """Policies drift by known steps towards (-.2, -.3); five trajectories each, the same for all estimators and windows."""
    job = jobs["rpg/lqr_error/all"]
    assert {v.params["window"] for v in job.variants} == {1, 2, 4, 8, 16}
    kept = [v for v in job.variants if v.params["window"] <= 4]
    job = replace(job, variants=tuple(replace(v, params={**v.params, "replications": 3}, seeds=(SEED,)) for v in kept))
    frame = perform(job).frame(job)
    frame = frame[frame["drift"] == drift]
    target = np.array([-0.2, -0.3])
    direction = STREAMS.numpy("direction", SEED).standard_normal((3, 2))
    noise = [STREAMS.numpy("window", SEED, age).standard_normal((20, 1, 3, 5)) for age in range(4)]
    uniform = [STREAMS.numpy("start", SEED, age).random((2, 3, 5)) for age in range(4)]
    exact = np.array([-12.4720173079, -1.7479882421])
    for size in (1, 2, 4):
        sums, largest = {m: [] for m in ("rpg", "mis", "bh")}, {m: [] for m in ("rpg", "mis", "bh")}
        for r in range(3):
            e = direction[r] / np.hypot(*direction[r])
            thetas = [target - drift * age * e for age in reversed(range(size))]
            batches = [
                [lqr_episode(theta, noise[age][:, 0, r, j], uniform[age][:, r, j]) for j in range(5)]
                for age, theta in zip(reversed(range(size)), thetas, strict=True)
            ]
            for method in sums:
                weights, estimate = getattr(slow, method)(batches, thetas, 0.25)
                _, errors = recorded(frame, "squared_error", method=method, window=size)
                assert errors[r] == pytest.approx(((estimate - exact) ** 2).sum(), rel=1e-6)
                sums[method].append(weights.sum() / 5)
                largest[method].append(weights.max())
        for method in sums:
            _, errors = recorded(frame, "squared_error", method=method, window=size)
            for metric, wanted in (
                ("weight_sum", np.mean(sums[method])),
                ("largest_weight", np.max(largest[method])),
                ("mean_squared_error", errors.mean()),
            ):
                assert recorded(frame, metric, method=method, window=size)[1][0] == pytest.approx(wanted, rel=1e-9)


class Pole:
    """The plain Cart Pole behind Gymnasium's interface of a single environment."""

    observation_space, action_space = SimpleNamespace(shape=(4,)), SimpleNamespace(shape=(1,), dtype=np.float64)

    def reset(self, *, seed):
        self.state = tuple(np.random.default_rng(seed).uniform(-0.05, 0.05, 4))
        return np.array(self.state), {}

    def step(self, action):
        self.state = slow.cart_pole_step(self.state, float(action[0]))
        over = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 12 * math.pi / 180
        return np.array(self.state), 1.0, over, False, {}


def physics(theta, number):
    noise, uniform = numbers(number, HORIZON, 4)
    start = np.random.default_rng(int(uniform[0] * 2**31)).uniform(-0.05, 0.05, 4)
    return slow.cart_pole(theta, math.sqrt(0.3) * noise, start)


@pytest.mark.parametrize(("experiment", "step_size", "size"), [("pendulum", 0.003, 8), ("pendulum_equal", 0.01, 4)])
def test_tasks_of_gymnasium(monkeypatch, experiment, step_size, size):
    """The settings of the configuration, the loop on an environment that stands for MuJoCo's."""
    monkeypatch.setattr("descent.papers.rpg.physics.maker", lambda name: Pole if name == "pendulum" else None)
    rules = {}
    for rule in settings_of(experiment):
        if rule.get("when", {}) in ({}, {"method": "rpg"}):
            rules |= {name: value for name, value in rule.items() if name in ROOM.settings}
    params = {name: s.default for name, s in ROOM.settings.items()} | {"batch": 5, "window": 8} | rules
    params |= {"budget": 40, "horizon": HORIZON}
    variant = Variant("rpg", {}, params, (500, SEED), takes=ROOM.methods["rpg"].settings)
    job = Job("rpg", experiment, "all", "paper", "train", "descent.papers.rpg.control", (), (variant,))
    rows = learn(40, reusing(slow.rpg, 5, size), episode=physics, step_size=step_size)
    agrees(perform(job).frame(job), rows, method="rpg")


def test_swimmer_and_its_baselines_have_one_step_size():
    first, *others = settings_of("swimmer")
    assert first["step_size"] == 1e-3 and not any("step_size" in rule for rule in others)


def settings_of(experiment):
    return read_paper(ROOT, "rpg").experiments[experiment].settings
