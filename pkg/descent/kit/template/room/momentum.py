"""Heavy ball (Polyak 1964, eq. 9): v <- beta v - eta g(x), x <- x + v.

Axes: S seeds (rows, never mixed), d coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.papers.mypaper.problem import Quadratic
from descent.papers.mypaper.settings import SETTINGS


class State(NamedTuple):
    x: Tensor  # (S, d)
    velocity: Tensor  # (S, d) the last move


class Info(NamedTuple):
    gradient: Tensor  # (S,) length of the gradient that the step followed


def heavy_ball(problem: Quadratic, *, step_size: float, momentum: float) -> Method[State, Tensor, Info]:
    """step_size: the paper's eta; momentum: its beta. Raises SettingError."""
    check("heavy_ball", SETTINGS, step_size=step_size, momentum=momentum)

    def init(x: Tensor) -> State:
        return State(x, torch.zeros_like(x))

    def step(state: State, noise: Tensor) -> tuple[State, Info]:
        gradient = problem.gradient(state.x) + noise
        velocity = momentum * state.velocity - step_size * gradient
        return State(state.x + velocity, velocity), Info(gradient.norm(dim=-1))

    return Method(init, step, problem.draw)
