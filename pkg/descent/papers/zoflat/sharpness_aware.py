"""SAM, sharpness-aware minimisation (Foret et al. 2021), as in the official code of the convex models.

g = grad f(w), e = rho g / (|g| + 1e-12), w <- w - eta grad f(w + e): an explicit search for flat minima beside ZO's
implicit one. The official script passes rho through the argument that is ZO's lambda; here it has its own name.
"""

from __future__ import annotations

from descent.core.method import Method, Nothing
from descent.core.settings import check
from descent.papers.zoflat.problem import Point, Problem
from descent.papers.zoflat.settings import SETTINGS


def sam(problem: Problem, *, step_size: float, radius: float) -> Method:
    """step_size: eta; radius: rho. Raises SettingError."""
    check("sam", SETTINGS, step_size=step_size, radius=radius)

    def step(point: Point, noise: object = None) -> tuple[Point, Nothing]:
        gradient = problem.gradient(point)
        norm = problem.slope(point, gradient, 0.0).sqrt()  # <grad f, grad f>
        ahead = problem.move(point, gradient, radius / (norm + 1e-12))
        return problem.move(point, problem.gradient(ahead), -step_size), Nothing()

    return Method(lambda point: point, step)
