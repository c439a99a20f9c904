"""What must exist: the table that the plan hands to the judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Cell:
    """One method on one setting, and the seeds that must have records."""

    method: str
    setting: Mapping[str, Any]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Lost:
    """What is not run here, and why. method None: whatever matches the setting."""

    reason: str
    method: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricInfo:
    """What the judge must know of a metric: the better side, its resolution (0: continuous) and unit."""

    better: Literal["lower", "higher", "none"] = "none"
    resolution: float = 0.0
    unit: str = ""


@dataclass(frozen=True)
class Planned:
    """cells, lost: experiment -> what is run of it, what is not. metrics: name -> MetricInfo."""

    cells: Mapping[str, Sequence[Cell]]
    lost: Mapping[str, Sequence[Lost]] = field(default_factory=dict)
    metrics: Mapping[str, MetricInfo] = field(default_factory=dict)

    def matching(self, experiment: str, wanted: Mapping[str, Any]) -> Iterator[Cell]:
        """The cells that have the wanted values of `method` and the axes (a value, or a list of them)."""
        for cell in self.cells.get(experiment, ()):
            if all(_has({"method": cell.method, **cell.setting}, axis, value) for axis, value in wanted.items()):
                yield cell

    def why_lost(self, experiment: str, wanted: Mapping[str, Any]) -> str | None:
        """Why nothing of this kind is run, None where it should have been."""
        for lost in self.lost.get(experiment, ()):
            named = {**({"method": lost.method} if lost.method is not None else {}), **lost.setting}
            if all(axis not in wanted or _has(named, axis, wanted[axis]) for axis in named):
                return lost.reason
        return None


def _has(values: Mapping[str, Any], axis: str, wanted: Any) -> bool:
    options = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    return any(same(values.get(axis), option) for option in options)


def same(one: Any, other: Any) -> bool:
    """Whether two values of a setting are one: numbers within rounding (0.1 of YAML and of Parquet), the rest as text."""
    if one is None or other is None:
        return one is None and other is None
    if isinstance(one, bool) or isinstance(other, bool):
        return str(one) == str(other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or abs(one - other) <= 1e-9 * abs(other)
    return str(one) == str(other)
