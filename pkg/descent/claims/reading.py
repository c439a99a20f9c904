"""The series of one unit, and how it becomes one number (the key `at`).

A series is all records of one metric of one unit, by step. Sources of the conventions: DESIGN.md, "Claims and
verdicts": rows that are not ok are never dropped, a level that is never reached is censored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from descent.claims.model import Reading, Smooth
from descent.claims.table import ABSENT, CENSORED, DIVERGED, OK, UNDEFINED


class Series(NamedTuple):
    """One unit's records of one metric: steps (T,) increasing, values (T,), ranks (T,)."""

    step: np.ndarray
    value: np.ndarray
    rank: np.ndarray


class Number(NamedTuple):
    """One number and its rank; why says what is missing when the rank is ABSENT."""

    value: float
    rank: int
    why: str = ""


_ABSENT = float("nan")


def read(series: Series, at: Reading, other: Callable[[str], Series | None], level: Number | None = None) -> Number:
    """The number that `at` reads from `series`.

    other: the unit's series of another metric, or None. level: the level of a crossing, for this unit.
    """
    if not len(series.step):
        return Number(_ABSENT, ABSENT, "no records")
    match at.kind:
        case "last":
            return _row(series, -1)
        case "first":
            return _row(series, 0)
        case "step":
            i = np.searchsorted(series.step, at.step)
            if i == len(series.step) or series.step[i] != at.step:
                span = f"{series.step[0]} to {series.step[-1]}"
                return Number(
                    _ABSENT, ABSENT, f"step {at.step} is not recorded (recorded: {len(series.step)} from {span})"
                )
            return _row(series, int(i))
        case "window":
            return _window(series, at, other)
        case "crossing":
            return _crossing(series, at, other, level)
    return _fit(series, at)


def smoothed(series: Series, smooth: Smooth | None, other: Callable[[str], Series | None]) -> Series:
    """Trailing moving average over w records, over what there is at the start; as bad as the worst record in it."""
    if smooth is None or not len(series.step):
        return series
    width = smooth.window
    if width is None:
        counted = other(smooth.of)
        if counted is None or (counted.rank != OK).any() or not counted.value.mean() > 0:
            return Series(series.step, np.full(len(series.step), np.nan), np.full(len(series.step), UNDEFINED))
        width = max(1, round(smooth.span / float(counted.value.mean())))
    filled = np.where(series.rank == OK, series.value, 0.0)
    total = np.convolve(filled, np.ones(width))[: len(filled)]
    count = np.minimum(np.arange(1, len(filled) + 1), width)
    padded = np.concatenate([np.zeros(min(width, len(filled)) - 1, series.rank.dtype), series.rank])
    worst = np.lib.stride_tricks.sliding_window_view(padded, min(width, len(filled))).max(-1)
    return Series(series.step, np.where(worst == OK, total / count, np.nan), worst)


def _row(series: Series, i: int) -> Number:
    rank = int(series.rank[i])
    value = float(series.value[i])
    if rank == CENSORED:
        value = -np.inf if value == -np.inf else np.inf
    return Number(value if rank <= CENSORED else _ABSENT, rank)


def _worst(ranks: np.ndarray) -> int:
    return int(ranks.max())


def _limit(at: float | int | None, series: Series, default: float) -> float:
    """A step, or a fraction of the run, as a step."""
    if at is None:
        return default
    return at if isinstance(at, int) else at * float(series.step[-1])


def _cut(series: Series, at: Reading) -> Series:
    start, stop = _limit(at.start, series, -np.inf), _limit(at.stop, series, np.inf)
    here = (series.step >= start) & (series.step <= stop)
    if at.every:
        here &= series.step % at.every == 0
    return Series(series.step[here], series.value[here], series.rank[here])


def _window(series: Series, at: Reading, other: Callable[[str], Series | None]) -> Number:
    cut = _cut(series, at)
    if not len(cut.step):
        span = f"{series.step[0]} to {series.step[-1]}"
        return Number(_ABSENT, ABSENT, f"no step of the window is recorded (recorded: {span})")
    worst = _worst(cut.rank)
    if worst > CENSORED or (worst == CENSORED and at.reduce not in ("median", "max", "min")):
        return Number(_ABSENT, worst if worst > CENSORED else UNDEFINED)
    value = np.where(cut.rank == CENSORED, np.inf, cut.value)
    if at.weights is not None:
        weights = other(at.weights)
        if weights is None:
            return Number(_ABSENT, ABSENT, f"no records of `{at.weights}`")
        weights = _cut(weights, at)
        if len(weights.step) != len(cut.step) or (weights.step != cut.step).any():
            return Number(_ABSENT, ABSENT, f"`{at.weights}` is recorded at other steps")
        if _worst(weights.rank) > OK or not weights.value.sum() > 0:
            return Number(_ABSENT, UNDEFINED)
        return _finite(float(np.average(value, weights=weights.value)))
    number = _REDUCE[at.reduce](value, cut.step)
    return Number(number, CENSORED) if np.isinf(number) and worst == CENSORED else _finite(number)


def _auc(value: np.ndarray, step: np.ndarray) -> float:
    """Mean height of the curve: the area under it (trapezoids) over the steps it spans."""
    span = float(step[-1] - step[0])
    return float(np.trapezoid(value, step)) / span if span else float(value[0])


def _geomean(value: np.ndarray, step: np.ndarray) -> float:
    return float(np.exp(np.log(value).mean())) if (value > 0).all() else float("nan")


_REDUCE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": lambda v, s: float(v.mean()),
    "median": lambda v, s: float(np.median(v)),
    "min": lambda v, s: float(v.min()),
    "max": lambda v, s: float(v.max()),
    "sum": lambda v, s: float(v.sum()),
    "std": lambda v, s: float(v.std(ddof=1)) if len(v) > 1 else float("nan"),
    "geomean": _geomean,
    "auc": _auc,
}


def _finite(number: float) -> Number:
    return Number(number, OK) if np.isfinite(number) else Number(_ABSENT, UNDEFINED)


def _crossing(series: Series, at: Reading, other: Callable[[str], Series | None], level: Number | None) -> Number:
    """The first step at which the watched series reaches the level (equality counts), or this metric's value there."""
    if level is None or level.rank != OK:
        return Number(_ABSENT, UNDEFINED if level is None or level.rank == CENSORED else level.rank)
    watched = other(at.watch) if at.watch else series
    if watched is None:
        return Number(_ABSENT, ABSENT, f"no records of `{at.watch}`")
    watched = _cut(watched, at)
    reached = (watched.value <= level.value) if at.direction == "below" else (watched.value >= level.value)
    hits = np.flatnonzero(reached & (watched.rank == OK))
    before = watched.rank[: hits[0]] if len(hits) else watched.rank
    if (before == DIVERGED).any():
        return Number(_ABSENT, DIVERGED)  # what follows a divergence is not that run's progress
    if not len(hits):
        if (watched.rank != OK).all():
            return Number(_ABSENT, UNDEFINED)
        return Number(np.inf, CENSORED) if at.never == "censored" else Number(_ABSENT, UNDEFINED)
    step = watched.step[hits[0]]
    if at.give == "step":
        return Number(float(step), OK)
    i = np.searchsorted(series.step, step)
    if i == len(series.step) or series.step[i] != step:
        return Number(_ABSENT, ABSENT, f"it is not recorded at step {step}, where `{at.watch}` crosses")
    return _row(series, int(i))


def _fit(series: Series, at: Reading) -> Number:
    """Least squares of value on step inside one run. Undefined with fewer than three points."""
    start = _row(series, 0)
    cut = _cut(series, at)
    worst = _worst(cut.rank) if len(cut.rank) else UNDEFINED
    here = cut.rank == OK
    if at.between is not None:
        if start.rank != OK or start.value <= 0:
            return Number(_ABSENT, max(start.rank, UNDEFINED))
        here &= (cut.value <= at.between[0] * start.value) & (cut.value >= at.between[1] * start.value)
    if at.above is not None:
        here &= cut.value > at.above
    if worst > CENSORED and at.between is None and at.above is None:
        return Number(_ABSENT, worst)
    if (cut.rank == DIVERGED).any():
        return Number(_ABSENT, DIVERGED)
    x, y = cut.step[here].astype(float), cut.value[here]
    if at.fit == "loglog":
        x, y = x[x > 0], y[x > 0]  # the start has no logarithm
    if at.last is not None:
        x, y = x[-at.last :], y[-at.last :]
    if at.give == "points":
        return Number(float(len(x)), OK)
    if len(x) < 3 or (at.fit != "linear" and (y <= 0).any()):
        return Number(_ABSENT, UNDEFINED)
    if at.fit == "loglog":
        x = np.log(x)
    if at.fit != "linear":
        y = np.log(y)
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx @ dy) / (dx @ dx))
    rest = float(((dy - slope * dx) ** 2).sum())
    total = float(dy @ dy)
    return _finite(
        {
            "slope": slope,
            "intercept": float(y.mean() - slope * x.mean()),
            "factor": float(np.exp(min(slope, 700.0))),
            "r2": 1.0 - rest / total if total > 0 else 1.0,  # a constant series is fitted exactly
        }[at.give]
    )
