"""Where the numbers of operands come from: a table a operand, one column a replicate that must exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from descent.claims.operands.planned import Planned
from descent.claims.read.operands import Operand
from descent.claims.table import Cells

Key = tuple[Any, ...]


class LostCells(Exception):
    """What an operand looks at is not run here (an import that cannot be had, another scale); str() is the reason."""


@dataclass(frozen=True)
class Table:
    """The numbers of one operand.

    keys: (n,) the replicates that must exist: (seed,), (seed, step) or (seed, other seed); one of () for an exact
    operand, which all share. cells: (D, n, C). axes: {axis: (C,) values}. half: (D, n, C), by how much each number may
    be off because of its metric's resolution. why: what the first missing one lacks.
    """

    keys: tuple[Key, ...]
    cells: Cells
    axes: Mapping[str, np.ndarray] = field(default_factory=dict)
    half: np.ndarray | None = None
    why: str = ""

    @property
    def exact(self) -> bool:
        """One number that every replicate shares."""
        return self.keys == ((),)


class Source(Protocol):
    """Records, or a world that draws them."""

    @property
    def planned(self) -> Planned:
        """What must be in the records, and what is not run."""
        ...

    @property
    def draws(self) -> int:
        """D."""
        ...

    def table(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        """The operand's numbers. levels: the tables its crossing's level reads. rows: every record is a replicate.

        Raises LostCells where nothing of it is run, ConfigError where it does not say which of several settings it means.
        """
        ...


def grid(across: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of the `across` values, the first axis slowest."""
    cells: list[dict[str, Any]] = [{}]
    for axis, values in across.items():
        cells = [{**cell, axis: value} for cell in cells for value in values]
    return cells


def wanted(operand: Operand, setting: Mapping[str, Any]) -> dict[str, Any]:
    """method and axes that records must have, for one setting of a vector."""
    return {**({"method": operand.method} if operand.method is not None else {}), **operand.where, **setting}


def spot(operand: Operand, setting: Mapping[str, Any] | None = None) -> str:
    """`toy (method zo, smoothing 0.1), metric trace`."""
    inside = ", ".join(f"{axis} {value}" for axis, value in wanted(operand, setting or {}).items())
    return f"{operand.experiment}{f' ({inside})' if inside else ''}, metric {operand.metric}"


def planned_seeds(planned: Planned, operand: Operand) -> tuple[int, ...]:
    """The seeds planned for the operand at every one of its settings. Raises LostCells where one is not run at all."""
    seeds: set[int] | None = None
    for setting in grid(operand.across):
        cells = list(planned.matching(operand.experiment, wanted(operand, setting)))
        if not cells:
            reason = planned.why_lost(operand.experiment, wanted(operand, setting))
            raise LostCells(reason or f"{spot(operand, setting)} is not run here")
        here = set().union(*(cell.seeds for cell in cells))
        seeds = here if seeds is None else seeds & here
    return tuple(sorted(seeds or ()))
