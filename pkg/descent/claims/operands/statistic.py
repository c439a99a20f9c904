"""One quantity: its operands brought together seed by seed, its arithmetic done, and what an estimator is handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from descent.claims.estimate.base import STATUS, Numbers
from descent.claims.expression import Expression, ExpressionError
from descent.claims.operands.pooling import pooled, pooled_seeds
from descent.claims.operands.tabled import Key, Source, Table
from descent.claims.read.claim import Quantity
from descent.claims.read.estimators import Pooled
from descent.claims.read.sense import AUDIT_OPERANDS
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, Cells, settle
from descent.core.errors import ConfigError


@dataclass(frozen=True)
class Sample:
    """What one estimate is made from.

    label: of the contrast, or "". numbers: what the estimator is handed. half: (D,) resolution of the statistic.
    counts: {status: (D,)} of the readings. why: what the first missing one lacks.
    """

    label: str
    numbers: tuple[Numbers, ...]
    half: np.ndarray
    counts: Mapping[str, np.ndarray]
    why: str = ""


def samples(quantity: Quantity, source: Source) -> list[Sample]:
    """One Sample, or one for every contrast. Raises LostCells, or ConfigError where the claim does not fit the records."""
    tables = _tables(quantity, source)
    takes = quantity.kind.takes
    if takes in ("two", "counts"):
        names = list(tables) if takes == "two" else AUDIT_OPERANDS[quantity.kind.name]
        numbers = tuple(_plain(tables[name]) for name in names)
        counts = {status: np.sum([n.counts[status] for n in numbers], axis=0) for status in STATUS}
        return [Sample("", numbers, np.zeros(source.draws), counts, _why(tables))]
    if takes == "jackknife":
        return [_pooled(quantity, tables, source.draws)]
    keys = _keys(tables, quantity)
    cells = {name: _taken(table, keys, source.draws) for name, table in tables.items()}
    halves = {name: _half(table, keys, source.draws) for name, table in tables.items()}
    noun = {"block": "block"}.get(quantity.kind.unit, "replicate" if quantity.model.replicate == "record" else "seed")
    found = []
    for label, cut in _contrasts(quantity):
        value = cut(_value(quantity, cells, tables))
        half = sum(
            (_moved(quantity, cells, tables, name, halves[name], cut) for name in tables), np.zeros(source.draws)
        )
        counts = {name: (value.rank == code).sum(axis=1) for code, name in enumerate(STATUS)}
        size = (
            np.zeros(source.draws) if quantity.model.scale == "log" or quantity.kind.name == "share" else _size(cells)
        )
        numbers = Numbers(value.value, _status(quantity, value, cells), len(keys), size=size, noun=noun)
        found.append(Sample(label, (numbers,), half, counts, _why(tables)))
    return found


def _tables(quantity: Quantity, source: Source) -> dict[str, Table]:
    """The table of every operand; those that a crossing's level reads come first."""
    rows = quantity.model.replicate == "record" or quantity.kind.unit == "block"
    tables: dict[str, Table] = {}
    waiting = dict(quantity.model.operands)
    while waiting:
        ready = [
            n for n in waiting if all(o in tables for o in (quantity.levels[n].names if n in quantity.levels else ()))
        ]
        if not ready:
            raise ConfigError(f"the crossings of {', '.join(waiting)} take their levels from each other in a circle")
        for name in ready:
            needed = quantity.levels[name].names if name in quantity.levels else ()
            operand = waiting.pop(name)
            tables[name] = source.table(
                operand, {other: tables[other] for other in needed}, rows and operand.read == "all"
            )
    return {name: tables[name] for name in quantity.model.operands}


def _why(tables: Mapping[str, Table]) -> str:
    return next((table.why for table in tables.values() if table.why), "")


def _plain(table: Table) -> Numbers:
    value, rank = table.cells
    if value.shape[-1] != 1:
        raise ConfigError("this estimator reads one number a seed of each operand, not a vector `across` settings")
    return Numbers(value[..., 0], rank[..., 0], len(table.keys))


def _keys(tables: Mapping[str, Table], quantity: Quantity) -> tuple[Key, ...]:
    """The replicates planned for every operand; with records as replicates, every step that one of them has."""
    own = [table.keys for table in tables.values() if not table.exact]
    if not own:
        return ((),)
    if len(own[0][0] if own[0] else ()) < 2:
        return tuple(sorted(set.intersection(*map(set, own))))
    seeds = sorted(set.intersection(*({key[0] for key in keys} for keys in own)))
    steps = sorted({key[1] for keys in own for key in keys})
    return tuple((seed, step) for seed in seeds for step in steps)


def _taken(table: Table, keys: tuple[Key, ...], draws: int) -> Cells:
    """(D, n, C): the table's numbers at these keys, missing where it has none."""
    value, rank = table.cells
    c = value.shape[-1]
    if table.exact:
        return Cells(np.broadcast_to(value, (draws, len(keys), c)), np.broadcast_to(rank, (draws, len(keys), c)))
    index = {key: i for i, key in enumerate(table.keys)}
    at = np.array([index.get(key, -1) for key in keys], int)
    gone = at < 0
    if not len(table.keys):
        return Cells(np.full((draws, len(keys), c), np.nan), np.full((draws, len(keys), c), MISSING, np.uint8))
    value, rank = value[:, at].copy(), rank[:, at].copy()
    value[:, gone], rank[:, gone] = np.nan, MISSING
    return Cells(value, rank)


def _half(table: Table, keys: tuple[Key, ...], draws: int) -> np.ndarray | None:
    if table.half is None or not (table.half > 0).any():
        return None
    moved = Table(table.keys, Cells(table.half, np.zeros(table.half.shape, np.uint8)), table.axes)
    return np.nan_to_num(_taken(moved, keys, draws).value)


def _value(quantity: Quantity, cells: Mapping[str, Cells], tables: Mapping[str, Table]) -> Cells:
    """(D, n, L): a column a label, or a setting of a vector."""
    axes = {name: table.axes for name, table in tables.items() if table.axes}
    columns = [_evaluated(expression, cells, axes) for expression in quantity.value.values()]
    shape = np.broadcast_shapes(*(c.value.shape[:-1] for c in cells.values()))
    spread = [np.broadcast_to(c.value, (*shape, c.value.shape[-1])) for c in columns]
    ranks = [np.broadcast_to(c.rank, (*shape, c.rank.shape[-1])) for c in columns]
    return Cells(np.concatenate(spread, axis=-1), np.concatenate(ranks, axis=-1))


def _evaluated(expression: Expression, cells: Mapping[str, Cells], axes: Mapping) -> Cells:
    try:
        return expression.evaluate(cells, axes)
    except ExpressionError as fault:
        raise ConfigError(str(fault)) from fault
    except ValueError as fault:
        lengths = ", ".join(f"{name} {c.value.shape[-1]}" for name, c in cells.items())
        raise ConfigError(f"`{expression.text}` joins vectors of different length ({lengths})") from fault


def _contrasts(quantity: Quantity):
    """(label, function that cuts (D, n, L) to the (D, n) of one contrast)."""
    contrast, labels, log = quantity.model.contrast, quantity.labels, quantity.model.scale == "log"
    if contrast is None:
        return [("", lambda cells: Cells(cells.value[..., 0], cells.rank[..., 0]))]
    pairs = list(zip(range(1, len(labels)), range(len(labels)), strict=False))
    if contrast != "adjacent":
        own = labels.index(contrast.against)
        pairs = [(own, other) for other in range(len(labels)) if other != own]
    return [(f"{labels[i]} {'over' if log else 'less'} {labels[j]}", _pair(i, j, log)) for i, j in pairs]


def _pair(i: int, j: int, log: bool):
    def cut(cells: Cells) -> Cells:
        with np.errstate(all="ignore"):
            a, b = cells.value[..., i], cells.value[..., j]
            value = a / b if log else a - b
        rank = np.maximum(cells.rank[..., i], cells.rank[..., j])
        return settle(Cells(value, rank))

    return cut


def _moved(quantity, cells: Mapping[str, Cells], tables, name: str, half: np.ndarray | None, cut) -> np.ndarray:
    """(D,) by how much the statistic moves when one operand moves by half of its resolution either way."""
    draws = next(iter(cells.values())).value.shape[0]
    if half is None or quantity.kind.name in ("share", "exact"):
        return np.zeros(draws)
    here = cut(_value(quantity, cells, tables)).value
    far = np.zeros_like(here)
    for c in range(half.shape[-1]):  # the settings of a vector are off each by itself
        move = np.zeros_like(half)
        move[..., c] = half[..., c]
        one = np.zeros_like(here)
        for sign in (1, -1):
            moved = {**cells, name: Cells(cells[name].value + sign * move, cells[name].rank)}
            with np.errstate(invalid="ignore"):
                one = np.fmax(one, np.abs(cut(_value(quantity, moved, tables)).value - here))
        far = far + one
    far = np.where(np.isfinite(far), far, np.nan)
    return np.nan_to_num(np.nanmean(far, axis=1)) if np.isfinite(far).any() else np.zeros(draws)


def _size(cells: Mapping[str, Cells]) -> np.ndarray:
    """(D,) the largest operand: a spread that is rounding beside it is none."""
    largest = [
        np.max(np.abs(np.where(np.isfinite(c.value), c.value, 0.0)), axis=(1, 2), initial=0.0) for c in cells.values()
    ]
    return np.max(largest, axis=0)


def _status(quantity: Quantity, value: Cells, cells: Mapping[str, Cells]) -> np.ndarray:
    """The statuses that the estimator sees: the truth of a condition is known where an infinity settles it."""
    if quantity.kind.name != "share":
        return value.rank
    names = {name for e in quantity.value.values() for name in e.names}
    unknown = np.any(
        [np.isnan(c.value).any(axis=-1) & (c.value.shape[1] > 0) for n, c in cells.items() if n in names], axis=0
    )
    return np.where((value.rank <= DIVERGED) & ~unknown, OK, value.rank).astype(np.uint8)


def _pooled(quantity: Quantity, tables: Mapping[str, Table], draws: int) -> Sample:
    """The functional of all seeds, and with each left out."""
    assert isinstance(quantity.model.estimator, Pooled), "a jackknife's options"
    pool = quantity.model.estimator.pool
    seeds = pooled_seeds(tables)
    cells = {name: pooled(table, seeds, pool, draws) for name, table in tables.items()}
    value = _value(quantity, cells, tables)
    rank = np.where((value.rank == CENSORED) & np.isfinite(value.value), OK, value.rank)[..., 0].astype(np.uint8)
    numbers = Numbers(
        value.value[..., 0], rank, len(seeds), size=_size(cells) if quantity.model.scale == "linear" else 0.0
    )
    half = np.zeros(draws)
    for name, table in tables.items():
        if table.half is None or not (table.half > 0).any():
            continue
        for c in range(table.half.shape[-1]):
            move, far = np.zeros_like(table.half), np.zeros(draws)
            move[..., c] = table.half[..., c]
            for sign in (1, -1):
                up = Table(table.keys, Cells(table.cells.value + sign * move, table.cells.rank), table.axes)
                moved = _value(quantity, {**cells, name: pooled(up, seeds, pool, draws)}, tables).value[:, 0, 0]
                far = np.fmax(far, np.abs(moved - value.value[:, 0, 0]))
            half = half + np.nan_to_num(far)
    counts = {name: (rank[:, 1:] == code).sum(axis=1) for code, name in enumerate(STATUS)}
    return Sample("", (numbers,), half, counts, _why(tables))
