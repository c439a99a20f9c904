"""Audits of a mechanism that claims to be private: what an attacker can prove about it.

One formula each, for jobs and verdicts alike: bounds on epsilon from right guesses (only the job knows who was a
member, so it counts and records counts), the exact binomial interval, the AUC of an attack. NumPy and the standard
library alone, since training jobs call it.

Sources: Steinke, Nasr, Jagielski, "Privacy auditing with one (1) training run", NeurIPS 2023, Theorem 3.1 and
Appendix D; Clopper and Pearson, Biometrika 26 (1934); DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPSILON_LIMIT = 200.0  # a bound beyond is reported as this: no test of ours can tell


# -- guesses ----------------------------------------------------------------------------------------------------------


def one_run_correct(scores: np.ndarray, included: np.ndarray, guesses: int) -> int:
    """How many of `guesses` guesses are right: the guesses/2 highest scores "in", the guesses/2 lowest "out".

    scores: (m,), larger means more likely included. included: (m,) bool, the coins. `guesses` must be even, at most m,
    and fixed before looking (Steinke et al., arXiv 2305.08846). Ties keep the order of the canaries, which is
    independent of the coins.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise ValueError(f"guesses must be even and lie in [2, {len(scores)}], got {guesses}")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int(included[order[-half:]].sum() + (~included[order[:half]]).sum())


def one_run_p_value(
    epsilon: ArrayLike, correct: ArrayLike, guesses: int, canaries: int, delta: float = 0.0
) -> float | NDArray[np.float64]:
    """P-value of "the mechanism is (epsilon, delta)-private" after `correct` right guesses of `guesses`.

    epsilon, correct: numbers, or arrays that broadcast. canaries: m, each included with probability 1/2; the number of
    guesses was fixed beforehand.
    p = P[Bin(r, s) >= v] + 2 m delta max_i P[v - i <= Bin(r, s) < v] / i, s = e^epsilon / (1 + e^epsilon).
    """
    epsilon, correct = np.broadcast_arrays(np.asarray(epsilon, float), np.asarray(correct, int))
    eps, v = epsilon.reshape(-1, 1), correct.reshape(-1, 1)
    softplus = np.log1p(np.exp(-eps))
    mass = _binomial(guesses, -softplus, -eps - softplus)
    k = np.arange(guesses + 1)
    tail = np.where(k >= v, mass, 0.0).sum(axis=1)
    if delta > 0 and guesses > 0:
        back = v - 1 - k[:-1]  # v - i for i = 1..r
        step = np.where(back >= 0, np.take_along_axis(mass, np.maximum(back, 0), axis=1), 0.0)
        below = np.cumsum(step, axis=1)  # P[v - i <= Bin < v]; beyond i = v it only divides by more
        tail = tail + 2 * canaries * delta * (below / np.arange(1, guesses + 1)).max(axis=1)
    p = np.minimum(tail, 1.0).reshape(correct.shape)
    return p if p.ndim else float(p)


def one_run_bound(
    correct: ArrayLike, guesses: int, canaries: int, delta: float = 0.0, level: float = 0.95
) -> float | NDArray[np.float64]:
    """The lower bound on epsilon at confidence `level` from one training run: 0 when nothing is shown.

    correct: a number or an array. Raises ValueError when 0 <= correct <= guesses <= canaries does not hold.
    """
    guesses, canaries = _count(guesses), _count(canaries)
    right = np.asarray(correct, float)
    if (right != np.round(right)).any():
        raise ValueError(f"an audit counts whole things, got {correct}")
    if not (right >= 0).all() or not (right <= guesses).all() or guesses > canaries:
        raise ValueError(f"an audit needs correct <= guesses <= canaries, got {correct}, {guesses}, {canaries}")
    counts, where = np.unique(right.astype(int), return_inverse=True)
    bound = _largest(lambda eps: one_run_p_value(eps, counts, guesses, canaries, delta) < 1 - level, len(counts))  # pyright: ignore[reportArgumentType]
    bound = bound[where].reshape(right.shape)
    return bound if bound.ndim else float(bound)


def tpr_fpr_bound(
    true_positives: int, positives: int, false_positives: int, negatives: int, level: float = 0.95
) -> float:
    """ln(lower TPR / upper FPR), each end of a two-sided Clopper-Pearson interval: a lower bound on epsilon (delta = 0).

    The two ends err with probability (1 - level) / 2 each, so that both hold with probability `level`. Never below 0.
    """
    low, _ = clopper_pearson(true_positives, positives, level)
    _, high = clopper_pearson(false_positives, negatives, level)
    return max(0.0, math.log(low / high)) if low > 0 else 0.0


# -- shares and areas -------------------------------------------------------------------------------------------------


def clopper_pearson(successes: ArrayLike, trials: int, level: float = 0.95) -> tuple:
    """The exact two-sided binomial interval (low, high), each of the shape of `successes`.

    Raises ValueError unless 0 <= successes <= trials, trials > 0.
    """
    n, k = _count(trials), np.asarray(successes, float)
    if (k != np.round(k)).any():
        raise ValueError(f"a share counts whole things, got {successes}")
    if n <= 0 or (k < 0).any() or (k > n).any():
        raise ValueError(f"a fraction needs 0 <= successes <= trials and trials > 0, got {successes} of {n}")
    counts, where = np.unique(k.astype(int), return_inverse=True)
    half = (1 - level) / 2
    # The lower end of k is where P[Bin >= k] = half; the upper end is that of n - k failures, mirrored.
    low, high = _lower(counts, n, half), 1 - _lower((n - counts), n, half)
    ends = (low[where].reshape(k.shape), high[where].reshape(k.shape))
    return ends if k.ndim else tuple(float(end) for end in ends)


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


@lru_cache(maxsize=64)  # a bisection asks a hundred times; 20000 trials take 160 kB
def _log_choose(n: int) -> np.ndarray:
    """log of n over k for k = 0..n."""
    log_factorial = np.array([math.lgamma(i + 1) for i in range(n + 1)])
    return log_factorial[n] - log_factorial - log_factorial[::-1]


def _binomial(r: int, log_p: np.ndarray, log_q: np.ndarray) -> np.ndarray:
    """P[Bin(r, p) = k], (V, r + 1), from log p and log (1 - p), (V, 1): exact also for p near 1."""
    k = np.arange(r + 1)
    with np.errstate(invalid="ignore"):  # 0 * -inf, where the power is 1
        successes = np.where(k == 0, 0.0, k * log_p)
        failures = np.where(k == r, 0.0, (r - k) * log_q)
    return np.exp(_log_choose(r) + successes + failures)


def _lower(k: np.ndarray, n: int, half: float) -> np.ndarray:
    """(V,) the p at which P[Bin(n, p) >= k] is `half`, by bisection in the logit; 0 at k = 0. k: (V,)."""
    index = np.arange(n + 1)

    def falls_short(logit: np.ndarray) -> np.ndarray:
        log_p, log_q = -np.logaddexp(0, -logit)[:, None], -np.logaddexp(0, logit)[:, None]
        mass = _binomial(n, log_p, log_q)
        return np.where(index >= k[:, None], mass, 0.0).sum(axis=1) < half

    low, high = np.full(len(k), -60.0), np.full(len(k), 60.0)
    for _ in range(100):
        middle = (low + high) / 2
        short = falls_short(middle)
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.where(k == 0, 0.0, np.exp(-np.logaddexp(0, -(low + high) / 2)))


def _largest(rejected: Callable[[np.ndarray], np.ndarray], count: int) -> np.ndarray:
    """(count,) the end of [0, e), on which every epsilon is rejected; 0 where 0 is not."""
    low, high = np.zeros(count), np.ones(count)
    shown = rejected(low)
    for _ in range(8):  # 2^8 > EPSILON_LIMIT
        further = rejected(high) & shown
        low, high = np.where(further, high, low), np.where(further, 2 * high, high)
    for _ in range(50):
        middle = (low + high) / 2
        below = rejected(middle)
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return np.where(shown, np.minimum(low, EPSILON_LIMIT), 0.0)
