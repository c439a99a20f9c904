"""What YAML may hold at all, and what pydantic lets pass: plain text, numbers, lists and mappings of sane size, no bool
where a number is meant, numbers inside their limits, no empty names."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

DEEPEST, LARGEST = 24, 10**15


def plain_faults(data: Any, where: str, path: tuple[Any, ...] = ()) -> Iterator[str]:
    """A sentence for everything in `data` that no key of the configuration can mean."""
    shown = f"{where}: `{'.'.join(map(str, path))}`" if path else where
    if len(path) > DEEPEST:
        yield f"{where}: `{path[0]}` is nested more than {DEEPEST} deep; no key is"
    elif isinstance(data, Mapping):
        for name, value in data.items():
            if not isinstance(name, str) and not (isinstance(name, (int, float)) and len(path) > 2):
                yield f"{shown} has the key {name!r}, which is {_kind(name)}; keys are text: put it in quotes"
            else:
                yield from plain_faults(value, where, (*path, name))
    elif isinstance(data, (list, tuple)):
        for i, value in enumerate(data):
            yield from plain_faults(value, where, (*path, i))
    elif isinstance(data, float) and math.isnan(data):
        yield f"{shown} is not a number (.nan); give a number"
    elif isinstance(data, int) and not isinstance(data, bool) and abs(data) > LARGEST:
        yield f"{shown} is larger than any number meant here ({LARGEST:.0e})"
    elif data is not None and not isinstance(data, (str, int, float, bool)):
        yield f"{shown} is {_kind(data)}; write it as text, in quotes"


def _kind(value: Any) -> str:
    words = {"date": "a date", "datetime": "a date", "bytes": "binary", "set": "a set", "NoneType": "empty"}
    return words.get(type(value).__name__, f"of type {type(value).__name__}")


def limit_faults(kind: Any, data: Any, where: str, path: str = "") -> Iterator[str]:
    """A sentence for every scalar of `data` (as read from YAML) that its dataclass `kind` means otherwise: yes or no
    for a number, a number outside the key's `low` and `high`, an empty text where a name is needed, a list given twice
    the same."""
    if not dataclasses.is_dataclass(kind) or not isinstance(data, Mapping):
        return
    hints = typing.get_type_hints(kind)
    for each in dataclasses.fields(kind):
        if each.name not in data:
            continue
        value, hint = data[each.name], hints[each.name]
        full = f"{path}.{each.name}" if path else each.name
        yield from _scalar_faults(hint, each.metadata, value, f"{where}: `{full}`")
        yield from _inner_faults(hint, value, where, full)


def _inner_faults(hint: Any, value: Any, where: str, path: str) -> Iterator[str]:
    if typing.get_origin(hint) is dict and isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _scalar_faults(typing.get_args(hint)[1], {}, inner, f"{where}: `{path}.{name}`")
    for option in (hint, *typing.get_args(hint)):
        if hasattr(option, "__required_keys__"):  # a TypedDict
            hints = typing.get_type_hints(option)
            for i, rule in enumerate(value if isinstance(value, list) else ()):
                for name in set(hints) & set(rule if isinstance(rule, Mapping) else ()):
                    yield from _scalar_faults(hints[name], {}, rule[name], f"{where}: `{path}.{i}.{name}`")
        if dataclasses.is_dataclass(option):
            if typing.get_origin(hint) is dict and isinstance(value, Mapping):
                for name, inner in value.items():
                    yield from limit_faults(option, inner, where, f"{path}.{name}")
            elif typing.get_origin(hint) is list and isinstance(value, list):
                for i, inner in enumerate(value):
                    yield from limit_faults(option, inner, where, f"{path}.{i}")
            else:
                yield from limit_faults(option, value, where, path)


def _scalar_faults(hint: Any, metadata: Mapping[str, Any], value: Any, shown: str) -> Iterator[str]:
    kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    if typing.get_origin(hint) is dict or not kinds:
        return
    if kinds & {int, float} and bool not in kinds:
        if isinstance(value, bool) or (isinstance(value, str) and str not in kinds):
            yield f"{shown} must be a number, got {value!r}"
            return
        if int in kinds and float not in kinds and isinstance(value, float):
            yield f"{shown} must be a whole number, got {value!r}"
            return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = metadata.get("low", -math.inf), metadata.get("high", math.inf)
        if not low <= value <= high:
            yield f"{shown} must lie in [{low:g}, {high:g}], got {value!r}"
    if str in kinds and isinstance(value, str) and not value.strip() and metadata.get("low") == 1:
        yield f"{shown} must not be empty"
    if list in {typing.get_origin(kind) for kind in kinds} and isinstance(value, list):
        if "" in value:
            yield f"{shown} holds an empty name"
        twice = [v for i, v in enumerate(value) if isinstance(v, str) and v in value[:i]]
        if twice:
            yield f"{shown} names {twice[0]!r} twice"
