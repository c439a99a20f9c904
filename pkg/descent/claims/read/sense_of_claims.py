"""What may not decide: faults between the parts of a claim. Each sentence says what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from descent.claims.read.checks import AtLeast, ByP, Check, Comparison, Not, Rules
from descent.claims.read.claim import TypedClaim, chosen, held, parts, signs
from descent.claims.read.model import Against
from descent.claims.read.sense import Fault
from descent.core.errors import nearest


def faults_of_claim(claim: TypedClaim) -> Iterator[Fault]:
    """Faults between the parts of one claim."""
    m = claim.model
    groups = {"checks": m.checks, "controls": m.controls, "comparisons": m.comparisons, "alternatives": m.alternatives}
    for group, items in groups.items():
        for name, item in items.items():
            yield from _check(f"{group}.{name}", item, claim)
            if clash := [other for other, others in groups.items() if other < group and name in others]:
                yield f"{group}.{name}", f"is the name of one of the {clash[0]} too; give it another"
    for name, item in m.alternatives.items():
        if item.instead_of not in m.checks:
            yield (
                f"alternatives.{name}.instead_of",
                f"names no check, got {item.instead_of!r}{nearest(item.instead_of, m.checks)}",
            )
    if m.rules is not None:
        yield from _rules(claim, m.rules)
    yield from _headline(claim)
    yield from _absence(claim)


def _check(path: str, check: Comparison, claim: TypedClaim) -> Iterator[Fault]:
    names = claim.model.estimates
    if check.estimate not in claim.quantities:
        if check.estimate not in names:
            yield (
                f"{path}.estimate",
                f"names no estimate, got {check.estimate!r}{nearest(check.estimate, names)}; estimates: {', '.join(names)}",
            )
        return
    instances = claim.quantities[check.estimate]
    if check.where and not any(chosen(q.where, check.where) for q in instances):
        yield (
            f"{path}.where",
            f"picks no instance of `{check.estimate}`, got {check.where!r}; instances: {'; '.join(q.label or 'one without `over`' for q in instances)}",
        )
        return
    kind, contrast, criterion = instances[0].kind, instances[0].model.contrast, check.criterion
    word = criterion[0] if criterion else None
    decide = check.decide if isinstance(check, Check) else "interval"
    if (kind.takes == "counts") != (word in ("more_than", "no_more_than")) and word is not None:
        yield path, ("needs `more_than` or `no_more_than` the nominal epsilon: its estimate is an audit" if kind.takes == "counts"
                     else f"`{word}` belongs to audits; write above, below or inside")  # fmt: skip
    if word == "ordered" and contrast != "adjacent":
        yield path, f"`ordered` needs `contrast: adjacent` in the estimate `{check.estimate}`"
    if word == "best" and not isinstance(contrast, Against):
        yield path, f"`best` needs `contrast: {{against: x}}` in the estimate `{check.estimate}`"
    if isinstance(decide, ByP) and kind.decides not in ("interval and p", "p"):
        yield (
            f"{path}.decide",
            f"must be `interval`: the estimator {kind.name} has no p-value (a family needs p-values)",
        )
    if decide == "interval" and kind.decides == "p":
        yield f"{path}.decide", f"must be {{p: level}}: the estimator {kind.name} is a test"
    if not isinstance(decide, ByP) and word in ("more_than", "no_more_than"):
        yield (
            f"{path}.decide",
            "must be {p: level, family: name}: an audit's check is a p-value, corrected over all audits of the claim",
        )


def _rules(claim: TypedClaim, rules: Rules) -> Iterator[Fault]:
    m = claim.model
    seen: dict[str, set[str]] = {}
    for word in ("reproduced", "partly", "not_reproduced"):
        rule = getattr(rules, word)
        yield from _rule(f"rules.{word}", rule, claim)
        for name, positive in signs(rule, True):
            role = "for" if positive is (word != "not_reproduced") else "against"
            seen.setdefault(name, set()).add(role)
            if word != "not_reproduced" and not positive:
                yield (
                    f"rules.{word}",
                    f"may not rest on `{name}` being decided against: write a check of what must be true",
                )
    for name, roles in seen.items():
        if len(roles) > 1:
            yield (
                "rules",
                f"count the check `{name}` both for and against the claim; write {{not: {name}}} in `not_reproduced`, or a check of its own",
            )
    for name in m.checks:
        if name not in seen:
            yield f"checks.{name}", "stands in no rule; use it in `rules`, or move it to `comparisons`"
    supporting = [name for name, _ in signs(rules.reproduced, True) if name in m.checks]
    exact = [name for name in supporting if _identity(claim, name)]
    if exact and len(exact) == len(set(supporting)) and any(not _identity(claim, name) for name in m.checks):
        yield "rules.reproduced", "rests on identities alone; use the checks that could fail"


def _identity(claim: TypedClaim, name: str) -> bool:
    check = claim.model.checks.get(name)
    return check is not None and any(q.identity for q in claim.quantities.get(check.estimate, ()))


def _rule(path: str, rule: Any, claim: TypedClaim) -> Iterator[Fault]:
    m = claim.model
    if rule is None:
        return
    if isinstance(rule, str):
        if rule in m.checks:
            return
        if rule in m.controls:
            yield path, f"names the control `{rule}`: controls gate the claim by themselves; leave it out"
        elif rule in m.comparisons or rule in m.alternatives:
            yield path, f"names `{rule}`, which decides nothing; move it to `checks`"
        elif rule in m.estimates:
            yield (
                path,
                f"names the estimate `{rule}`: a point decides nothing; write a check of it, such as `{{estimate: {rule}, above: 0}}`",
            )
        else:
            yield path, f"names no check, got {rule!r}{nearest(rule, m.checks)}; checks: {', '.join(m.checks)}"
        return
    if isinstance(rule, Not):
        yield from _rule(f"{path}.not", rule.not_, claim)
        return
    inner, each = parts(rule), rule.each
    if not inner:
        yield path, "counts nothing; name a check"
    if each is not None:
        if isinstance(held(rule), list):
            yield f"{path}.each", "needs one rule instead of a list, asked for every value of the axis"
        axes = [{axis for q in claim.quantities.get(m.checks[n].estimate, ()) for axis in q.where}
                for n, _ in signs(rule, True) if n in m.checks]  # fmt: skip
        if axes and not all(each in found for found in axes):
            yield (
                f"{path}.each",
                f"must be an axis of `over` of every estimate in it, got {each!r}{nearest(each, set.union(*axes))}",
            )
    elif isinstance(rule, AtLeast) and isinstance(rule.of, list) and rule.at_least > len(rule.of):
        yield f"{path}.at_least", f"asks for {rule.at_least} of {len(rule.of)}"
    for i, part in enumerate(inner):
        yield from _rule(f"{path}.{i}" if isinstance(held(rule), list) else path, part, claim)


def _headline(claim: TypedClaim) -> Iterator[Fault]:
    m = claim.model
    known = m.estimates if m.origin == "report-only" else m.checks
    what = "estimate" if m.origin == "report-only" else "check"
    for name in m.headlines:
        if name not in known:
            yield "headline", f"names no {what}, got {name!r}{nearest(name, known)}; {what}s: {', '.join(known)}"
        elif what == "check":
            yield from _headline_check(claim, name)


def _headline_check(claim: TypedClaim, name: str) -> Iterator[Fault]:
    m = claim.model
    alone = all(_identity(claim, check) for check in m.checks)
    if _identity(claim, name) and not alone:
        yield "headline", f"may not be `{name}`: an identity cannot come out otherwise; choose a check that could fail"
    if claim.roles().get(name) == "against":
        yield "headline", f"may not be `{name}`, which counts against the claim; choose one that supports it"


def _absence(claim: TypedClaim) -> Iterator[Fault]:
    m = claim.model
    absent = [name for name, check in m.checks.items() if check.no_more_than is not None]
    caught = [c for c in m.controls.values() if c.more_than is not None]
    if absent and not caught:
        yield (
            f"checks.{absent[0]}",
            "finds nothing, which counts only beside a control that the same procedure catches: add an audit of a planted leak to `controls`, with `more_than`",
        )
