"""Operands: which records are read, and how the run of one seed becomes one number."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from descent.claims.read.strict import Finite, Name, Number, Scalar, Strict, doc

REDUCE = ("mean", "median", "min", "max", "sum", "std", "geomean", "auc")
Bound = Annotated[int, Tag("step")] | Annotated[float, Tag("share")] | Annotated[Literal["last"], Tag("last")]
Bounds = Annotated[
    Bound, Discriminator(lambda b: "step" if type(b) is int else "share" if type(b) is float else "last")
]


class Window(Strict):
    """A part of the run, reduced to one number: `{window: [9500, last], reduce: mean}`."""

    window: list[Bounds] | Literal["all"] = doc(
        "`all`, or `[from, to]`: whole numbers are steps, decimals shares of the run (1.0 is its end), `last` its last step; both count."
    )
    reduce: Literal["mean", "median", "min", "max", "sum", "std", "geomean", "auc"] = doc(
        "How the values become one; auc is the mean height of the curve over its steps."
    )
    weights: str | None = doc("A metric recorded at the same steps that weights the mean.", default=None)
    every: int | None = doc("Use only the steps that are multiples of this.", default=None, gt=0)

    @model_validator(mode="after")
    def _sound(self) -> Window:
        if self.window != "all":
            if len(self.window) != 2:
                raise ValueError("`window` takes two bounds, [from, to], or `all`")
            if any(isinstance(b, float) and not 0 <= b <= 1 for b in self.window):
                raise ValueError(
                    "a decimal bound of `window` is a share of the run, between 0.0 and 1.0; steps are whole numbers"
                )
        if self.weights is not None and self.reduce != "mean":
            raise ValueError("`weights` goes with `reduce: mean`")
        return self


class Crossing(Strict):
    """The first step at which a level is reached: `{first_above: 150}`. Never reached is censored (+inf), not missing."""

    first_below: Number | str | None = doc(
        "Equality counts; a number, or arithmetic over other operands of the seed.", default=None
    )
    first_above: Number | str | None = doc("Likewise from below.", default=None)
    watch: str | None = doc("The metric whose crossing is looked for; the operand's own by default.", default=None)
    give: Literal["step", "value"] = doc("The step of the crossing, or the operand's metric there.", default="step")
    window: list[Bounds] | None = doc("Look only in this part of the run.", default=None)

    @model_validator(mode="after")
    def _sound(self) -> Crossing:
        if (self.first_below is None) == (self.first_above is None):
            raise ValueError("a crossing has one of `first_below` and `first_above`")
        if self.window is not None and len(self.window) != 2:
            raise ValueError("`window` takes two bounds, [from, to]")
        return self


class Fit(Strict):
    """Least squares of the value on the step inside one run: `{fit: semilog, give: factor}`."""

    fit: Literal["linear", "semilog", "loglog"] = doc(
        "Which of value and step are taken in logs: none, the value, both."
    )
    give: Literal["slope", "intercept", "factor", "r2", "points"] = doc(
        "What is read off; factor is exp(slope), a step's factor."
    )
    between: list[Finite] | None = doc(
        "Only values between these shares of the start, the high one first.", default=None
    )
    above: Finite | None = doc("Only values above this level.", default=None)
    last: int | None = doc("Only this many of the last remaining points.", default=None, gt=2)
    window: list[Bounds] | None = doc("Only this part of the run.", default=None)

    @model_validator(mode="after")
    def _sound(self) -> Fit:
        if self.between is not None and (len(self.between) != 2 or not self.between[0] > self.between[1] >= 0):
            raise ValueError("`between` takes two shares of the start, the high one first, such as [0.1, 1.0e-9]")
        if self.window is not None and len(self.window) != 2:
            raise ValueError("`window` takes two bounds, [from, to]")
        return self


def _reading(value: Any) -> str | None:
    if type(value) is int:
        return "step"
    if isinstance(value, str):
        return "end" if value in ("last", "first", "all") else None
    if isinstance(value, Strict):  # built already
        return {Window: "window", Crossing: "crossing", Fit: "fit"}.get(type(value))
    keys = set(value) if isinstance(value, dict) else set()
    if "fit" in keys:
        return "fit"
    if keys & {"first_below", "first_above", "watch", "give"}:
        return "crossing"
    return "window" if keys & {"window", "reduce", "weights", "every"} else None


Reading = Annotated[
    Annotated[Literal["last", "first", "all"], Tag("end")]
    | Annotated[int, Tag("step")]
    | Annotated[Window, Tag("window")]
    | Annotated[Crossing, Tag("crossing")]
    | Annotated[Fit, Tag("fit")],
    Discriminator(
        _reading,
        custom_error_type="reading",
        custom_error_message="last, first, all, a step, {window, reduce}, {first_below} or {first_above}, or {fit, give}",
    ),
]


class Smooth(Strict):
    """A trailing moving average along the run, before anything is read."""

    window: int | None = doc("Number of records averaged.", default=None, gt=0)
    span: Finite | None = doc(
        "Total of the metric `of` that a window spans: window = round(span / mean of `of`).", default=None, gt=0
    )
    of: str | None = doc("The metric that `span` counts.", default=None)

    @model_validator(mode="after")
    def _sound(self) -> Smooth:
        if (self.window is None) == (self.span is None) or (self.span is None) != (self.of is None):
            raise ValueError("`smooth` takes `window`, or `span` with `of`")
        return self


class Operand(Strict):
    """Records -> one number a seed, or one a seed and setting when it goes `across` settings."""

    experiment: str = doc("The experiment whose records are read.")
    metric: str = doc("The metric that is read.")
    method: str | None = doc("The method; leave it out only where `where` or `across` names it.", default=None)
    where: dict[str, Scalar | list[Scalar]] = doc(
        "Setting axes and the value (or list of values) they have.", default_factory=dict
    )
    across: dict[str, Annotated[list[Scalar], Field(min_length=2)]] = doc(
        "Setting axes along which the operand is a vector, with their values.", default_factory=dict
    )
    read: Reading = doc(
        "How a seed's run becomes one number; `all` where every record is a replicate (`replicate: record`, bench).",
        default="last",
    )
    smooth: Smooth | None = doc("A moving average first.", default=None)
    exact: bool = doc("Nothing drawn enters it: one number that every seed shares.", default=False)
    pairs: str | None = doc(
        "The column that numbers the second seed where a row belongs to two seeds (jackknife only).", default=None
    )
    status: Literal["ok", "censored", "diverged", "undefined"] | None = doc(
        "`is: diverged` reads 1 where the reading has that status, else 0.", default=None, alias="is"
    )
    substitute: dict[Literal["censored", "diverged", "undefined"], Number] = doc(
        "The number that stands for such a reading (inf is allowed); what is missing has no substitute.",
        default_factory=dict,
    )
    resolution: Finite | None = doc(
        "Rounding, grid or step of the reading; by default what the metric declares.", default=None, ge=0
    )


Operands = Annotated[dict[Name, Operand], Field(min_length=1)]
