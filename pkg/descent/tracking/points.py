"""Curves for MLflow from records: mean over seeds and spread, thinned; what is not finite is NaN, never a huge number."""

# pandas ships no types of what a column or a row holds, so these rules see a fault in every selection.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from descent.report.figures import axes_of
from descent.report.finals import final_values, summarise

MOST_POINTS = 200  # a curve
MOST_CURVES = 5  # settings inside a run that have curves and final values of their own; all of them are in final.csv


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    step: int


def curves(frame: pd.DataFrame, inside: Sequence[str]) -> list[Point]:
    """The points of one run's records.

    `loss`, its mean at each step, and `sd/loss`; `final/loss`, its 95 % t interval as `interval/loss low` and `high`, and
    `not_ok/loss`, how many seeds diverged or never got there, where any did. Where axes vary inside the run there are
    means alone, whose names end in the axes' values (`loss smoothing 0.1`), and `final/loss by smoothing` is the
    final mean against the number of the axis value, in ascending order. MLflow's charts begin with the names without a
    slash: the curves.
    """
    inside = [axis for axis in inside if axis in frame and frame[axis].nunique() > 1]
    return [*_series(frame, inside), *_finals(frame, inside)]


def _series(frame: pd.DataFrame, inside: list[str]) -> Iterator[Point]:
    groups = list(_groups(frame, inside))
    for suffix, rows in groups if len(groups) <= MOST_CURVES else []:
        for metric, part in rows.groupby("metric", sort=False):
            steps = np.sort(part["step"].unique())
            if len(steps) < 2:
                continue
            part = part[part["step"].isin(thinned(steps))]
            values = part["value"].where(part["status"] == "ok", np.nan)
            table = values.groupby(part["step"]).agg([_mean, _sd])
            name = _name(metric)
            for step, mean, sd in zip(table.index, table["_mean"], table["_sd"], strict=True):
                yield Point(f"{name}{suffix}", float(mean), int(step))
                if not suffix:
                    yield Point(f"sd/{name}", float(sd), int(step))


def thinned(steps: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """At most `most` of ascending steps (T,): half evenly among the records, half evenly in log step, both ends kept.

    Records are often dense at the end (a window that a claim reads) or on a log grid: either half alone would miss one.
    """
    if len(steps) <= most:
        return steps
    even = np.linspace(0, len(steps) - 1, most // 2).round().astype(int)
    wanted = np.geomspace(1, 1 + steps[-1] - steps[0], most - most // 2) - 1 + steps[0]
    return steps[np.union1d(even, np.minimum(np.searchsorted(steps, wanted), len(steps) - 1))]


def _mean(values: pd.Series) -> float:
    return float(values.mean(skipna=False))


def _sd(values: pd.Series) -> float:
    return float(values.std(ddof=1, skipna=False)) if len(values) > 1 else 0.0


def _finals(frame: pd.DataFrame, inside: list[str]) -> Iterator[Point]:
    last = final_values(frame)
    groups = list(_groups(last, inside))
    for i, (suffix, rows) in enumerate(groups):
        for metric, part in rows.groupby("metric", sort=False):
            cell = summarise(part["value"].to_numpy(float), part["status"].tolist())
            name = _name(metric)
            if bad := sum(cell.bad.values()):
                yield Point(f"not_ok/{name}{suffix}", float(bad), 0)
            if len(inside) == 1:
                yield Point(f"final/{name} by {_name(inside[0])}", cell.value, i)
                continue
            if len(groups) > MOST_CURVES:
                continue
            yield Point(f"final/{name}{suffix}", cell.value, 0)
            if cell.n > 1 and not suffix:
                yield Point(f"interval/{name} low", cell.low, 0)
                yield Point(f"interval/{name} high", cell.high, 0)


def settings(values: Mapping[str, float]) -> list[Point]:
    """Numbers among a run's settings, as `setting/step_size`: MLflow compares metrics by size, and parameters never."""
    return [Point(f"setting/{_name(name)}", value, 0) for name, value in values.items()]


def _groups(frame: pd.DataFrame, inside: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """(` smoothing 0.1`, its rows) for every setting inside the run, ascending; one without a name when there is none."""
    if not inside:
        yield "", frame
        return
    for values, rows in frame.groupby(inside, sort=True, dropna=False):
        named = [f"{axis} {value}" for axis, value in zip(inside, values, strict=True)]
        yield " " + _name(" ".join(named)), rows


def _name(text: str) -> str:
    """Only what MLflow allows in a name: letters, digits, `_ - . : /` and blanks."""
    return re.sub(r"[^\w\-.:/ ]", "_", str(text))


def finals_csv(frame: pd.DataFrame) -> str:
    """Final values of all settings of a run: axes, metric, n, n_ok, value, ci_low, ci_high, statistic."""
    axes = axes_of(frame)
    rows = []
    for key, part in final_values(frame).groupby([*axes, "metric"], sort=False, dropna=False):
        cell = summarise(part["value"].to_numpy(float), part["status"].tolist())
        rows.append([*key, cell.n, cell.n - sum(cell.bad.values()), cell.value, cell.low, cell.high, cell.statistic])
    columns = [*axes, "metric", "n", "n_ok", "value", "ci_low", "ci_high", "statistic"]
    return pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n", float_format="%.10g")
