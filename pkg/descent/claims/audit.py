"""Privacy audits: lower bounds on epsilon, and the AUC of an attack. Python's standard library and numpy alone.

A training job may call these (dualpriv does not record who was a member), so nothing here imports scipy or pandas.

Sources: Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, Theorem 3.1 and
Appendix D; Clopper and Pearson, Biometrika 26 (1934); DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

EPSILON_LIMIT = 200.0  # a bound beyond is reported as this: no test of ours can tell


def _binomial(r: int, log_p: float, log_q: float) -> np.ndarray:
    """P[Bin(r, p) = k] for k = 0..r, from log p and log (1 - p): exact also for p near 1."""
    k = np.arange(r + 1)
    successes = k * log_p if log_p > -math.inf else np.where(k == 0, 0.0, -math.inf)
    failures = (r - k) * log_q if log_q > -math.inf else np.where(k == r, 0.0, -math.inf)
    return np.exp(_log_choose(r) + successes + failures)


def one_run_p_value(epsilon: float, correct: int, guesses: int, canaries: int, delta: float = 0.0) -> float:
    """P-value of "the mechanism is (epsilon, delta)-private" after `correct` right guesses of `guesses`.

    canaries: m, each included with probability 1/2; the number of guesses was fixed beforehand.
    p = P[Bin(r, s) >= v] + 2 m delta max_i P[v - i <= Bin(r, s) < v] / i, s = e^epsilon / (1 + e^epsilon).
    """
    mass = _binomial(guesses, -math.log1p(math.exp(-epsilon)), -epsilon - math.log1p(math.exp(-epsilon)))
    tail = float(mass[correct:].sum())
    if delta > 0 and correct > 0:
        below = np.cumsum(mass[:correct][::-1])  # P[v - i <= Bin < v] for i = 1..v
        tail += 2 * canaries * delta * float((below / np.arange(1, correct + 1)).max())
    return min(tail, 1.0)


def one_run_bound(correct: int, guesses: int, canaries: int, delta: float = 0.0, level: float = 0.95) -> float:
    """The lower bound on epsilon at confidence `level` from one training run: 0 when nothing is shown.

    Raises ValueError when 0 <= correct <= guesses <= canaries does not hold.
    """
    correct, guesses, canaries = (_count(n) for n in (correct, guesses, canaries))
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"an audit needs correct <= guesses <= canaries, got {correct}, {guesses}, {canaries}")
    alpha = 1 - level
    return _largest(lambda epsilon: one_run_p_value(epsilon, correct, guesses, canaries, delta) < alpha)


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided binomial interval (low, high). Raises ValueError unless 0 <= successes <= trials, trials > 0."""
    k, n = _count(successes), _count(trials)
    if not 0 <= k <= n or n == 0:
        raise ValueError(f"a fraction needs 0 <= successes <= trials and trials > 0, got {k} of {n}")
    half, choose = (1 - level) / 2, _log_choose(n)
    low = 0.0 if k == 0 else _root(lambda p: _upper_tail(k, n, p, choose) - half)
    high = 1.0 if k == n else _root(lambda p: half - (1 - _upper_tail(k + 1, n, p, choose)))
    return low, high


def tpr_fpr_bound(
    true_positives: int, positives: int, false_positives: int, negatives: int, level: float = 0.95
) -> float:
    """ln(lower TPR / upper FPR), each end of a two-sided Clopper-Pearson interval: a lower bound on epsilon (delta = 0).

    The two ends err with probability (1 - level) / 2 each, so that both hold with probability `level`. Never below 0.
    """
    low, _ = clopper_pearson(true_positives, positives, level)
    _, high = clopper_pearson(false_positives, negatives, level)
    return max(0.0, math.log(low / high)) if low > 0 else 0.0


def auc(scores: np.ndarray, member: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(AUC, low, high) of an attack: scores (n,), member (n,) true or false. See `auc_interval`."""
    scores, member = np.asarray(scores, float), np.asarray(member, bool)
    return auc_interval(scores[member], scores[~member], level)


def auc_interval(positive: np.ndarray, negative: np.ndarray, level: float = 0.95) -> tuple[float, float, float]:
    """(AUC, low, high) of two samples: DeLong's interval, cut to [0, 1].

    Where one sample lies wholly above the other DeLong's error is 0; the open end is then the Clopper-Pearson bound of
    as many successes as the smaller sample has members. Raises ValueError without two of each kind.
    """
    area, error = delong(positive, negative)
    if area in (0.0, 1.0):
        few = min(len(positive), len(negative))
        low = clopper_pearson(few, few, level)[0]
        return (area, low, 1.0) if area else (area, 0.0, 1 - low)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    return area, max(0.0, area - z * error), min(1.0, area + z * error)


def delong(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """(AUC, standard error) of two samples by their placement values; infinities are ordered like other numbers."""
    n, m = len(positive), len(negative)
    if n < 2 or m < 2:
        raise ValueError(f"an AUC with its error needs two of each kind, got {n} and {m}")
    ordered = np.sort(negative)
    above = (np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")) / (2 * m)
    ordered = np.sort(positive)
    below = 1 - (np.searchsorted(ordered, negative, "left") + np.searchsorted(ordered, negative, "right")) / (2 * n)
    return float(above.mean()), float(math.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m))


# -- numerics ---------------------------------------------------------------------------------------------------------


def _count(number: float) -> int:
    if number != round(number):
        raise ValueError(f"an audit counts whole things, got {number}")
    return round(number)


def _upper_tail(k: int, n: int, p: float, log_choose: np.ndarray) -> float:
    """P[Bin(n, p) >= k], summed from the side where it is small. log_choose: `_log_choose(n)`."""
    if k <= 0:
        return 1.0
    upper = k > n * p
    i = np.arange(k, n + 1) if upper else np.arange(k)
    tail = float(np.exp(log_choose[i] + i * math.log(p) + (n - i) * math.log1p(-p)).sum())
    return tail if upper else 1 - tail


def _log_choose(n: int) -> np.ndarray:
    """log of n over k for k = 0..n."""
    log_factorial = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    return log_factorial[n] - log_factorial - log_factorial[::-1]


def _root(rising: Callable[[float], float]) -> float:
    """The zero of an increasing function on (0, 1), by bisection in the logit."""
    low, high = -60.0, 36.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(1 / (1 + math.exp(-middle))) < 0 else (low, middle)
    return 1 / (1 + math.exp(-(low + high) / 2))


def _largest(rejected: Callable[[float], bool]) -> float:
    """The end of [0, e), on which every epsilon is rejected; 0 when 0 is not."""
    if not rejected(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while rejected(high):
        low, high = high, 2 * high
        if high > EPSILON_LIMIT:
            return EPSILON_LIMIT
    while high - low > 1e-10:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low
