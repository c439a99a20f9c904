"""Slow twins: one trajectory, one time step at a time, in plain NumPy, as the formulas are written in the papers.

A trajectory is (states (L, d), actions (L,), rewards (L,)) of its L executed steps.
"""

import math

import numpy as np
import torch

from descent.papers.rpg.problem import Trajectories


def cart_pole_step(state, action):
    x, xd, th, thd = state
    force = min(max(action, -10.0), 10.0)
    tmp = (force + 0.05 * thd**2 * math.sin(th)) / 1.1
    thacc = (9.8 * math.sin(th) - math.cos(th) * tmp) / (0.5 * (4 / 3 - 0.1 * math.cos(th) ** 2 / 1.1))
    xacc = tmp - 0.05 * thacc * math.cos(th) / 1.1
    return (x + 0.02 * xd, xd + 0.02 * xacc, th + 0.02 * thd, thd + 0.02 * thacc)


def cart_pole(theta, noise, start):
    """One episode: theta (4,), noise (T,), start (4,) the state itself."""
    state, states, actions = tuple(start), [], []
    for e in noise:
        action = float(np.dot(theta, state)) + float(e)
        states.append(state)
        actions.append(action)
        state = cart_pole_step(state, action)
        if abs(state[0]) > 2.4 or abs(state[2]) > 12 * math.pi / 180:
            break
    return np.array(states), np.array(actions), np.ones(len(actions))


def score(state, action, theta, variance):
    return (action - theta @ state) * state / variance


def gradient(tr, theta, variance, discount=1.0):
    """sum_t gamma^t r_t sum_{l <= t} score_l."""
    states, actions, rewards = tr
    total, scores = np.zeros_like(theta), np.zeros_like(theta)
    for t, (s, a, r) in enumerate(zip(states, actions, rewards, strict=True)):
        scores = scores + score(s, a, theta, variance)
        total = total + discount**t * r * scores
    return total


def log_p(tr, theta, variance):
    """Log of the policy's factors, up to the constant of the variance."""
    return sum(-((a - theta @ s) ** 2) / (2 * variance) for s, a, _ in zip(*tr, strict=True))


def divergence(batch, theta, other, variance):
    """D: mean over the batch of exp(sum_t (mu_theta - mu_other)^2 / sigma^2)."""
    return np.mean([math.exp(sum(((theta - other) @ s) ** 2 for s in states) / variance) for states, _, _ in batch])


def rpg(window, thetas, variance, delta=0.2):
    """(weights by batch and trajectory, ghat). window[i]: N trajectories of thetas[i]; the last is the current policy."""
    theta, n, k = thetas[-1], len(window[0]), len(window)
    d = np.array([divergence(batch, theta, other, variance) for batch, other in zip(window, thetas, strict=True)])
    lam = np.minimum(1.0, np.sqrt(4 * math.log(1 / delta) / (3 * k * n * d)))
    a = d**-0.5 / (d**-0.5).sum()
    weights, total = [], 0
    for i, batch in enumerate(window):
        rho = np.array([math.exp(log_p(tr, theta, variance) - log_p(tr, thetas[i], variance)) for tr in batch])
        weights.append(a[i] / ((1 - lam[i]) / rho + lam[i]) if k > 1 else np.ones(n))
        total = total + sum(w * gradient(tr, theta, variance) for w, tr in zip(weights[-1], batch, strict=True))
    return np.array(weights), total / n


def mis(window, thetas, variance):
    theta, n, k = thetas[-1], len(window[0]), len(window)
    weights = np.array(
        [
            [math.exp(log_p(tr, theta, variance) - log_p(tr, other, variance)) / k for tr in batch]
            for batch, other in zip(window, thetas, strict=True)
        ]
    )
    return weights, _weighted(window, weights, theta, variance) / n


def bh(window, thetas, variance):
    theta, n = thetas[-1], len(window[0])
    p = lambda tr, other: math.exp(log_p(tr, other, variance))  # noqa: E731
    weights = np.array([[p(tr, theta) / sum(p(tr, other) for other in thetas) for tr in batch] for batch in window])
    return weights, _weighted(window, weights, theta, variance) / n


def _weighted(window, weights, theta, variance):
    return sum(
        w * gradient(tr, theta, variance)
        for batch, row in zip(window, weights, strict=True)
        for tr, w in zip(batch, row, strict=True)
    )


def step_wise(batch, theta, variance, log_weight=None, baseline="zero", discount=1.0):
    """mean_j sum_t c_t (gamma^t r_t - b_t) m_t sum_{l <= t} score_theta(l).

    log_weight(s, a) -> what one step adds to log c. avg: b_t is the mean over the batch of gamma^t r_t, 0 after an end.
    """
    longest = max(len(tr[1]) for tr in batch)
    padded = np.zeros((len(batch), longest))
    for j, (_, _, rewards) in enumerate(batch):
        padded[j, : len(rewards)] = rewards * discount ** np.arange(len(rewards))
    b = padded.mean(0) if baseline == "avg" else np.zeros(longest)
    total = 0
    for j, (states, actions, _) in enumerate(batch):
        scores, log_c = np.zeros_like(theta), 0.0
        for t, (s, a) in enumerate(zip(states, actions, strict=True)):
            scores = scores + score(s, a, theta, variance)
            log_c += log_weight(s, a) if log_weight else 0.0
            total = total + math.exp(log_c) * (padded[j, t] - b[t]) * scores
    return total / len(batch)


def log_pi(s, a, theta, variance):
    return -((a - theta @ s) ** 2) / (2 * variance)


def mixture_step(batch, own, previous, variance, which, baseline="zero"):
    """DEF's weighted sums: c_t = p_which(0..t) / q(0..t), q the even mixture of own and previous."""
    longest = max(len(tr[1]) for tr in batch)
    padded = np.zeros((len(batch), longest))
    for j, (_, _, rewards) in enumerate(batch):
        padded[j, : len(rewards)] = rewards
    b = padded.mean(0) if baseline == "avg" else np.zeros(longest)
    total = 0
    for j, (states, actions, _) in enumerate(batch):
        scores, p, q = np.zeros_like(which), 0.0, 0.0
        ps = {"own": 0.0, "previous": 0.0}
        for t, (s, a) in enumerate(zip(states, actions, strict=True)):
            scores = scores + score(s, a, which, variance)
            ps["own"] += log_pi(s, a, own, variance)
            ps["previous"] += log_pi(s, a, previous, variance)
            p = ps["own"] if which is own else ps["previous"]
            q = np.logaddexp(ps["own"], ps["previous"]) + math.log(0.5)
            total = total + math.exp(p - q) * (padded[j, t] - b[t]) * scores
    return total / len(batch)


def packed(trajectories, horizon):
    """Trajectories as the fast code has them, zero after their ends."""
    rows, d = len(trajectories), trajectories[0][0].shape[1]
    states, actions = np.zeros((horizon, d, rows)), np.zeros((horizon, 1, rows))
    rewards, alive = np.zeros((horizon, rows)), np.zeros((horizon, rows))
    for j, (s, a, r) in enumerate(trajectories):
        states[: len(a), :, j], actions[: len(a), 0, j] = s, a
        rewards[: len(a), j], alive[: len(a), j] = r, 1
    return Trajectories(*map(torch.from_numpy, (states, actions, rewards, alive)))


def unpacked(tr, columns=None):
    """The executed steps of each row of a rollout, as NumPy."""
    found = []
    for j in range(tr.alive.shape[1]) if columns is None else columns:
        length = int(tr.alive[:, j].sum())
        parts = tr.states[:length, :, j], tr.actions[:length, 0, j], tr.rewards[:length, j]
        found.append(tuple(part.numpy() for part in parts))
    return found
