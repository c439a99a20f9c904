"""From what the checks say to the verdict of each draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from descent.claims.decide import rules
from descent.claims.decide.logic import AGAINST, FOR, OPEN
from descent.claims.decide.looked import Look, look
from descent.claims.decide.made import Alter, Made, make
from descent.claims.operands.tabled import Source
from descent.claims.read.checks import Rules
from descent.claims.read.claim import TypedClaim, signs

VERDICTS = ("inconclusive", "reproduced", "partly", "not reproduced", "verified")
INCONCLUSIVE, REPRODUCED, PARTLY, NOT_REPRODUCED, VERIFIED = range(len(VERDICTS))
SMOKE = "smoke"


@dataclass(frozen=True)
class Judged:
    """A claim judged in D draws.

    verdict: (D,) index of VERDICTS, or None with `state` saying what there is instead (not run, smoke, reported).
    gate: (D,) -1 or 0 where a control does not hold. at_least: (D,) partly, while reproduced is open.
    """

    claim: TypedClaim
    made: Mapping[str, list[Made]]
    looks: Sequence[Look]
    verdict: NDArray[np.int8] | None
    state: str = ""
    why: str = ""
    gate: NDArray[np.int8] | None = None
    at_least: NDArray[np.bool_] | None = None

    @property
    def lost(self) -> list[Look]:
        """The instances of its checks that are not run here: what caps the verdict at partly."""
        named = {name for name, _ in _named(self.claim)}
        return [
            one for one in self.looks if one.lost and not one.untested and one.kind == "check" and one.name in named
        ]

    @property
    def headline(self) -> list[Look]:
        """The instances of the headline check."""
        return [one for one in self.looks if one.kind == "check" and one.name in self.claim.model.headlines]

    def word(self, draw: int = 0) -> str:
        """The verdict of one draw."""
        return self.state if self.verdict is None else VERDICTS[int(self.verdict[draw])]


def judge_claim(claim: TypedClaim, source: Source, scale: str, where: str, alter: Alter | None = None) -> Judged:
    """Judge one claim in all draws of the source. Raises ConfigError where it does not fit the records.

    alter: changes the numbers of an estimate before it is made (a dry run).
    """
    model, draws = claim.model, source.draws
    if scale != SMOKE and model.scales is not None and scale not in model.scales:
        reason = model.elsewhere or f"tested at scale {' and '.join(model.scales)} only"
        return Judged(claim, {}, (), None, "not run", reason)
    made = make(claim, source, where, alter)
    looks = look(claim, made, scale)
    if scale == SMOKE:
        lost = [one.lost for mades in made.values() for one in mades]
        if all(lost):
            return Judged(claim, made, looks, None, "not run", "; ".join(dict.fromkeys(lost)))
        return Judged(claim, made, looks, None, SMOKE, "a smoke run walks the code, it decides nothing")
    if model.rules is None:  # report-only
        own = [one for name in model.headlines for one in made[name]]
        lost = [one.lost for one in own if one.lost]
        if len(lost) == len(own):
            return Judged(claim, made, looks, None, "not run", "; ".join(dict.fromkeys(lost)))
        return Judged(claim, made, looks, None, "reported")
    return _verdict(claim, model.rules, made, looks, draws)


def _verdict(claim: TypedClaim, asked: Rules, made: Mapping[str, list[Made]], looks: list[Look], draws: int) -> Judged:
    judged = Judged(claim, made, looks, None)
    head = [one for one in judged.headline if not one.untested]
    if all(one.lost for one in head):
        reasons = dict.fromkeys(one.lost for one in head)
        return Judged(
            claim, made, looks, None, "not run", "; ".join(reasons) or "its headline does not belong to this scale"
        )
    nothing = np.full(draws, OPEN, np.int8)
    controls = [one for one in looks if one.kind == "control" and not one.untested]
    gate = np.min([nothing + FOR, *(one.outcome if one.outcome is not None else nothing for one in controls)], axis=0)
    some_lost = bool(judged.lost)

    def true(rule, forgive: bool):
        found = rules.value(rule, looks, draws, forgive=forgive) if rule is not None else None
        return nothing + AGAINST if found is None else found

    reproduced, partly = true(asked.reproduced, some_lost), true(asked.partly, some_lost)
    against = true(asked.not_reproduced, False)
    best = VERIFIED if _identities(claim, asked) else REPRODUCED
    verdict = np.where(
        reproduced == FOR, PARTLY if some_lost else best,
        np.where(partly == FOR, PARTLY, np.where(against == FOR, NOT_REPRODUCED, INCONCLUSIVE)),
    )  # fmt: skip
    verdict = np.where(gate == FOR, verdict, INCONCLUSIVE).astype(np.int8)
    at_least = (verdict == PARTLY) & (reproduced == OPEN)
    return Judged(claim, made, looks, verdict, gate=gate.astype(np.int8), at_least=at_least)


def _named(claim: TypedClaim) -> list[tuple[str, bool]]:
    r = claim.model.rules
    return [pair for rule in (r.reproduced, r.partly, r.not_reproduced) for pair in signs(rule, True)] if r else []


def _identities(claim: TypedClaim, asked: Rules) -> bool:
    """Whether nothing that the claim rests on could have come out otherwise."""
    names = {name for name, _ in signs(asked.reproduced, True)}
    return all(q.identity for name in names for q in claim.instances(claim.model.checks[name]))
