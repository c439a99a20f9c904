"""Judging: the claims of one paper against its records.

Every check instance is estimated, its p-value corrected in its family, its predicate decided; then the rules are asked.
The room of a paper never sees this: it cannot grade itself.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from descent.claims import rules
from descent.claims.decide import Outcome
from descent.claims.estimate import Estimate
from descent.claims.estimators import estimate
from descent.claims.evidence import operands
from descent.claims.families import METHODS
from descent.claims.model import VERDICT_RULES, Check, Claim, Instance, parse_claims
from descent.claims.predicates import Decision, decide, threshold
from descent.claims.results import CheckResult, ClaimResult
from descent.claims.select import MissingCell, Records
from descent.claims.table import Table
from descent.core.errors import ConfigError

SMOKE = "smoke"
_WORDS = {True: "holds", False: "fails", None: "undecided"}


@dataclass
class _Evaluated:
    """One instance on its way to a result."""

    check: Check
    instance: Instance
    parts: list[Estimate]
    table: Table | None
    missing: str = ""
    untested: bool = False
    adjusted: list[tuple[float, float, str]] | None = None  # one for each of the parts
    decision: Decision | None = None

    @property
    def outcome(self) -> Outcome | str:
        if self.untested:
            return rules.UNTESTED
        return rules.MISSING if self.missing else self.decision.outcome if self.decision else None


def judge(
    paper: Any,
    records: Mapping[str, pd.DataFrame],
    *,
    scale: str,
    missing: Mapping[Hashable, str] | None = None,
    where: str | None = None,
) -> list[ClaimResult]:
    """One ClaimResult a claim, in the order of the configuration.

    paper: the parsed configuration: a mapping, or an object, with `paper` (the slug) and `claims` (the YAML mapping, or
    claims that `parse_claims` has read). records: experiment -> DataFrame in the form of DESIGN.md, "Records". scale:
    the scale that was run. missing: experiment, or `cell(experiment, axis=value, ...)` -> why it has no records.
    where: the configuration's file, for messages.
    Raises ConfigError (all faults) where a claim does not fit the records: an axis that does not exist, a selection of
    several settings for one seed.
    """
    slug, claims = _field(paper, "paper"), _field(paper, "claims")
    where = where or f"config/papers/{slug}.yaml"
    if any(not isinstance(claim, Claim) for claim in claims.values()):
        claims = parse_claims(claims, where)
    source = Records(records, missing)
    results, faults = [], []
    for claim in claims.values():
        try:
            results.append(_judge(slug, claim, source, scale, where))
        except ConfigError as fault:
            faults += fault.faults
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return results


def _field(paper: Any, name: str) -> Any:
    return paper[name] if isinstance(paper, Mapping) else getattr(paper, name)


def _judge(slug: str, claim: Claim, source: Records, scale: str, where: str) -> ClaimResult:
    if scale != SMOKE and claim.scales is not None and scale not in claim.scales:
        reason = claim.elsewhere or f"tested at scale {' and '.join(claim.scales)} only"
        return _result(slug, claim, scale, "not run", reason, ())
    evaluated = _evaluate(slug, claim, source, scale, where)
    if scale == SMOKE and not all(e.missing for e in evaluated):
        reason = "a smoke run walks the code, it decides nothing"
        return _result(slug, claim, scale, SMOKE, reason, [_check_result(e, smoke=True) for e in evaluated])
    checks = [_check_result(e) for e in evaluated]
    verdict, reason = _verdict(claim, evaluated, checks)
    return _result(slug, claim, scale, verdict, reason, checks)


def _evaluate(slug: str, claim: Claim, source: Records, scale: str, where: str) -> list[_Evaluated]:
    """Every instance of every check, estimated, corrected, decided. Raises ConfigError with all faults."""
    evaluated, faults = [], []
    for check in claim.checks.values():
        path = f"{where}: claims.{claim.name}.checks.{check.name}"
        for instance in check.instances:
            if check.scales is not None and scale not in check.scales and scale != SMOKE:
                evaluated.append(_Evaluated(check, instance, [], None, untested=True))
                continue
            key = f"{slug}|{claim.name}|{check.name}|{instance.label}"
            try:
                parts, table = estimate(instance, operands(instance, source, path), key, path)
                evaluated.append(_Evaluated(check, instance, parts, table))
            except MissingCell as cell:
                evaluated.append(_Evaluated(check, instance, [], None, missing=str(cell)))
            except ConfigError as fault:
                faults += fault.faults
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    _correct(evaluated)
    for item in evaluated:
        if item.parts and item.instance.predicate is not None:
            item.decision = decide(item.instance.predicate, item.parts, item.table, item.adjusted)
    return evaluated


def _correct(evaluated: list[_Evaluated]) -> None:
    """P-values of a family corrected together. One that does not exist counts as 1: it makes the others no easier."""
    families: dict[str, list[_Evaluated]] = {}
    for item in evaluated:
        if item.instance.family is not None and item.parts:
            families.setdefault(item.instance.family.name, []).append(item)
    for members in families.values():
        method = members[0].instance.family.method
        parts = [part for item in members for part in item.parts]
        p = METHODS[method]([_or_one(part.p) for part in parts])
        reverse = METHODS[method]([_or_one(part.p_reverse) for part in parts])
        corrected = iter(zip(p, reverse, strict=True))
        how = f"{method.capitalize()} over {len(parts)} tests"
        for item in members:
            item.adjusted = [(*next(corrected), how) for _ in item.parts]


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p


# -- verdict ----------------------------------------------------------------------------------------------------------


def _verdict(claim: Claim, evaluated: list[_Evaluated], checks: list[CheckResult]) -> tuple[str, str]:
    """(verdict, reason): see DESIGN.md, "Claims and verdicts"."""
    tested = [e for e in evaluated if not e.untested]
    lost = [e for e in tested if e.missing]
    if not tested or len(lost) == len(tested) or (lost and all(e.check.control for e in tested if not e.missing)):
        reasons = dict.fromkeys(e.missing for e in lost)
        return "not run", "; ".join(reasons) or "no check belongs to this scale"
    head = _headline(claim, checks)
    if claim.origin == "report-only" and not claim.rules:
        return "reported", head.reason if head else ""
    broken = [c for c in checks if c.control and c.outcome == "fails"]
    if broken:
        named = "; ".join(f"{_name(c)}: {c.reason}" for c in broken)
        return "inconclusive", f"a control fails, so the other checks prove nothing ({named})"
    outcomes: dict[str, list] = {}
    for item in evaluated:
        outcomes.setdefault(item.check.name, []).append((item.instance.where, item.outcome))
    verdict = _first_true(claim, outcomes, bool(lost))
    # Helper checks of the other rules (an interval that contains 0, say) do not stand in the way of anything.
    asked = set(rules.checks_of(claim.rules["reproduced"]))
    return verdict, _explained(verdict, head, [c for c in checks if c.check in asked], lost)


def _first_true(claim: Claim, outcomes: rules.Cells, some_missing: bool) -> str:
    for word in VERDICT_RULES:
        rule = claim.rules.get(word)
        if rule is None:
            continue
        # What is missing cannot support "reproduced": what remains of it may, as "partly".
        forgive = some_missing and word != "not_reproduced"
        if rules.holds(rule, outcomes, forgive=forgive) is True:
            return "partly" if some_missing and word == "reproduced" else word.replace("_", " ")
    return "inconclusive"


def _name(check: CheckResult) -> str:
    return f"{check.check} ({check.instance})" if check.instance else check.check


def _explained(verdict: str, head: CheckResult | None, checks: list[CheckResult], lost: list[_Evaluated]) -> str:
    """The headline's sentence, then what stands in the way of a better verdict."""
    said = [f"{head.instance}: {head.reason}" if head.instance else head.reason] if head else []
    if verdict != "reproduced":
        open_ = [c for c in checks if c is not head and c.outcome in ("fails", "undecided")]
        said += [f"{_name(c)} {c.outcome if c.outcome == 'fails' else 'is undecided'}: {c.reason}" for c in open_[:3]]
        if len(open_) > 3:
            said.append(f"and {len(open_) - 3} more checks do not hold")
    if lost:
        said.append("missing: " + "; ".join(dict.fromkeys(e.missing for e in lost)))
    return "; ".join(filter(None, said))


def _headline(claim: Claim, checks: list[CheckResult]) -> CheckResult | None:
    """The instance that the claim names; of several the first that does not hold, else the first."""
    mine = [
        check for check in checks
        if check.check == claim.headline and all(check.where.get(k) == v for k, v in claim.headline_where.items())
    ]  # fmt: skip
    for outcome in ("fails", "undecided", "holds", "reported", "smoke", "missing"):
        for check in mine:
            if check.outcome == outcome:
                return check
    return mine[0] if mine else None


# -- results ----------------------------------------------------------------------------------------------------------


def _check_result(item: _Evaluated, smoke: bool = False) -> CheckResult:
    check, instance = item.check, item.instance
    experiments = dict.fromkeys(o.experiment for o in instance.values.values() if o.experiment)
    estimator = instance.estimator
    base = CheckResult(
        check=check.name, instance=instance.label, where=instance.where, about=instance.about, outcome="undecided",
        reason="", threshold=threshold(instance.predicate), experiment=", ".join(experiments), control=check.control,
        estimator=f"{estimator.kind}: {estimator.variety}" if estimator else "",
        family=instance.family.name if instance.family else "",
        bounds=tuple(b for c in instance.predicate.conditions for b in c.bounds) if instance.predicate else (),
    )  # fmt: skip
    if item.untested:
        return replace(base, outcome="untested", reason=f"tested at scale {' and '.join(check.scales)} only")
    if item.missing:
        return replace(base, outcome=SMOKE if smoke else "missing", reason=item.missing)
    part = (item.decision and item.decision.part) or item.parts[0]
    position = next(i for i, other in enumerate(item.parts) if other is part)
    outcome = SMOKE if smoke else _WORDS[item.decision.outcome] if item.decision else "reported"
    reason = item.decision.reason if item.decision else part.why
    if item.decision and item.decision.outcome is None and part.why and part.why not in reason:
        reason = f"{reason}; {part.why}"
    return replace(
        base, outcome=outcome, reason="" if smoke else reason, estimate=part.value, ci_low=part.low, ci_high=part.high,
        p_value=part.p, p_adjusted=item.adjusted[position][0] if item.adjusted and part.p is not None else None, n=part.n,
        n_ok=part.n_ok, n_censored=part.n_censored, n_diverged=part.n_diverged, n_undefined=part.n_undefined,
    )  # fmt: skip


def _result(slug: str, claim: Claim, scale: str, verdict: str, reason: str, checks) -> ClaimResult:
    return ClaimResult(
        paper=slug, claim=claim.name, origin=claim.origin, verdict=verdict, statement=claim.statement, scale=scale,
        reason=reason, headline=_headline(claim, list(checks)), checks=tuple(checks), tag=claim.tag, source=claim.source,
        paper_value=claim.paper_value, figure=claim.figure, note=claim.note, experiments=claim.experiments(),
    )  # fmt: skip
