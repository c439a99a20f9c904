"""Collecting faults: all of them, each one sentence with file, key path, and what is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from descent.core.errors import listed, nearest


class Faults:
    """The faults of one file. `found` holds each sentence once, in order."""

    def __init__(self, where: str):
        self.where = where
        self.found: list[str] = []

    def add(self, path: str, text: str) -> None:
        """`path` is the dotted key, `text` the rest of the sentence."""
        sentence = f"{self.where}: {path} {text}"
        if sentence not in self.found:  # the instances of one check share their faults
            self.found.append(sentence)

    def mapping(
        self, value: Any, path: str, allowed: Iterable[str] | None = None, required: Iterable[str] = ()
    ) -> dict[str, Any]:
        """`value` as a dict of known keys; unknown and missing ones are faults and left out."""
        if not isinstance(value, Mapping):
            self.add(path, f"must be a mapping, got {value!r}")
            return {}
        for key in required:
            if key not in value:
                self.add(f"{path}.{key}", "is missing")
        if allowed is None:
            return dict(value)
        allowed = tuple(allowed)
        for key in value:
            if key not in allowed:
                self.add(f"{path}.{key}", f"is not a key here{nearest(key, allowed)}; allowed: {', '.join(allowed)}")
        return {key: item for key, item in value.items() if key in allowed}

    def choice(self, value: Any, path: str, allowed: Iterable[str]) -> Any:
        """`value`, a fault unless it is one of `allowed`."""
        allowed = tuple(allowed)
        if value not in allowed:
            self.add(path, f"must be {listed(allowed)}, got {value!r}{nearest(value, allowed)}")
        return value

    def text(self, value: Any, path: str) -> str | None:
        """`value` as text; None stays None."""
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        self.add(path, f"must be text, got {value!r}")
        return None

    def number(self, value: Any, path: str, low: float | None = None, high: float | None = None) -> float | None:
        """`value` as a float strictly between the limits; a text is read as a constant expression (`log(0.8)`)."""
        from descent.claims.expression import Expression, ExpressionError

        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            self.add(path, f"must be a number, got {value!r}")
            return None
        try:
            number = Expression(value).constant if isinstance(value, str) else float(value)
        except ExpressionError as fault:
            self.add(path, f"must be a number: {fault}")
            return None
        if number != number or (low is not None and number <= low) or (high is not None and number >= high):
            self.add(path, f"must lie strictly between {low:g} and {high:g}, got {value!r}" if low is not None
                     and high is not None else f"must be a number, got {value!r}")  # fmt: skip
            return None
        return number
