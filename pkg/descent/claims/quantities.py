"""What a number is, in words made from the claim itself; criteria, outcomes and reasons as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from descent.claims.read.claim import Quantity
from descent.claims.read.operands import Crossing, Fit, Operand, Window

SHORT = 48  # characters of the few words beside a number on the front page


def number(value: float | None, beside: Iterable[float] = ()) -> str:
    """A number with 4 significant digits, more where fewer would put it on the other side of a number beside it."""
    if value is None or math.isnan(value):
        return "none"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = ""
    for digits in range(4, 16):
        text = f"{value:.{digits}g}"
        if all((float(text) > b) == (value > b) and (float(text) < b) == (value < b) for b in beside):
            break
    return text


def bounds(value: Any) -> tuple[float, ...]:
    """The numbers in a criterion."""
    if isinstance(value, (list, tuple)):
        return tuple(map(float, value))
    return (float(value),) if isinstance(value, (int, float)) else ()


def criterion(word: str, value: Any) -> str:
    """`< 0.8`, `in [0.9, 1.1]`, `ascending`, `finds epsilon > 3`."""
    signs = {"below": "<", "above": ">", "at_most": "<=", "at_least": ">="}
    if word in signs:
        return f"{signs[word]} {value:g}"
    if word == "inside":
        return f"in [{value[0]:g}, {value[1]:g}]"
    if word == "more_than":
        return f"finds epsilon > {value:g}"
    if word == "no_more_than":
        return f"finds no epsilon > {value:g}"
    return str(value)


# -- quantities -------------------------------------------------------------------------------------------------------


def quantity(q: Quantity, label: str = "") -> str:
    """The statistic and each operand with its experiment, method, setting, metric and reading."""
    said = {name: operand(o) for name, o in q.model.operands.items()}
    if len(said) == 1 and [e.text for e in q.value.values()] in ([next(iter(said))], []):
        return " ".join(next(iter(said.values())))
    heads = [f"{name} is {head}" for name, (head, _) in said.items()]
    tails = {tail for _, tail in said.values()}
    if len(said) > 2 and len(tails) == 1:
        return f"{formula(q, label)}, where {', '.join(heads)}, each {tails.pop()}"
    return f"{formula(q, label)}, where {'; '.join(f'{name} is {head} {tail}' for name, (head, tail) in said.items())}"


def formula(q: Quantity, label: str = "") -> str:
    """The arithmetic: `zo / gd`, `small over large`, `distance of a and b`."""
    if q.kind.takes == "two":
        return f"distance of the laws of {' and '.join(q.model.operands)}"
    if q.kind.takes == "counts":
        return "epsilon that the audit shows"
    if label:
        rest = (
            f", each {', '.join(f'{k} = {e.text}' for k, e in q.value.items() if k and e.text != k)}"
            if len(q.value) > 1
            else ""
        )
        one = next(iter(q.value.values()))
        return f"{label}{rest if rest != ', each ' else ''}" if len(q.value) > 1 else f"{one.text}, {label}"
    return next(iter(q.value.values())).text


def short(q: Quantity, label: str = "") -> str:
    """Three or four words of what a number is: those that the claim gives, or the arithmetic and its metric."""
    if q.model.words:
        return f"{q.model.words}, {label}" if label and len(q.model.words) + len(label) < SHORT - 1 else q.model.words
    metrics = list(dict.fromkeys(o.metric for o in q.model.operands.values()))
    metric = f" of {spoken(metrics[0])}" if len(metrics) == 1 else ""
    text = formula(q, label)
    if text in q.model.operands:
        one = q.model.operands[text]
        text, metric = spoken(one.metric), ""
        if isinstance(one.read, Fit):
            text = f"{one.read.give} of the fit to {text}"
    if q.kind.takes == "counts":
        metric = ""
    words = f"{text}{metric}"
    return (
        words if len(words) <= SHORT else text if len(text) <= SHORT else text[: SHORT - 4].rsplit(" ", 1)[0] + " ..."
    )


def spoken(name: str) -> str:
    """A name of the configuration as it is said."""
    return name.replace("_", " ")


def operand(o: Operand) -> tuple[str, str]:
    """What is read and of what: `trace`, `of zo (smoothing 0.1), last record, in toy`."""
    fixed = {**o.where, **{axis: values for axis, values in o.across.items()}}
    method = o.method or fixed.pop("method", None)
    inside = ", ".join(f"{spoken(axis)} {_listed(value)}" for axis, value in fixed.items())
    head, of = spoken(o.metric), f"of {_listed(method)}{f' ({inside})' if inside else ''}"
    if o.status:
        head, of = f"whether the {head}", f"{of} is {o.status}"
    parts = [of, reading(o)]
    if o.smooth is not None:
        width = f"{o.smooth.window} records" if o.smooth.of is None else f"{o.smooth.span:g} {spoken(o.smooth.of)}"
        parts.append(f"smoothed over {width}")
    parts += [f"{status} taken as {value:g}" for status, value in o.substitute.items()]
    return head, ", ".join(filter(None, [*parts, f"in {o.experiment}"]))


def reading(o: Operand) -> str:
    """How the run of one seed becomes one number."""
    how = o.read
    if how in ("last", "first"):
        return f"{how} record"
    if how == "all":
        return "every record"
    if isinstance(how, int):
        return f"at step {how}"
    if isinstance(how, Window):
        where = "over the whole run" if how.window == "all" else _part(how.window)
        weights = f" weighted by {spoken(how.weights)}" if how.weights else ""
        return f"{'area under the curve' if how.reduce == 'auc' else how.reduce}{weights} {where}"
    if isinstance(how, Crossing):
        level, side = (how.first_below, "at most") if how.first_below is not None else (how.first_above, "at least")
        level = f"{level:g}" if isinstance(level, (int, float)) else str(level)
        watched = f"the {spoken(how.watch)}" if how.watch else "it"
        within = f" ({_part(how.window)})" if how.window else ""
        return f"{'first step' if how.give == 'step' else 'at the first step'} at which {watched} is {side} {level}{within}"
    assert isinstance(how, Fit)
    cut = [f"between {how.between[0]:g} and {how.between[1]:g} of the start" if how.between else "",
           f"above {how.above:g}" if how.above is not None else "", f"last {how.last} points" if how.last else "",
           _part(how.window) if how.window else ""]  # fmt: skip
    cut = [c for c in cut if c]
    return f"{how.give} of a {how.fit} fit against the step{f' ({chr(44).join(cut)})' if cut else ''}"


def _part(window: list[Any]) -> str:
    def end(bound: Any) -> str:
        return (
            "the last step"
            if bound == "last"
            else f"{bound:.4g} of the run"
            if isinstance(bound, float)
            else f"step {bound}"
        )

    return f"from {end(window[0])} to {end(window[1])}"


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
