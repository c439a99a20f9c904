"""Gradient descent, the baseline: x <- x - eta g(x). Same start, same noise as the method beside it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from descent.core.method import Method
from descent.core.settings import check
from descent.papers.mypaper.problem import Quadratic
from descent.papers.mypaper.settings import SETTINGS


class State(NamedTuple):
    x: Tensor  # (S, d)


class Info(NamedTuple):
    gradient: Tensor  # (S,) length of the gradient that the step followed


def descend(problem: Quadratic, *, step_size: float) -> Method[State, Tensor, Info]:
    """step_size: the paper's eta. Raises SettingError."""
    check("descend", SETTINGS, step_size=step_size)

    def step(state: State, noise: Tensor) -> tuple[State, Info]:
        gradient = problem.gradient(state.x) + noise
        return State(state.x - step_size * gradient), Info(gradient.norm(dim=-1))

    return Method(State, step, problem.draw)
