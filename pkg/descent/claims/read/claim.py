"""A claim as it is judged: the typed model, with every estimate's instances and their parsed arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from descent.claims.estimate.base import Kind
from descent.claims.estimate.means import Scaled
from descent.claims.expression import Expression
from descent.claims.read.checks import All, Any_, AtLeast, Comparison, Not
from descent.claims.read.estimators import judged_as
from descent.claims.read.model import Claim, Estimate
from descent.claims.read.operands import Crossing


@dataclass(frozen=True)
class Quantity:
    """One instance of an estimate.

    where: the values of `over`. value: label -> arithmetic; one entry without a label for a single one.
    levels: operand -> the level of its crossing.
    """

    name: str
    where: Mapping[str, Any]
    model: Estimate
    value: Mapping[str, Expression]
    levels: Mapping[str, Expression] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """`data=a5a, model=svm`; empty without `over`."""
        return ", ".join(f"{axis}={value}" for axis, value in self.where.items())

    @property
    def options(self) -> Any:
        """The options with which it is computed, its scale filled in."""
        _, options = judged_as(self.model.estimator)
        if isinstance(options, Scaled) and self.model.scale != options.scale:
            options = options.model_copy(update={"scale": self.model.scale})
        return options

    @property
    def kind(self) -> Kind:
        """The kind of its estimator."""
        return judged_as(self.model.estimator)[0]

    @property
    def identity(self) -> bool:
        """Whether it cannot come out otherwise."""
        return self.model.estimator.kind == "identity"

    @property
    def labels(self) -> tuple[str, ...]:
        """What is contrasted: the labels of `value`, or the settings of a vector; empty without `contrast`."""
        if self.model.contrast is None:
            return ()
        if len(self.value) > 1:
            return tuple(self.value)
        vector = next((o for o in self.model.operands.values() if o.across), None)
        return tuple(settings(vector.across)) if vector else ()


def settings(across: Mapping[str, list[Any]]) -> list[str]:
    """`8`, or `8, relu` where there are several axes: what each setting of a vector is called."""
    grid: list[tuple[Any, ...]] = [()]
    for values in across.values():
        grid = [(*cell, value) for cell in grid for value in values]
    return [", ".join(map(str, cell)) for cell in grid]


@dataclass(frozen=True)
class TypedClaim:
    """A claim with its name and the instances of its estimates."""

    name: str
    model: Claim
    quantities: Mapping[str, tuple[Quantity, ...]]

    def looked_at(self) -> dict[str, tuple[str, Comparison]]:
        """Everything that looks at an estimate: name -> (control | check | comparison | alternative, what is written)."""
        m = self.model
        parts = (
            ("control", m.controls),
            ("check", m.checks),
            ("comparison", m.comparisons),
            ("alternative", m.alternatives),
        )
        return {name: (kind, item) for kind, items in parts for name, item in items.items()}

    def instances(self, check: Comparison) -> list[Quantity]:
        """The instances of the estimate that a check looks at."""
        return [q for q in self.quantities[check.estimate] if chosen(q.where, check.where)]

    def experiments(self) -> tuple[str, ...]:
        """The experiments whose records it reads, in order of first use."""
        used = [o.experiment for qs in self.quantities.values() for q in qs for o in q.model.operands.values()]
        return tuple(dict.fromkeys(used))

    def roles(self) -> dict[str, str]:
        """check -> `for` where the rules count it for the claim, `against` where they count it against."""
        rules = self.model.rules
        found: dict[str, str] = {}
        for word, sign in (("reproduced", True), ("partly", True), ("not_reproduced", False)) if rules else ():
            for name, positive in signs(getattr(rules, word), True):
                found.setdefault(name, "for" if positive is sign else "against")
        return found


def chosen(values: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    """Whether an instance is among those that `where` names."""
    return all(values.get(axis) in (wanted if isinstance(wanted, list) else [wanted]) for axis, wanted in where.items())


def signs(rule: Any, positive: bool) -> list[tuple[str, bool]]:
    """Every check that a rule mentions, and whether it must be true (False: decided against) for the rule to be."""
    if rule is None:
        return []
    if isinstance(rule, str):
        return [(rule, positive)]
    if isinstance(rule, Not):
        return signs(rule.not_, not positive)
    return [pair for part in parts(rule) for pair in signs(part, positive)]


def held(rule: All | Any_ | AtLeast) -> Any:
    """What a counting word counts, as it is written: one rule, or a list of them."""
    return rule.all if isinstance(rule, All) else rule.any if isinstance(rule, Any_) else rule.of


def parts(rule: All | Any_ | AtLeast) -> list[Any]:
    """What a counting word counts, as a list."""
    value = held(rule)
    return value if isinstance(value, list) else [value]


def level_of(how: Crossing) -> Expression:
    """The level that a crossing looks for. Raises ExpressionError."""
    level = how.first_below if how.first_below is not None else how.first_above
    assert level is not None, "it has one of the two"
    return Expression(level)


def levels(estimate: Estimate) -> dict[str, Expression]:
    """operand -> the level that its crossing looks for. Raises ExpressionError."""
    return {name: level_of(o.read) for name, o in estimate.operands.items() if isinstance(o.read, Crossing)}
