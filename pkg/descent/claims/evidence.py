"""Bringing the operands of a check together: the same units side by side, then the statistic of each unit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from descent.claims.expression import Expression, ExpressionError
from descent.claims.model import Instance
from descent.claims.select import MissingCell, Records, substituted
from descent.claims.table import ABSENT, OK, Cells, Table
from descent.core.errors import ConfigError


def operands(instance: Instance, records: Records, path: str) -> dict[str, Table]:
    """The Table of every operand; those that a crossing level reads come first.

    Raises MissingCell (the first one found) or ConfigError.
    """
    tables: dict[str, Table] = {}
    waiting = dict(instance.values)
    while waiting:
        for name, operand in list(waiting.items()):
            needs = operand.at.threshold.names if operand.at.threshold else ()
            if all(other in tables for other in needs):
                levels = {other: tables[other] for other in needs}
                tables[name] = records.table(operand, levels, f"{path}.values.{name}")
                del waiting[name]
    return tables


def aligned(tables: Mapping[str, Table], path: str) -> tuple[Table, dict[str, Cells]]:
    """(the units all tables share, name -> Cells (U, C)).

    A table with fewer unit columns is repeated along the others', one without units along all. A unit counts only when
    every table has a number for it at every setting. Raises MissingCell when none is left.
    """
    names = list(tables)
    frame = max(tables.values(), key=lambda table: len(table.units))
    for name in names:
        if not set(tables[name].units) <= set(frame.units):
            raise ConfigError(f"{path} pairs operands whose units differ ({', '.join(tables[name].units)} of `{name}`, "
                              f"{', '.join(frame.units)}); use one `unit`, or `pool` one of them")  # fmt: skip
    index: dict[str, list[int]] = {name: [] for name in names}
    keys = []
    lookup = {
        n: {key: u for u, key in enumerate(t.keys) if (t.cells.rank[u] != ABSENT).all()} for n, t in tables.items()
    }
    position = {name: [frame.units.index(column) for column in tables[name].units] for name in names}
    for key in frame.keys:
        found = {name: lookup[name].get(tuple(key[i] for i in position[name])) for name in names}
        if None not in found.values():
            keys.append(key)
            for name in names:
                index[name].append(found[name])
    if not keys:
        raise MissingCell(f"{' and '.join(names)} have no {frame.noun} in common")
    cells = {name: Cells(tables[name].cells.value[index[name]], tables[name].cells.rank[index[name]]) for name in names}
    shared = Table(frame.units, tuple(keys), next(iter(cells.values())))
    return shared, cells


def statistic(
    expressions: Mapping[str, Expression],
    tables: Mapping[str, Table],
    *,
    among: Expression | None = None,
    substitute: Mapping[str, float] | None = None,
    path: str = "claim",
) -> Table:
    """The per-unit statistic: (U, 1) for one expression, (U, C) for a vector or for several labelled ones.

    among: units where it is false are left out; where it cannot be said they stay, undefined.
    """
    read = [name for e in (*expressions.values(), among) if e is not None for name in e.names]
    used = {name: table for name, table in tables.items() if name in read} or dict(tables)
    # An axis may be named by an expression that reads no operand of it: then every operand is needed.
    if any(name not in tables and not any(name in t.axes for t in used.values()) for name in read):
        used = dict(tables)
    shared, cells = aligned(used, path)
    axes = {name: table.axes for name, table in used.items() if table.axes}
    u = len(shared.keys)
    columns, labels, grid = [], [], {}
    for label, expression in expressions.items():
        result = _spread(_evaluate(expression, cells, axes, path), u)
        c = result.value.shape[1]
        if c > 1 and len(expressions) > 1:
            raise ConfigError(f"{path}.statistic.{label} gives a vector; reduce it (max, mean, slope, ...)")
        if c > 1:
            source = next(t for t in used.values() if len(t.labels) == c)
            labels, grid = list(source.labels), source.axes
        else:
            labels.append(label)
        columns.append(result)
    value = np.concatenate([column.value for column in columns], axis=1)
    rank = np.concatenate([column.rank for column in columns], axis=1)
    if among is not None:
        keep = _spread(_evaluate(among, cells, axes, path), u)
        if keep.value.shape[1] > 1:
            raise ConfigError(f"{path}.among compares vectors; reduce them to one truth a unit (max, min, mean, ...)")
        unknown = keep.rank[:, 0] != OK
        rank[unknown] = np.maximum(rank[unknown], keep.rank[unknown, :1])
        value[unknown] = np.nan
        chosen = np.flatnonzero(unknown | (keep.value[:, 0] != 0))
        value, rank = value[chosen], rank[chosen]
        shared = shared.rows(chosen)
    value, rank = substituted(value, rank, substitute or {})
    return Table(shared.units, shared.keys, Cells(value, rank.astype(np.int8)), tuple(labels), grid)


def _evaluate(expression: Expression, cells: Mapping[str, Cells], axes: Mapping, path: str) -> Cells:
    try:
        return expression.evaluate(cells, axes)
    except ExpressionError as fault:
        raise ConfigError(f"{path}: {fault}") from fault
    except ValueError as fault:  # vectors along different settings
        lengths = ", ".join(f"{name} {len(c.value[0])}" for name, c in cells.items())
        raise ConfigError(f"{path}: `{expression.text}` joins vectors of different length ({lengths})") from fault


def _spread(cells: Cells, u: int) -> Cells:
    shape = (u, cells.value.shape[-1])
    return Cells(np.broadcast_to(cells.value, shape).copy(), np.broadcast_to(cells.rank, shape).copy())
