"""GD, gradient descent: x <- x - eta grad f(x), on the whole training set."""

from __future__ import annotations

from descent.core.method import Method, Nothing
from descent.core.settings import check
from descent.papers.zoflat.problem import Point, Problem, must_have
from descent.papers.zoflat.settings import SETTINGS


def gd(problem: Problem, *, step_size: float) -> Method:
    """step_size: eta. Raises SettingError."""
    check("gd", SETTINGS, step_size=step_size)
    must_have("gd", problem, "gradient", "move")

    def step(point: Point, noise: object = None) -> tuple[Point, Nothing]:
        return problem.move(point, problem.gradient(point), -step_size), Nothing()

    return Method(lambda point: point, step)
