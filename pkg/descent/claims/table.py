"""What the engine computes with: numbers that carry their status.

Axes: U units (seeds, unless a check says otherwise), C settings of a vector operand (1 for a scalar one).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

# The worse of two wins wherever two numbers meet.
OK, CENSORED, UNDEFINED, DIVERGED, ABSENT = range(5)
RANKS = {"ok": OK, "censored": CENSORED, "undefined": UNDEFINED, "diverged": DIVERGED}
STATUSES = (*RANKS, "absent")


class Cells(NamedTuple):
    """Numbers and, of the same shape, their ranks. A censored number is +-inf, a worse one NaN."""

    value: np.ndarray  # (..., C) float64
    rank: np.ndarray  # (..., C) int8

    @classmethod
    def exact(cls, number: float) -> Cells:
        """One number, broadcast against everything."""
        return cls(np.array([number], float), np.zeros(1, np.int8))


@dataclass(frozen=True)
class Table:
    """The numbers of one operand, or of a statistic: one a unit and setting.

    units: the record columns that make a unit; empty for one number that is broadcast.
    keys: (U,) their values, sorted. labels: (C,) what each setting is called. axes: {axis: (C,) values}.
    """

    units: tuple[str, ...]
    keys: tuple[tuple, ...]
    cells: Cells  # (U, C)
    labels: tuple[str, ...] = ("",)
    axes: dict[str, np.ndarray] = field(default_factory=dict)

    def rows(self, index: np.ndarray) -> Table:
        """The units at `index`."""
        cells = Cells(self.cells.value[index], self.cells.rank[index])
        return Table(self.units, tuple(self.keys[i] for i in index), cells, self.labels, self.axes)

    def column(self, c: int) -> Sample:
        """The units of setting c that have a number; one that is absent there is no unit of this setting."""
        here = self.cells.rank[:, c] != ABSENT
        return Sample(self.cells.value[here, c], self.cells.rank[here, c], self.noun)

    @property
    def noun(self) -> str:
        """What the units are called in a sentence."""
        return noun(self.units)


def noun(units: tuple[str, ...]) -> str:
    """`seeds`, `points`, or `(seed, graphon) units`."""
    if not units:
        return "value"
    if len(units) > 1:
        return f"({', '.join(units)}) units"
    word = units[0].replace("_", " ")
    return word if word.endswith("s") else word + "s"


class Sample(NamedTuple):
    """The numbers of one estimate: (n,) values and their ranks."""

    value: np.ndarray
    rank: np.ndarray
    noun: str = "seeds"

    @property
    def n(self) -> int:
        return len(self.value)

    def count(self, rank: int) -> int:
        return int((self.rank == rank).sum())

    def in_order(self) -> Sample:
        """Sorted by value, so that no estimate depends on how the units are named or ordered."""
        order = np.lexsort((self.rank, self.value))
        return Sample(self.value[order], self.rank[order], self.noun)
