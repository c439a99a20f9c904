"""Records of known truth: D draws of n seeds, some of them lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from descent.claims.table import CENSORED, DIVERGED


class Drawn(NamedTuple):
    """Records of one operand in D draws: values and statuses (D, n, C), axes {name: (C,)}."""

    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    axes: Mapping[str, NDArray[np.float64]] = {}


Draw = Callable[[np.random.Generator, int, int], Mapping[str, Drawn]]


SIGMA = 1.5
RIGHT = 0.9
SLOPES, NOISE, RECORDS = 0.5, 1.0, 8


def _ok(value: NDArray[np.float64], axes: Mapping[str, Any] | None = None) -> Drawn:
    value = value if value.ndim == 3 else value[..., None]
    return Drawn(value, np.zeros(value.shape, np.uint8), axes or {})


def _one(sample: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]) -> Draw:
    return lambda rng, draws, n: {"v": _ok(sample(rng, (draws, n)))}


NORMAL = _one(lambda rng, shape: rng.normal(size=shape))
EXPONENTIAL = _one(lambda rng, shape: rng.exponential(size=shape))
LOGNORMAL = _one(lambda rng, shape: rng.lognormal(0, SIGMA, size=shape))
BINARY = _one(lambda rng, shape: (rng.random(shape) < RIGHT).astype(float))


def slopes(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """Random effects: each seed has a level and a slope of its own along k = 1, 2, 4, 8; no slope on average."""
    k = np.array([1.0, 2, 4, 8])
    level, slope = rng.normal(size=(2, draws, n, 1))
    return {"v": _ok(level + SLOPES * slope * np.log2(k) + NOISE * rng.normal(size=(draws, n, 4)), {"k": k})}


def outcomes(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """0 or 1 at five settings of k, right more often as k grows, with an effect shared by a seed's five; half at k = 3."""
    k = np.arange(1.0, 6)
    effect = rng.normal(size=(draws, n, 1))
    return {"v": _ok((rng.random((draws, n, 5)) < special.expit(1.5 * (k - 3) + effect)).astype(float), {"k": k})}


def clusters(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """The mean of four numbers that share a seed's effect."""
    return {"v": _ok(rng.normal(size=(draws, n)) + NOISE * rng.normal(size=(draws, n, 4)).mean(axis=-1))}


def records_of_seeds(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """RECORDS numbers a seed that share its effect, each a column: (D, n * RECORDS)."""
    value = rng.normal(size=(draws, n, 1)) + NOISE * rng.normal(size=(draws, n, RECORDS))
    return {"v": _ok(value.reshape(draws, n * RECORDS))}


def apart(draw: Draw, data: str) -> Draw:
    """Two samples: one of the law, one of the law times 1.5 plus 0.5 (0 or 1: of p = 0.7)."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        a, b = draw(rng, draws, n)["v"].value, draw(rng, draws, n)["v"].value
        moved = b * (rng.random(b.shape) < 0.7 / RIGHT) if data == "binary" else 1.5 * b + 0.5
        return {"a": _ok(a), "b": _ok(moved)}

    return drawn


def costs(draw: Draw) -> Draw:
    """Costs of two baselines in interleaved blocks; the machine's load moves both."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        load = np.exp(rng.normal(size=(draws, n, 1)))
        return {"a": _ok(load * np.exp(draw(rng, draws, n)["v"].value)), "b": _ok(load)}

    return drawn


def pair(sample: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]) -> Draw:
    """Two operands of one law."""
    return lambda rng, draws, n: {"a": _ok(sample(rng, (draws, n))), "b": _ok(sample(rng, (draws, n)))}


def lost(draw: Draw, gone: Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.bool_]], code: int) -> Draw:
    """The same records, some of them missing, censored or diverged."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        found = {}
        for name, one in draw(rng, draws, n).items():
            where = gone(rng, one.value)
            value = np.where(where, np.inf if code in (CENSORED, DIVERGED) else np.nan, one.value)
            found[name] = Drawn(value, np.where(where, code, one.status).astype(np.uint8), one.axes)
        return found

    return drawn


def at_random(rng: np.random.Generator, value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """One seed in twenty."""
    return rng.random(value.shape) < 0.05


def the_worst(below: float) -> Callable[..., NDArray[np.bool_]]:
    """Half of the seeds whose number is below this one."""
    return lambda rng, value: (value < below) & (rng.random(value.shape) < 0.5)


def beyond(level: float) -> Callable[..., NDArray[np.bool_]]:
    """Every seed whose number is above this one."""
    return lambda rng, value: value > level
