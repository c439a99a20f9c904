"""Typed settings: one table a room, a sentence a key, and one way to refuse a bad value.

The same table guards the library (a method's builder calls `check`), the command line and the configuration, so a
limit is written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from descent.core.errors import SettingError, listed, nearest

REQUIRED = object()


@dataclass(frozen=True)
class Setting:
    """One setting of a method or an experiment.

    doc: a sentence for the documentation, with the unit and the paper's symbol.
    kind: float, int, bool or str; an int is accepted where a float is wanted, never the reverse.
    low, high: limits, inclusive unless `open_low` / `open_high`.
    choices: the allowed values, when there are few.
    optional: None is allowed as well.
    """

    doc: str
    kind: type = float
    default: Any = REQUIRED
    low: float | None = None
    high: float | None = None
    open_low: bool = False
    open_high: bool = False
    choices: tuple[Any, ...] | None = None
    optional: bool = False

    def fault(self, value: Any) -> str | None:
        """Why `value` is refused ("must ... got ..."), or None."""
        if value is None and self.optional:
            return None
        if self.choices is not None and value not in self.choices:
            return f"must be {listed(self.choices)}, got {value!r}{nearest(value, map(str, self.choices))}"
        if not self._of_kind(value):
            hint = " (YAML reads 1e-4 as text: write 1.0e-4)" if isinstance(value, str) and self.kind is float else ""
            return f"must be {self._kind_in_words()}, got {value!r}{hint}"
        if self.kind in (int, float) and not self._inside(value):
            return f"must lie in {self.limits()}, got {value!r}"
        return None

    def limits(self) -> str:
        """The interval of allowed numbers, as in `(0, 10]`."""
        low = "(-inf" if self.low is None else f"{'(' if self.open_low else '['}{self.low:g}"
        high = "inf)" if self.high is None else f"{self.high:g}{')' if self.open_high else ']'}"
        return f"{low}, {high}"

    def _kind_in_words(self) -> str:
        return {float: "a number", int: "a whole number", bool: "true or false", str: "text"}[self.kind]

    def _of_kind(self, value: Any) -> bool:
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if self.kind is float:
            return isinstance(value, (int, float)) and not math.isnan(value)
        return isinstance(value, self.kind)

    def _inside(self, value: Any) -> bool:
        low = self.low is None or (value > self.low if self.open_low else value >= self.low)
        high = self.high is None or (value < self.high if self.open_high else value <= self.high)
        return low and high


def faults(owner: str, table: Mapping[str, Setting], values: Mapping[str, Any]) -> list[str]:
    """Every fault of `values` against `table`, one sentence each, in the order of `values`."""
    found = []
    for name, value in values.items():
        if name not in table:
            found.append(
                f"{owner}: unknown setting `{name}`{nearest(name, table)}; allowed: {', '.join(sorted(table))}"
            )
        elif reason := table[name].fault(value):
            found.append(f"{owner}: `{name}` {reason}")
    return found


def check(owner: str, table: Mapping[str, Setting], **values: Any) -> None:
    """Raise SettingError, naming the owner, the setting and its limits, if any value is refused."""
    if found := faults(owner, table, values):
        raise SettingError("; ".join(found))


def with_defaults(table: Mapping[str, Setting], names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` completed by the defaults of the settings `names`, in the order of `names`, extras last.

    A setting without a default stays absent: `missing` tells.
    """
    full = {n: values.get(n, table[n].default) for n in names if n in values or table[n].default is not REQUIRED}
    return {**full, **values}
