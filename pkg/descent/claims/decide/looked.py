"""Checks, controls and comparisons: what each says of each instance of its estimate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from descent.claims.decide.criteria import REVERSED, SIDES, audited, by_interval, by_p, of_several, plain
from descent.claims.decide.logic import Outcome, all_of, decided
from descent.claims.decide.made import Made, Part
from descent.claims.estimate.base import Side
from descent.claims.estimate.holm import holm
from descent.claims.read.checks import ByP, Comparison
from descent.claims.read.claim import TypedClaim, chosen
from descent.claims.read.expand import filled

AUDITS = "audits"


@dataclass
class Look:
    """One instance of a check.

    kind: check, control, comparison or alternative. outcome: (D,), None where nothing is asked of it, it is lost or does
    not belong to this scale. each: outcomes of its contrasts. p, adjusted, reverse: (k, D) of its contrasts.
    """

    name: str
    kind: str
    item: Comparison
    made: Made
    untested: bool = False
    outcome: Outcome | None = None
    each: list[Outcome] = field(default_factory=list)
    p: list[np.ndarray] = field(default_factory=list)
    adjusted: list[np.ndarray] = field(default_factory=list)
    reverse: list[np.ndarray] = field(default_factory=list)
    family: str = ""
    members: int = 0

    @property
    def where(self) -> Mapping[str, Any]:
        """The values of `over`."""
        return self.made.quantity.where

    @property
    def label(self) -> str:
        """`flatter (data=a5a)`."""
        return f"{self.name} ({self.made.quantity.label})" if self.made.quantity.label else self.name

    @property
    def lost(self) -> str:
        """Why nothing of it is run here."""
        return self.made.lost

    @property
    def word(self) -> str | None:
        """The word of its criterion."""
        return self.item.criterion[0] if self.item.criterion else None

    @property
    def decider(self) -> ByP | None:
        """The p-value that decides, None where the interval does."""
        decide = getattr(self.item, "decide", "interval")
        if isinstance(decide, ByP):
            return decide
        return ByP(p=0.05) if self.word in ("more_than", "no_more_than") else None

    def criterion(self) -> tuple[str, Any]:
        """The criterion of one interval."""
        assert self.item.criterion is not None, "asked only where there is one"
        word, value = self.item.criterion
        return plain(word, value, 1.0 if self.made.quantity.model.scale == "log" else 0.0)


def look(claim: TypedClaim, made: Mapping[str, list[Made]], scale: str) -> list[Look]:
    """Every instance of everything that looks at an estimate, decided."""
    looks = []
    for name, (kind, item) in claim.looked_at().items():
        untested = item.scales is not None and scale not in item.scales
        for one in made[item.estimate]:
            if chosen(one.quantity.where, item.where):
                looks.append(Look(name, kind, item, one, untested))
    asked = [x for x in looks if x.item.criterion is not None and not x.untested]
    _families(asked)
    for one in asked:
        if not one.lost:
            _decide(one)
    return looks


def _families(looks: list[Look]) -> None:
    """p-values, those of a family corrected together (Holm); one that does not exist counts as 1."""
    families: dict[str, list[tuple[Look, int]]] = {}
    for one in looks:
        decider = one.decider
        if decider is None:
            continue
        audit = one.word in ("more_than", "no_more_than")
        own = (
            str(filled(decider.family, one.where))
            if decider.family
            else (AUDITS if audit and one.kind in ("check", "control") else one.name)
        )
        one.family = own if one.kind in ("check", "control") else f"{one.kind} {own}"
        word, value = one.criterion()
        for i, part in enumerate(one.made.parts):
            one.p.append(_p(part, value, SIDES[word]))
            one.reverse.append(np.ones_like(one.p[-1]) if audit else _p(part, value, REVERSED[SIDES[word]]))
            families.setdefault(one.family, []).append((one, i))
        if one.lost:
            families.setdefault(one.family, []).append((one, -1))
    for members in families.values():
        draws = max((p.shape[0] for one, _ in members for p in one.p), default=1)
        ones = np.ones(draws)
        for which in ("p", "reverse"):
            table = np.stack([getattr(one, which)[i] if i >= 0 else ones for one, i in members], axis=1)
            corrected = holm(table)
            for (one, i), column in zip(members, corrected.T, strict=True):
                if i >= 0 and which == "p":
                    one.adjusted.append(column)
                elif i >= 0:
                    one.reverse[i] = column
                one.members = len(members)


def _p(part: Part, value: Any, side: Side) -> np.ndarray:
    p = part.estimate.p(value, side)
    return np.where(part.estimate.decidable & ~np.isnan(p), p, 1.0)


def _decide(one: Look) -> None:
    word, value = one.criterion()
    estimates = [part.estimate for part in one.made.parts]
    decider = one.decider
    if decider is not None and word in ("more_than", "no_more_than"):
        one.each = [audited(word, value, decider.p, p, e) for p, e in zip(one.adjusted, estimates, strict=True)]
        one.outcome = all_of(one.each)
    elif decider is not None:
        one.each = [by_p(decider.p, p, r) for p, r in zip(one.adjusted, one.reverse, strict=True)]
        one.outcome = decided(all_of(one.each) == 1, np.min(one.each, axis=0) == -1)
    else:
        one.each = [by_interval(word, value, e) for e in estimates]
        level = max(e.level for e in estimates)
        one.outcome = one.each[0] if len(estimates) == 1 else of_several(word, value, estimates, level)
