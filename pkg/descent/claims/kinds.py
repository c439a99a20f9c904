"""Every kind of estimator and predicate that a claim may name, with its options: what the parser allows, documented.

`KINDS["mean"].varieties["t"]` is a sentence; `gives` lists what a predicate may look at (`on`), its default first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MIN_UNITS = 5  # an interval, estimate or p-value over fewer units decides nothing
MIN_BOOTSTRAP = 8  # percentile bootstrap of 5 units covers 85 % instead of 95
RESAMPLES = 2000

AGGREGATES = ("mean", "median", "max", "min", "sum", "std", "rms", "geomean")
POOLS = ("mean", "median", "min", "max", "sum", "count")
REDUCES = ("mean", "median", "min", "max", "sum", "std", "geomean", "auc")
ALTERNATIVES = ("two_sided", "less", "greater")
_UNITS = ("every_unit", "fraction")
_ENDS = ("interval", "estimate", "low", "high")


@dataclass(frozen=True)
class Option:
    """One option of an estimator: a sentence, its default and what is allowed."""

    doc: str
    default: Any = None
    low: float | None = None  # open limits of a number
    high: float | None = None
    choices: tuple[str, ...] = ()
    kind: str = "number"  # number, count, word, flag, expression, groups, condition, margin, resample


@dataclass(frozen=True)
class Kind:
    """One kind of estimator.

    shape: what it takes: units (one estimate a label), two (two independent samples), settings (one vector statistic,
    pooled), operands (the operands themselves, aggregated before the statistic), roles (operands of fixed names).
    """

    doc: str
    varieties: Mapping[str, str]
    gives: tuple[str, ...]
    options: Mapping[str, Option]
    shape: str = "units"
    roles: Mapping[str, tuple[str, ...]] | None = None


_LEVEL = Option("Confidence level of the two-sided interval.", 0.95, 0, 1)
_ALTERNATIVE = Option("Direction the p-value looks in.", "two_sided", choices=ALTERNATIVES, kind="word")
_RESAMPLES = Option("Number of bootstrap resamples.", RESAMPLES, 199, 100_001, kind="count")
_GROUPS = Option("The two samples, as expressions; by default the two operands in order.", kind="groups")
_NULL = Option("Value under the null hypothesis; 0, or 1 with `scale: log`.", None)

KINDS: dict[str, Kind] = {
    "mean": Kind(
        "The mean of the per-unit statistic.",
        {
            "t": "Student t interval and p-value; zero variance gives a point interval and p = 1.",
            "bootstrap": "Percentile bootstrap interval (8 units or more); no p-value.",
        },
        (*_ENDS, "p", *_UNITS),
        {
            "level": _LEVEL, "alternative": _ALTERNATIVE, "null": _NULL, "resamples": _RESAMPLES,
            "scale": Option("log: geometric mean and ratio interval.", "linear", choices=("linear", "log"), kind="word"),
        },
    ),
    "median": Kind(
        "The median of the per-unit statistic; censored units order last.",
        {
            "bootstrap": "Percentile bootstrap interval (8 units or more).",
            "order": "Exact interval between order statistics (6 units or more at 95 %).",
        },
        (*_ENDS, *_UNITS),
        {"level": _LEVEL, "resamples": _RESAMPLES},
    ),
    "functional": Kind(
        "The statistic of the aggregated operands, e.g. a ratio of medians or the slope of the mean over settings.",
        {"bootstrap": "Percentile bootstrap over units (8 or more).", "none": "The estimate alone."},
        _ENDS,
        {
            "of": Option("How each operand is aggregated over units.", "mean", choices=AGGREGATES, kind="word"),
            "paired": Option("Operands and settings share their units: resampled together.", True, kind="flag"),
            "resample": Option("The unit column that is resampled (a cluster), or {pairs: [a, b]}: both columns number "
                               "one population, which is resampled instead of the pairs.", None, kind="resample"),
            "eligible": Option("Settings at which a smaller share of units than this is ok, in any operand, are left out; "
                               "elsewhere the units that are not ok are. Needs `of: mean` or `of: median`.", None, 0, 1),
            "level": _LEVEL, "resamples": _RESAMPLES,
        },
        shape="operands",
    ),
    "tost": Kind(
        "Equivalence: two one-sided t-tests; the interval has level 1 - 2 alpha.",
        {"paired": "Of the per-unit statistic.", "independent": "Of the difference of two samples (Welch)."},
        ("interval", "p", "estimate", "low", "high", *_UNITS),
        {
            "margin": Option("Half-width of the margin around 0, or [low, high].", None, kind="margin"),
            "alpha": Option("Level of each test.", 0.05, 0, 0.5), "groups": _GROUPS,
        },
    ),
    "difference": Kind(
        "Difference of the means of two independent samples.",
        {"welch": "Welch's t interval and p-value."},
        (*_ENDS, "p"),
        {"level": _LEVEL, "alternative": _ALTERNATIVE, "groups": _GROUPS},
        shape="two",
    ),
    "test": Kind(
        "A hypothesis test; the alternative is about the per-unit statistic, or about the first sample.",
        {
            "wilcoxon": "Signed ranks of the per-unit statistic; exact to 12 units. Estimate: median.",
            "sign": "Binomial test of the signs, zeros left out. Estimate: share of positive ones.",
            "sign_flip": "Mean under all sign flips, exact to 14 units. Estimate: mean.",
            "mann_whitney": "Two independent samples; censored order last. Estimate: P(first > second) + ties / 2.",
            "ks": "Two-sample Kolmogorov-Smirnov. Estimate: largest distance of the distribution functions.",
        },
        ("p", "estimate", *_UNITS),
        {"alternative": _ALTERNATIVE, "groups": _GROUPS},
    ),
    "auc": Kind(
        "Area under the ROC curve of the first sample (positives) against the second.",
        {"delong": "DeLong's interval; p against 0.5."},
        (*_ENDS, "p"),
        {"level": _LEVEL, "alternative": _ALTERNATIVE, "groups": _GROUPS},
        shape="two",
    ),
    "spearman": Kind(
        "Spearman's rank correlation of the statistic with its `across` axis, all units pooled.",
        {"pooled": "p from the t approximation, exact by permutation up to 8 points; Bonett-Wright interval."},
        ("p", "estimate", "interval", "low", "high"),
        {"alternative": _ALTERNATIVE, "level": _LEVEL},
        shape="settings",
    ),
    "slope": Kind(
        "Least-squares slope of the statistic on its `across` axis, all units pooled as independent points.",
        {"ols": "t interval and p-value from the residuals."},
        (*_ENDS, "p"),
        {
            "x": Option("What it is regressed on, e.g. log(width); by default the axis itself.", None, kind="expression"),
            "level": _LEVEL, "alternative": _ALTERNATIVE, "null": _NULL,
        },
        shape="settings",
    ),
    "logistic50": Kind(
        "Where a logistic curve through 0/1 outcomes along the `across` axis passes 50 %.",
        {"bootstrap": "Units resampled inside each setting (8 or more).", "delta": "Delta-method interval."},
        _ENDS,
        {"level": _LEVEL, "resamples": _RESAMPLES},
        shape="settings",
    ),
    "fraction": Kind(
        "The fraction of units for which `that` is true.",
        {"clopper_pearson": "Exact binomial interval."},
        _ENDS,
        {"that": Option("A condition on one unit, e.g. {below: 0.15}.", None, kind="condition"), "level": _LEVEL},
    ),
    "audit": Kind(
        "A lower bound on the privacy parameter epsilon, one a unit.",
        {
            "one_run": "Steinke et al. 2023: operands correct, guesses, canaries; option delta.",
            "tpr_fpr": "ln(TPR / FPR), each by Clopper-Pearson; operands true_positives, positives, false_positives, "
                       "negatives.",
        },
        ("every_unit", "fraction", "estimate"),
        {"delta": Option("The delta of (epsilon, delta).", 0.0, -1e-12, 1), "level": _LEVEL},
        shape="roles",
        roles={
            "one_run": ("correct", "guesses", "canaries"),
            "tpr_fpr": ("true_positives", "positives", "false_positives", "negatives"),
        },
    ),
    "exact": Kind(
        "A deterministic quantity: no sampling, every unit counts; the interval runs from the least to the largest.",
        {"value": "The values themselves; the estimate is their median."},
        ("interval", "estimate", "low", "high", *_UNITS),
        {},
    ),
}  # fmt: skip

# word -> (how many numbers it takes, its sentence)
CONDITIONS: dict[str, tuple[str, str]] = {
    "below": ("number", "Less than the number."),
    "above": ("number", "Greater than the number."),
    "at_most": ("number", "Not greater than the number."),
    "at_least": ("number", "Not less than the number."),
    "inside": ("pair", "In the closed range [low, high]."),
    "near": ("near", "{ref, tol} (absolute) or {ref, within} (relative): in the range around the reference."),
    "contains": ("number", "The interval contains the number."),
    "excludes": ("number", "The interval does not contain the number."),
    "equals": ("number", "Is exactly the number."),
    "narrower": ("number", "The interval's half-width is less than the number."),
    "p_below": ("level", "The (corrected) p-value is below the level."),
    "p_above": ("level", "The (corrected) p-value is above the level."),
    "ordered": ("order", "ascending or descending over the labels or settings, in the order they are listed."),
    "best": ("name", "This label is the best of all; `is: highest` or `is: lowest` says what is best."),
}
ON = ("interval", "estimate", "low", "high", "p", "every_unit", "fraction")
ON_INTERVAL_ONLY = ("contains", "excludes", "narrower")
ON_VECTOR = ("ordered", "best")


def gives(kind: str, variety: str) -> tuple[str, ...]:
    """What a predicate may look at, default first."""
    on = KINDS[kind].gives
    if (kind, variety) in {("mean", "bootstrap")}:
        on = tuple(o for o in on if o != "p")
    if (kind, variety) == ("functional", "none"):
        on = ("estimate",)
    if (kind == "tost" and variety == "independent") or (kind == "test" and variety in ("mann_whitney", "ks")):
        on = tuple(o for o in on if o not in _UNITS)
    return on


def two_samples(kind: str, variety: str) -> bool:
    """Whether the estimator compares two independent samples."""
    return KINDS[kind].shape == "two" or (kind, variety) in {
        ("tost", "independent"), ("test", "mann_whitney"), ("test", "ks"),
    }  # fmt: skip
