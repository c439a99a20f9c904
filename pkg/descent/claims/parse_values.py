"""Reading the operands of a check: which records, and how a unit's series becomes one number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from descent.claims.expression import Expression, ExpressionError
from descent.claims.faults import Faults
from descent.claims.kinds import POOLS, REDUCES
from descent.claims.model import Operand, Reading, Smooth
from descent.claims.table import RANKS

OPERAND_KEYS = (
    "experiment", "method", "where", "metric", "unit", "at", "smooth", "across", "pool", "is", "substitute",
)  # fmt: skip
_EXPONENT = re.compile(r"[+-]?\d+[eE][+-]?\d+\Z")
_WINDOW = ("from", "to", "every", "reduce", "weights")
_CROSSING = ("watch", "give", "never", "from", "to")
_FIT = ("fit", "between", "above", "last", "from", "to", "give")
_AT = "last, first, a step, {from, to, reduce}, {first_below: x}, {first_above: x} or {fit: semilog, give: slope}"


def read_operand(raw: Any, path: str, faults: Faults, unit: Any) -> Operand:
    """One operand. unit: the check's own `unit`, used where the operand has none."""
    if isinstance(raw, (int, float)) and not isinstance(raw, bool):
        return Operand(constant=float(raw), unit=())
    if isinstance(raw, Mapping):  # `method: null` takes back what a YAML merge brought in
        raw = {key: value for key, value in raw.items() if value is not None}
    raw = faults.mapping(raw, path, OPERAND_KEYS, ("experiment", "metric"))
    for key in ("experiment", "metric", "method"):
        if key in raw and not isinstance(raw[key], str):
            faults.add(f"{path}.{key}", f"must be a name, got {raw[key]!r}")
    where = faults.mapping(raw.get("where", {}), f"{path}.where")
    if "method" in where and "method" in raw:
        faults.add(f"{path}.where.method", "is given twice: `method` stands beside it")
    for axis, value in where.items():
        _no_number_as_text(value, f"{path}.where.{axis}", faults)
    across = _across(raw.get("across", {}), f"{path}.across", faults)
    for axis in across:
        if axis in where or (axis == "method" and "method" in raw):
            faults.add(f"{path}.across.{axis}", "is fixed as well; give it once")
    pool, status = raw.get("pool"), raw.get("is")
    if pool is not None:
        faults.choice(pool, f"{path}.pool", POOLS)
    if status is not None:
        faults.choice(status, f"{path}.is", RANKS)
    return Operand(
        experiment=str(raw.get("experiment", "")), metric=str(raw.get("metric", "")), method=raw.get("method"),
        where=where, unit=_unit(raw.get("unit", unit), f"{path}.unit", faults),
        at=_reading(raw.get("at", "last"), f"{path}.at", faults),
        smooth=_smooth(raw.get("smooth"), f"{path}.smooth", faults), across=across, pool=pool, status=status,
        substitute=read_substitute(raw.get("substitute"), f"{path}.substitute", faults),
    )  # fmt: skip


def read_substitute(raw: Any, path: str, faults: Faults) -> dict[str, float]:
    """`substitute`: a number for every reading that is not ok, or {status: number}."""
    if raw is None:
        return {}
    bad = [status for status in RANKS if status != "ok"]
    if not isinstance(raw, Mapping):
        number = faults.number(raw, path)
        return {} if number is None else dict.fromkeys(bad, number)
    items = faults.mapping(raw, path, bad)
    numbers = {status: faults.number(value, f"{path}.{status}") for status, value in items.items()}
    return {status: number for status, number in numbers.items() if number is not None}


def read_scalar_map(raw: Any, path: str, allowed: tuple[str, ...], faults: Faults, required: tuple = ()) -> dict:
    """A mapping of known keys."""
    return faults.mapping(raw, path, allowed, required)


def _unit(raw: Any, path: str, faults: Faults) -> tuple[str, ...]:
    if raw is None or raw in ("none", []):
        return ()
    unit = [raw] if isinstance(raw, str) else raw
    if not isinstance(unit, list) or not all(isinstance(column, str) for column in unit) or len(set(unit)) < len(unit):
        faults.add(path, f"must be a column such as seed, a list of different columns, or none, got {raw!r}")
        return ("seed",)
    return tuple(unit)


def _across(raw: Any, path: str, faults: Faults) -> dict[str, tuple]:
    across = {}
    for axis, values in faults.mapping(raw, path).items():
        if not isinstance(values, list) or not values:
            faults.add(f"{path}.{axis}", f"must be the list of values along this axis, got {values!r}")
        elif len({repr(value) for value in values}) < len(values):
            faults.add(f"{path}.{axis}", f"lists a value twice: {values!r}")
        else:
            _no_number_as_text(values, f"{path}.{axis}", faults)
            across[str(axis)] = tuple(values)
    return across


def _no_number_as_text(values: Any, path: str, faults: Faults) -> None:
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, str) and _EXPONENT.match(value):
            faults.add(path, f"is text, {value!r}, since YAML wants a point in such a number: write 1.0e-4, not 1e-4")


def _smooth(raw: Any, path: str, faults: Faults) -> Smooth | None:
    if raw is None:
        return None
    if isinstance(raw, int) and not isinstance(raw, bool):
        if raw < 1:
            faults.add(path, f"must be at least 1 record, got {raw}")
        return Smooth(window=raw)
    raw = faults.mapping(raw, path, ("span", "of"), ("span", "of"))
    span = faults.number(raw.get("span", 1), f"{path}.span")
    if span is not None and span <= 0:
        faults.add(f"{path}.span", f"must be positive, got {span:g}")
    return Smooth(span=span, of=str(raw.get("of")))


# -- at ---------------------------------------------------------------------------------------------------------------


def _reading(raw: Any, path: str, faults: Faults) -> Reading:
    if raw in ("last", "first"):
        return Reading(kind=raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return Reading(kind="step", step=raw)
    if not isinstance(raw, Mapping):
        faults.add(path, f"must be {_AT}, got {raw!r}")
        return Reading()
    if "first_below" in raw or "first_above" in raw:
        return _crossing(raw, path, faults)
    if "fit" in raw:
        return _fit(raw, path, faults)
    if "reduce" in raw:
        return _window(raw, path, faults)
    faults.mapping(raw, path, ("from", "to", "every", "reduce", "weights", "first_below", "first_above", "fit"))
    faults.add(path, f"must be {_AT}, got {dict(raw)!r}")
    return Reading()


def _window(raw: Mapping, path: str, faults: Faults) -> Reading:
    raw = faults.mapping(raw, path, _WINDOW)
    reduce = faults.choice(raw.get("reduce"), f"{path}.reduce", REDUCES)
    weights = faults.text(raw.get("weights"), f"{path}.weights")
    if weights and reduce != "mean":
        faults.add(f"{path}.weights", f"needs `reduce: mean`, got {reduce!r}")
    every = raw.get("every")
    if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
        faults.add(f"{path}.every", f"must be a number of steps from 1, got {every!r}")
        every = None
    return Reading("window", reduce=reduce, weights=weights, every=every, **_limits(raw, path, faults))


def _crossing(raw: Mapping, path: str, faults: Faults) -> Reading:
    direction = "below" if "first_below" in raw else "above"
    if "first_below" in raw and "first_above" in raw:
        faults.add(path, "has both first_below and first_above; keep one")
    raw = faults.mapping(raw, path, ("first_below", "first_above", *_CROSSING))
    level = raw.get(f"first_{direction}")
    threshold = None
    if isinstance(level, bool) or not isinstance(level, (int, float, str)):
        faults.add(f"{path}.first_{direction}", f"must be a number or an expression of other operands, got {level!r}")
    else:
        try:
            threshold = Expression(level)
        except ExpressionError as fault:
            faults.add(f"{path}.first_{direction}", f"cannot be read: {fault}")
    give = faults.choice(raw.get("give", "step"), f"{path}.give", ("step", "value"))
    never = raw.get("never", "censored" if give == "step" else "undefined")
    return Reading(
        "crossing", direction=direction, threshold=threshold, give=give,
        watch=faults.text(raw.get("watch"), f"{path}.watch"),
        never=faults.choice(never, f"{path}.never", ("censored", "undefined")), **_limits(raw, path, faults),
    )  # fmt: skip


def _fit(raw: Mapping, path: str, faults: Faults) -> Reading:
    raw = faults.mapping(raw, path, _FIT)
    fit = faults.choice(raw["fit"], f"{path}.fit", ("linear", "semilog", "loglog"))
    give = faults.choice(raw.get("give", "slope"), f"{path}.give", ("slope", "intercept", "factor", "r2", "points"))
    if give == "factor" and fit != "semilog":
        faults.add(f"{path}.give", "factor (exp of the slope) needs `fit: semilog`")
    between = raw.get("between")
    if between is not None:
        numbers = [faults.number(v, f"{path}.between") for v in between] if isinstance(between, list) else []
        if len(numbers) != 2 or None in numbers or numbers[0] <= numbers[1]:
            faults.add(f"{path}.between", f"must be [high, low] as fractions of the start, got {between!r}")
            between = None
        else:
            between = (numbers[0], numbers[1])
    last = raw.get("last")
    if last is not None and (not isinstance(last, int) or isinstance(last, bool) or last < 3):
        faults.add(f"{path}.last", f"must be at least 3 points, got {last!r}")
        last = None
    above = faults.number(raw["above"], f"{path}.above") if "above" in raw else None
    return Reading("fit", fit=fit, give=give, between=between, above=above, last=last, **_limits(raw, path, faults))


def _limits(raw: Mapping, path: str, faults: Faults) -> dict[str, Any]:
    """`from` and `to`: whole numbers are steps, numbers with a point are fractions of the run."""
    limits = {}
    for key, name in (("from", "start"), ("to", "stop")):
        value = raw.get(key)
        if value in (None, "last", "first"):
            if (key, value) in (("from", "last"), ("to", "first")):
                faults.add(f"{path}.{key}", f"cannot be `{value}`")
            value = None
        elif isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            faults.add(f"{path}.{key}", f"must be a step (whole number) or a fraction of the run, got {value!r}")
            value = None
        elif isinstance(value, float) and value > 1:
            faults.add(f"{path}.{key}", f"must be a fraction from 0.0 to 1.0 or a whole step, got {value!r}")
            value = None
        limits[name] = value
    return limits
