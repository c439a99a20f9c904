"""`over`: one estimate as written becomes its instances, `{axis}` in every text replaced by the instance's value."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def combinations(over: Any) -> list[dict[str, Any]] | str:
    """The value sets of `over`, the first axis slowest; or what is wrong with it."""
    if over is None:
        return [{}]
    if isinstance(over, Mapping) and over:
        for axis, values in over.items():
            if not isinstance(values, list) or not values:
                return f"must give every axis a list of values, got {axis}: {values!r}"
        sets = [dict(zip(over, chosen, strict=True)) for chosen in itertools.product(*over.values())]
    elif isinstance(over, list) and over and all(isinstance(one, Mapping) and one for one in over):
        if len({tuple(one) for one in over}) > 1:
            return "must name the same axes in every entry"
        sets = [dict(one) for one in over]
    else:
        return f"must be {{axis: [values]}} or a list of such settings, got {over!r}"
    for one in sets:
        for axis, value in one.items():
            if not isinstance(axis, str) or not _FIELD.fullmatch(f"{{{axis}}}"):
                return f"must name its axes with letters, digits and _, got {axis!r}"
            if isinstance(value, (list, Mapping)):
                return f"must give plain values, got {axis}: {value!r}"
    if len({repr(sorted(one.items())) for one in sets}) < len(sets):
        return "names one setting twice"
    return sets


def filled(raw: Any, values: Mapping[str, Any]) -> Any:
    """`raw` with every `{axis}` replaced: a text that is nothing else becomes the value itself."""
    if isinstance(raw, str):
        whole = _FIELD.fullmatch(raw)
        if whole and whole[1] in values:
            return values[whole[1]]
        return _FIELD.sub(lambda m: str(values.get(m[1], m[0])), raw)
    if isinstance(raw, Mapping):
        return {filled(key, values): filled(item, values) for key, item in raw.items()}
    if isinstance(raw, list):
        return [filled(item, values) for item in raw]
    return raw


def unfilled(raw: Any) -> list[str]:
    """The `{names}` that no axis of `over` gives."""
    if isinstance(raw, str):
        return _FIELD.findall(raw)
    if isinstance(raw, Mapping):
        return [name for pair in raw.items() for item in pair for name in unfilled(item)]
    if isinstance(raw, list):
        return [name for item in raw for name in unfilled(item)]
    return []
