"""Operands aggregated over seeds: all of them, and with each one left out (the jackknife's numbers)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from descent.claims.operands.tabled import Table
from descent.claims.table import CENSORED, MISSING, OK, UNDEFINED, Cells

POOL = {
    "mean": lambda v: v.mean(axis=1),
    "median": lambda v: np.median(v, axis=1),
    "sum": lambda v: v.sum(axis=1),
    "rms": lambda v: np.sqrt((v * v).mean(axis=1)),
}


def pooled_seeds(tables: Mapping[str, Table]) -> tuple[int, ...]:
    """The seeds planned for every operand."""
    own = [
        {part for key in table.keys for part in key if part is not None} for table in tables.values() if not table.exact
    ]
    return tuple(sorted(set.intersection(*own))) if own else ()


def pooled(table: Table, seeds: tuple[int, ...], pool: str, draws: int) -> Cells:
    """(D, n + 1, C): the aggregate of all seeds, then of all but each.

    A seed that is missing makes the column that leaves it out missing, so that it is counted.
    """
    value, rank = table.cells
    c = value.shape[-1]
    if table.exact:
        return Cells(
            np.broadcast_to(value, (draws, len(seeds) + 1, c)), np.broadcast_to(rank, (draws, len(seeds) + 1, c))
        )
    members = [[i for i, key in enumerate(table.keys) if seed in key] for seed in seeds]
    everyone = [i for i, key in enumerate(table.keys) if any(part in seeds for part in key)]
    columns = [_aggregate(value, rank, everyone, pool)]
    for own in members:
        left = _aggregate(value, rank, [i for i in everyone if i not in own], pool)
        gone = (rank[:, own] == MISSING).any(axis=(1, 2))[:, None] if own else np.ones((draws, 1), bool)
        columns.append(Cells(np.where(gone, np.nan, left.value), np.where(gone, MISSING, left.rank).astype(np.uint8)))
    return Cells(np.stack([x.value for x in columns], axis=1), np.stack([x.rank for x in columns], axis=1))


def _aggregate(value: np.ndarray, rank: np.ndarray, rows: list[int], pool: str) -> Cells:
    """(D, C) of the rows that are there."""
    value, rank = value[:, rows], rank[:, rows]
    there = ~(rank == MISSING).any(axis=-1)
    if not there.all():  # rare: draw by draw
        parts = [
            _aggregate(v[t][None], r[t][None], list(range(int(t.sum()))), pool)
            for v, r, t in zip(value, rank, there, strict=True)
        ]
        return Cells(np.concatenate([x.value for x in parts]), np.concatenate([x.rank for x in parts]))
    if not value.shape[1]:
        return Cells(
            np.full((len(value), value.shape[-1]), np.nan), np.full((len(value), value.shape[-1]), UNDEFINED, np.uint8)
        )
    with np.errstate(invalid="ignore"):
        number = POOL[pool](value)
    worst = rank.max(axis=1)
    if pool == "median":
        worst = np.where((worst == CENSORED) & np.isfinite(number), OK, worst)
    return Cells(number, worst.astype(np.uint8))
