"""Records -> the numbers of one operand: one a unit and setting.

`Records` holds the records of every experiment of a paper and answers operands. Two things can go wrong and are kept
apart: a *missing cell* (nothing recorded there: `MissingCell`, with the reason) and a *fault of the claim* (it names an
axis that the experiment lacks, or does not say which of several settings it means: ConfigError).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from descent.claims.expression import Expression, ExpressionError
from descent.claims.model import Operand
from descent.claims.reading import Number, Series, read, smoothed
from descent.claims.table import ABSENT, CENSORED, OK, RANKS, UNDEFINED, Cells, Table
from descent.core.errors import ConfigError, nearest

FIXED = ("paper", "experiment", "method", "seed", "step", "metric", "value", "status")
Cell = tuple[str, tuple[tuple[str, Any], ...]]


class MissingCell(Exception):
    """Nothing is recorded where a check looks; str() is the reason."""


def cell(experiment: str, **where: Any) -> Cell:
    """The key of a missing cell: an experiment, and the setting (and method) that has no records."""
    return experiment, tuple(sorted(where.items()))


class Records:
    """The records of one paper.

    frames: experiment -> DataFrame with the columns of DESIGN.md. missing: experiment, or `cell(...)` -> reason.
    """

    def __init__(self, frames: Mapping[str, pd.DataFrame], missing: Mapping[Hashable, str] | None = None):
        self._frames = frames
        self._missing = dict(missing or {})
        self._metrics: dict[str, dict[str, pd.DataFrame]] = {}
        self._tables: dict[str, Table] = {}

    def table(self, operand: Operand, levels: Mapping[str, Table] | None = None, path: str = "claim") -> Table:
        """The operand's Table. levels: the tables of the operands that its crossing level reads.

        Raises MissingCell or ConfigError (path names the operand in its message).
        """
        if operand.constant is not None:
            return Table((), ((),), Cells(np.array([[operand.constant]]), np.zeros((1, 1), np.int8)))
        known = None if levels else repr(operand)  # claims share operands (YAML anchors)
        if known not in self._tables:
            table = self._table(operand, levels or {}, path)
            if known is None:
                return table
            self._tables[known] = table
        return self._tables[known]

    def _table(self, operand: Operand, levels: Mapping[str, Table], path: str) -> Table:
        frame = self._metric(operand, operand.metric)
        grids = _grid(operand.across)
        columns = [self._setting(operand, frame, grid, levels, path) for grid in grids]
        keys = sorted({key for column in columns for key in column}, key=_sortable)
        value = np.full((len(keys), len(columns)), np.nan)
        rank = np.full((len(keys), len(columns)), ABSENT, np.int8)
        why = ""
        for c, column in enumerate(columns):
            for u, key in enumerate(keys):
                number = column.get(key, Number(np.nan, ABSENT))
                value[u, c], rank[u, c], why = number.value, number.rank, why or number.why
        for c, grid in enumerate(grids):
            if (rank[:, c] == ABSENT).all():
                raise MissingCell((why and f"{_spot(operand, grid)}: {why}") or self._reason(operand, grid))
        value, rank = _transformed(operand, value, rank)
        axes = {axis: np.array([grid[axis] for grid in grids]) for axis in operand.across}
        labels = tuple(", ".join(f"{a}={v}" for a, v in grid.items()) for grid in grids)
        table = Table(operand.unit, tuple(keys), Cells(value, rank), labels, axes)
        return pooled(table, operand.pool) if operand.pool else table

    # -- selecting ----------------------------------------------------------------------------------------------------

    def _metric(self, operand: Operand, metric: str) -> pd.DataFrame:
        """The rows of one metric of the operand's experiment, split off once."""
        name = operand.experiment
        if name not in self._metrics:
            frame = self._frames.get(name)
            if frame is None or not len(frame):
                raise MissingCell(self._reason(operand, {}))
            self._metrics[name] = {str(m): part for m, part in frame.groupby("metric", observed=True, sort=False)}
        metrics = self._metrics[name]
        if metric not in metrics:
            reason = self._told(operand, {})
            known = nearest(metric, metrics)
            raise MissingCell(reason or f"no records of the metric `{metric}` in {name}{known}")
        return metrics[metric]

    def _setting(
        self, operand: Operand, frame: pd.DataFrame, grid: Mapping[str, Any], levels: Mapping[str, Table], path: str
    ) -> dict[tuple, Number]:
        """unit key -> Number, for one setting of the operand."""
        fixed = {**({"method": operand.method} if operand.method is not None else {}), **operand.where, **grid}
        series = _series(_matching(frame, fixed, operand, path), operand, path)
        others: dict[str, dict[tuple, Series]] = {}

        def other(metric: str, key: tuple) -> Series | None:
            if metric not in others:
                try:
                    rows = _matching(self._metric(operand, metric), fixed, operand, path)
                except MissingCell:
                    rows = frame.iloc[:0]
                others[metric] = _series(rows, operand, path)
            return others[metric].get(key)

        numbers = {}
        for key, own in series.items():
            raw = lambda metric, key=key: other(metric, key)  # noqa: E731
            watched = lambda metric, raw=raw: _smoothed_or_none(raw(metric), operand, raw)  # noqa: E731
            at = operand.at
            # Smoothing is of the curve that is looked at: the watched one of a crossing, else the operand's own.
            if operand.smooth and not (at.kind == "crossing" and at.watch):
                own = smoothed(own, operand.smooth, raw)
            level = _level(at.threshold, levels, operand, key, grid) if at.threshold is not None else None
            numbers[key] = read(own, at, watched if at.kind == "crossing" else raw, level)
        return numbers

    # -- reasons ------------------------------------------------------------------------------------------------------

    def _told(self, operand: Operand, grid: Mapping[str, Any]) -> str | None:
        """A reason given from outside for what the operand looks at."""
        wanted = {"method": operand.method, **operand.where, **grid}
        for key, reason in self._missing.items():
            experiment, where = (key, ()) if isinstance(key, str) else key
            if experiment == operand.experiment and all(
                _may_match(wanted.get(axis), value) for axis, value in dict(where).items()
            ):
                return reason
        return None

    def _reason(self, operand: Operand, grid: Mapping[str, Any]) -> str:
        return self._told(operand, grid) or f"no records of {_spot(operand, grid)}"


def _may_match(wanted: Any, value: Any) -> bool:
    if wanted is None:
        return True
    return str(value) in [str(w) for w in (wanted if isinstance(wanted, (list, tuple)) else [wanted])]


def _spot(operand: Operand, grid: Mapping[str, Any]) -> str:
    """`toy (method zo, smoothing 0.1), metric trace`."""
    fixed = {**({"method": operand.method} if operand.method is not None else {}), **operand.where, **grid}
    inside = ", ".join(f"{axis} {value}" for axis, value in fixed.items())
    return f"{operand.experiment}{f' ({inside})' if inside else ''}, metric {operand.metric}"


def _grid(across: Mapping[str, tuple]) -> list[dict[str, Any]]:
    """Every combination of the `across` values, the first axis slowest."""
    grid: list[dict[str, Any]] = [{}]
    for axis, values in across.items():
        grid = [{**cell_, axis: value} for cell_ in grid for value in values]
    return grid


def _sortable(key: tuple) -> tuple:
    return tuple((isinstance(part, str), part) for part in key)


def _matching(frame: pd.DataFrame, fixed: Mapping[str, Any], operand: Operand, path: str) -> pd.DataFrame:
    keep = np.ones(len(frame), bool)
    for axis, wanted in fixed.items():
        if axis not in frame.columns or axis in ("paper", "experiment", "metric", "value", "status"):
            axes = [c for c in frame.columns if c not in FIXED]
            raise ConfigError(f"{path} names the axis `{axis}`, which {operand.experiment} does not have"
                              f"{nearest(axis, axes)}; axes: {', '.join(axes) or 'none'}")  # fmt: skip
        column = frame[axis]
        options = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        keep &= np.logical_or.reduce([_equal(column, option) for option in options])
    return frame[keep]


def _equal(column: pd.Series, value: Any) -> np.ndarray:
    """Which rows hold `value`: numbers within rounding (0.1 read from YAML and from Parquet), the rest exactly."""
    if value is None:
        return column.isna().to_numpy()
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return np.isclose(column.to_numpy(float, na_value=np.nan), float(value), rtol=1e-9, atol=0)
    if number:  # a column of mixed kinds
        same = [isinstance(v, (int, float)) and not isinstance(v, bool) and v == value for v in column]
        return np.array(same, bool) | (column.astype(str) == str(value)).to_numpy(bool)
    if isinstance(value, str) and isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype)):
        return (column == value).fillna(False).to_numpy(bool)
    return (column.astype(str) == str(value)).to_numpy(bool)


def _series(frame: pd.DataFrame, operand: Operand, path: str) -> dict[tuple, Series]:
    """unit key -> Series, steps increasing. Raises ConfigError where a unit has two records of one step."""
    unit = list(operand.unit)
    absent = [column for column in unit if column not in frame.columns]
    if absent:
        columns = [c for c in frame.columns if c not in ("paper", "experiment", "metric", "value", "status")]
        raise ConfigError(f"{path}.unit names the column `{absent[0]}`, which {operand.experiment} does not have"
                          f"{nearest(absent[0], columns)}; columns: {', '.join(columns)}")  # fmt: skip
    if not len(frame):
        return {}
    by = [*unit, *([] if "step" in unit else ["step"])]
    frame = frame.sort_values(by, kind="stable")
    if frame.duplicated(by).any():
        raise ConfigError(_ambiguous(frame, by, operand, path))
    value = frame["value"].to_numpy(float)
    status = frame["status"].astype(str)
    rank = status.map(RANKS).fillna(UNDEFINED).to_numpy(np.int8)
    rank = np.where((rank == OK) & ~np.isfinite(value), UNDEFINED, rank).astype(np.int8)
    step = frame["step"].to_numpy()
    groups = frame.groupby(unit, sort=False, dropna=False).indices if unit else {(): np.arange(len(frame))}
    return {
        _key(key): Series(step[rows], value[rows], rank[rows])
        for key, rows in ((k, np.sort(rows)) for k, rows in groups.items())
    }


def _key(key: Any) -> tuple:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(part.item() if isinstance(part, np.generic) else part for part in parts)


def _ambiguous(frame: pd.DataFrame, by: list[str], operand: Operand, path: str) -> str:
    spread = [c for c in frame.columns if c not in (*by, "paper", "experiment", "metric", "value", "status")]
    spread = [c for c in spread if frame[c].nunique(dropna=False) > 1]
    unit = " and ".join(operand.unit) or "value"
    if not spread:
        return f"{path} finds two records of one {unit} at one step in {operand.experiment}: its records are wrong"
    shown = [f"`{c}` ({', '.join(map(str, frame[c].unique()[:4]))})" for c in spread]
    return (f"{path} selects several records for one {unit}: they differ in {' and '.join(shown)}; name one in `where`, "
            "go `across` it, or make it part of `unit`")  # fmt: skip


def _smoothed_or_none(series: Series | None, operand: Operand, other: Any) -> Series | None:
    return None if series is None else smoothed(series, operand.smooth, other)


def _level(expression: Expression, levels: Mapping[str, Table], operand: Operand, key: tuple, grid: Mapping) -> Number:
    """The level of a crossing for one unit: a number, or an expression of other operands of the same unit."""
    cells = {}
    for name in expression.names:
        table = levels[name]
        position = [operand.unit.index(column) for column in table.units if column in operand.unit]
        wanted = tuple(key[i] for i in position)
        if len(position) < len(table.units) or wanted not in table.keys:
            return Number(np.nan, ABSENT, f"`{name}` has no number for this unit")
        u = table.keys.index(wanted)
        c = 0
        if table.axes:
            same = [
                all(table.axes[a][c] == v for a, v in grid.items() if a in table.axes) for c in range(len(table.labels))
            ]
            if sum(same) != 1:
                return Number(np.nan, ABSENT, f"`{name}` goes across settings that this operand does not have")
            c = same.index(True)
        cells[name] = Cells(table.cells.value[u, c : c + 1], table.cells.rank[u, c : c + 1])
    try:
        level = expression.evaluate(cells)
    except ExpressionError as fault:  # pragma: no cover - the parser has checked the names
        raise ConfigError(str(fault)) from fault
    return Number(float(level.value[0]), int(level.rank[0]))


# -- status -----------------------------------------------------------------------------------------------------------


def _transformed(operand: Operand, value: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`is` and `substitute`."""
    if operand.status is not None:
        hit = (rank == RANKS[operand.status]).astype(float)
        return np.where(rank == ABSENT, np.nan, hit), np.where(rank == ABSENT, ABSENT, OK).astype(np.int8)
    return substituted(value, rank, operand.substitute)


def substituted(value: np.ndarray, rank: np.ndarray, substitute: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers in the place of what is not ok. An infinity stays censored: it can be ordered but not averaged."""
    value, rank, old = value.copy(), rank.copy(), rank
    for status, number in substitute.items():
        hit = old == RANKS[status]
        value[hit] = number
        rank[hit] = OK if np.isfinite(number) else CENSORED
    return value, rank


def pooled(table: Table, pool: str) -> Table:
    """All units of each setting collapsed into one exact number."""
    columns = [_pool(table.column(c), pool) for c in range(len(table.labels))]
    cells = Cells(np.array([[n.value for n in columns]]), np.array([[n.rank for n in columns]], np.int8))
    return Table((), ((),), cells, table.labels, table.axes)


def _pool(sample: Any, pool: str) -> Number:
    if pool == "count":
        return Number(float(sample.n), OK)
    worst = int(sample.rank.max())
    if worst > CENSORED or (worst == CENSORED and pool in ("mean", "sum")):
        return Number(np.nan, worst if worst > CENSORED else UNDEFINED)
    number = float(
        {"mean": np.mean, "median": np.median, "min": np.min, "max": np.max, "sum": np.sum}[pool](sample.value)
    )
    return Number(number, OK if np.isfinite(number) else CENSORED)
