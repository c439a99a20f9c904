"""Checks: an estimate against a criterion, and the rules that combine checks into a verdict."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, model_validator

from descent.claims.read.strict import Number, Scalar, Scales, Strict, doc

CRITERIA = ("below", "above", "at_most", "at_least", "inside", "ordered", "best", "more_than", "no_more_than")


class ByP(Strict):
    """A corrected p-value decides: for the criterion below the level, against it by the reversed test."""

    p: Number = doc("The level, such as 0.05.", gt=0, lt=0.5)
    family: str | None = doc(
        "Checks of the claim with this name are corrected together (Holm); so are their reversed tests, in a family of their own. "
        "By default the instances of the check are its family.",
        default=None,
    )


class Comparison(Strict):
    """An estimate against a criterion that decides nothing by itself."""

    estimate: str = doc("The estimate that is looked at.")
    where: dict[str, Scalar | list[Scalar]] = doc(
        "Only the instances of the estimate with these values of `over`.", default_factory=dict
    )
    below: Number | None = doc("The whole interval lies below.", default=None)
    above: Number | None = doc("The whole interval lies above.", default=None)
    at_most: Number | None = doc("As `below`, equality counts (for exact quantities).", default=None)
    at_least: Number | None = doc("As `above`, equality counts.", default=None)
    inside: list[Number] | None = doc("The whole interval lies in [low, high]: equality within a margin.", default=None)
    ordered: Literal["ascending", "descending"] | None = doc(
        "Every adjacent contrast of the estimate (`contrast: adjacent`) is decided that way.", default=None
    )
    best: Literal["highest", "lowest"] | None = doc(
        "Every contrast of the estimate against the others (`contrast: {against: x}`) is decided for x.", default=None
    )
    more_than: Number | None = doc("An audit finds more than this nominal epsilon, by its p-value.", default=None)
    no_more_than: Number | None = doc(
        "An audit that could find more does not. Needs a control that the same procedure catches.", default=None
    )
    scales: Scales | None = doc("Scales at which it exists; all by default.", default=None)
    note: str | None = doc("Where the criterion comes from.", default=None)

    @model_validator(mode="after")
    def _inside(self) -> Comparison:
        if self.inside is not None and (len(self.inside) != 2 or not self.inside[0] < self.inside[1]):
            raise ValueError("`inside` takes two numbers, [low, high]")
        return self

    @property
    def criterion(self) -> tuple[str, Any] | None:
        """(word, value), None where there is none."""
        found = [(word, getattr(self, word)) for word in CRITERIA if getattr(self, word) is not None]
        return found[0] if found else None


class Check(Comparison):
    """An estimate against a criterion: decided for, decided against, or open."""

    decide: Literal["interval"] | ByP = doc(
        "What decides: the interval, or {p: level, family: name}.", default="interval"
    )

    @model_validator(mode="after")
    def _one_criterion(self) -> Check:
        found = [word for word in CRITERIA if getattr(self, word) is not None]
        if len(found) != 1:
            had = f"has {' and '.join(found)}" if found else "has none"
            raise ValueError(f"a check has exactly one criterion of {', '.join(CRITERIA)}, this one {had}")
        return self


class Alternative(Check):
    """Another defensible analysis: judged and listed, deciding nothing."""

    instead_of: str = doc("The check that it stands beside.")


# -- rules ------------------------------------------------------------------------------------------------------------


class Not(Strict):
    """The negation: of a check, that it is decided against."""

    not_: Rule = doc("The rule that must be false.", alias="not")


class All(Strict):
    """Every part."""

    all: Rule | list[Rule] = doc("A list of rules, or one: a check (or `{not: check}`) then stands for its instances.")
    each: str | None = doc(
        "Ask it for every value of this axis of `over` instead; then `all` holds one rule.", default=None
    )


class Any_(Strict):
    """At least one part."""

    any: Rule | list[Rule] = doc("A list of rules, or one: a check (or `{not: check}`) then stands for its instances.")
    each: str | None = doc(
        "Ask it for some value of this axis of `over` instead; then `any` holds one rule.", default=None
    )


class AtLeast(Strict):
    """At least k parts."""

    at_least: int = doc("How many.", gt=0)
    of: Rule | list[Rule] = doc("A list of rules, or one: a check (or `{not: check}`) then stands for its instances.")
    each: str | None = doc("Count the values of this axis of `over` instead; then `of` holds one rule.", default=None)


WORDS = ("all", "any", "at_least", "not")


def _rule(value: Any) -> str | None:
    if isinstance(value, str):
        return "check"
    if isinstance(value, Strict):
        return {Not: "not", All: "all", Any_: "any", AtLeast: "at_least"}.get(type(value))
    return next((word for word in WORDS if word in value), None) if isinstance(value, dict) else None


Rule = Annotated[
    Annotated[str, Tag("check")]
    | Annotated[All, Tag("all")]
    | Annotated[Any_, Tag("any")]
    | Annotated[AtLeast, Tag("at_least")]
    | Annotated[Not, Tag("not")],
    Discriminator(
        _rule,
        custom_error_type="rule",
        custom_error_message="the name of a check, {all: [..]}, {any: [..]}, {at_least: k, of: [..]} or {not: ..}",
    ),
]


class Rules(Strict):
    """The first true one is the verdict; none: inconclusive."""

    reproduced: Rule = doc("When the claim is reproduced.")
    partly: Rule | None = doc("When it is reproduced in part; needs decided checks as well.", default=None)
    not_reproduced: Rule | None = doc("When it is not: needs a check decided against the claim.", default=None)


for model in (Not, All, Any_, AtLeast, Rules):
    model.model_rebuild()
