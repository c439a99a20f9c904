"""Kleene's three-valued logic on arrays: 1 decided for, -1 decided against, 0 open; the first axis is the draws'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Outcome = NDArray[np.int8]  # (D,)
FOR, OPEN, AGAINST = 1, 0, -1
WORDS = {FOR: "for", OPEN: "open", AGAINST: "against"}


def decided(yes: NDArray[np.bool_], no: NDArray[np.bool_]) -> Outcome:
    """1 where yes, -1 where no, else 0."""
    return np.where(yes, FOR, np.where(no, AGAINST, OPEN)).astype(np.int8)


def all_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The conjunction of at least one."""
    return np.min(outcomes, axis=0)


def any_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The disjunction of at least one."""
    return np.max(outcomes, axis=0)


def at_least(count: int, outcomes: Sequence[Outcome]) -> Outcome:
    """Whether at least `count` are true, whatever the open ones turn out to be; false where there are fewer in all."""
    if count > len(outcomes):
        return np.full(np.shape(outcomes)[1:], AGAINST, np.int8)
    return np.sort(np.asarray(outcomes), axis=0)[len(outcomes) - count]
