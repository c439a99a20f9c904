"""Reading estimators and predicates, and refusing a predicate that does not suit its estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from descent.claims.expression import Expression, ExpressionError
from descent.claims.faults import Faults
from descent.claims.kinds import CONDITIONS, KINDS, ON, ON_INTERVAL_ONLY, ON_VECTOR, Option, gives
from descent.claims.model import Condition, Estimator, Predicate
from descent.core.errors import listed, nearest

PREDICATE_OPTIONS = ("on", "share", "slack", "is")
_UNIT_WORDS = ("below", "above", "at_most", "at_least", "inside", "near", "equals")


def read_estimator(raw: Any, path: str, faults: Faults) -> Estimator | None:
    """`{mean: t, level: 0.95}`: the kind, its variety, its options with defaults filled in."""
    if raw == "exact":
        raw = {"exact": "value"}
    if not isinstance(raw, Mapping):
        faults.add(path, f"must be a mapping such as {{mean: t}}, got {raw!r}; kinds: {', '.join(KINDS)}")
        return None
    named = [key for key in raw if key in KINDS]
    if not named:
        first = next(iter(raw), None)
        faults.add(path, f"names no estimator, got {first!r}{nearest(first, KINDS)}; kinds: {', '.join(KINDS)}")
        return None
    if len(named) > 1:
        faults.add(path, f"names {len(named)} estimators, {listed(named)}; keep one")
    kind = named[0]
    card, variety = KINDS[kind], raw[kind]
    if variety not in card.varieties:
        faults.add(
            f"{path}.{kind}", f"must be {listed(card.varieties)}, got {variety!r}{nearest(variety, card.varieties)}"
        )
        return None
    given = faults.mapping(raw, path, (kind, *card.options))
    options = {}
    for name, option in card.options.items():
        if name in given:
            options[name] = _option(given[name], f"{path}.{name}", option, faults)
        else:
            options[name] = option.default
    if kind == "tost" and "margin" not in given:
        faults.add(f"{path}.margin", "is missing: the half-width of the margin, or [low, high]")
    if kind == "fraction" and "that" not in given:
        faults.add(f"{path}.that", "is missing: the condition on a unit, e.g. {below: 0.15}")
    if kind == "functional" and isinstance(options.get("resample"), Mapping) and options.get("of") != "mean":
        faults.add(f"{path}.resample", "with pairs needs `of: mean`")
    if (
        kind == "functional"
        and options.get("eligible") is not None
        and (options.get("of") not in ("mean", "median") or not options.get("paired") or options.get("resample"))
    ):
        faults.add(f"{path}.eligible", "needs `of: mean` or `of: median`, paired units and no `resample`")
    if card.roles:
        options["roles"] = card.roles[variety]
    return Estimator(kind, variety, options)


def _option(value: Any, path: str, option: Option, faults: Faults) -> Any:
    match option.kind:
        case "word":
            return faults.choice(value, path, option.choices)
        case "flag":
            if not isinstance(value, bool):
                faults.add(path, f"must be true or false, got {value!r}")
            return value
        case "count":
            if isinstance(value, bool) or not isinstance(value, int) or not option.low < value < option.high:
                faults.add(path, f"must be a whole number from {option.low + 1} to {option.high - 1}, got {value!r}")
            return value
        case "expression":
            return _expression(value, path, faults)
        case "groups":
            if not isinstance(value, list) or len(value) != 2:
                faults.add(path, f"must list the two samples, got {value!r}")
                return None
            groups = tuple(_expression(text, path, faults) for text in value)
            return None if None in groups else groups
        case "condition":
            return _conditions(value, path, faults, _UNIT_WORDS)
        case "margin":
            return _margin(value, path, faults)
        case "resample":
            return _resample(value, path, faults)
    return faults.number(value, path, option.low, option.high)


def _expression(value: Any, path: str, faults: Faults) -> Expression | None:
    try:
        return Expression(value)
    except ExpressionError as fault:
        faults.add(path, f"cannot be read: {fault}")
        return None


def _margin(value: Any, path: str, faults: Faults) -> tuple[float, float] | None:
    if isinstance(value, list):
        numbers = [faults.number(v, path) for v in value]
        if len(numbers) == 2 and None not in numbers and numbers[0] < numbers[1]:
            return (numbers[0], numbers[1])
    else:
        number = faults.number(value, path)
        if number is not None and number > 0:
            return (-number, number)
    faults.add(path, f"must be a positive half-width or [low, high], got {value!r}")
    return None


def _resample(value: Any, path: str, faults: Faults) -> Any:
    if isinstance(value, str):
        return value
    pairs = value.get("pairs") if isinstance(value, Mapping) and len(value) == 1 else None
    if isinstance(pairs, list) and len(pairs) == 2 and all(isinstance(column, str) for column in pairs):
        return {"pairs": tuple(pairs)}
    faults.add(path, f"must be a unit column or {{pairs: [column, column]}}, got {value!r}")
    return None


# -- predicates -------------------------------------------------------------------------------------------------------


def spelled(raw: Any) -> Any:
    """`raw` with the key `on` restored: YAML 1.1 reads a bare `on:` as true, and JSON writes that as a text."""
    if not isinstance(raw, Mapping):
        return raw
    return {("on" if key is True or key == "true" else key): value for key, value in raw.items()}


def read_predicate(raw: Any, path: str, estimator: Estimator | None, faults: Faults) -> Predicate | None:
    """`{below: 0.5, on: interval}`; checked against what the estimator gives."""
    if not isinstance(raw, Mapping):
        faults.add(path, f"must be a mapping such as {{below: 0.5}}, got {raw!r}; words: {', '.join(CONDITIONS)}")
        return None
    conditions = _conditions({k: v for k, v in raw.items() if k not in PREDICATE_OPTIONS}, path, faults, CONDITIONS)
    share, slack, best = raw.get("share"), raw.get("slack", 1.0), raw.get("is", "highest")
    on = raw.get("on")
    if on is not None:
        faults.choice(on, f"{path}.on", ON)
    on_p = any(c.word.startswith("p_") for c in conditions)
    if on is None:
        on = "p" if on_p else _default_on(estimator)
    if estimator is not None and on in ON:
        allowed = gives(estimator.kind, estimator.variety)
        if on not in allowed:
            faults.add(path, f"looks at `{on}`, which {{{estimator.kind}: {estimator.variety}}} does not give; "
                       f"it gives {listed(allowed)}")  # fmt: skip
    _words_suit(conditions, on, path, faults)
    if on == "fraction":
        share = faults.number(share, f"{path}.share", 0, 1.000001) if share is not None else None
        if share is None:
            faults.add(f"{path}.share", "is missing: the share of units, e.g. 0.8")
    elif share is not None:
        faults.add(f"{path}.share", "needs `on: fraction`")
    slack = faults.number(slack, f"{path}.slack") or 1.0
    if slack < 1 or (slack != 1 and not any(c.word == "ordered" for c in conditions)):
        faults.add(f"{path}.slack", f"must be a factor of at least 1 beside `ordered`, got {raw.get('slack')!r}")
    faults.choice(best, f"{path}.is", ("highest", "lowest"))
    return Predicate(conditions, on, share, slack, best)


def _default_on(estimator: Estimator | None) -> str:
    if estimator is None:
        return "interval"
    allowed = gives(estimator.kind, estimator.variety)
    return next((on for on in allowed if on != "p"), "p")


def _words_suit(conditions: tuple[Condition, ...], on: str, path: str, faults: Faults) -> None:
    for condition in conditions:
        word = condition.word
        if word.startswith("p_") != (on == "p"):
            faults.add(
                f"{path}.{word}", f"cannot look at `{on}`; p_below and p_above look at `p`, and nothing else does"
            )
        elif word in ON_INTERVAL_ONLY and on != "interval":
            faults.add(f"{path}.{word}", f"looks at an interval, not at `{on}`")
        elif word in ON_VECTOR and on not in ("interval", "estimate", "every_unit", "fraction"):
            faults.add(f"{path}.{word}", f"looks at the interval, the estimate or every unit, not at `{on}`")


def _conditions(raw: Any, path: str, faults: Faults, allowed: Any) -> tuple[Condition, ...]:
    raw = faults.mapping(raw, path, (*allowed, *(PREDICATE_OPTIONS if allowed is CONDITIONS else ())))
    read = [_condition(word, value, f"{path}.{word}", faults) for word, value in raw.items()]
    if not raw:
        faults.add(path, f"states no condition; words: {', '.join(allowed)}")
    return tuple(condition for condition in read if condition is not None)


def _condition(word: str, value: Any, path: str, faults: Faults) -> Condition | None:
    match CONDITIONS[word][0]:
        case "number":
            number = faults.number(value, path)
            return None if number is None else Condition(word, (number,))
        case "level":
            number = faults.number(value, path, 0, 1)
            return None if number is None else Condition(word, (number,))
        case "pair":
            numbers = [faults.number(v, path) for v in value] if isinstance(value, list) else []
            if len(numbers) != 2 or None in numbers or numbers[0] > numbers[1]:
                faults.add(path, f"must be [low, high], got {value!r}")
                return None
            return Condition(word, tuple(numbers))
        case "near":
            return _near(value, path, faults)
        case "order":
            return Condition(word, name=faults.choice(value, path, ("ascending", "descending")))
    if not isinstance(value, (str, int, float)):
        faults.add(path, f"must be the name of a label, got {value!r}")
        return None
    return Condition(word, name=str(value))


def _near(value: Any, path: str, faults: Faults) -> Condition | None:
    raw = faults.mapping(value, path, ("ref", "tol", "within"), ("ref",))
    if ("tol" in raw) == ("within" in raw):
        faults.add(path, "needs one of tol (absolute) and within (relative to ref)")
        return None
    numbers = {key: faults.number(item, f"{path}.{key}") for key, item in raw.items()}
    if None in numbers.values() or "ref" not in numbers:
        return None
    half = numbers["tol"] if "tol" in numbers else numbers["within"] * abs(numbers["ref"])
    if half < 0:
        faults.add(path, f"needs a width that is not negative, got {value!r}")
        return None
    return Condition("near", (numbers["ref"] - half, numbers["ref"] + half))
