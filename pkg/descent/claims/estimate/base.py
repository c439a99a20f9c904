"""What all estimators share: the numbers they take, the estimate they give, and the registry of kinds.

Draws lead: every array is (D, ...), D simulated worlds judged at once (1 for the study itself), and no estimator loops
over them. Nothing is drawn at random here: the same records give the same interval everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

OK, CENSORED, DIVERGED, UNDEFINED, MISSING = range(5)
STATUS = ("ok", "censored", "diverged", "undefined", "missing")

LEAST_SEEDS = 5  # fewer decide nothing
ROUNDING = 2.0**-40  # a spread below this share of the size of the numbers is rounding, not variation

Side = Literal["above", "below", "inside", "outside"]
Unit = Literal["seed", "guess", "block", "value"]


@dataclass(frozen=True)
class Numbers:
    """One number a seed, of D draws.

    values: (D, n) float64, a column a planned seed. status: (D, n), a code of STATUS. A censored number carries the
    infinity it lies towards, or a bound in `values` and the other in `upper`; what is diverged may carry the infinity
    that is worst, or NaN; what is undefined or missing carries NaN. planned: seeds that must exist; columns short of it
    are missing. upper: (D, n) where a number is only known to lie in [values, upper]. size: (D,) or a float, how large
    the operands were that a difference was taken of; a spread that is rounding beside it is none.
    """

    values: NDArray[np.float64]
    status: NDArray[np.uint8]
    planned: int
    upper: NDArray[np.float64] | None = None
    size: ArrayLike = 0.0
    noun: str = "seed"

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape != self.status.shape:
            shapes = f"{self.values.shape}, {self.status.shape}"
            raise ValueError(f"numbers are (draws, seeds) with a status each, got {shapes}")
        for name in ("values", "status", "upper"):  # sums run the same way whatever the memory's order
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name)))
        if not self.values.shape[1]:  # no column at all: one that is missing
            lone = np.full((self.values.shape[0], 1), np.nan)
            object.__setattr__(self, "values", lone)
            object.__setattr__(self, "status", np.full(lone.shape, MISSING, np.uint8))
            object.__setattr__(self, "planned", max(self.planned, 1))

    @classmethod
    def ok(cls, values: ArrayLike, planned: int | None = None, **more: Any) -> Numbers:
        """Numbers that are ok wherever they are finite or infinite, missing where NaN; (n,) is one draw."""
        values = np.atleast_2d(np.asarray(values, float))
        status = np.where(np.isnan(values), MISSING, OK).astype(np.uint8)
        return cls(values, status, values.shape[1] if planned is None else planned, **more)

    @property
    def draws(self) -> int:
        """D."""
        return self.values.shape[0]

    @property
    def counts(self) -> dict[str, NDArray[np.int64]]:
        """How many of the planned seeds have each status: {status: (D,)}."""
        found = {name: (self.status == code).sum(axis=1) for code, name in enumerate(STATUS)}
        found["missing"] = found["missing"] + max(0, self.planned - self.values.shape[1])
        return found


# What keeps an estimate from deciding, the first that applies. A reason may name the count it is about.
REASONS: dict[str, str] = {
    "": "",
    "missing": "{missing} of {planned} {noun}s {missing:have|has} no number",
    "few": "{n} {noun}{n:s are| is} too few: this estimate decides nothing below {least}",
    "diverged": "{diverged} of {planned} {noun}s diverged, so they have no mean; a median or a share takes them",
    "censored": "{censored} of {planned} {noun}s never reached the level, so they have no mean; a median or a share takes them",
    "undefined": "{undefined} of {planned} {noun}s {undefined:have|has} no defined value",
    "positive": "the log scale needs positive numbers, and a {noun} has none; estimate a difference",
    "constant": "all {noun}s have the same number, so nothing is known of how it varies; declare its resolution, or "
                "that it is exact",
    "two": "the numbers take two values only, so a t interval does not hold; estimate a share, or declare "
           "their resolution",
    "share": "the numbers are not 0 or 1; say `below` or `above` what counts",
    "open": "no interval at this level exists for so few {noun}s",
    "inexact": "the {noun}s differ, so the quantity is not exact",
    "unbounded": "the estimate does not exist",
    "audit": "the counts are not those of an audit",
}  # fmt: skip
_CODE = {name: code for code, name in enumerate(REASONS)}

Test = Callable[[Any, Side], NDArray[np.float64]]


@dataclass(frozen=True)
class Estimate:
    """An estimate of D draws with its one interval.

    value, low, high: (D,) on the display scale, NaN where there is none; ends may be infinite. level: of the interval.
    n: (D,) numbers used. planned: seeds that must exist. counts: {status: (D,)}. reason: (D,) code of why a draw
    decides nothing, 0 where it does. spread: (D,) range of the numbers. cap: (D,) an audit's largest possible bound.
    """

    kind: str
    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    level: float
    n: NDArray[np.int64]
    planned: int
    counts: Mapping[str, NDArray[np.int64]]
    reason: NDArray[np.uint8]
    least: int = LEAST_SEEDS
    noun: str = "seed"
    words: str = ""
    resolution: NDArray[np.float64] | float = 0.0
    spread: NDArray[np.float64] | None = None
    cap: NDArray[np.float64] | None = None
    test: Test | None = field(default=None, repr=False, compare=False)

    @property
    def decidable(self) -> NDArray[np.bool_]:
        """(D,) whether a draw may decide anything."""
        return self.reason == 0

    @property
    def has_p(self) -> bool:
        """Whether there are p-values."""
        return self.test is not None

    def why_not(self, draw: int = 0) -> str:
        """Why this draw decides nothing, without a full stop; "" where it may decide."""
        text = list(REASONS.values())[int(self.reason[draw])]
        counts = {name: _Count(count[draw]) for name, count in self.counts.items()}
        return text.format(n=_Count(self.n[draw]), planned=self.planned, noun=self.noun, least=self.least, **counts)

    def p(self, criterion: Any, side: Side) -> NDArray[np.float64]:
        """(D,) p-values against the opposite: the chance of such numbers, were the quantity not on that side.

        criterion: a number, or (low, high) for `inside` (two one-sided tests) and `outside`. NaN where there is none or
        where the draw may not decide: Holm counts it as 1. Raises TypeError for a kind without p-values.
        """
        if self.test is None:
            raise TypeError(f"`{self.kind}` has no p-value")
        if side == "inside":
            low, high = criterion
            p = np.maximum(self.test(low, "above"), self.test(high, "below"))
        elif side == "outside":
            low, high = criterion
            p = np.minimum(1.0, 2 * np.minimum(self.test(low, "below"), self.test(high, "above")))
        else:
            p = self.test(criterion, side)
        if np.any(np.asarray(self.resolution) > 0):
            # What the resolution cannot tell from the criterion, no test can: p and interval agree.
            half, ends = self.resolution, np.atleast_1d(criterion)
            near = np.any([np.abs(self.value - end) <= half for end in ends], axis=0)
            p = np.where(near, 1.0, p)
        return np.where(self.decidable, p, np.nan)


class _Count(int):
    """A count that chooses a word: f"{n:have|has}"."""

    def __format__(self, spec: str) -> str:
        if "|" not in spec:
            return format(int(self), spec)
        many, one = spec.split("|")
        return one if self == 1 else many


def reasons(draws: int, *found: tuple[str, ArrayLike]) -> NDArray[np.uint8]:
    """(D,) code of the first reason whose (D,) or scalar condition holds."""
    code = np.zeros(draws, np.uint8)
    for name, where in reversed(found):
        code[np.broadcast_to(np.asarray(where, bool), draws)] = _CODE[name]
    return code


def with_resolution(estimate: Estimate, half_width: ArrayLike, declared: bool = True) -> Estimate:
    """The estimate, its interval at least [value - half_width, value + half_width].

    half_width: scalar or (D,), how far the statistic moves when its operands move by half of their declared resolution.
    Numbers that agree within a `declared` resolution are then no longer "constant": it says how far they may differ.
    """
    half = np.broadcast_to(np.asarray(half_width, float), estimate.value.shape)
    if not (half > 0).any():
        return estimate
    lifted = (estimate.reason == _CODE["constant"]) & (half > 0) & declared
    if estimate.spread is not None:
        lifted |= (estimate.reason == _CODE["two"]) & (estimate.spread <= 2 * half * (1 + 1e-9)) & declared
    # a constant's interval starts from its value
    low = np.where(lifted & np.isnan(estimate.low), estimate.value, estimate.low)
    high = np.where(lifted & np.isnan(estimate.high), estimate.value, estimate.high)
    with np.errstate(invalid="ignore"):  # without a value both ends move
        floor = np.where(np.isnan(estimate.value), low - half, np.minimum(low, estimate.value - half))
        roof = np.where(np.isnan(estimate.value), high + half, np.maximum(high, estimate.value + half))
    low, high = np.where(half > 0, floor, low), np.where(half > 0, roof, high)
    return replace(
        estimate, low=low, high=high, resolution=half, reason=np.where(lifted, 0, estimate.reason).astype(np.uint8)
    )


# -- the registry -----------------------------------------------------------------------------------------------------


class Options(BaseModel):
    """Options of a kind, as a claim's `estimator:` gives them. A kind's model has `kind: Literal[...]` and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Any  # a field that a model overrides may not have another type: each has its own Literal


@dataclass(frozen=True)
class Kind:
    """One kind of estimator.

    options: its typed options. takes: what `estimate` is handed: `seeds` one Numbers; `jackknife` one Numbers of n + 1
    columns (all seeds, then each left out); `two` two Numbers; `counts` right, guesses, canaries. data: for every kind
    of data the least n at which its simulated coverage is 90 % or more, None where it never is (docs/error-rates.md);
    empty where no seeds are counted.
    unit: what is counted. decides: interval and p, or p alone, or the exact value. words: the estimator in words.
    """

    name: str
    doc: str
    options: type[Options]
    takes: Literal["seeds", "jackknife", "two", "counts"]
    data: Mapping[str, int | None]
    unit: Unit
    decides: Literal["interval and p", "interval", "p", "exact"]
    estimate: Callable[..., Estimate]
    words: Callable[[Any], str]
    least: Callable[[Any], int] = lambda options: LEAST_SEEDS

    def least_for(self, options: Options, data: str) -> int | None:
        """The least n at which this estimator may decide on such data; None: never."""
        if not self.data:  # no seeds are counted
            return self.least(options)
        held = self.data.get(data)
        return None if held is None else max(held, self.least(options))


# The kinds of data a claim may declare of its numbers (on the scale on which they are estimated).
Data = Literal["normal", "skewed", "heavy", "binary", "clustered"]
DATA: dict[Data, str] = {
    "normal": "roughly symmetric, light tails; the default of the t family",
    "skewed": "a skew like the exponential's: waiting times, distances, squared errors",
    "heavy": "a tail like the lognormal's with sigma 1.5: a mean is hardly ever seen",
    "binary": "0 or 1",
    "clustered": "several numbers a seed that share the seed's effect; a seed is one unit",
}

KINDS: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Add a kind; each name once."""
    if kind.name in KINDS:
        raise ValueError(f"kind {kind.name} is registered twice")
    KINDS[kind.name] = kind
    return kind


def estimate(options: Options, *numbers: Numbers, resolution: ArrayLike = 0.0) -> Estimate:
    """The estimate of these numbers, its interval no narrower than the resolution. See Kind.takes for what is handed.

    resolution: scalar or (D,), how far the statistic moves when its operands move by half of their declared resolution.
    """
    kind = KINDS[options.kind]
    found = with_resolution(kind.estimate(options, *numbers), resolution)
    if kind.takes in ("seeds", "jackknife"):  # a difference of equal operands is known to their rounding, no closer
        found = with_resolution(found, np.maximum(found.resolution, ROUNDING * np.asarray(numbers[0].size)), False)
    return replace(found, words=kind.words(options))
