"""Verdict rules: nested words over the outcomes of checks, in Kleene's three-valued logic.

An outcome is True (holds), False (fails), None (undecided), or one of two words: "missing" (nothing recorded there) and
"untested" (the check does not belong to this scale). `fails: x` and `holds: x` ask what was decided: of an undecided
check both are false, so `{not: {fails: x}}` is true of it; of a missing one they are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from descent.claims.decide import all_of, any_of, at_least, negated
from descent.claims.model import Rule

MISSING, UNTESTED = "missing", "untested"
Cells = Mapping[str, list[tuple[Mapping[str, Any], Any]]]  # check -> [(values of `over`, outcome)]


def holds(rule: Rule, outcomes: Cells, *, forgive: bool = False) -> bool | None:
    """Whether a rule is true.

    forgive: leave the missing instances of a check out where others of it remain, as for a verdict of at most partly.
    """
    return _value(rule, _Scope(outcomes, {}, forgive))


class _Scope:
    """The outcomes, cut down to the values that words with `each` have fixed."""

    def __init__(self, outcomes: Cells, fixed: Mapping[str, Any], forgive: bool):
        self.outcomes, self.fixed, self.forgive = outcomes, fixed, forgive

    def instances(self, check: str) -> list[Any]:
        """The outcomes of a check in this scope; those that do not count are left out."""
        here = [
            outcome for where, outcome in self.outcomes[check]
            if all(where.get(axis, value) == value for axis, value in self.fixed.items())
        ]  # fmt: skip
        here = [outcome for outcome in here if outcome != UNTESTED]
        present = [outcome for outcome in here if outcome != MISSING]
        return present if self.forgive and present else here

    def fix(self, axis: str, value: Any) -> _Scope:
        return _Scope(self.outcomes, {**self.fixed, axis: value}, self.forgive)

    def values(self, axis: str, rule: Rule) -> list[Any]:
        """The values of an axis among the checks of a rule, leaving out those at which nothing is recorded."""
        names = checks_of(rule)
        found: dict[Any, list[Any]] = {}
        for name in names:
            for where, outcome in self.outcomes[name]:
                if axis in where and all(where.get(a, v) == v for a, v in self.fixed.items()) and outcome != UNTESTED:
                    found.setdefault(where[axis], []).append(outcome)
        kept = [value for value, seen in found.items() if not self.forgive or any(o != MISSING for o in seen)]
        return kept or list(found)


def checks_of(rule: Rule) -> list[str]:
    """The names of all checks that a rule mentions."""
    own = [rule.check] if rule.check else []
    return own + [name for part in rule.parts for name in checks_of(part)]


def _value(rule: Rule, scope: _Scope) -> bool | None:
    if rule.word in ("check", "fails", "holds"):
        return all_of(_spread(rule, scope)) if scope.instances(rule.check) else None
    if rule.word == "not":
        return negated(_value(rule.parts[0], scope))
    if rule.each is not None:
        (inner,) = rule.parts
        parts = [_value(inner, scope.fix(rule.each, value)) for value in scope.values(rule.each, inner)]
    else:
        parts = [outcome for part in rule.parts for outcome in _spread(part, scope)]
    if not parts:
        return None  # nothing was recorded, so nothing is known
    match rule.word:
        case "all":
            return all_of(parts)
        case "any":
            return any_of(parts)
        case "at_least":
            return at_least(rule.count, parts)
    return at_least(int(rule.count * len(parts) + 1e-9) + 1, parts)  # more_than a share of them


def _spread(rule: Rule, scope: _Scope) -> list[bool | None]:
    """The values a word counts: one for every instance of a check, one for a nested rule."""
    match rule.word:
        case "check":
            return [outcome if outcome != MISSING else None for outcome in scope.instances(rule.check)]
        case "fails":
            return [None if o == MISSING else o is False for o in scope.instances(rule.check)]
        case "holds":
            return [None if o == MISSING else o is True for o in scope.instances(rule.check)]
        case "not" if rule.parts[0].word in ("check", "fails", "holds"):
            return [negated(outcome) for outcome in _spread(rule.parts[0], scope)]
    return [_value(rule, scope)]
