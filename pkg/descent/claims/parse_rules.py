"""Reading rules: nested words over the checks of a claim."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from descent.claims.faults import Faults
from descent.claims.model import Check, Rule
from descent.core.errors import listed, nearest

ATOMS = ("fails", "holds")
LISTS = ("all", "any")
COUNTS = ("at_least", "more_than")
WORDS = (*LISTS, *COUNTS, "not", *ATOMS)


def read_rule(
    raw: Any, path: str, checks: Mapping[str, Check], faults: Faults, spread: bool = False, each: tuple[str, ...] = ()
) -> Rule | None:
    """One rule. spread: whether a word above counts the instances of an expanded check one by one.

    each: the axes that words above have fixed to one value. Returns None after a fault.
    """
    if isinstance(raw, str):
        return _atom("check", raw, path, checks, faults, spread, each)
    if not isinstance(raw, Mapping) or not raw:
        faults.add(path, f"must be the name of a check or a mapping with one of {listed(WORDS)}, got {raw!r}")
        return None
    words = [key for key in raw if key in WORDS]
    if len(words) != 1:
        key = next(iter(raw))
        hint = nearest(key, WORDS) if not words else ""
        faults.add(path, f"must hold exactly one of {listed(WORDS)}, got {', '.join(map(str, raw))}{hint}")
        return None
    word = words[0]
    allowed = (word, "of", "each") if word in COUNTS else (word, "each") if word in LISTS else (word,)
    raw = faults.mapping(raw, path, allowed)
    if word in ATOMS:
        return _atom(word, raw[word], f"{path}.{word}", checks, faults, spread, each)
    if word == "not":
        inner = read_rule(raw["not"], f"{path}.not", checks, faults, spread, each)
        return inner and Rule("not", parts=(inner,))
    count = _count(word, raw[word], f"{path}.{word}", faults) if word in COUNTS else None
    body = raw.get("of") if word in COUNTS else raw[word]
    here = f"{path}.of" if word in COUNTS else f"{path}.{word}"
    if "each" in raw:
        return _each(word, raw["each"], body, count, path, here, checks, faults, each)
    body = [body] if isinstance(body, (str, Mapping)) else body
    if not isinstance(body, list) or not body:
        faults.add(here, f"must list checks or rules, got {body!r}")
        return None
    parts = [read_rule(part, f"{here}[{i}]", checks, faults, True, each) for i, part in enumerate(body)]
    return None if None in parts else Rule(word, parts=tuple(parts), count=count)


def _each(word, axis, body, count, path, here, checks, faults, each) -> Rule | None:
    """The word counts the values of an axis; under it stands one rule (a list means all of it)."""
    axes = list(dict.fromkeys(a for check in checks.values() for i in check.instances for a in i.where))
    if axis not in axes:
        faults.add(f"{path}.each", f"must be an axis that a check goes `over`, got {axis!r}{nearest(axis, axes)}; "
                   f"axes: {', '.join(axes) or 'none'}")  # fmt: skip
        return None
    inner = {"all": body} if isinstance(body, list) else body
    part = read_rule(inner, here, checks, faults, False, (*each, axis))
    return part and Rule(word, parts=(part,), count=count, each=axis)


def _atom(word, name, path, checks, faults, spread, each) -> Rule | None:
    if name not in checks:
        faults.add(path, f"names no check, got {name!r}{nearest(name, checks)}; checks: {', '.join(checks)}")
        return None
    if checks[name].reported:
        faults.add(path, f"names `{name}`, which has no predicate, so it is only reported and never holds")
        return None
    left = [i for i in checks[name].instances if any(axis not in each for axis in i.where)]
    if left and not spread:
        faults.add(path, f"is ambiguous: `{name}` goes over {', '.join(left[0].where)}; "
                   f"write {{all: [{name}]}} or {{any: [...]}}")  # fmt: skip
        return None
    return Rule(word, check=name)


def _count(word: str, value: Any, path: str, faults: Faults) -> float | None:
    if word == "at_least":
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            faults.add(path, f"must be a whole number from 1, got {value!r}")
            return None
        return value
    number = faults.number(value, path, -1e-9, 1)
    return number
