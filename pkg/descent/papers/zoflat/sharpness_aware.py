"""SAM, sharpness-aware minimisation (Foret et al. 2021), as in the official code of the convex models.

g = grad f(w), e = rho g / (|g| + 1e-12), w <- w - eta grad f(w + e): an explicit search for flat minima beside ZO's
implicit one. The official script passes rho through the argument that is ZO's lambda; here it has its own name.
"""

from __future__ import annotations

from torch import Tensor

from descent.core.method import Method, Nothing
from descent.core.settings import check
from descent.papers.zoflat.problem import Point, Problem, must_have
from descent.papers.zoflat.settings import SETTINGS


def sam(problem: Problem, *, step_size: float, radius: float) -> Method:
    """step_size: eta; radius: rho. Raises SettingError."""
    check("sam", SETTINGS, step_size=step_size, radius=radius)
    must_have("sam", problem, "gradient", "derivative", "move")

    def step(point: Point, noise: object = None) -> tuple[Point, Nothing]:
        gradient = problem.gradient(point)
        ahead = problem.move(point, gradient, uphill(problem.derivative(point, gradient), radius))
        return problem.move(point, problem.gradient(ahead), -step_size), Nothing()

    return Method(lambda point: point, step)


def uphill(squared: Tensor, radius: float) -> Tensor:
    """rho / (|g| + 1e-12) from |g|^2, which rounding may leave below 0 where the gradient vanishes."""
    return radius / (squared.clamp(min=0).sqrt() + 1e-12)
