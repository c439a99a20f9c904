"""Estimators of one sample of units, and the door to all of them: `estimate`.

Two-sample tests are in `tests_of_rank`, fits along settings in `curves`, functionals of aggregated operands in
`functional`, privacy bounds in `audit`. Each returns Estimates; what cannot be computed is None with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special, stats

from descent.claims import audit, curves, functional, rank_tests
from descent.claims.decide import condition_holds
from descent.claims.estimate import Estimate, counted, finite, generator, quantity, spoilt, too_few, withheld
from descent.claims.evidence import statistic
from descent.claims.kinds import KINDS, MIN_BOOTSTRAP, two_samples
from descent.claims.model import Instance
from descent.claims.table import CENSORED, OK, UNDEFINED, Sample, Table
from descent.core.errors import ConfigError


def estimate(
    instance: Instance, tables: Mapping[str, Table], key: str, path: str
) -> tuple[list[Estimate], Table | None]:
    """(one Estimate a label, the per-unit statistic where there is one).

    key: what the resampling is keyed by. Raises MissingCell or ConfigError.
    """
    kind, variety, options = instance.estimator.kind, instance.estimator.variety, instance.estimator.options
    shape = KINDS[kind].shape
    if two_samples(kind, variety):
        return [_two_samples(instance, tables, kind, variety, options, path)], None
    if shape == "operands":
        return functional.estimate(instance, tables, options, variety, key, path), None
    if shape == "roles":
        return [_audit(instance, tables, variety, options, path)], None
    table = statistic(instance.statistic, tables, among=instance.among, substitute=instance.substitute, path=path)
    if shape == "settings":
        return [curves.estimate(kind, variety, table, options, key, path)], table
    one = _ONE_SAMPLE[kind]
    parts = []
    for c, label in enumerate(table.labels):
        sample = table.column(c).in_order()
        parts.append(replace(one(sample, variety, options, f"{key}|{label}"), label=label))
    return parts, table


def p_of_t(t: float, df: float, alternative: str) -> tuple[float, float]:
    """(p, p of the opposite alternative) of a t statistic."""
    less, greater = float(special.stdtr(df, t)), float(special.stdtr(df, -t))  # the t distribution, both tails
    both = min(1.0, 2 * min(less, greater))
    return {"less": (less, greater), "greater": (greater, less), "two_sided": (both, 1.0)}[alternative]


# -- one sample -------------------------------------------------------------------------------------------------------


def _mean(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    """Mean with Student's t (or bootstrap) interval; on the log scale the geometric mean."""
    log = options["scale"] == "log"
    if log:
        bad = (sample.rank == OK) & (sample.value <= 0)
        rank = np.where(bad, UNDEFINED, sample.rank)
        value = np.log(np.where(sample.value > 0, sample.value, 1.0))
        work = Sample(value, rank, sample.noun)
    else:
        work = sample
    level = options["level"]
    result = counted(sample, "the geometric mean" if log else "the mean", level=level)
    if why := spoilt(work, ranks=False):
        return withheld(result, f"{why}, so their mean is undecided")
    back = math.exp if log else float
    m = float(work.value.mean())
    result = replace(result, value=back(m))
    if variety == "bootstrap":
        return _bootstrap(result, work.value, np.mean, level, options["resamples"], key, back)
    if why := too_few(work.n, work.noun):
        result = withheld(result, why)
    if work.n < 2:
        return result
    null = options["null"] if options["null"] is not None else (1.0 if log else 0.0)
    null = math.log(null) if log and null > 0 else null
    if np.ptp(work.value) == 0:
        # No spread: the interval is a point, and a test that needs spread shows nothing (pfedsop.md, section 5).
        return replace(result, low=back(m), high=back(m), p=1.0, p_reverse=1.0)
    error = float(work.value.std(ddof=1)) / math.sqrt(work.n)
    half = float(special.stdtrit(work.n - 1, 0.5 + level / 2)) * error
    p, reverse = p_of_t((m - null) / error, work.n - 1, options["alternative"])
    return replace(result, low=back(m - half), high=back(m + half), p=p, p_reverse=reverse)


def _bootstrap(result, value, function, level, resamples, key, back=float) -> Estimate:
    """Percentile interval of function(value) over resampled units."""
    if why := too_few(len(value), result.noun):
        return withheld(result, why)
    if why := too_few(len(value), result.noun, MIN_BOOTSTRAP, "a bootstrap interval"):
        return replace(result, why=why)
    chunks = functional.resamples_of(generator(key), len(value), resamples)
    draws = np.concatenate([function(value[rows], axis=1) for rows in chunks])
    low, high = functional.percentiles(draws, level)
    return replace(result, low=back(low), high=back(high))


def _median(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    """Median, censored units last; bootstrap interval, or the exact one between order statistics."""
    level = options["level"]
    result = counted(sample, "the median", level=level)
    if why := spoilt(sample, ranks=True):
        return withheld(result, f"{why}, so their median is undecided")
    result = replace(result, value=functional.median(sample.value))
    if variety == "bootstrap":
        return _bootstrap(result, sample.value, functional.median_along, level, options["resamples"], key)
    if why := too_few(sample.n, sample.noun):
        return withheld(result, why)
    k = int(stats.binom.ppf((1 - level) / 2, sample.n, 0.5))  # P[Bin < k] <= (1 - level) / 2
    if k < 1:
        return withheld(result, f"no two of {quantity(sample)} hold the median with {level:.0%} confidence")
    return replace(result, low=float(sample.value[k - 1]), high=float(sample.value[sample.n - k]))


def _tost(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    """Two one-sided t-tests (Schuirmann 1987): p, and the interval of level 1 - 2 alpha."""
    inner = _mean(sample, "t", {"level": 1 - 2 * options["alpha"], "scale": "linear", "null": 0.0,
                                "alternative": "two_sided"}, key)  # fmt: skip
    if inner.value is None or inner.low is None:
        return replace(inner, p=None, p_reverse=None)
    error = float(sample.value.std(ddof=1)) / math.sqrt(sample.n) if np.ptp(sample.value) else 0.0
    return _equivalence(inner, error, sample.n - 1, options["margin"])


def _equivalence(result: Estimate, error: float, df: float, margin: tuple[float, float]) -> Estimate:
    """p of "inside the margin", and p_reverse of "outside it"."""
    low, high = margin
    if error == 0:
        inside = low < result.value < high
        return replace(result, p=0.0 if inside else 1.0, p_reverse=1.0 if inside else 0.0)
    below_low, above_low = p_of_t((result.value - low) / error, df, "less")
    below_high, above_high = p_of_t((result.value - high) / error, df, "less")
    return replace(result, p=max(above_low, below_high), p_reverse=min(below_low, above_high))


def _test(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    return rank_tests.one_sample(sample, variety, options["alternative"], key)


def _fraction(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    """Fraction of units for which `that` holds, with the exact binomial interval (Clopper and Pearson 1934)."""
    level = options["level"]
    result = counted(sample, "the fraction", level=level)
    held = [condition_holds(options["that"], v, r) for v, r in zip(sample.value, sample.rank, strict=True)]
    if why := spoilt(sample, ranks=True):
        return withheld(result, f"{why}, so the fraction is undecided")
    k, n, half = held.count(True), len(held), (1 - level) / 2
    low = float(special.betaincinv(k, n - k + 1, half)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - half)) if k < n else 1.0
    result = replace(result, value=k / n, low=low, high=high)
    return withheld(result, why) if (why := too_few(sample.n, sample.noun)) else result


def _exact(sample: Sample, variety: str, options: Mapping[str, Any], key: str) -> Estimate:
    """A deterministic quantity: median, least and largest of the units; no sampling, so one unit is enough."""
    result = replace(counted(sample, "the value"), exact=True)
    if why := spoilt(sample, ranks=True):
        return withheld(result, why)
    low, high = float(sample.value[0]), float(sample.value[-1])
    return replace(result, value=functional.median(sample.value), low=low, high=high)


_ONE_SAMPLE = {
    "mean": _mean, "median": _median, "tost": _tost, "test": _test, "fraction": _fraction, "exact": _exact,
}  # fmt: skip


# -- two samples, audits ----------------------------------------------------------------------------------------------


def _two_samples(instance: Instance, tables: Mapping[str, Table], kind, variety, options, path) -> Estimate:
    samples = []
    for expression in instance.groups:
        table = statistic({"": expression}, tables, among=None, substitute=instance.substitute, path=path)
        if len(table.labels) > 1:
            raise ConfigError(
                f"{path}.estimator.groups: `{expression.text}` is a vector; reduce it to one number a unit"
            )
        samples.append(table.column(0).in_order())
    first, second = samples
    if kind == "test":
        return rank_tests.two_samples(first, second, variety, options["alternative"])
    if kind == "auc":
        return rank_tests.auc(first, second, options)
    return _welch(first, second, kind, options)


def _welch(first: Sample, second: Sample, kind: str, options: Mapping[str, Any]) -> Estimate:
    """Difference of two independent means: Welch's t; with `tost` its equivalence test."""
    level = options["level"] if kind == "difference" else 1 - 2 * options["alpha"]
    result = rank_tests.both(first, second, "the difference of the means", level=level)
    if why := spoilt(first, ranks=False) or spoilt(second, ranks=False):
        return withheld(result, f"{why}, so the difference is undecided")
    d = float(first.value.mean() - second.value.mean())
    result = replace(result, value=d)
    if why := too_few(min(first.n, second.n), first.noun):
        result = withheld(result, why)
    if min(first.n, second.n) < 2:
        return result
    a, b = first.value.var(ddof=1) / first.n, second.value.var(ddof=1) / second.n
    error = math.sqrt(a + b)
    if np.ptp(first.value) == 0 and np.ptp(second.value) == 0:
        result, error, df = replace(result, low=d, high=d, p=1.0, p_reverse=1.0), 0.0, 1.0
    else:
        share = a / (a + b)
        df = 1 / (share**2 / (first.n - 1) + (1 - share) ** 2 / (second.n - 1))
        half = float(special.stdtrit(df, 0.5 + level / 2)) * error
        p, reverse = p_of_t(d / error, df, options.get("alternative", "two_sided"))
        result = replace(result, low=d - half, high=d + half, p=p, p_reverse=reverse)
    return result if kind == "difference" else _equivalence(result, error, df, options["margin"])


def _audit(instance: Instance, tables: Mapping[str, Table], variety: str, options, path: str) -> Estimate:
    """One lower bound on epsilon a unit; the estimate is the median bound, the claim is about every one."""
    from descent.claims.expression import Expression

    counts = statistic({role: Expression(role) for role in options["roles"]}, tables, path=path)
    value, rank = np.full(len(counts.keys), np.nan), counts.cells.rank.max(axis=1)
    rank = np.where(rank == CENSORED, UNDEFINED, rank)
    for u in np.flatnonzero(rank == OK):
        numbers = counts.cells.value[u]
        try:
            if variety == "one_run":
                value[u] = audit.one_run_bound(*numbers, delta=options["delta"], level=options["level"])
            else:
                value[u] = audit.tpr_fpr_bound(*numbers, level=options["level"])
        except ValueError as fault:
            raise ConfigError(f"{path}: {fault}") from fault
    sample = Sample(value, rank, counts.noun).in_order()
    result = replace(counted(sample, "the audited bound"), exact=True)
    if why := spoilt(sample, ranks=False):
        return withheld(result, why)
    return replace(result, value=finite(np.median(value)))
