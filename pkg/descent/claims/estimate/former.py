"""The result of an estimator, and what all estimators share."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from descent.claims.kinds import MIN_UNITS
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED, Sample


@dataclass(frozen=True)
class Estimate:
    """One estimate over units. Numbers that do not exist are None, never NaN; an end of an interval may be infinite.

    value, low, high: the estimate and its interval of confidence `level`. p, p_reverse: the p-value of the alternative
    asked for, and of the opposite one. units: the per-unit numbers. decides: whether there are enough units.
    what: `the mean over 10 seeds`; why: what keeps a number from existing.
    """

    what: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    p: float | None = None
    p_reverse: float | None = None
    n: int = 0
    n_ok: int = 0
    n_censored: int = 0
    n_diverged: int = 0
    n_undefined: int = 0
    units: Sample | None = None
    decides: bool = True
    why: str = ""
    label: str = ""
    noun: str = "seeds"
    exact: bool = False


def counted(sample: Sample, what: str, **numbers) -> Estimate:
    """An Estimate with the counts of `sample` filled in."""
    return Estimate(
        what=f"{what} over {quantity(sample)}", n=sample.n, n_ok=sample.count(OK), n_censored=sample.count(CENSORED),
        n_diverged=sample.count(DIVERGED), n_undefined=sample.count(UNDEFINED), units=sample, noun=sample.noun,
        **numbers,
    )  # fmt: skip


def quantity(sample: Sample) -> str:
    """`10 seeds`, `1 seed`."""
    noun = sample.noun[:-1] if sample.n == 1 and sample.noun.endswith("s") else sample.noun
    return f"{sample.n} {noun}"


def spoilt(sample: Sample, *, ranks: bool) -> str:
    """Why the sample has no estimate, or "". ranks: censored numbers may be used, ordered last."""
    if not sample.n:
        return "no unit is left"
    counts = [
        (sample.count(CENSORED), "never reached the level"),
        (sample.count(DIVERGED), "diverged"),
        (sample.count(UNDEFINED), "have no defined value"),
    ]
    bad = [f"{count} of {quantity(sample)} {words}" for count, words in counts[ranks:] if count]
    return " and ".join(bad)


def too_few(n: int, noun: str, least: int = MIN_UNITS, what: str = "a verdict") -> str:
    """Why n units decide nothing, or ""."""
    if n >= least:
        return ""
    one = n == 1 and noun.endswith("s")
    return f"{n} {noun[:-1] if one else noun} {'is' if one else 'are'} too few: {what} needs {least}"


def finite(number: float) -> float | None:
    """A float that is not NaN, or None."""
    number = float(number)
    return None if np.isnan(number) else number


def generator(key: str) -> np.random.Generator:
    """Random numbers of a resampling, keyed by a stable hash of what is estimated: the same in every run."""
    return np.random.Generator(np.random.SFC64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")))


def withheld(estimate: Estimate, why: str) -> Estimate:
    """The estimate, deciding nothing."""
    return replace(estimate, decides=False, why="; ".join(filter(None, [estimate.why, why])))
