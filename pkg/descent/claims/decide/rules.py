"""Verdict rules: nested words over the outcomes of checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from descent.claims.decide.logic import OPEN, Outcome, all_of, any_of, at_least
from descent.claims.decide.looked import Look
from descent.claims.read.checks import All, AtLeast, Not
from descent.claims.read.claim import held, parts, signs


def value(rule: Any, looks: Sequence[Look], draws: int, *, forgive: bool) -> Outcome | None:
    """Whether a rule is true; None where nothing of it belongs here.

    forgive: instances that are lost are left out, as for a verdict of at most partly; otherwise they are open.
    """
    return _value(rule, _Scope(looks, {}, forgive, draws))


class _Scope:
    """The instances of checks, cut down to the values that words with `each` have fixed."""

    def __init__(self, looks: Sequence[Look], fixed: Mapping[str, Any], forgive: bool, draws: int):
        self.looks, self.fixed, self.forgive, self.draws = looks, fixed, forgive, draws

    def counted(self, check: str) -> list[Look]:
        return [
            one for one in self.looks
            if one.name == check and one.kind == "check" and not one.untested and not (self.forgive and one.lost)
            and all(one.where.get(axis, v) == v for axis, v in self.fixed.items())
        ]  # fmt: skip

    def outcomes(self, check: str) -> list[Outcome]:
        nothing = np.full(self.draws, OPEN, np.int8)
        return [one.outcome if one.outcome is not None else nothing for one in self.counted(check)]

    def fix(self, axis: str, v: Any) -> _Scope:
        return _Scope(self.looks, {**self.fixed, axis: v}, self.forgive, self.draws)

    def values(self, axis: str, rule: Any) -> list[Any]:
        """The values of an axis among the checks of a rule."""
        found = [one.where[axis] for name, _ in signs(rule, True) for one in self.counted(name) if axis in one.where]
        return list(dict.fromkeys(found))


def _value(rule: Any, scope: _Scope) -> Outcome | None:
    if isinstance(rule, str):
        outcomes = scope.outcomes(rule)
        return all_of(outcomes) if outcomes else None
    if isinstance(rule, Not):
        inner = _value(rule.not_, scope)
        return None if inner is None else -inner
    if rule.each is not None:
        (inner,) = parts(rule)
        counted = [_value(inner, scope.fix(rule.each, v)) for v in scope.values(rule.each, inner)]
    elif isinstance(held(rule), str):
        counted = scope.outcomes(held(rule))  # a check alone stands for its instances
    elif isinstance(held(rule), Not) and isinstance(held(rule).not_, str):
        counted = [-outcome for outcome in scope.outcomes(held(rule).not_)]
    else:
        counted = [_value(part, scope) for part in parts(rule)]
    counted = [outcome for outcome in counted if outcome is not None]
    if not counted:
        return None
    if isinstance(rule, AtLeast):
        return at_least(rule.at_least, counted)
    return all_of(counted) if isinstance(rule, All) else any_of(counted)
