"""A claim as it is written in config/papers/<slug>.yaml."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from descent.claims.estimate.base import Data
from descent.claims.read.checks import Alternative, Check, Comparison, Rules
from descent.claims.read.estimators import Estimator, default
from descent.claims.read.operands import Operands
from descent.claims.read.strict import Name, Number, Scalar, Scales, Strict, Text, doc

ORIGINS = ("paper", "ours", "report-only")
TAGS = ("quote", "paraphrase", "derived", "code")


class Against(Strict):
    """Contrasts of one label with each of the others."""

    against: str = doc("The label that is compared with every other.")


def _named(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


class Estimate(Strict):
    """One quantity: records -> one number a seed -> a value with one interval, computed once."""

    over: dict[str, list[Scalar]] | list[dict[str, Scalar]] | None = doc(
        "An instance for every combination of these values (or for every listed set of them); `{axis}` in the texts below stands for the value.",
        default=None,
    )
    operands: Operands = doc("The named operands.")
    value: str | dict[Text, str] | None = doc(
        "Arithmetic over the operands: + - * / **, log exp sqrt abs min max, over settings also mean, slope(x, y), spearman(x, y), "
        "half(x, y). A mapping label -> arithmetic with `contrast`. By default the only operand.",
        default=None,
    )
    contrast: Literal["adjacent"] | Against | None = doc(
        "Of a mapping or a vector: `adjacent`, each less (over, on the log scale) the one before; `{against: x}`, x less (over) each other.",
        default=None,
    )
    scale: Literal["linear", "log"] = doc(
        "log: estimated in logs and shown back-transformed, the criterion with it; for positive ratios.",
        default="linear",
    )
    estimator: Annotated[Estimator, BeforeValidator(_named)] = doc(
        "A name, or {kind: name, ...options}: see [estimators.md](estimators.md).", default_factory=default
    )
    data: Data = doc("What the numbers of the seeds are like: decides which estimators may be used.", default="normal")
    replicate: Literal["seed", "record"] = doc(
        "record: every recorded step of a seed is an independent replicate.", default="seed"
    )
    paper: Number | None = doc(
        "The paper's number for this quantity, in the same unit, shown beside ours.", default=None
    )
    words: Annotated[str, StringConstraints(min_length=3, max_length=48)] | None = doc(
        "A few words for the front page, where the arithmetic does not say by itself what the number is.", default=None
    )


class Claim(Strict):
    """One claim of a paper: what it says, the estimates, the checks, the rules of its verdict."""

    statement: Text = doc("What is claimed, in one or two sentences.")
    tag: Literal["quote", "paraphrase", "derived", "code"] | None = doc(
        "How close the statement is to the paper's words; code: read in official code, so the page never says that the paper claims it.",
        default=None,
    )
    source: str | None = doc("Where it stands.", default=None)
    origin: Literal["paper", "ours", "report-only"] = doc(
        "ours is never counted as the paper's; report-only has no verdict.", default="paper"
    )
    headline: str | Annotated[list[str], Field(min_length=1)] = doc(
        "The check (or checks) whose worst instance stands for the claim; of a report-only claim the estimate."
    )
    paper_value: str | None = doc("The paper's own number, in words.", default=None)
    figure: str | None = doc("The figure that shows it.", default=None)
    note: str | None = doc("How thresholds came about, and what a reader should know.", default=None)
    provisional: Text | None = doc("Why the verdict awaits a run on fresh seeds; shown with it.", default=None)
    scales: Scales | None = doc("Scales at which it is tested; all by default.", default=None)
    elsewhere: str | None = doc("Why it is not run at other scales.", default=None)
    estimates: Annotated[dict[Name, Estimate], Field(min_length=1)] = doc("The estimates by name.")
    checks: dict[Name, Check] = doc("Estimates against criteria: what the rules read.", default_factory=dict)
    controls: dict[Name, Check] = doc(
        "Checks that must hold, or the claim is inconclusive; judged first.", default_factory=dict
    )
    comparisons: dict[Name, Comparison] = doc(
        "Contrasts to other settings: shown, deciding nothing.", default_factory=dict
    )
    alternatives: dict[Name, Alternative] = doc(
        "Other defensible analyses: judged and listed, deciding nothing.", default_factory=dict
    )
    rules: Rules | None = doc("reproduced, partly, not_reproduced; none for report-only.", default=None)

    @property
    def headlines(self) -> list[str]:
        """The names of the headline."""
        return self.headline if isinstance(self.headline, list) else [self.headline]

    @model_validator(mode="after")
    def _verdict(self) -> Claim:
        if self.origin == "report-only" and (self.rules is not None or self.checks):
            raise ValueError(
                "a report-only claim has no `checks` and no `rules`: give its numbers as estimates and `comparisons`"
            )
        if self.origin != "report-only" and (self.rules is None or not self.checks):
            raise ValueError("a claim needs `checks` and `rules` (or `origin: report-only`)")
        return self
