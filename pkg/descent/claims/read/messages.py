"""pydantic's faults as sentences: file, key path, what is wrong, what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from descent.claims.estimate.base import KINDS, Options
from descent.claims.read import checks, model, operands
from descent.core.errors import listed, nearest

# Words of the first edition, and what says it now.
GONE = {
    "predicate": "write the criterion into the check, such as `below: 0.8`",
    "statistic": "it is called `value`, in the estimate",
    "values": "they are called `operands`, in the estimate",
    "about": "the engine says in words what a number is",
    "on": "a check is decided by its interval, or by `decide: {p: 0.05}`; a point or one end of an interval decides nothing",
    "contains": "an interval that contains something supports nothing; write `inside: [low, high]`, equality within a margin",
    "excludes": "write `above` or `below` the value instead",
    "narrower": "the width of an interval decides nothing; write `inside: [low, high]`",
    "near": "write `inside: [low, high]`",
    "p_above": "a large p supports nothing; write `inside: [low, high]`, equality within a margin",
    "p_below": "write the criterion (`above: 0`) and `decide: {p: 0.05}`",
    "equals": "write `inside: [low, high]`, or a condition as the `value` of a share",
    "family": "p-values are corrected in a family: write it inside `decide: {p: 0.05, family: x}`",
    "control": "controls have a key of their own beside `checks`: `controls:`",
    "at": "it is called `read`",
    "unit": "the replicate is the seed; where every record is one, write `replicate: record` in the estimate",
    "pool": "pooling seeds is an estimator: `estimator: {kind: jackknife, pool: mean}`; a number that seeds share is `exact: true`",
    "constant": "write the number into `value`",
    "among": "choosing seeds by their outcome is not possible; make it a share, or a median that takes infinities",
    "fails": "write {not: check}: decided against",
    "holds": "write the name of the check",
    "from": "write `window: [from, to]`",
    "to": "write `window: [from, to]`",
    "resample": "nothing resamples; see `jackknife`",
    "resamples": "nothing resamples; see `jackknife`",
    "more_than": "write {at_least: k, of: ..}",
}
_MODELS = (operands, checks, model)
_TAGS = {"end", "step", "window", "crossing", "fit", "check", "all", "any", "at_least", "not", "share", "last", "str", "bool", "int",
         "float", "none", "ByP", "Against", "adjacent", "interval"}  # fmt: skip


def sentences(error: ValidationError, raw: Any, where: str, path: str) -> Iterator[str]:
    """One sentence for every fault in `raw`, the value at the key `path` of the file `where`."""
    located = [(fault, *_located(fault["loc"], raw)) for fault in error.errors()]
    for fault, keys, holder in located:
        # Of a union the branch that does not fit at all says nothing where another one went further.
        if fault["type"].endswith("_type") and any(k != keys and k[: len(keys)] == keys for _, k, _ in located):
            continue
        yield f"{where}: {'.'.join([path, *map(str, keys)])} {_reason(fault, keys, holder)}"


def _located(loc: Iterable[Any], raw: Any) -> tuple[list[Any], Any]:
    """The keys that exist in the YAML (pydantic names the parts of unions as well), and the value that holds the last."""
    keys: list[Any] = []
    here, holder = raw, raw
    for part in loc:
        if (isinstance(here, Mapping) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        ):
            keys.append(part)
            holder, here = here, here[part]
        elif isinstance(part, str) and part not in _TAGS and part not in KINDS and "[" not in part and "(" not in part:
            keys.append(part)  # a key that is missing
    return keys, holder


def _reason(fault: ErrorDetails, keys: list[Any], holder: Any) -> str:
    kind, given = fault["type"], fault["input"]
    if kind == "extra_forbidden":
        return _unknown(str(fault["loc"][-1]), holder)
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        allowed = [word.strip("'") for word in fault.get("ctx", {})["expected"].replace(" or ", ", ").split(", ")]
        return f"must be {listed(allowed)}, got {given!r}{nearest(given, allowed)}"
    if kind in ("union_tag_invalid", "union_tag_not_found") and "kind" in str(
        fault.get("ctx", {}).get("discriminator", "")
    ):
        from descent.claims.read.estimators import NAMES

        named = given.get("kind") if isinstance(given, Mapping) else given
        return f"must be one of {', '.join(NAMES)}, got {named!r}{nearest(named, NAMES)}"
    if kind == "value_error":
        text = str(fault.get("ctx", {})["error"])
        return f"must be {text}" if text.startswith("a number") else f"is wrong: {text}"
    if kind in ("reading", "rule"):
        return f"must be {fault['msg']}, got {given!r}{_advice(given)}"
    if kind == "string_pattern_mismatch":
        return f"must be a name of letters, digits and _, got {given!r}"
    return f"must be {_plain(fault['msg'])}, got {given!r}"


def _plain(text: str) -> str:
    for old, new in (("Input should be ", ""), ("a valid dictionary", "a mapping"), ("an instance of Against", "a mapping"),
                     ("a valid ", "a "), ("an object", "a mapping"), ("or instance of ", "or ")):  # fmt: skip
        text = text.replace(old, new)
    return text[:1].lower() + text[1:]


def _unknown(key: str, holder: Any) -> str:
    names = _keys(holder)
    advice = f": {GONE[key]}" if key in GONE else ""
    hint = "" if advice else nearest(key, names)
    return f"is not a key here{hint}{advice}" + (f"; allowed: {', '.join(names)}" if names else "")


def _advice(given: Any) -> str:
    found = next((k for k in given if k in GONE), None) if isinstance(given, Mapping) else None
    return f"; {GONE[found]}" if found else ""


def _keys(holder: Any) -> list[str]:
    """The keys of the model that fits `holder` best: the one with most of its keys."""
    if not isinstance(holder, Mapping):
        return []
    found: list[tuple[int, list[str]]] = []
    for module in _MODELS:
        for kind in vars(module).values():
            if (
                isinstance(kind, type)
                and issubclass(kind, BaseModel)
                and kind.model_fields
                and not issubclass(kind, Options)
            ):
                names = [f.alias or name for name, f in kind.model_fields.items()]
                found.append((sum(key in names for key in holder), names))
    if "kind" in holder:
        from descent.claims.read.estimators import MODELS

        known = MODELS.get(str(holder["kind"]))
        return list(known.model_fields) if known else []
    best = max(found, key=lambda pair: (pair[0], -len(pair[1])))
    return best[1] if best[0] else []
