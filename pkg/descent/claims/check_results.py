"""Estimates and checks of a judged claim as results: the numbers of the first draw, roles, effects, sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from descent.claims import quantities as words
from descent.claims.decide.criteria import SIDES
from descent.claims.decide.logic import AGAINST, FOR, OPEN, WORDS
from descent.claims.decide.looked import Look
from descent.claims.decide.made import Made, Part
from descent.claims.decide.verdict import SMOKE, Judged
from descent.claims.quantities import bounds, number
from descent.claims.results import CheckResult, EstimateResult


def estimate_result(made: Made, part: Part | None) -> EstimateResult:
    """One estimate, or one of its contrasts, as it is shown; part None: it is not run."""
    q = made.quantity
    label = part.label if part else ""
    base: dict[str, Any] = {
        "id": made.id + (f": {label}" if label else ""), "name": q.name, "where": dict(q.where), "contrast": label,
        "quantity": words.quantity(q, label), "short": words.short(q, label), "estimator": q.kind.words(q.options),
        "scale": q.model.scale, "experiment": ", ".join(dict.fromkeys(o.experiment for o in q.model.operands.values())),
        "exact": q.kind.decides == "exact", "identity": q.identity, "not_run": made.lost,
    }  # fmt: skip
    if part is None:
        return EstimateResult(**base)
    e, counts = part.estimate, {name: int(count[0]) for name, count in part.sample.counts.items()}
    low, high, paper = _number(e.low), _number(e.high), q.model.paper
    inside = None if paper is None or low is None or high is None else bool(low <= paper <= high)
    return EstimateResult(
        **base, value=_number(e.value), low=low, high=high, level=e.level, used=int(e.n[0]), planned=e.planned, unit=e.noun,
        missing=counts["missing"], censored=counts["censored"], diverged=counts["diverged"], undefined=counts["undefined"],
        cap=_number(e.cap) if e.cap is not None else None, why=part.why_not(), paper=paper, paper_inside=inside,
    )  # fmt: skip


def _number(array: np.ndarray) -> float | None:
    value = float(array[0])
    return None if np.isnan(value) else value


# -- checks ----------------------------------------------------------------------------------------------------------


def _role(one: Look, roles: Mapping[str, str]) -> str:
    if one.kind == "check":
        return roles.get(one.name, "for")
    return {"control": "control", "alternative": "alternative"}.get(one.kind, "reported")


def _effect(role: str, outcome: str) -> str:
    if role in ("reported", "alternative") or outcome not in ("for", "against", "open"):
        return "none"
    if outcome == "open":
        return "open"
    return "supports" if (outcome == "for") == (role != "against") else "opposes"


def check_result(one: Look, judged: Judged) -> CheckResult:
    """One instance of a check as it is shown."""
    role, smoke = _role(one, judged.claim.roles()), judged.state == SMOKE
    q = one.made.quantity
    if one.untested:
        outcome = "untested"
    elif one.lost:
        outcome = "not run"
    elif smoke:
        outcome = SMOKE
    else:
        outcome = "reported" if one.outcome is None else WORDS[int(one.outcome[0])]
    base = {
        "check": one.name, "instance": q.label, "where": dict(q.where), "role": role, "outcome": outcome,
        "effect": _effect(role, outcome), "criterion": words.criterion(*one.item.criterion) if one.item.criterion else "",
        "bounds": bounds(one.criterion()[1]) if one.item.criterion else (), "family": one.family, "note": one.item.note,
        "estimator": q.kind.words(q.options), "decider": _decider(one), "instead_of": getattr(one.item, "instead_of", None),
        "experiment": ", ".join(dict.fromkeys(o.experiment for o in q.model.operands.values())),
    }  # fmt: skip
    if one.lost or one.untested:
        why = one.lost or f"tested at scale {' and '.join(one.item.scales or ())} only"
        return CheckResult(
            **base, estimate_id=one.made.id, quantity=words.quantity(q), short=words.short(q), reason=why
        )
    at = worst(one)
    e = estimate_result(one.made, one.made.parts[at])
    return CheckResult(
        **base, estimate_id=e.id, quantity=e.quantity, short=e.short, estimate=e.value, ci_low=e.low, ci_high=e.high,
        level=e.level, p_value=_at(one.p, at), p_adjusted=_at(one.adjusted, at), used=e.used, planned=e.planned,
        unit=e.unit, n_missing=e.missing, n_censored=e.censored, n_diverged=e.diverged, n_undefined=e.undefined,
        n_claimed=_claimed(one, at), reason="" if smoke else sentence(one, at),
        contrasts=tuple(_contrast(one, i) for i in range(len(one.made.parts))) if len(one.made.parts) > 1 else (),
    )  # fmt: skip


def _at(arrays: Sequence[np.ndarray], i: int) -> float | None:
    return float(arrays[i][0]) if i < len(arrays) else None


def _contrast(one: Look, i: int) -> dict[str, Any]:
    e = one.made.parts[i].estimate
    return {"contrast": one.made.parts[i].label, "value": _number(e.value), "low": _number(e.low), "high": _number(e.high),
            "outcome": WORDS[int(one.each[i][0])] if one.each else "reported", "p_adjusted": _at(one.adjusted, i)}  # fmt: skip


def _decider(one: Look) -> str:
    decider = one.decider
    if one.item.criterion is None:
        return ""
    if decider is None:
        return "interval" if one.made.quantity.kind.decides != "exact" else "exact value"
    return f"p < {decider.p:g}" + (f", Holm over {one.members}" if one.members > 1 else "")


def worst(one: Look) -> int:
    """Of several contrasts the one that stands most in the way."""
    return min(range(len(one.made.parts)), key=lambda i: (int(one.each[i][0]) if one.each else 0, margin(one, i)))


def margin(one: Look, i: int = 0) -> float:
    """How far the criterion is met, in half widths of the interval: the smaller, the worse."""
    if one.item.criterion is None:
        return 0.0
    (word, value), e = one.criterion(), one.made.parts[i].estimate
    low, high, side = float(e.low[0]), float(e.high[0]), SIDES[word]
    ends = bounds(value)
    room = (
        min(low - ends[0], ends[-1] - high)
        if side == "inside"
        else low - ends[0]
        if side == "above"
        else ends[0] - high
    )
    half = (high - low) / 2
    if np.isnan(room):
        return -np.inf
    return room / half if half > 0 and np.isfinite(half) else room


def _claimed(one: Look, i: int) -> int | None:
    """Seeds whose own number lies on the side of the criterion."""
    if (
        one.item.criterion is None
        or one.made.quantity.kind.takes != "seeds"
        or one.made.quantity.kind.name in ("share", "exact", "sign")
    ):
        return None
    (word, value), values = one.criterion(), one.made.parts[i].sample.numbers[0].values[0]
    ends, side = bounds(value), SIDES[word]
    with np.errstate(invalid="ignore"):
        hit = (
            (values >= ends[0]) & (values <= ends[-1])
            if side == "inside"
            else values > ends[0]
            if side == "above"
            else values < ends[0]
        )
    return int(hit.sum())


def sentence(one: Look, i: int = 0) -> str:
    """What one instance of a check says, and why."""
    part, q = one.made.parts[i], one.made.quantity
    e = part.estimate
    low, high, value = (_number(x) for x in (e.low, e.high, e.value))
    ends = bounds(one.criterion()[1]) if one.item.criterion else ()
    what = f"{part.label}: " if part.label else ""
    if why := part.why_not():
        return f"{what}{why}"
    if q.kind.decides == "exact":
        return f"{what}the value is {number(value, ends)}" + ("" if one.outcome is None else f", {_relation(one, i)}")
    if q.kind.takes == "counts":
        return f"{what}{_audit(one, i)}"
    shown = f"the {100 * e.level:.4g} % interval [{number(low, ends)}, {number(high, ends)}]"
    if one.outcome is None:
        return f"{what}{number(value)}, {shown}"
    if one.decider is not None:
        p = f"p = {_at(one.adjusted, i):.2g}" + (f" (Holm over {one.members})" if one.members > 1 else "")
        reverse = f"; the reversed test has p = {_at(one.reverse, i):.2g}" if int(one.each[i][0]) == AGAINST else ""
        return f"{what}{p} for {_criterion(one)}{reverse}"
    claimed = _claimed(one, i)
    count = f" ({claimed} of {int(e.n[0])} {e.noun}s)" if claimed is not None else ""
    return f"{what}{shown} {_relation(one, i)}{count}"


def _criterion(one: Look) -> str:
    return words.criterion(*one.criterion())


def _relation(one: Look, i: int) -> str:
    (word, value), outcome = one.criterion(), int(one.each[i][0])
    ends, side = bounds(value), SIDES[word]
    if side == "inside":
        where = f"[{ends[0]:g}, {ends[-1]:g}]"
        return {FOR: f"lies inside {where}", AGAINST: f"lies outside {where}", OPEN: f"reaches beyond {where}"}[outcome]
    other = {"above": "below", "below": "above"}[side]
    return {FOR: f"lies {side} {ends[0]:g}", AGAINST: f"lies {other} {ends[0]:g}", OPEN: f"contains {ends[0]:g}"}[
        outcome
    ]


def _audit(one: Look, i: int) -> str:
    e = one.made.parts[i].estimate
    found = (
        f"bound {number(_number(e.value))}, at most {number(_number(e.cap))} could be shown"
        if e.cap is not None
        else f"bound {number(_number(e.value))}"
    )
    if one.outcome is None or not one.adjusted:
        return found
    nominal = one.criterion()[1]
    p = f"p = {_at(one.adjusted, i):.2g} of epsilon <= {nominal:g}" + (
        f" (Holm over {one.members})" if one.members > 1 else ""
    )
    weak = " which could not have been caught" if one.word == "no_more_than" and int(one.each[i][0]) == OPEN else ""
    return f"{p}; {found}{weak}"
