"""An estimate against a criterion: decided for, decided against, or open.

An interval decides where it lies wholly on one side; a corrected p-value where it is small, against by the reversed
test. What may not decide (missing seeds, too few, ...) is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from descent.claims.decide.logic import Outcome, all_of, decided
from descent.claims.estimate.base import Estimate, Side

SIDES: dict[str, Side] = {"below": "below", "at_most": "below", "above": "above", "at_least": "above", "inside": "inside",
         "more_than": "above", "no_more_than": "above"}  # fmt: skip
REVERSED: dict[Side, Side] = {"below": "above", "above": "below", "inside": "outside"}


def plain(word: str, value: Any, nothing: float) -> tuple[str, Any]:
    """A criterion as one of an interval; of a contrast, `ordered` and `best` are above or below no difference.

    nothing: 1 for ratios, 0 for differences.
    """
    if word in ("ordered", "best"):
        return ("above" if value in ("ascending", "highest") else "below"), nothing
    return word, tuple(value) if word == "inside" else value


def by_interval(word: str, value: Any, estimate: Estimate) -> Outcome:
    """Whether the criterion is true of the whole interval (1), of none of it (-1).

    An exact value's interval is its rounding: it meets a bound that it equals up to that.
    """
    low, high = estimate.low, estimate.high
    if estimate.kind == "exact" and word in ("at_most", "at_least"):
        low, high = (low, low) if word == "at_most" else (high, high)
    with np.errstate(invalid="ignore"):
        yes, no = {
            "below": lambda: (high < value, low >= value),
            "above": lambda: (low > value, high <= value),
            "at_most": lambda: (high <= value, low > value),
            "at_least": lambda: (low >= value, high < value),
            "inside": lambda: ((low >= value[0]) & (high <= value[1]), (low > value[1]) | (high < value[0])),
        }[word]()
    return decided(yes & estimate.decidable, no & estimate.decidable)


def by_p(level: float, p: NDArray[np.float64], reverse: NDArray[np.float64]) -> Outcome:
    """p, reverse: corrected p-values for the criterion and against it, 1 where there is none."""
    return decided(p < level, reverse < level)


def of_several(word: str, value: float, estimates: Sequence[Estimate], level: float) -> Outcome:
    """Ordered or best by intervals: every contrast decided; against, one of k by its p-value at (1 - level) / 2 / k."""
    each = [by_interval(word, value, e) for e in estimates]
    against = np.zeros(each[0].shape, bool)
    for own, e in zip(each, estimates, strict=True):
        if e.has_p:
            reverse = np.nan_to_num(e.p(value, REVERSED[SIDES[word]]), nan=1.0)
            against |= reverse < (1 - level) / 2 / len(estimates)
        elif len(estimates) == 1:
            against |= own == -1
    return decided(all_of(each) == 1, against)


def audited(word: str, nominal: float, level: float, p: NDArray[np.float64], estimate: Estimate) -> Outcome:
    """p: corrected p-value of "epsilon <= nominal". Finding more is shown by a small p and by nothing else; finding none
    counts only where the audit could have found more than the nominal epsilon (and beside a control, which gates)."""
    assert estimate.cap is not None, "only audits are asked this, and each has one"
    found = (p < level) & estimate.decidable
    if word == "more_than":
        return decided(found, np.zeros_like(found))
    return decided(~found & estimate.decidable & (estimate.cap > nominal), found)
