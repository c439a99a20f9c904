"""The dry run: every claim judged in a world's draws, as stated and in worlds where it must not come out that way.

as stated: the claim's power. swapped: what is compared exchanges places. no effect: nothing is there (of an equality, a
shift of three margins). control broken, seeds missing: nothing may be concluded. The numbers of an estimate are altered,
not its claim: reflected about no difference, moved onto it, or taken away. Exact quantities and identities stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from descent.claims.decide.verdict import VERDICTS, Judged, judge_claim
from descent.claims.estimate.base import MISSING, OK, Numbers
from descent.claims.operands.statistic import Sample
from descent.claims.operands.tabled import Source
from descent.claims.quantities import bounds
from descent.claims.read.claim import Quantity, TypedClaim

SCENARIOS = ("as stated", "swapped", "no effect", "control broken", "seeds missing")
Alter = Callable[[Quantity, Sample], Sample]


@dataclass(frozen=True)
class Outcome:
    """How often each verdict was given. shares: scenario -> {verdict: share of draws}; why: what was not tested."""

    claim: str
    shares: Mapping[str, Mapping[str, float]]
    why: str = ""


def dry_run(claim: TypedClaim, source: Source, scale: str, where: str) -> Outcome:
    """One claim in every scenario. Raises ConfigError where the world says nothing of what it reads."""
    stated = judge_claim(claim, source, scale, where)
    if stated.verdict is None:
        return Outcome(claim.name, {}, stated.why or stated.state)
    shares = {"as stated": _shares(stated)}
    for name, alter in (("swapped", _swapped(claim)), ("no effect", _without(claim)), ("seeds missing", _missing)):
        shares[name] = _shares(judge_claim(claim, source, scale, where, alter))
    if claim.model.controls:
        shares["control broken"] = _shares(judge_claim(claim, source, scale, where, _broken(claim)))
    return Outcome(claim.name, shares, "" if _tested(claim) else "exact: listed, not tested")


def _shares(judged: Judged) -> dict[str, float]:
    return {
        word: float((judged.verdict == code).mean())
        for code, word in enumerate(VERDICTS)
        if (judged.verdict == code).any()
    }


def _tested(claim: TypedClaim) -> list[str]:
    """The estimates that something is drawn for: those of supporting checks, exact ones left out."""
    roles = claim.roles()
    names = [item.estimate for name, item in claim.model.checks.items() if roles.get(name) == "for"]
    return [
        n
        for n in dict.fromkeys(names)
        if claim.quantities[n][0].kind.takes != "counts" and claim.quantities[n][0].kind.decides != "exact"
    ]


def _criterion(claim: TypedClaim, quantity: Quantity, group: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The first criterion that looks at the estimate."""
    return next((item.criterion for item in group.values() if item.estimate == quantity.name and item.criterion), None)


def _nothing(quantity: Quantity, criterion: tuple[str, Any] | None) -> float:
    """Where nothing is there: no difference of what is compared, no slope; of a single quantity, its criterion."""
    expressions = list(quantity.value.values())
    if any("slope" in e.text for e in expressions) or (
        quantity.model.scale == "linear" and len(quantity.model.operands) > 1
    ):
        return 0.0
    if quantity.model.contrast is not None or len(quantity.model.operands) > 1 or any(e.is_ratio for e in expressions):
        return 1.0 if quantity.model.scale == "log" else 0.0
    return float(bounds(criterion[1])[0]) if criterion and bounds(criterion[1]) else 0.0


def _margin(criterion: tuple[str, Any] | None, nothing: float, log: bool) -> float | None:
    """Three margins away, where no difference meets the criterion (an equality, no worse than); else None."""
    if criterion is None or not bounds(criterion[1]):
        return None
    ends = [np.log(b) if log else b for b in bounds(criterion[1])]
    if criterion[0] == "inside":
        return (ends[0] + ends[1]) / 2 + 3 * (ends[1] - ends[0]) / 2
    met = nothing < ends[0] if criterion[0] in ("below", "at_most") else nothing > ends[0]
    return nothing + 3 * (ends[0] - nothing) if met else None


def _swapped(claim: TypedClaim) -> Alter:
    return _moving(claim, _tested(claim), claim.model.checks, swap=True)


def _without(claim: TypedClaim) -> Alter:
    return _moving(claim, _tested(claim), claim.model.checks, swap=False)


def _broken(claim: TypedClaim) -> Alter:
    names = [item.estimate for item in claim.model.controls.values()]
    return _moving(claim, names, claim.model.controls, swap=True)


def _moving(claim: TypedClaim, names: list[str], group: Mapping[str, Any], *, swap: bool) -> Alter:
    def alter(quantity: Quantity, sample: Sample) -> Sample:
        if quantity.name not in names:
            return sample
        criterion = _criterion(claim, quantity, group)
        if quantity.kind.takes == "counts":  # an audit that finds nothing
            return _with(
                sample, Numbers(np.floor(sample.numbers[1].values / 2), *_rest(sample.numbers[0])), *sample.numbers[1:]
            )
        if quantity.kind.takes == "two":
            first = sample.numbers[0]
            far = np.nanstd(first.values) * (3 if swap else 1)
            return _with(sample, replace(first, values=first.values + far), *sample.numbers[1:])
        numbers, log = sample.numbers[0], quantity.model.scale == "log"
        if quantity.kind.name == "share":
            return _with(sample, _share(numbers, criterion, swap))
        with np.errstate(all="ignore"):
            x = np.log(numbers.values) if log else numbers.values.copy()
        finite = np.isfinite(x) & (numbers.status == OK)
        centre = float(np.median(x[finite])) if finite.any() else 0.0
        at = _nothing(quantity, criterion)
        at = np.log(at) if log and at > 0 else at
        far = _margin(criterion, at, log)
        x = x - centre + far if far is not None else 2 * at - x if swap else x - centre + at
        return _with(sample, replace(numbers, values=np.exp(x) if log else x))

    return alter


def _share(numbers: Numbers, criterion: tuple[str, Any] | None, swap: bool) -> Numbers:
    """Shares at the criterion; swapped, three quarters of the way from there to the end where it is not met."""
    word, p = (criterion[0], bounds(criterion[1])[0]) if criterion else ("above", 0.5)
    if swap:
        p = p / 4 if word in ("above", "at_least") else 1 - (1 - p) / 4
    u = np.random.Generator(np.random.SFC64(1)).random(numbers.values.shape)
    return replace(numbers, values=np.where(np.isnan(numbers.values), np.nan, (u < p) * 1.0))


def _missing(quantity: Quantity, sample: Sample) -> Sample:
    """The first replicate that must exist has no number."""
    if quantity.kind.decides == "exact":
        return sample
    found = []
    for numbers in sample.numbers:
        values, status = numbers.values.copy(), numbers.status.copy()
        at = 1 if quantity.kind.takes == "jackknife" else 0
        if values.shape[1] > at:
            values[:, at], status[:, at] = np.nan, MISSING
        found.append(replace(numbers, values=values, status=status))
    return _with(sample, *found)


def _rest(numbers: Numbers) -> tuple[Any, int]:
    return numbers.status, numbers.planned


def _with(sample: Sample, *numbers: Numbers) -> Sample:
    return replace(sample, numbers=tuple(numbers))


def table(outcomes: Mapping[str, list[Outcome]]) -> str:
    """Markdown: a row a claim, for every scenario the share of the verdict that it should give."""
    right = {"as stated": "reproduced", "swapped": "not reproduced", "no effect": "reproduced", "control broken": "inconclusive",
             "seeds missing": "inconclusive"}  # fmt: skip
    lines = [
        "| claim | " + " | ".join(f"{s}: {right[s]}" for s in SCENARIOS) + " | otherwise as stated |",
        "|---" * (len(SCENARIOS) + 2) + "|",
    ]
    for slug, found in outcomes.items():
        for one in found:
            if not one.shares:
                lines.append(f"| {slug}.{one.claim} | {one.why} " + "| " * len(SCENARIOS) + "|")
                continue
            cells = [f"{100 * one.shares[s].get(right[s], 0.0):.0f} %" if s in one.shares else "" for s in SCENARIOS]
            other = ", ".join(
                f"{word} {100 * share:.0f} %" for word, share in one.shares["as stated"].items() if word != "reproduced"
            )
            lines.append(
                f"| {slug}.{one.claim} | {' | '.join(cells)} | {other}{'; ' + one.why if one.why and other else one.why} |"
            )
    return "\n".join(lines) + "\n"
