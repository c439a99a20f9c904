"""Baseline: how the library skwdro 1.1.1 solves the regularised problem, on our problems.

Full batches; fresh draws at every step from its importance sampler (centre x + grad_x f / (2 lam), deviation sigma), softmax
weights, AdamW on (theta, lam) with AMSGrad, lam kept at or above zero. Its own choices of sigma, eps, m, step size and
start of lam are read in its code; written anew here, since the library does one fit at a time. Axes as in sampling.py, C = 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Point, direction
from descent.papers.wdro.regression import Regression
from descent.papers.wdro.sampling import sampled
from descent.papers.wdro.settings import SETTINGS

BETAS = (0.99, 0.999)
TINY = 1e-8
LEAST_LAM = 1e-10  # ours: the library clips at zero, where its sampler's centre does not exist


class State(NamedTuple):
    """The point and AdamW's moments, flat: (S, 1, p) each."""

    x: Tensor
    first: Tensor
    second: Tensor
    largest: Tensor  # AMSGrad's running maximum of the corrected second moment
    count: Tensor  # () # pyright: ignore[reportIncompatibleMethodOverride]: no positions are looked for


class Info(NamedTuple):
    """One step's report, (S, 1) each."""

    value: Tensor
    diverged: Tensor  # bool


def defaults(radius: float) -> tuple[float, float]:
    """The library's (deviation, epsilon) for a ball of that radius at squared cost."""
    return radius / 2, max(1e-2 * 0.25 * radius, 1e-7)


def adam(state: State, gradient: Tensor, size: float) -> State:
    """One AdamW step without weight decay, AMSGrad on."""
    count = state.count + 1
    first = BETAS[0] * state.first + (1 - BETAS[0]) * gradient
    second = BETAS[1] * state.second + (1 - BETAS[1]) * gradient.square()
    largest = torch.maximum(state.largest, second)
    scale = (largest / (1 - BETAS[1] ** count)).sqrt() + TINY
    return State(state.x - size / (1 - BETAS[0] ** count) * first / scale, first, second, largest, count)


def started(point: Point, intercept: bool) -> State:
    """A fresh optimiser at `point`."""
    x = point.flat(intercept)
    zero = torch.zeros_like(x)
    return State(x, zero, zero.clone(), zero.clone(), x.new_zeros(()))


def first_phase(
    problem: Regression | Classification, seeds: Sequence[int], *, adam_step_size: float
) -> Method[State, None, Info]:
    """Steps on the plain mean loss (lam is not moved): the library starts with 200 of them."""
    check("library", SETTINGS, adam_step_size=adam_step_size)
    like = problem.features

    def init() -> State:
        shape = (len(seeds), 1)
        point = Point(like.new_zeros(*shape, problem.dimension), like.new_zeros(shape), like.new_zeros(shape))
        return started(point, problem.intercept)

    def step(state: State, noise: None) -> tuple[State, Info]:
        point = Point.of(state.x, problem.intercept)
        prediction = point.weight @ like.T + point.intercept[..., None]
        losses, slopes = problem.loss(prediction, problem.labels)
        pull = slopes @ like / slopes.shape[-1]
        gradient = Point(pull, slopes.mean(-1), torch.zeros_like(point.lam)).flat(problem.intercept)
        value = losses.mean(-1)
        return adam(state, gradient, adam_step_size), Info(value, ~torch.isfinite(value))

    return Method(init, step)


def starting_lam(problem: Regression | Classification, point: Point) -> Tensor:
    """lam after the first phase: (sum_i N_i n rho^2)^(1/2) / (2 n rho^2), N_i = |grad_x f|^2 at datum i, rho = radius."""
    prediction = point.weight @ problem.features.T + point.intercept[..., None]
    slopes = problem.loss(prediction, problem.labels)[1]
    n, budget = slopes.shape[-1], problem.radius**2
    norms = slopes.square().sum(-1) * direction(point.weight)[0].square()
    return (norms * n * budget).sqrt() / (2 * n * budget)


def library(
    problem: Regression | Classification,
    seeds: Sequence[int],
    streams: Streams,
    *,
    epsilon: float | None = None,
    samples: int = 10,
    adam_step_size: float = 0.05,
    block: int = 10,
) -> Method[State, Tensor, Info]:
    """The second phase. init(state of the first phase) -> State. epsilon: the library's own by default. Raises SettingError before anything is drawn."""
    epsilon = defaults(problem.radius)[1] if epsilon is None else epsilon
    check("library", SETTINGS, epsilon=epsilon, samples=samples, adam_step_size=adam_step_size, block=block)
    x, y, L = problem.features, problem.labels, problem.strata
    shape = (len(y), L, max(samples // L, 1), problem.dimension)
    strength = torch.full((1,), epsilon, dtype=x.dtype, device=x.device)
    data, labels = x.expand(len(seeds), *x.shape), y.expand(len(seeds), *y.shape)

    def init(state: State) -> State:
        point = Point.of(state.x, problem.intercept)
        return started(point._replace(lam=starting_lam(problem, point)), problem.intercept)

    def draw(k: int, count: int) -> Tensor:
        return streams.normal("full", seeds, (count, *shape), k, dtype=x.dtype).transpose(0, 1)

    def step(state: State, noise: Tensor) -> tuple[State, Info]:
        point = Point.of(state.x, problem.intercept)
        value, gradient = sampled(problem, point, data, labels, noise, strength, "library")
        new = adam(state, gradient.flat(problem.intercept), adam_step_size)
        kept = torch.cat([new.x[..., :-1], new.x[..., -1:].clamp(min=LEAST_LAM)], -1)
        return new._replace(x=kept), Info(value, ~torch.isfinite(value))

    return Method(init, step, draw)
