"""Baseline: sample average approximation. The draws are fixed once and L-BFGS minimises F^{eps,m} on all the data.

One step is one evaluation of the objective and its gradient: it is taken if it lowers the value enough (Armijo), otherwise
the next one tries half of it. lam stays inside (lam_low, lam_high) as a logistic function of a free variable.
Axes: S seeds, C values of epsilon, p free variables (weight, intercept, lam), h remembered pairs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Point
from descent.papers.wdro.regression import Regression
from descent.papers.wdro.sampling import sampled
from descent.papers.wdro.settings import SETTINGS

MEMORY = 10
ENOUGH = 1e-4


class State(NamedTuple):
    """The best point so far, and the search that leaves it."""

    x: Tensor  # (S, C, p) free variables
    value: Tensor  # (S, C)
    gradient: Tensor  # (S, C, p)
    move: Tensor  # (S, C, p)
    size: Tensor  # (S, C) the fraction of it that is tried next
    steps: Tensor  # (h, S, C, p) past moves, newest last
    turns: Tensor  # (h, S, C, p) and what the gradient did along them


class Info(NamedTuple):
    """One evaluation's report, (S, C) each."""

    value: Tensor
    taken: Tensor  # bool


def saa(
    problem: Regression | Classification,
    epsilons: Sequence[float],
    seeds: Sequence[int],
    streams: Streams,
    *,
    samples: int = 16,
    lam_low: float = 1.1,
    lam_start: float = 5.0,
    lam_high: float = 50.0,
    weight_start: float = 0.0,
) -> tuple[Method[State, None, Info], Callable[[Tensor], Point]]:
    """The baseline on all `seeds` and `epsilons`, and the map from its free variables to the point; draws come from pi0.

    init() -> State evaluates once. Raises SettingError before anything is drawn.
    """
    check(
        "saa",
        SETTINGS,
        samples=samples,
        lam_low=lam_low,
        lam_start=lam_start,
        lam_high=lam_high,
        weight_start=weight_start,
    )
    x, y, L = problem.features, problem.labels, problem.strata
    shape = (len(y), L, max(samples // L, 1), problem.dimension)
    draws = streams.normal("pool", seeds, shape, dtype=x.dtype).to(x.device)
    epsilon = torch.tensor(list(epsilons), dtype=x.dtype).to(x.device)
    data, labels = x.expand(len(seeds), *x.shape), y.expand(len(seeds), *y.shape)
    width = lam_high - lam_low

    def point_of(free: Tensor) -> Point:
        point = Point.of(free, problem.intercept)
        return point._replace(lam=lam_low + width * torch.sigmoid(point.lam))

    def evaluate(free: Tensor) -> tuple[Tensor, Tensor]:
        point = point_of(free)
        value, gradient = sampled(problem, point, data, labels, draws, epsilon, "plain")
        share = (point.lam - lam_low) / width
        chained = gradient._replace(lam=gradient.lam * width * share * (1 - share))
        return value, chained.flat(problem.intercept)

    def init() -> State:
        at = (lam_start - lam_low) / width
        point = Point(x.new_full((len(seeds), len(epsilon), x.shape[1]), weight_start), x.new_zeros(len(seeds), len(epsilon)),
                      x.new_full((len(seeds), len(epsilon)), math.log(at / (1 - at))))  # fmt: skip
        free = point.flat(problem.intercept)
        value, gradient = evaluate(free)
        size = (1 / gradient.norm(dim=-1)).clamp(max=1.0)
        past = x.new_zeros(MEMORY, *free.shape)
        return State(free, value, gradient, -gradient, size, past, past.clone())

    def step(state: State, noise: None) -> tuple[State, Info]:
        trial = state.x + state.size[..., None] * state.move
        value, gradient = evaluate(trial)
        slope = (state.gradient * state.move).sum(-1)
        taken = value <= state.value + ENOUGH * state.size * slope
        go = taken[..., None]
        moved, turned = trial - state.x, gradient - state.gradient
        curved = go & ((moved * turned).sum(-1, keepdim=True) > 1e-12)
        steps = torch.where(curved, torch.cat([state.steps[1:], moved[None]]), state.steps)
        turns = torch.where(curved, torch.cat([state.turns[1:], turned[None]]), state.turns)
        x, kept = torch.where(go, trial, state.x), torch.where(go, gradient, state.gradient)
        move = torch.where(go, -two_loops(kept, steps, turns), state.move)
        size = torch.where(taken, torch.ones_like(state.size), state.size / 2)
        new = State(x, torch.where(taken, value, state.value), kept, move, size, steps, turns)
        return new, Info(value, taken)

    return Method(init, step), point_of


def two_loops(gradient: Tensor, steps: Tensor, turns: Tensor) -> Tensor:
    """L-BFGS's inverse Hessian times `gradient`; pairs that are all zero do nothing."""
    inner = (steps * turns).sum(-1)
    scale = torch.where(inner > 0, 1 / inner.clamp(min=torch.finfo(inner.dtype).tiny), torch.zeros_like(inner))
    q, alphas = gradient, []
    for s, y, r in zip(steps.flip(0), turns.flip(0), scale.flip(0), strict=True):
        alpha = r * (s * q).sum(-1)
        alphas.append(alpha)
        q = q - alpha[..., None] * y
    newest = inner[-1] / turns[-1].square().sum(-1).clamp(min=torch.finfo(inner.dtype).tiny)
    q = q * torch.where(inner[-1] > 0, newest, torch.ones_like(newest))[..., None]
    for s, y, r, alpha in zip(steps, turns, scale, reversed(alphas), strict=True):
        q = q + (alpha - r * (y * q).sum(-1))[..., None] * s
    return q
