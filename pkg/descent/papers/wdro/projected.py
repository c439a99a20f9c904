"""The paper's method: projected stochastic gradients of the sampled dual, epsilon falling along the way.

Tam Le, arXiv 2506.04948. At step k: b data, m_k draws each, the softmax-weighted gradient g^{eps_k, m_k} (sampling.py), a
step in theta and one in lam, back into the compact set K. Schedules, sizes and K are ours (docs/papers/wdro.md).

Axes: S seeds, C configurations (schedules) that share the data and draws of their seed. A seed's random numbers are its
own, so its run does not depend on the other rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Box, Point
from descent.papers.wdro.regression import Regression
from descent.papers.wdro.sampling import sampled
from descent.papers.wdro.settings import SETTINGS


class Schedule(NamedTuple):
    """epsilon_k = max(start (k + 1)^-decay, floor)."""

    start: float
    decay: float = 0.0
    floor: float = 1e-6

    def at(self, k: np.ndarray) -> np.ndarray:
        """epsilon of the steps k = 0, 1, ..."""
        return np.maximum(self.start * (k + 1.0) ** -self.decay, self.floor)


class State(NamedTuple):
    """Where a run is, and its step-weighted average sum gamma_k theta_k / sum gamma_k."""

    point: Point  # (S, C, d), (S, C), (S, C)
    mean: Point  # the same shapes
    total: Tensor  # (S, C) the sum of step sizes so far


class Noise(NamedTuple):
    """What a step takes from the host; a leading axis of steps in a block."""

    rows: Tensor  # (S, b) int64 data of the minibatch
    draws: Tensor  # (S, b, L, m, d) standard normal
    epsilon: Tensor  # (C,)
    rate: Tensor  # (2,) step sizes of theta and lam


class Info(NamedTuple):
    """One step's report, (S, C) each."""

    value: Tensor  # F^{eps,m} on the minibatch, before the step
    diverged: Tensor  # bool


def psgd(
    problem: Regression | Classification,
    schedules: Sequence[Schedule],
    seeds: Sequence[int],
    streams: Streams,
    *,
    sampler: str = "shifted",
    batch: int = 16,
    samples: int = 16,
    samples_growth: float = 0.0,
    samples_max: int = 4096,
    step_size: float = 0.05,
    lam_step_size: float = 20.0,
    ball: float = 1.0,
    lam_low: float = 1.1,
    lam_start: float = 5.0,
    lam_high: float = 50.0,
    weight_start: float = 0.0,
    block: int = 25,
) -> Method[State, Noise, Info]:
    """The method on `problem` for all `seeds` and `schedules`. Step sizes fall like (k + 1)^-1/2.

    samples: m_0, draws a datum (all labels together); block k of steps has m_0 (first step + 1)^samples_growth of them, at
    most samples_max. init() -> State; draw needs blocks of `block` steps. Raises SettingError before anything is drawn.
    """
    check(
        "psgd", SETTINGS, sampler=sampler, batch=batch, samples=samples, samples_growth=samples_growth,
        samples_max=samples_max, step_size=step_size, lam_step_size=lam_step_size, ball=ball, lam_low=lam_low,
        lam_start=lam_start, lam_high=lam_high, weight_start=weight_start, block=block,
    )  # fmt: skip
    box, like = Box(ball, lam_low, lam_high), problem.features
    strata, d, n = problem.strata, problem.dimension, len(problem.labels)

    def init() -> State:
        shape = (len(seeds), len(schedules))

        def full(value, *more):
            return torch.full((*shape, *more), value, dtype=like.dtype, device=like.device)

        point = box.project(Point(full(weight_start, d), full(0.0), full(lam_start)))
        return State(point, Point(*(torch.zeros_like(x) for x in point)), full(0.0))

    def draw(k: int, count: int) -> Noise:
        first = k * block
        m = min(int(samples * (first + 1) ** samples_growth), samples_max)
        shape = (count, batch, strata, max(m // strata, 1), d)
        rows = np.stack([streams.numpy("rows", seed, k).integers(0, n, (count, batch)) for seed in seeds], 1)
        draws = streams.normal("draws", seeds, shape, k, dtype=like.dtype).transpose(0, 1)
        steps = np.arange(first, first + count)
        epsilon = np.stack([schedule.at(steps) for schedule in schedules], 1)
        rate = np.array([step_size, lam_step_size]) / np.sqrt(steps + 1.0)[:, None]

        def as_tensor(x):
            return torch.tensor(x, dtype=like.dtype)

        return Noise(torch.from_numpy(rows), draws, as_tensor(epsilon), as_tensor(rate))

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        point, (rows, draws, epsilon, rate) = state.point, noise
        value, gradient = sampled(problem, point, problem.features[rows], problem.labels[rows], draws, epsilon, sampler)
        new = box.project(
            Point(
                point.weight - rate[0] * gradient.weight,
                point.intercept - rate[0] * gradient.intercept,
                point.lam - rate[1] * gradient.lam,
            )
        )
        total = state.total + rate[0]
        share = rate[0] / total
        mean = Point(
            state.mean.weight + share[..., None] * (point.weight - state.mean.weight),
            state.mean.intercept + share * (point.intercept - state.mean.intercept),
            state.mean.lam + share * (point.lam - state.mean.lam),
        )
        return State(new, mean, total), Info(value, ~torch.isfinite(value))

    return Method(init, step, draw)
