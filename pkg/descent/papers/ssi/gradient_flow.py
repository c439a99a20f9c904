"""What the chains follow as d grows: ordinary differential equations, escape times, growth rates.

Derived (docs/papers/ssi.md).

    dm/dtau = -[R_m - m (m R_m + e R_e)] - (lr/2) V m,   de/dtau = -[R_e - e (m R_m + e R_e)] - (lr/2) V e,   tau = lr t/d,

with V = E|a|^2; the population flow drops V.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from descent.papers.ssi.quadrature import Student, nodes, population


def velocity(
    student: Student, grid, rate: float = 0.0, *, positional: bool = True
) -> Callable[[np.ndarray], np.ndarray]:
    """(m, e) -> (dm/dtau, de/dtau) on `grid` = nodes(n, 2L); rate: lr of the V-term, 0 for the population flow.

    Without `positional` the tokens carry no encoding: e stays 0.
    """

    def at(point: np.ndarray) -> np.ndarray:
        m, e = (float(x) for x in point)
        p = population(student, e, math.copysign(min(abs(m), 1 - 1e-12), m), grid)
        by_e = float(p.by_e) if positional else 0.0
        radial = m * float(p.by_m) + e * by_e - rate / 2 * float(p.noise)
        return np.array([-float(p.by_m) + m * radial, -by_e + e * radial])

    return at


def flow(
    student: Student, start: tuple[float, float], times: Sequence[float], *, rate: float = 0.0, n: int = 17,
    largest: float = 1.0, tokens: int = 2, positional: bool = True,
) -> np.ndarray:  # fmt: skip
    """(m, e) at `times` (T,), ascending from 0: (T, 2), classical Runge-Kutta with steps of at most `largest` in tau."""
    speed = velocity(student, nodes(n, 2 * tokens, drop=1e-11), rate, positional=positional)
    point, now, found = np.array(start, float), 0.0, []
    for time in times:
        steps = math.ceil((time - now) / largest - 1e-9)
        for _ in range(steps):
            point = runge_kutta(speed, point, (time - now) / steps)
        now = time
        found.append(point)
    return np.stack(found)


def runge_kutta(speed: Callable[[np.ndarray], np.ndarray], point: np.ndarray, step: float) -> np.ndarray:
    """One step of the classical fourth-order method, kept in the unit disc."""
    k1 = speed(point)
    k2 = speed(point + step / 2 * k1)
    k3 = speed(point + step / 2 * k2)
    k4 = speed(point + step * k3)
    point = point + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return point / max(1.0, float(np.hypot(*point)))


def escape_time(power: int, start: float, level: float, *, rate: float, dimension: int, factor: float = 1.0) -> float:
    """Steps of the flow from overlap `start` to `level` when E[yf] = factor m^power.

    T = (d/lr) int dm / ((1 - m^2) factor power m^{power-1}); m^{1-p}/(1 - m^2) = m^{1-p} + m^{3-p} + ... in closed form.
    """
    return dimension / (rate * factor * power) * (_primitive(power - 1, level) - _primitive(power - 1, start))


def _primitive(power: int, m: float) -> float:
    """int m^{-power} / (1 - m^2) dm, by m^{-p}/(1 - m^2) = m^{-p} + m^{2-p}/(1 - m^2)."""
    if power == 0:
        return math.atanh(m)
    if power == 1:
        return math.log(m) - math.log1p(-m * m) / 2
    return m ** (1 - power) / (1 - power) + _primitive(power - 2, m)


def single_direction_gain(length: int | np.ndarray) -> float | np.ndarray:
    """Plain over tied first-passage time at twice the initial overlap when y = sqrt L z*_1: sqrt(3L + 1) - 1."""
    return np.sqrt(3 * np.asarray(length, float) + 1) - 1
