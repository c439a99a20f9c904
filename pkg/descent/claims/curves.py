"""Estimators along the settings of a vector statistic, all units pooled: Spearman, least-squares slope, logistic 50 %."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from descent.claims.estimate import Estimate, counted, finite, generator, quantity, spoilt, too_few, withheld
from descent.claims.expression import ExpressionError
from descent.claims.functional import percentiles
from descent.claims.kinds import MIN_BOOTSTRAP
from descent.claims.rank_tests import OPPOSITE
from descent.claims.table import Sample, Table
from descent.core.errors import ConfigError

RIDGE = 1e-6  # holds the logistic fit finite when the outcomes are separated; moves the 50 % point by less than 1e-5
FLAT = 1e-9  # a slope, in standard deviations of the settings, that is none
EXACT_POINTS = 8


def estimate(kind: str, variety: str, table: Table, options: Mapping[str, Any], key: str, path: str) -> Estimate:
    """One estimate of the whole curve. Raises ConfigError when the statistic is no curve."""
    if len(table.labels) < 2 or not table.axes:
        raise ConfigError(f"{path}: {{{kind}: {variety}}} needs a statistic with one number for each of several settings; "
                          "give an operand `across`")  # fmt: skip
    x = _abscissa(table, options.get("x"), path)
    columns = [table.column(c).in_order() for c in range(len(table.labels))]
    smallest = min(columns, key=lambda sample: sample.n)
    pooled = Sample(
        np.concatenate([c.value for c in columns]), np.concatenate([c.rank for c in columns]), smallest.noun
    )
    what = {"spearman": "the rank correlation", "slope": "the slope", "logistic50": "the 50 % point"}[kind]
    result = replace(counted(pooled, what), units=None, n=smallest.n, level=options.get("level"),
                     what=f"{what} over {len(columns)} settings of {quantity(smallest)}")  # fmt: skip
    if why := spoilt(pooled, ranks=kind == "spearman"):
        return withheld(result, f"{why}, so the curve is undecided")
    if why := too_few(smallest.n, smallest.noun):
        result = withheld(result, why)
    at = np.concatenate([np.full(c.n, xc) for c, xc in zip(columns, x, strict=True)])
    if kind == "spearman":
        return _spearman(result, at, pooled.value, options)
    if kind == "slope":
        return _slope(result, at, pooled.value, options)
    return _logistic50(result, x, columns, variety, options, key, path)


def _abscissa(table: Table, expression: Any, path: str) -> np.ndarray:
    """(C,) where each setting lies: an expression of the axes, or the only axis."""
    try:
        if expression is not None:
            cells = expression.evaluate({}, {"": table.axes})
            x = np.broadcast_to(cells.value, (len(table.labels),))
        elif len(table.axes) == 1:
            x = np.asarray(next(iter(table.axes.values())), float)
        else:
            raise ExpressionError(f"there are several axes ({', '.join(table.axes)}); name one as `x`")
    except (ExpressionError, ValueError) as fault:
        raise ConfigError(f"{path}.estimator.x: {fault}") from fault
    if not np.isfinite(x).all() or len(set(x.tolist())) < 2:
        raise ConfigError(f"{path}.estimator.x must give finite, different numbers, got {x.tolist()}")
    return x


def _spearman(result: Estimate, x: np.ndarray, y: np.ndarray, options: Mapping[str, Any]) -> Estimate:
    """Spearman's rho with censored y last; interval of Bonett and Wright, Psychometrika 65 (2000)."""
    a, b = stats.rankdata(x), stats.rankdata(y)
    if np.ptp(b) == 0:
        return replace(withheld(result, "all values are equal, so no order is shown"), p=1.0, p_reverse=1.0)
    rho, n, chosen = float(np.corrcoef(a, b)[0, 1]), len(x), options["alternative"]
    test = _spearman_test(a, b, rho)
    p, reverse = test(chosen), test(OPPOSITE[chosen]) if chosen in OPPOSITE else 1.0
    result = replace(result, value=rho, p=p, p_reverse=reverse)
    if n < 4 or abs(rho) >= 1:
        return replace(result, low=rho, high=rho) if n >= 4 else result
    half = stats.norm.ppf(0.5 + options["level"] / 2) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return replace(result, low=math.tanh(math.atanh(rho) - half), high=math.tanh(math.atanh(rho) + half))


def _spearman_test(a: np.ndarray, b: np.ndarray, rho: float):
    if len(a) <= EXACT_POINTS:
        orders = np.array(list(itertools.permutations(b)))
        seen = a @ b
        less, greater = float((orders @ a <= seen + 1e-9).mean()), float((orders @ a >= seen - 1e-9).mean())
        table = {"less": less, "greater": greater, "two_sided": min(1.0, 2 * min(less, greater))}
        return table.__getitem__
    df = len(a) - 2
    t = rho * math.sqrt(df / max((1 - rho) * (1 + rho), 1e-300))
    table = {"less": stats.t.cdf(t, df), "greater": stats.t.sf(t, df), "two_sided": 2 * stats.t.sf(abs(t), df)}
    return lambda alternative: float(table[alternative])


def _slope(result: Estimate, x: np.ndarray, y: np.ndarray, options: Mapping[str, Any]) -> Estimate:
    """Ordinary least squares with the t interval of the slope (scipy.stats.linregress)."""
    null, chosen = options["null"] or 0.0, options["alternative"]
    if len(x) < 3 or np.ptp(y) == 0:
        flat = np.ptp(y) == 0
        return replace(result, value=0.0, low=0.0, high=0.0, p=1.0, p_reverse=1.0) if flat else withheld(
            result, "a slope with an error needs three points")  # fmt: skip
    fit, df = stats.linregress(x, y), len(x) - 2
    slope, error = float(fit.slope), float(fit.stderr)
    half = float(stats.t.ppf(0.5 + options["level"] / 2, df)) * error
    t = (slope - null) / error if error > 0 else math.copysign(math.inf, slope - null) if slope != null else 0.0
    table = {"less": stats.t.cdf(t, df), "greater": stats.t.sf(t, df), "two_sided": 2 * stats.t.sf(abs(t), df)}
    return replace(result, value=slope, low=slope - half, high=slope + half, p=float(table[chosen]),
                   p_reverse=float(table[OPPOSITE[chosen]]) if chosen in OPPOSITE else 1.0)  # fmt: skip


# -- logistic ---------------------------------------------------------------------------------------------------------


def _logistic50(result, x, columns, variety, options, key, path) -> Estimate:
    """Maximum likelihood of P(1) = 1 / (1 + exp(-(a + b x))); the 50 % point is -a / b.

    Bootstrap: units resampled inside each setting. Delta: variance of -a / b from the information matrix.
    """
    if any(not np.isin(c.value, (0, 1)).all() for c in columns):
        raise ConfigError(
            f"{path}: a logistic curve goes through outcomes 0 and 1; write e.g. `is` or a metric of 0 and 1"
        )
    hits, size = np.array([[c.value.sum() for c in columns]]), np.array([c.n for c in columns], float)
    centre, width = x.mean(), x.std()
    z = (x - centre) / width
    a, b, information = _logistic(z, hits, size)
    if hits.sum() in (0, size.sum()):
        return withheld(result, "all outcomes are equal, so no curve crosses 50 %")
    if abs(b[0]) < FLAT:
        return withheld(result, "the outcomes do not change along the settings, so no curve crosses 50 %")
    point = centre - width * a / b
    result = replace(result, value=finite(point[0]))
    if variety == "delta":
        covariance = np.linalg.inv(information[0])
        gradient = np.array([-1 / b[0], a[0] / b[0] ** 2])
        half = float(stats.norm.ppf(0.5 + options["level"] / 2)) * width * math.sqrt(gradient @ covariance @ gradient)
        return replace(result, low=result.value - half, high=result.value + half)
    if why := too_few(result.n, result.noun, MIN_BOOTSTRAP, "a bootstrap interval"):
        return replace(result, why="; ".join(filter(None, [result.why, why])))
    rng = generator(key)
    draws = np.stack(
        [rng.binomial(int(n), k / n, options["resamples"]) for k, n in zip(hits[0], size, strict=True)], axis=1
    )
    a, b, _ = _logistic(z, draws.astype(float), size)
    with np.errstate(all="ignore"):
        points = np.where(np.abs(b) > FLAT, centre - width * a / b, np.nan)
    points[(draws.sum(1) == 0) | (draws.sum(1) == size.sum())] = np.nan
    low, high = percentiles(points, options["level"])
    return replace(result, low=low, high=high)


def _logistic(z: np.ndarray, hits: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, information) of B logistic fits by Newton's method with step halving; z (C,), hits (B, C), size (C,)."""
    beta = np.zeros((len(hits), 2))
    design = np.stack([np.ones_like(z), z])  # (2, C)

    def loss(beta: np.ndarray) -> np.ndarray:
        eta = beta @ design
        return (size * np.logaddexp(0, eta) - hits * eta).sum(1) + 0.5 * RIDGE * (beta**2).sum(1)

    now = loss(beta)
    for _ in range(60):
        p = 1 / (1 + np.exp(-np.clip(beta @ design, -700, 700)))
        gradient = (size * p - hits) @ design.T + RIDGE * beta
        information = np.einsum("bc,ic,jc->bij", size * p * (1 - p), design, design) + RIDGE * np.eye(2)
        move = np.linalg.solve(information, gradient[..., None])[..., 0]
        step = np.ones(len(hits))
        for _ in range(30):
            ahead = loss(beta - step[:, None] * move)
            worse = ahead > now + 1e-12
            if not worse.any():
                break
            step[worse] /= 2
        beta = np.where((ahead <= now + 1e-12)[:, None], beta - step[:, None] * move, beta)
        done = np.abs(now - ahead).max() < 1e-12
        now = np.minimum(now, ahead)
        if done:
            break
    return beta[:, 0], beta[:, 1], information
