"""The typed form of a claim: what `claims:` in config/papers/<slug>.yaml turns into.

Every field carries its sentence of documentation in `metadata["description"]`; `parse_claims` reads the YAML.
Nothing here imports pandas or scipy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from descent.claims.expression import Expression

ORIGINS = ("paper", "ours", "report-only")
TAGS = ("quote", "paraphrase", "derived")
VERDICT_RULES = ("reproduced", "partly", "not_reproduced")


def doc(description: str, default: Any = MISSING, factory: Any = MISSING) -> Any:
    """A dataclass field with its sentence of documentation."""
    return field(default=default, default_factory=factory, metadata={"description": description})


@dataclass(frozen=True)
class Reading:
    """`at`: how the series of one unit (its values by step) becomes one number."""

    kind: str = doc("last, first, step, window, crossing or fit.", "last")
    step: int | None = doc("The exact step that is read.", None)
    start: float | int | None = doc("`from`: first step of a window (int), or fraction of the run (float).", None)
    stop: float | int | None = doc("`to`: last step of a window (int), fraction of the run (float) or `last`.", None)
    every: int | None = doc("Use only the steps that are multiples of this.", None)
    reduce: str | None = doc("How a window becomes a number: mean, median, min, max, sum, std, geomean or auc.", None)
    weights: str | None = doc("A metric recorded at the same steps that weights the mean of the window.", None)
    direction: str | None = doc("below for `first_below`, above for `first_above` (both count equality).", None)
    threshold: Expression | None = doc("The level of a crossing: a number or an expression of other operands.", None)
    watch: str | None = doc("The metric whose crossing is looked for; the operand's own by default.", None)
    give: str | None = doc("Of a crossing: step or value; of a fit: slope, intercept, factor, r2 or points.", None)
    never: str | None = doc("Status when the level is never reached: censored (step) or undefined (value).", None)
    fit: str | None = doc("Least squares of value on step: linear, semilog (log value) or loglog (both).", None)
    between: tuple[float, float] | None = doc("Fit only values between these fractions of the start, high first.", None)
    above: float | None = doc("Fit only values above this level.", None)
    last: int | None = doc("Fit only this many of the last remaining points.", None)


@dataclass(frozen=True)
class Smooth:
    """`smooth`: a trailing moving average over the records of a unit, shorter at the start."""

    window: int | None = doc("Number of records averaged.", None)
    span: float | None = doc("Total of the metric `of` that a window spans: window = round(span / mean of `of`).", None)
    of: str | None = doc("The metric that `span` counts.", None)


@dataclass(frozen=True)
class Operand:
    """One named operand of a check: one number a unit, or one a unit and setting when it has `across`."""

    experiment: str = doc("The experiment whose records are read.", "")
    metric: str = doc("The metric that is read.", "")
    method: str | None = doc("The method; leave it out only when `where`, `across` or `unit` names it.", None)
    where: Mapping[str, Any] = doc("Setting axes and the value, or list of values, that they must have.", factory=dict)
    unit: tuple[str, ...] = doc("The record columns that make a unit; [] means one number for all.", ("seed",))
    at: Reading = doc("How a unit's series becomes one number: last by default.", factory=Reading)
    smooth: Smooth | None = doc("Moving average before anything else.", None)
    across: Mapping[str, tuple] = doc(
        "Setting axes along which the operand is a vector, with their values.", factory=dict
    )
    pool: str | None = doc("Collapse all units into one exact number: mean, median, min, max, sum or count.", None)
    status: str | None = doc(
        "`is`: 1 where the reading has this status (ok, censored, diverged, undefined), else 0.", None
    )
    substitute: Mapping[str, float] = doc("The number that stands for a censored, diverged, ... reading.", factory=dict)
    constant: float | None = doc("The operand is this number.", None)


@dataclass(frozen=True)
class Estimator:
    """How the units become an estimate: see `kinds.KINDS` for every kind, its varieties and options."""

    kind: str = doc(
        "mean, median, functional, tost, test, difference, fraction, slope, ... (first key of the mapping)."
    )
    variety: str = doc("The way it is computed, e.g. t or bootstrap (that key's value).")
    options: Mapping[str, Any] = doc("The remaining keys with their defaults filled in.", factory=dict)


@dataclass(frozen=True)
class Condition:
    """One condition of a predicate: a word and its numbers."""

    word: str = doc("below, above, at_most, at_least, inside, near, contains, excludes, equals, narrower, ...")
    bounds: tuple[float, ...] = doc("The numbers it compares with.", ())
    name: str | None = doc("Of `best`: the operand or label that must be best; of `ordered`: the direction.", None)


@dataclass(frozen=True)
class Predicate:
    """What must be true of the estimate; several conditions must all be true."""

    conditions: tuple[Condition, ...] = doc("The conditions.")
    on: str = doc("What they look at: interval, estimate, low, high, p, every_unit or fraction.", "interval")
    share: float | None = doc("With `on: fraction`: the share of units for which they must be true.", None)
    slack: float = doc("With `ordered`: a neighbour may be out of order by this factor.", 1.0)
    best_is: str = doc("With `best`, the key `is`: highest or lowest.", "highest")


@dataclass(frozen=True)
class Family:
    """Checks whose p-values are corrected together, inside one claim."""

    name: str = doc("The family's name; checks of one claim with one name are corrected together.")
    method: str = doc("holm or bonferroni.", "holm")


@dataclass(frozen=True)
class Instance:
    """One cell of a check: the check itself, or one value of `over` written into its templates."""

    where: Mapping[str, Any] = doc("The values of `over` for this instance.")
    about: str = doc("What is compared, in plain words.")
    values: Mapping[str, Operand] = doc("The named operands.")
    statistic: Mapping[str, Expression] = doc("Label -> expression; one entry without a label for a single one.")
    groups: tuple[Expression, ...] = doc("The two samples of a two-sample estimator.", ())
    estimator: Estimator | None = doc("The estimator.", None)
    predicate: Predicate | None = doc("The predicate; None for a number that is only reported.", None)
    family: Family | None = doc("The family its p-value is corrected in.", None)
    among: Expression | None = doc("Only units for which this comparison holds are used.", None)
    substitute: Mapping[str, float] = doc(
        "The number that stands for a unit that is censored, diverged, ...", factory=dict
    )

    @property
    def label(self) -> str:
        """`data=a5a, model=svm`; empty for a check without `over`."""
        return ", ".join(f"{axis}={value}" for axis, value in self.where.items())


@dataclass(frozen=True)
class Check:
    """A named check with its instances."""

    name: str = doc("The check's name.")
    instances: tuple[Instance, ...] = doc("One, or one for every value of `over`.")
    expanded: bool = doc("Whether `over` was given.", False)
    control: bool = doc("A negative control or invariant: if it fails the claim is inconclusive.", False)
    scales: tuple[str, ...] | None = doc("Scales at which the check exists; all by default.", None)
    reported: bool = doc("It has no predicate: its numbers are shown and decide nothing.", False)


@dataclass(frozen=True)
class Rule:
    """A node of a rule: check, fails, holds, not, all, any, at_least or more_than."""

    word: str = doc("check, fails, holds, not, all, any, at_least or more_than.")
    check: str | None = doc("The check of a check, fails or holds node.", None)
    parts: tuple[Rule, ...] = doc("What it is made of.", ())
    count: float | None = doc("Of at_least: how many; of more_than: the share.", None)
    each: str | None = doc("The `over` axis whose values the word counts.", None)


@dataclass(frozen=True)
class Claim:
    """One claim of a paper: its statement, its checks and the rules of its verdict."""

    name: str = doc("The claim's key, e.g. c1.")
    statement: str = doc("What is claimed, in one or two sentences.")
    headline: str = doc("The check whose numbers stand for the claim.")
    checks: Mapping[str, Check] = doc("The checks by name.")
    rules: Mapping[str, Rule] = doc("reproduced, partly, not_reproduced: the first true one is the verdict.")
    origin: str = doc("paper, ours (never counted as the paper's) or report-only (no verdict).", "paper")
    tag: str | None = doc("quote, paraphrase or derived: how close the statement is to the paper's words.", None)
    source: str | None = doc("Where it stands.", None)
    headline_where: Mapping[str, Any] = doc("The instance of the headline check, where it has several.", factory=dict)
    paper_value: str | None = doc("The paper's own number.", None)
    figure: str | None = doc("The figure that shows it.", None)
    note: str | None = doc("How thresholds came about, and what a reader should know; shown in the report.", None)
    scales: tuple[str, ...] | None = doc("Scales at which the claim is tested; all by default.", None)
    elsewhere: str | None = doc("Why it is not run at other scales.", None)

    def experiments(self) -> tuple[str, ...]:
        """The experiments whose records it reads, in order of first use."""
        used = [o.experiment for c in self.checks.values() for i in c.instances for o in i.values.values()]
        return tuple(dict.fromkeys(name for name in used if name))


def parse_claims(mapping: Mapping[str, Any], where: str = "config/papers/x.yaml") -> dict[str, Claim]:
    """The claims of one paper, typed.

    mapping: the value of the key `claims`. where: the file, for messages.
    Raises ConfigError holding every fault, one sentence each: file, key path, what is wrong, what is allowed.
    """
    from descent.claims.parse import read_claims

    return read_claims(mapping, where)
