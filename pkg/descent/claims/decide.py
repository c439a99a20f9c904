"""Three-valued decisions: does a condition hold of a number, an interval, every unit, an order of several?

True: holds. False: decided against. None: undecided. A decision never sees a NaN.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from descent.claims.model import Condition
from descent.claims.table import CENSORED

Outcome = bool | None
Interval = tuple[float, float]


def all_of(outcomes: Iterable[Outcome]) -> Outcome:
    """Kleene's conjunction; of nothing, True."""
    outcomes = list(outcomes)
    return False if False in outcomes else None if None in outcomes else True


def any_of(outcomes: Iterable[Outcome]) -> Outcome:
    """Kleene's disjunction; of nothing, False."""
    outcomes = list(outcomes)
    return True if True in outcomes else None if None in outcomes else False


def negated(outcome: Outcome) -> Outcome:
    """Kleene's negation."""
    return None if outcome is None else not outcome


def at_least(count: float, outcomes: Sequence[Outcome]) -> Outcome:
    """Whether at least `count` of the outcomes are true, whatever the undecided ones turn out to be."""
    sure, unknown = sum(o is True for o in outcomes), sum(o is None for o in outcomes)
    return True if sure >= count else False if sure + unknown < count else None


def interval_holds(condition: Condition, low: float, high: float) -> Outcome:
    """Whether the condition holds of every number of [low, high] (True), of none (False), of some (None).

    contains, excludes and narrower are about the interval itself and always decided.
    """
    if math.isnan(low) or math.isnan(high):
        raise ValueError("a decision was asked of NaN")  # estimators return None instead
    a = condition.bounds[0] if condition.bounds else math.nan
    match condition.word:
        case "below":
            return True if high < a else False if low >= a else None
        case "above":
            return True if low > a else False if high <= a else None
        case "at_most":
            return True if high <= a else False if low > a else None
        case "at_least":
            return True if low >= a else False if high < a else None
        case "inside" | "near":
            b = condition.bounds[1]
            return True if a <= low and high <= b else False if high < a or low > b else None
        case "equals":
            return True if low == high == a else False if high < a or low > a else None
        case "contains":
            return low <= a <= high
        case "excludes":
            return not low <= a <= high
        case "narrower":
            return bool(high - low < 2 * a) if math.isfinite(low) and math.isfinite(high) else False
    raise ValueError(f"{condition.word} is not about an interval")


def condition_holds(conditions: Sequence[Condition], value: float, rank: int) -> Outcome:
    """All conditions on one unit's number; a censored one counts as its infinity, a worse one is unknown."""
    if rank > CENSORED or np.isnan(value):
        return None
    return all_of(interval_holds(condition, float(value), float(value)) for condition in conditions)


def ordered(direction: str, slack: float, intervals: Sequence[Interval]) -> Outcome:
    """Neighbours in order: every number of one beyond every number of the next. slack: a factor they may be off by."""
    outcomes = []
    for one, two in itertools.pairwise(intervals):
        small, large = (one, two) if direction == "ascending" else (two, one)
        if slack == 1:
            outcomes.append(True if small[1] < large[0] else False if small[0] >= large[1] else None)
        else:
            outcomes.append(True if small[1] <= slack * large[0] else False if small[0] > slack * large[1] else None)
    return all_of(outcomes)


def best(position: int, is_: str, intervals: Sequence[Interval]) -> Outcome:
    """Whether the one at `position` is beyond all others; a tie is not."""
    mine = intervals[position]
    outcomes = []
    for i, other in enumerate(intervals):
        if i != position:
            small, large = (mine, other) if is_ == "lowest" else (other, mine)
            outcomes.append(True if small[1] < large[0] else False if small[0] >= large[1] else None)
    return all_of(outcomes)
