"""From a judged claim to its result: numbers of the first draw, roles, reasons, the rules as sentences and trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from descent.claims import words
from descent.claims.decide import rules
from descent.claims.decide.criteria import SIDES
from descent.claims.decide.logic import AGAINST, FOR, OPEN, WORDS
from descent.claims.decide.looked import Look
from descent.claims.decide.made import Made, Part
from descent.claims.decide.verdict import SMOKE, Judged
from descent.claims.read.checks import All, AtLeast, Not
from descent.claims.read.claim import held, parts, signs
from descent.claims.results import CheckResult, ClaimResult, EstimateResult
from descent.claims.words import bounds, number


def result(slug: str, scale: str, judged: Judged) -> ClaimResult:
    """The ClaimResult of the first draw."""
    claim, model = judged.claim, judged.claim.model
    looked = tuple(_check(one, judged) for one in judged.looks)
    head = _headline(judged, looked)
    checks = (*looked, *_unlooked(judged))
    return ClaimResult(
        paper=slug, claim=claim.name, origin=model.origin, verdict=judged.word(), statement=model.statement, scale=scale,
        reason=_reason(judged, head, looked), headline=head, checks=checks,
        estimates=tuple(_estimate(made, part) for mades in judged.made.values() for made in mades for part in made.parts or (None,)),
        rules=_rules(judged), scope=_scope(judged), provisional=model.provisional, tag=model.tag, source=model.source,
        paper_value=model.paper_value, figure=model.figure, note=model.note, experiments=claim.experiments(),
    )  # fmt: skip


# -- estimates --------------------------------------------------------------------------------------------------------


def _estimate(made: Made, part: Part | None) -> EstimateResult:
    q = made.quantity
    label = part.label if part else ""
    base = {
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
        **{name: counts[name] for name in ("missing", "censored", "diverged", "undefined")},
        cap=_number(e.cap) if e.cap is not None else None, why=part.why_not(), paper=paper, paper_inside=inside,
    )  # fmt: skip


def _number(array: np.ndarray) -> float | None:
    value = float(array[0])
    return None if np.isnan(value) else value


# -- checks -----------------------------------------------------------------------------------------------------------


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


def _check(one: Look, judged: Judged) -> CheckResult:
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
        return CheckResult(**base, estimate_id=one.made.id, quantity=words.quantity(q), short=words.short(q), reason=why)
    worst = _worst(one)
    e = _estimate(one.made, one.made.parts[worst])
    return CheckResult(
        **base, estimate_id=e.id, quantity=e.quantity, short=e.short, estimate=e.value, ci_low=e.low, ci_high=e.high,
        level=e.level, p_value=_at(one.p, worst), p_adjusted=_at(one.adjusted, worst), used=e.used, planned=e.planned,
        unit=e.unit, n_missing=e.missing, n_censored=e.censored, n_diverged=e.diverged, n_undefined=e.undefined,
        n_claimed=_claimed(one, worst), reason="" if smoke else sentence(one, worst),
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


def _worst(one: Look) -> int:
    """Of several contrasts the one that stands most in the way."""
    return min(range(len(one.made.parts)), key=lambda i: (int(one.each[i][0]) if one.each else 0, margin(one, i)))


def margin(one: Look, i: int = 0) -> float:
    """How far the criterion is met, in half widths of the interval: the smaller, the worse."""
    if one.item.criterion is None:
        return 0.0
    (word, value), e = one.criterion(), one.made.parts[i].estimate
    low, high, side = float(e.low[0]), float(e.high[0]), SIDES[word]
    ends = bounds(value)
    room = min(low - ends[0], ends[-1] - high) if side == "inside" else low - ends[0] if side == "above" else ends[0] - high
    half = (high - low) / 2
    if np.isnan(room):
        return -np.inf
    return room / half if half > 0 and np.isfinite(half) else room


def _claimed(one: Look, i: int) -> int | None:
    """Seeds whose own number lies on the side of the criterion."""
    if one.item.criterion is None or one.made.quantity.kind.takes != "seeds" or one.made.quantity.kind.name in ("share", "exact", "sign"):
        return None
    (word, value), values = one.criterion(), one.made.parts[i].sample.numbers[0].values[0]
    ends, side = bounds(value), SIDES[word]
    with np.errstate(invalid="ignore"):
        hit = (values >= ends[0]) & (values <= ends[-1]) if side == "inside" else values > ends[0] if side == "above" else values < ends[0]
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
    return {FOR: f"lies {side} {ends[0]:g}", AGAINST: f"lies {other} {ends[0]:g}", OPEN: f"contains {ends[0]:g}"}[outcome]


def _audit(one: Look, i: int) -> str:
    e = one.made.parts[i].estimate
    found = f"bound {number(_number(e.value))}, at most {number(_number(e.cap))} could be shown" if e.cap is not None else f"bound {number(_number(e.value))}"
    if one.outcome is None or not one.adjusted:
        return found
    nominal = one.criterion()[1]
    p = f"p = {_at(one.adjusted, i):.2g} of epsilon <= {nominal:g}" + (f" (Holm over {one.members})" if one.members > 1 else "")
    weak = " which could not have been caught" if one.word == "no_more_than" and int(one.each[i][0]) == OPEN else ""
    return f"{p}; {found}{weak}"


# -- the claim --------------------------------------------------------------------------------------------------------


def _headline(judged: Judged, checks: Sequence[CheckResult]) -> CheckResult | None:
    """The worst instance of the headline check; of a claim that is only reported, the first of its estimate."""
    model = judged.claim.model
    if model.origin == "report-only":
        own = [c for c, one in zip(checks, judged.looks, strict=True) if one.item.estimate in model.headlines and not one.lost]
        if own:
            return own[0]
        made = next((m for name in model.headlines for m in judged.made.get(name, ()) if m.parts), None)
        return _reported(made, judged, 0) if made is not None else None
    order = {"against": 0, "open": 1, "for": 2, SMOKE: 3, "not run": 4, "untested": 5}
    pairs = [(one, c) for one, c in zip(judged.looks, checks, strict=True) if one.kind == "check" and one.name in model.headlines]
    if not pairs:
        return None
    return min(pairs, key=lambda p: (order[p[1].outcome], margin(p[0], _worst(p[0])) if p[0].made.parts else 0.0))[1]


def _unlooked(judged: Judged) -> list[CheckResult]:
    """Estimates that nothing looks at: numbers that are only reported."""
    names = {one.item.estimate for one in judged.looks}
    own = [made for name, mades in judged.made.items() if name not in names for made in mades if made.parts]
    return [_reported(made, judged, i) for made in own for i in range(len(made.parts))]


def _reported(made: Made, judged: Judged, part: int) -> CheckResult:
    e = _estimate(made, made.parts[part])
    return CheckResult(
        check=made.quantity.name, instance=made.quantity.label, where=dict(made.quantity.where), role="reported",
        outcome=SMOKE if judged.state == SMOKE else "reported", effect="none", reason=e.why, estimate_id=e.id, quantity=e.quantity,
        short=e.short, estimator=e.estimator, estimate=e.value, ci_low=e.low, ci_high=e.high, level=e.level, used=e.used,
        planned=e.planned, unit=e.unit, n_missing=e.missing, n_censored=e.censored, n_diverged=e.diverged,
        n_undefined=e.undefined, experiment=e.experiment,
    )  # fmt: skip


def _scope(judged: Judged) -> str:
    """What ran, and what did not, where a verdict is limited to a part."""
    lost = judged.lost
    if not lost or judged.state:
        return ""
    ran = dict.fromkeys(one.made.quantity.label for one in judged.headline if not one.lost and one.made.quantity.label)
    gone = dict.fromkeys(f"{one.label}: {one.lost}" for one in lost)
    on = f"on {', '.join(ran)}; " if ran else ""
    held = "reproduced " if judged.word() == "partly" else ""
    return f"{held}{on}not run: {'; '.join(gone)}"


def _reason(judged: Judged, head: CheckResult | None, checks: Sequence[CheckResult]) -> str:
    """The headline's sentence, then what stands in the way of a better verdict."""
    if judged.state in ("not run", SMOKE):
        return judged.why
    said = [f"{head.instance}: {head.reason}" if head.instance else head.reason] if head and head.reason else []
    if judged.state:
        return "; ".join(said)
    if judged.gate is not None and judged.gate[0] != FOR:
        bad = [c for c in checks if c.role == "control" and c.outcome not in ("for", "untested")]
        named = "; ".join(f"{_name(c)} is {_state(c)}: {c.reason}" for c in bad)
        return f"a control does not hold, so the other checks prove nothing ({named})"
    if judged.at_least is not None and judged.at_least[0]:
        said.insert(0, "at least partly")
    if judged.word() not in ("reproduced", "verified"):
        asked = {name for name, _ in signs(judged.claim.model.rules.reproduced, True)}
        open_ = [c for c in checks if c is not head and c.check in asked and c.outcome in ("against", "open")]
        said += [f"{_name(c)} is {_state(c)}: {c.reason}" for c in open_[:3]]
        if len(open_) > 3:
            said.append(f"and {len(open_) - 3} more checks are not decided for the claim")
    if scope := _scope(judged):
        said.append(scope)
    return "; ".join(said)


def _name(check: CheckResult) -> str:
    return f"{check.check} ({check.instance})" if check.instance else check.check


def _state(check: CheckResult) -> str:
    return {"against": "decided against", "open": "open", "not run": "not run"}.get(check.outcome, check.outcome)


# -- rules ------------------------------------------------------------------------------------------------------------


def _rules(judged: Judged) -> dict[str, Any]:
    model = judged.claim.model
    if model.rules is None:
        return {}
    found = {}
    for word in ("reproduced", "partly", "not_reproduced"):
        rule = getattr(model.rules, word)
        if rule is not None:
            tree = _tree(rule, judged, word != "not_reproduced" and bool(judged.lost))
            found[word] = {"sentence": rule_words(rule), "tree": tree, "outcome": tree["outcome"]}
    return found


def _tree(rule: Any, judged: Judged, forgive: bool) -> dict[str, Any]:
    """The rule as a tree, each node with its outcome (true, false, open, none)."""
    outcome = rules.value(rule, judged.looks, 1, forgive=forgive) if judged.verdict is not None and len(judged.verdict) == 1 else None
    said = {None: "none", FOR: "true", AGAINST: "false", OPEN: "open"}[None if outcome is None else int(outcome[0])]
    if isinstance(rule, str):
        return {"check": rule, "outcome": said, "role": judged.claim.roles().get(rule, "for")}
    if isinstance(rule, Not):
        return {"word": "not", "outcome": said, "parts": [_tree(rule.not_, judged, forgive)]}
    word = "all" if isinstance(rule, All) else "at least" if isinstance(rule, AtLeast) else "any"
    node = {"word": word, "outcome": said, "each": rule.each, "count": getattr(rule, "at_least", None)}
    return {**node, "parts": [_tree(part, judged, forgive) for part in parts(rule)]}


def rule_words(rule: Any) -> str:
    """A rule as a sentence: `flatter and falls`, `at least 3 instances of gap`, `flatter decided against`."""
    if isinstance(rule, str):
        return rule
    if isinstance(rule, Not):
        return f"{rule.not_} decided against" if isinstance(rule.not_, str) else f"not ({rule_words(rule.not_)})"
    count = f"at least {rule.at_least}" if isinstance(rule, AtLeast) else "every" if isinstance(rule, All) else "some"
    inside = held(rule)
    if rule.each is not None:
        return f"for {count} {words.spoken(rule.each)}: {rule_words(inside)}"
    if isinstance(inside, str):
        return f"{inside} at {count} instance{'s' if isinstance(rule, AtLeast) and rule.at_least > 1 else ''}"
    if not isinstance(inside, list):
        many = isinstance(inside, Not) and isinstance(inside.not_, str)
        return f"{rule_words(inside)} at {count} instance{'s' if count[:2] == 'at' and rule.at_least > 1 else ''}" if many else rule_words(inside)
    said = [f"({text})" if (" and " in text or " or " in text) and len(inside) > 1 else text for text in map(rule_words, inside)]
    if isinstance(rule, AtLeast):
        return f"at least {rule.at_least} of: {', '.join(said)}"
    return (" and " if isinstance(rule, All) else " or ").join(said)
