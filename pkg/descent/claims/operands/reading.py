"""The series of one seed, and how it becomes one number (the key `read`).

A series is all records of one metric of one seed, by step. Rows that are not ok are never dropped; a level that is never
reached is censored; what follows a divergence is not that run's progress.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from descent.claims.read.operands import Crossing, Fit, Smooth, Window
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, UNDEFINED


class Series(NamedTuple):
    """One seed's records of one metric: steps (T,) increasing, values (T,), statuses (T,)."""

    step: np.ndarray
    value: np.ndarray
    rank: np.ndarray


class Number(NamedTuple):
    """One number and its status. why: what is missing. gap: how coarse the records make it (steps between two of them)."""

    value: float
    rank: int = OK
    why: str = ""
    gap: float = 0.0


NAN = float("nan")
Other = Callable[[str], "Series | None"]


def read(series: Series, how: Any, other: Other, level: Number | None = None) -> Number:
    """The number that `how` reads from `series`.

    other: the seed's series of another metric, or None. level: the level of a crossing, for this seed.
    """
    if not len(series.step):
        return Number(NAN, MISSING, "no records")
    if how == "last":
        return _row(series, -1)
    if how == "first":
        return _row(series, 0)
    if isinstance(how, int):
        i = np.searchsorted(series.step, how)
        if i == len(series.step) or series.step[i] != how:
            span = f"{len(series.step)} from {series.step[0]} to {series.step[-1]}"
            return Number(NAN, MISSING, f"step {how} is not recorded (recorded: {span})")
        return _row(series, int(i))
    if isinstance(how, Window):
        return _window(series, how, other)
    if isinstance(how, Crossing):
        return _crossing(series, how, other, level)
    return _fit(series, how)


def smoothed(series: Series, smooth: Smooth | None, other: Other) -> Series:
    """Trailing moving average over w records, over what there is at the start; as bad as the worst record in it."""
    if smooth is None or not len(series.step):
        return series
    width = smooth.window
    if width is None:
        assert smooth.of is not None and smooth.span is not None, "it has a window or these two"
        counted = other(smooth.of)
        if counted is None or (counted.rank != OK).any() or not counted.value.mean() > 0:
            return Series(
                series.step, np.full(len(series.step), np.nan), np.full(len(series.step), UNDEFINED, np.uint8)
            )
        width = max(1, round(smooth.span / float(counted.value.mean())))
    width = min(width, len(series.step))
    filled = np.where(series.rank == OK, series.value, 0.0)
    total = np.convolve(filled, np.ones(width))[: len(filled)]
    count = np.minimum(np.arange(1, len(filled) + 1), width)
    padded = np.concatenate([np.zeros(width - 1, series.rank.dtype), series.rank])
    worst = np.lib.stride_tricks.sliding_window_view(padded, width).max(-1)
    return Series(series.step, np.where(worst == OK, total / count, np.nan), worst)


def _row(series: Series, i: int) -> Number:
    rank, value = int(series.rank[i]), float(series.value[i])
    if rank == CENSORED:
        value = -np.inf if value == -np.inf else np.inf
    return Number(value if rank <= CENSORED else NAN, rank)


def _limit(bound: Any, series: Series) -> float:
    """A step, a share of the run, or its last step, as a step."""
    if bound == "last":
        return float(series.step[-1])
    return bound if isinstance(bound, int) else bound * float(series.step[-1])


def _cut(series: Series, window: Any, every: int | None = None) -> Series:
    here = np.ones(len(series.step), bool)
    if window not in (None, "all"):
        here = (series.step >= _limit(window[0], series)) & (series.step <= _limit(window[1], series))
    if every:
        here &= series.step % every == 0
    return Series(series.step[here], series.value[here], series.rank[here])


def _window(series: Series, how: Window, other: Other) -> Number:
    cut = _cut(series, how.window, how.every)
    reaches = how.window == "all" or not isinstance(how.window[1], int) or series.step[-1] >= how.window[1]
    if not len(cut.step) or not reaches:
        return Number(NAN, MISSING, f"the window is not recorded (recorded: {series.step[0]} to {series.step[-1]})")
    worst = int(cut.rank.max())
    if worst > CENSORED or (worst == CENSORED and how.reduce not in ("median", "max", "min")):
        return Number(NAN, worst if worst > CENSORED else UNDEFINED)
    value = np.where(cut.rank == CENSORED, np.inf, cut.value)
    if how.weights is not None:
        weights = other(how.weights)
        if weights is None:
            return Number(NAN, MISSING, f"no records of `{how.weights}`")
        weights = _cut(weights, how.window, how.every)
        if len(weights.step) != len(cut.step) or (weights.step != cut.step).any():
            return Number(NAN, MISSING, f"`{how.weights}` is recorded at other steps")
        if int(weights.rank.max()) > OK or not weights.value.sum() > 0:
            return Number(NAN, UNDEFINED)
        return _finite(float(np.average(value, weights=weights.value)))
    number = _REDUCE[how.reduce](value, cut.step)
    return Number(number, CENSORED) if np.isinf(number) and worst == CENSORED else _finite(number)


def _auc(value: np.ndarray, step: np.ndarray) -> float:
    """Mean height of the curve: the area under it (trapezoids) over the steps it spans."""
    span = float(step[-1] - step[0])
    return float(np.trapezoid(value, step)) / span if span else float(value[0])


def _geomean(value: np.ndarray, step: np.ndarray) -> float:
    return float(np.exp(np.log(value).mean())) if (value > 0).all() else NAN


_REDUCE: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mean": lambda v, s: float(v.mean()),
    "median": lambda v, s: float(np.median(v)),
    "min": lambda v, s: float(v.min()),
    "max": lambda v, s: float(v.max()),
    "sum": lambda v, s: float(v.sum()),
    "std": lambda v, s: float(v.std(ddof=1)) if len(v) > 1 else NAN,
    "geomean": _geomean,
    "auc": _auc,
}


def _finite(number: float) -> Number:
    return Number(number) if np.isfinite(number) else Number(NAN, UNDEFINED)


def _crossing(series: Series, how: Crossing, other: Other, level: Number | None) -> Number:
    """The first step at which the watched series reaches the level (equality counts), or this metric's value there."""
    if level is None or level.rank != OK:
        return Number(
            NAN, UNDEFINED if level is None or level.rank == CENSORED else level.rank, level.why if level else ""
        )
    watched = other(how.watch) if how.watch else series
    if watched is None:
        return Number(NAN, MISSING, f"no records of `{how.watch}`")
    watched = _cut(watched, how.window)
    if not len(watched.step):
        return Number(NAN, MISSING, "no step of the window is recorded")
    reached = watched.value <= level.value if how.first_below is not None else watched.value >= level.value
    hits = np.flatnonzero(reached & (watched.rank == OK))
    before = watched.rank[: hits[0]] if len(hits) else watched.rank
    if (before == DIVERGED).any():
        return Number(np.inf if how.give == "step" else NAN, DIVERGED)
    if not len(hits):
        if (watched.rank != OK).all():
            return Number(NAN, UNDEFINED)
        return Number(np.inf, CENSORED) if how.give == "step" else Number(NAN, UNDEFINED)
    step, first = watched.step[hits[0]], int(hits[0])
    if how.give == "step":
        return Number(float(step), gap=float(step - watched.step[first - 1]) if first else 0.0)
    i = np.searchsorted(series.step, step)
    if i == len(series.step) or series.step[i] != step:
        return Number(NAN, MISSING, f"it is not recorded at step {step}, where `{how.watch}` crosses")
    return _row(series, int(i))


def _fit(series: Series, how: Fit) -> Number:
    """Least squares of value on step inside one run. Undefined with fewer than three points."""
    start = _row(series, 0)
    cut = _cut(series, how.window)
    worst = int(cut.rank.max()) if len(cut.rank) else UNDEFINED
    here = cut.rank == OK
    if how.between is not None:
        if start.rank != OK or start.value <= 0:
            return Number(NAN, max(start.rank, UNDEFINED))
        here &= (cut.value <= how.between[0] * start.value) & (cut.value >= how.between[1] * start.value)
    if how.above is not None:
        here &= cut.value > how.above
    if (cut.rank == DIVERGED).any():
        return Number(NAN, DIVERGED)
    if worst > CENSORED and how.between is None and how.above is None:
        return Number(NAN, worst)
    x, y = cut.step[here].astype(float), cut.value[here]
    if how.fit == "loglog":
        x, y = x[x > 0], y[x > 0]  # the start has no logarithm
    if how.last is not None:
        x, y = x[-how.last :], y[-how.last :]
    if how.give == "points":
        return Number(float(len(x)))
    if len(x) < 3 or (how.fit != "linear" and (y <= 0).any()):
        return Number(NAN, UNDEFINED)
    x = np.log(x) if how.fit == "loglog" else x
    y = np.log(y) if how.fit != "linear" else y
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx @ dy) / (dx @ dx))
    rest, total = float(((dy - slope * dx) ** 2).sum()), float(dy @ dy)
    given = {
        "slope": slope,
        "intercept": float(y.mean() - slope * x.mean()),
        "factor": float(np.exp(min(slope, 700.0))),
        "r2": 1.0 - rest / total if total > 0 else 1.0,  # a constant series is fitted exactly
    }
    return _finite(given[how.give])
