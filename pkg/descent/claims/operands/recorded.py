"""The records of one paper as the judge's source: planned replicates first, then what is recorded of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from descent.claims.operands.planned import MetricInfo, Planned
from descent.claims.operands.reading import NAN, Number, Series, read, smoothed
from descent.claims.operands.rows import matching, series_of, values_at
from descent.claims.operands.tabled import Key, Table, grid, planned_seeds, spot, wanted
from descent.claims.read.claim import level_of
from descent.claims.read.operands import Crossing, Operand, Window
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, RANKS, UNDEFINED, Cells

RAW = ("min", "max", "median", "mean")  # reductions that a rounding of the metric moves by as much at most


class RecordsSource:
    """frames: experiment -> records in the form of DESIGN.md. planned: what must be in them."""

    draws = 1

    def __init__(self, frames: Mapping[str, pd.DataFrame], planned: Planned):
        self.planned = planned
        self._frames = frames
        self._metrics: dict[str, dict[str, pd.DataFrame]] = {}
        self._tables: dict[str, Table] = {}
        self.reads: set[tuple[str, str]] = set()  # (experiment, metric) that a claim has looked at

    def table(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        """See `Source`."""
        name = f"{operand!r} {rows}"
        if levels or name not in self._tables:
            table = self._make(operand, levels, rows)
            if levels:
                return table
            self._tables[name] = table
        return self._tables[name]

    def _make(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        seeds = planned_seeds(self.planned, operand)
        info = self.planned.metrics.get(operand.metric, MetricInfo())
        columns = [self._column(operand, setting, levels, rows) for setting in grid(operand.across)]
        keys = self._keys(operand, seeds, columns, rows)
        shape = (1, len(keys), len(columns))
        value, rank, half = np.full(shape, NAN), np.full(shape, MISSING, np.uint8), np.zeros(shape)
        resolution = (
            operand.resolution if operand.resolution is not None else info.resolution if direct(operand) else 0.0
        )
        why = ""
        for c, (column, setting) in enumerate(zip(columns, grid(operand.across), strict=True)):
            for i, key in enumerate(keys):
                number = column.get(key)
                if number is None:
                    number = Number(NAN, MISSING, "no records")
                value[0, i, c], rank[0, i, c] = number.value, number.rank
                half[0, i, c] = max(resolution, number.gap) / 2
                if number.rank == MISSING and not why:
                    why = f"{spot(operand, setting)}: {_seed(key)}{number.why or 'no records'}"
        value, rank = transformed(operand, info, value, rank)
        axes = {axis: np.array([cell[axis] for cell in grid(operand.across)], object) for axis in operand.across}
        table = Table(keys, Cells(value, rank), axes, half, why)
        return shared(table) if operand.exact else table

    def _keys(
        self, operand: Operand, seeds: tuple[int, ...], columns: list[dict[Key, Number]], rows: bool
    ) -> tuple[Key, ...]:
        if operand.pairs is not None:
            found = {key for column in columns for key in column}
            partners = {seed: sum(seed in key for key in found) for seed in seeds}
            most = max(partners.values(), default=0)
            # Every seed must have as many partners as any has; one that has fewer is missing.
            short = [(seed, None) for seed, count in partners.items() if count < most or not count]
            return (*sorted(key for key in found if key[0] in seeds or key[1] in seeds), *short)
        if not rows:
            return tuple((seed,) for seed in seeds)
        # Every seed must have each step that any of them has.
        steps = sorted({key[1] for column in columns for key in column}) or [0]
        return tuple((seed, step) for seed in seeds for step in steps)

    def _rows(self, operand: Operand, metric: str) -> pd.DataFrame | None:
        """The rows of one metric of the operand's experiment, split off once; None where there are none."""
        self.reads.add((operand.experiment, metric))
        name = operand.experiment
        if name not in self._metrics:
            frame = self._frames.get(name)
            groups = frame.groupby("metric", observed=True, sort=False) if frame is not None and len(frame) else ()
            self._metrics[name] = {str(m): part for m, part in groups}
        return self._metrics[name].get(metric)

    def _column(
        self, operand: Operand, setting: Mapping[str, Any], levels: Mapping[str, Table], rows: bool
    ) -> dict[Key, Number]:
        """key -> Number, for one setting of the operand."""
        frame = self._rows(operand, operand.metric)
        if frame is None:
            return {}
        here = matching(frame, wanted(operand, setting), operand)
        column = "step" if rows else operand.pairs
        if column is not None:
            return values_at(here, column, operand)
        series = series_of(here, operand)
        others: dict[str, dict[int, Series]] = {}

        def other(metric: str, seed: int) -> Series | None:
            if metric not in others:
                found = self._rows(operand, metric)
                others[metric] = (
                    {} if found is None else series_of(matching(found, wanted(operand, setting), operand), operand)
                )
            return others[metric].get(seed)

        return {(seed,): self._one(operand, own, seed, other, levels, setting) for seed, own in series.items()}

    def _one(self, operand, own: Series, seed: int, other, levels: Mapping[str, Table], setting) -> Number:
        raw = lambda metric: other(metric, seed)  # noqa: E731
        how = operand.read
        crossing = isinstance(how, Crossing)

        def watched(metric: str) -> Series | None:
            found = raw(metric)
            return None if found is None else smoothed(found, operand.smooth, raw)

        # Smoothing is of the curve that is looked at: the watched one of a crossing, else the operand's own.
        if operand.smooth and not (crossing and how.watch):
            own = smoothed(own, operand.smooth, raw)
        return read(own, how, watched if crossing else raw, _level(how, levels, seed, setting) if crossing else None)


def _seed(key: Key) -> str:
    return f"seed {key[0]}: " if len(key) == 1 else f"seed {key[0]}, {key[1]}: " if len(key) == 2 else ""


def direct(operand: Operand) -> bool:
    """Whether a rounding of the metric moves the reading by as much: not so where it is fitted, or where steps are read."""
    how = operand.read
    return operand.status is None and (isinstance(how, (str, int)) or (isinstance(how, Window) and how.reduce in RAW))


def _level(how: Crossing, levels: Mapping[str, Table], seed: int, setting: Mapping[str, Any]) -> Number:
    """The level of a crossing for one seed: a number, or arithmetic over other operands of the same seed."""
    expression = level_of(how)
    cells = {}
    for name in expression.names:
        table = levels[name]
        if table.exact:
            i = 0
        elif (seed,) in table.keys:
            i = table.keys.index((seed,))
        else:
            return Number(NAN, MISSING, f"`{name}` has no number for this seed")
        chosen = np.ones(table.cells.value.shape[-1], bool)
        for axis, values in table.axes.items():
            chosen &= np.array([axis in setting and v == setting[axis] for v in values])
        if chosen.sum() != 1:
            return Number(NAN, MISSING, f"`{name}` goes across settings that this operand does not have")
        c = int(np.flatnonzero(chosen)[0])
        cells[name] = Cells(table.cells.value[0, i, c : c + 1], table.cells.rank[0, i, c : c + 1])
    level = expression.evaluate(cells)
    return Number(float(level.value[0]), int(level.rank[0]))


def transformed(
    operand: Operand, info: MetricInfo, value: np.ndarray, rank: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`is` and `substitute`; what diverged becomes the infinity that is worst for the metric, where one side is."""
    if operand.status is not None:
        hit = (rank == RANKS[operand.status]).astype(float)
        return np.where(rank == MISSING, NAN, hit), np.where(rank == MISSING, MISSING, OK).astype(np.uint8)
    value, rank, old = value.copy(), rank.copy(), rank
    worst = {"lower": np.inf, "higher": -np.inf, "none": NAN}[info.better]
    if not isinstance(operand.read, Crossing) or operand.read.give == "value":
        value = np.where((rank == DIVERGED) & np.isnan(value), worst, value)
    for status, number in operand.substitute.items():
        hit = old == RANKS[status]
        value[hit] = number
        # An infinity stays what it was: it can be ordered but not averaged.
        rank[hit] = OK if np.isfinite(number) else max(RANKS[status], CENSORED) if status != "undefined" else CENSORED
    return value, rank


def shared(table: Table) -> Table:
    """An exact operand: the one number that all its seeds have; undefined where they differ."""
    value, rank = table.cells
    low, high = (
        np.nanmin(value, axis=1, initial=np.inf, where=~np.isnan(value)),
        np.nanmax(value, axis=1, initial=-np.inf, where=~np.isnan(value)),
    )
    size = np.maximum(np.abs(low), np.abs(high))
    worst = rank.max(axis=1) if rank.shape[1] else np.full(low.shape, MISSING, np.uint8)
    with np.errstate(invalid="ignore"):
        differ = ~((low == high) | (high - low <= 1e-9 * size))
    one = np.where(worst == OK, low, NAN)
    worst = np.where((worst == OK) & differ, UNDEFINED, worst).astype(np.uint8)
    half = table.half.max(axis=1, initial=0.0)[:, None] if table.half is not None else None
    why = table.why or ("an operand that is `exact` differs between its seeds" if differ.any() else "")
    return Table(((),), Cells(np.where(worst == OK, one, NAN)[:, None], worst[:, None]), table.axes, half, why)
