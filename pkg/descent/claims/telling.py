"""From a judged claim to its result: the headline, the reason, what limits the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from descent.claims.check_results import check_result, estimate_result, margin, worst
from descent.claims.decide.logic import FOR
from descent.claims.decide.made import Made
from descent.claims.decide.verdict import SMOKE, Judged
from descent.claims.read.claim import signs
from descent.claims.results import CheckResult, ClaimResult
from descent.claims.rule_words import rule_results


def result(slug: str, scale: str, judged: Judged) -> ClaimResult:
    """The ClaimResult of the first draw."""
    claim, model = judged.claim, judged.claim.model
    looked = tuple(check_result(one, judged) for one in judged.looks)
    head = _headline(judged, looked)
    checks = (*looked, *_unlooked(judged))
    return ClaimResult(
        paper=slug, claim=claim.name, origin=model.origin, verdict=judged.word(), statement=model.statement, scale=scale,
        reason=_reason(judged, head, looked), headline=head, checks=checks,
        estimates=tuple(estimate_result(made, part) for mades in judged.made.values() for made in mades for part in made.parts or (None,)),
        rules=rule_results(judged), scope=_scope(judged), provisional=model.provisional, tag=model.tag, source=model.source,
        paper_value=model.paper_value, figure=model.figure, note=model.note, experiments=claim.experiments(),
    )  # fmt: skip


def _headline(judged: Judged, checks: Sequence[CheckResult]) -> CheckResult | None:
    """The worst instance of the headline check; of a claim that is only reported, the first of its estimate."""
    model = judged.claim.model
    if model.origin == "report-only":
        own = [
            c
            for c, one in zip(checks, judged.looks, strict=True)
            if one.item.estimate in model.headlines and not one.lost
        ]
        if own:
            return own[0]
        made = next((m for name in model.headlines for m in judged.made.get(name, ()) if m.parts), None)
        return _reported(made, judged, 0) if made is not None else None
    order = {"against": 0, "open": 1, "for": 2, SMOKE: 3, "not run": 4, "untested": 5}
    pairs = [
        (one, c)
        for one, c in zip(judged.looks, checks, strict=True)
        if one.kind == "check" and one.name in model.headlines
    ]
    if not pairs:
        return None
    return min(pairs, key=lambda p: (order[p[1].outcome], margin(p[0], worst(p[0])) if p[0].made.parts else 0.0))[1]


def _unlooked(judged: Judged) -> list[CheckResult]:
    """Estimates that nothing looks at: numbers that are only reported."""
    names = {one.item.estimate for one in judged.looks}
    own = [made for name, mades in judged.made.items() if name not in names for made in mades if made.parts]
    return [_reported(made, judged, i) for made in own for i in range(len(made.parts))]


def _reported(made: Made, judged: Judged, part: int) -> CheckResult:
    e = estimate_result(made, made.parts[part])
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
    rules = judged.claim.model.rules
    if rules is not None and judged.word() not in ("reproduced", "verified"):
        asked = {name for name, _ in signs(rules.reproduced, True)}
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
