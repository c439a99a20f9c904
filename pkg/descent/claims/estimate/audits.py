"""Audits of privacy by guesses, and exact quantities: what needs no seeds."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from descent.claims.estimate.base import (
    MISSING,
    OK,
    ROUNDING,
    Estimate,
    Kind,
    Numbers,
    Options,
    Side,
    reasons,
    register,
)
from descent.claims.estimate.means import percent
from descent.privacy.audit import one_run_bound, one_run_p_value


class Audit(Options):
    """A lower bound on epsilon from right guesses, and the p-value of "epsilon <= nominal" (Steinke et al. 2023)."""

    kind: Literal["audit"] = "audit"
    level: float = Field(default=0.95, gt=0.5, lt=1, description="Confidence of the lower bound.")
    delta: float = Field(default=0.0, ge=0, lt=1, description="The delta of (epsilon, delta).")


class Exact(Options):
    """A quantity into which nothing drawn enters: its value decides. Seeds must agree."""

    kind: Literal["exact"] = "exact"


def audit(options: Audit, right: Numbers, guesses: Numbers, canaries: Numbers) -> Estimate:
    """The largest of the runs' bounds, and what `guesses` right guesses would have shown (`cap`).

    A column a run; usually one. With R runs each bound has confidence 1 - (1 - level) / R and p is R times the
    smallest (Bonferroni). The p-value looks `above` only: no audit shows that epsilon is small.
    """
    shape = right.values.shape
    counts = [np.broadcast_to(part.values, shape) for part in (right, guesses, canaries)]
    v, r, m = (np.nan_to_num(c, nan=-1.0) for c in counts)
    whole = np.all([np.broadcast_to(part.status, shape) == OK for part in (right, guesses, canaries)], axis=0)
    sane = (v >= 0) & (v <= r) & (r >= 1) & (r <= m) & (v == np.rint(v)) & (r == np.rint(r)) & (m == np.rint(m))
    use = whole & sane
    runs = np.maximum(shape[1], right.planned)
    level = 1 - (1 - options.level) / runs
    groups = sorted({(int(a), int(b)) for a, b in zip(r[use].tolist(), m[use].tolist(), strict=True)})
    bound, cap = np.full(shape, np.nan), np.full(shape, np.nan)
    for tries, total in groups:
        here = use & (r == tries) & (m == total)
        bound[here] = one_run_bound(v[here], tries, total, options.delta, level)
        cap[here] = one_run_bound(tries, tries, total, options.delta, level)

    def test(criterion: Any, side: Side) -> NDArray[np.float64]:
        p = np.ones(shape)
        if side == "above":
            nominal = np.broadcast_to(np.asarray(criterion, float)[..., None], shape)
            for tries, total in groups:
                here = use & (r == tries) & (m == total)
                p[here] = one_run_p_value(nominal[here], v[here].astype(int), tries, total, options.delta)
        return np.minimum(1.0, runs * p.min(axis=1, initial=1.0))

    missing = right.counts["missing"] + guesses.counts["missing"] + canaries.counts["missing"]
    why = reasons(
        right.draws, ("missing", missing > 0), ("undefined", (~whole).any(axis=1)), ("audit", (~sane).any(axis=1))
    )
    none = ~use.all(axis=1)
    low = np.where(none, np.nan, np.where(use, bound, -np.inf).max(axis=1))
    high = np.where(none, np.nan, np.inf)
    return Estimate(
        options.kind, low, low, high, options.level, use.sum(axis=1), right.planned, right.counts, why, 1, "run",
        cap=np.where(none, np.nan, np.where(use, cap, -np.inf).max(axis=1)), test=test,
    )  # fmt: skip


def exact(options: Exact, numbers: Numbers) -> Estimate:
    """The value, where all seeds have it (to rounding); else their range, which decides nothing."""
    there = numbers.status != MISSING
    known = there & ~np.isnan(numbers.values)
    n = there.sum(axis=1)
    least = np.where(known, numbers.values, np.inf).min(axis=1, initial=np.inf)
    most = np.where(known, numbers.values, -np.inf).max(axis=1, initial=-np.inf)
    size = np.maximum(np.maximum(np.abs(least), np.abs(most)), np.asarray(numbers.size, float))
    with np.errstate(invalid="ignore", over="ignore"):
        same = (least == most) | (np.isfinite(size) & (most - least <= ROUNDING * size))
        value = np.where(least == most, least, least / 2 + most / 2)
    counts = numbers.counts
    why = reasons(
        numbers.draws, ("missing", counts["missing"] > 0), ("undefined", (there & ~known).any(axis=1)),
        ("few", n < 1), ("inexact", ~same),
    )  # fmt: skip
    none = ~known.any(axis=1)
    value, low, high = (np.where(none, np.nan, x) for x in (value, least, most))
    low, high = np.where(same & ~none, value, low), np.where(same & ~none, value, high)
    return Estimate(options.kind, value, low, high, 1.0, n, numbers.planned, counts, why, 1, numbers.noun)


register(
    Kind(
        "audit", "What guesses show about epsilon.", Audit, "counts", {}, "guess", "p", audit,
        lambda o: f"lower bound on epsilon from right guesses, {percent(o.level)}", lambda o: 1,
    )
)  # fmt: skip
register(
    Kind(
        "exact", "A quantity into which nothing drawn enters.", Exact, "seeds", {}, "value", "exact", exact,
        lambda o: "exact value", lambda o: 1,
    )
)  # fmt: skip
