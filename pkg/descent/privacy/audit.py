"""Lower bounds on epsilon: what an attacker can prove about a mechanism that claims to be private.

One-run audit: Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", arXiv 2305.08846. Two-world game:
Clopper-Pearson bounds on the attacker's two error rates. Loss-threshold membership inference: area under the ROC.

Callers keep the memberships to themselves: every function gives back counts and bounds only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch


class Auc(NamedTuple):
    """Area under the ROC curve and its standard error (DeLong)."""

    area: float
    standard_error: float

    def interval(self, z: float = 1.959963984540054) -> tuple[float, float]:
        """The normal interval, 95 % by default, cut to [0, 1]."""
        return max(0.0, self.area - z * self.standard_error), min(1.0, self.area + z * self.standard_error)


def one_run_correct(scores: np.ndarray, included: np.ndarray, guesses: int) -> int:
    """How many of `guesses` guesses are right: the guesses/2 highest scores "in", the guesses/2 lowest "out".

    scores: (m,), larger means more likely included. included: (m,) bool, the coins. `guesses` must be even, at most m.
    Ties keep the order of the canaries, which is independent of the coins.
    """
    if guesses % 2 or not 0 < guesses <= len(scores):
        raise ValueError(f"guesses must be even and lie in [2, {len(scores)}], got {guesses}")
    order = np.argsort(scores, kind="stable")
    half = guesses // 2
    return int(included[order[-half:]].sum() + (~included[order[:half]]).sum())


def one_run_p_value(epsilon: float, canaries: int, guesses: int, correct: int, delta: float) -> float:
    """The largest probability of at least `correct` right guesses under (epsilon, delta)-DP.

    P[Bin(r, s) >= v] + 2 m delta max_{1<=i<=v} P[v-i <= Bin(r, s) < v] / i with s = e^epsilon / (1 + e^epsilon).
    """
    m, r, v = canaries, guesses, correct
    pmf = _binomial_pmf(r, 1 / (1 + math.exp(-epsilon)))
    tail = pmf[v:].sum()
    if delta == 0 or v == 0:
        return float(min(1.0, tail))
    just_below = np.cumsum(pmf[v - 1 :: -1][:v])  # i = 1..v
    return float(min(1.0, tail + 2 * m * delta * (just_below / np.arange(1, v + 1)).max()))


def one_run_epsilon(canaries: int, guesses: int, correct: int, delta: float, level: float = 0.95) -> float:
    """The largest epsilon refuted at `level` by `correct` of `guesses` right guesses (0 if none is).

    `guesses` must have been fixed before looking.
    """
    alpha = 1 - level

    def refuted(epsilon: float) -> bool:
        return one_run_p_value(epsilon, canaries, guesses, correct, delta) < alpha

    if not refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while refuted(high):
        low, high = high, 2 * high
        if high > 64:
            return low
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def clopper_pearson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a probability: each side errs with (1 - level) / 2 at most."""
    alpha = (1 - level) / 2
    low = 0.0 if successes == 0 else _solve(lambda p: _upper_tail(trials, p, successes) - alpha)
    high = 1.0 if successes == trials else _solve(lambda p: alpha - _lower_tail(trials, p, successes))
    return low, high


def game_epsilon(
    hits: int, present: int, false_alarms: int, absent: int, delta: float = 0.0, level: float = 0.95
) -> float:
    """The bound max(0, ln((TPR - delta) / FPR)) of a two-world game.

    TPR from below and FPR from above, jointly at `level`.
    hits of `present` trials with the record, false_alarms of `absent` trials without it: how often the event was seen.
    """
    true_rate, _ = clopper_pearson(hits, present, level)
    _, false_rate = clopper_pearson(false_alarms, absent, level)
    return max(0.0, math.log((true_rate - delta) / false_rate)) if true_rate > delta else 0.0


def auc(members: np.ndarray, others: np.ndarray) -> Auc:
    """P[score of a member > score of another record], ties counting half; standard error by DeLong's placements.

    members, others: (n,), (m,) scores, larger meaning more like a member.
    """
    ordered_others, ordered_members = np.sort(others), np.sort(members)
    above = (np.searchsorted(ordered_others, members, "left") + np.searchsorted(ordered_others, members, "right")) / 2
    below = (np.searchsorted(ordered_members, others, "left") + np.searchsorted(ordered_members, others, "right")) / 2
    of_member, of_other = above / len(others), 1 - below / len(members)
    variance = of_member.var(ddof=1) / len(members) + of_other.var(ddof=1) / len(others)
    return Auc(float(of_member.mean()), float(math.sqrt(variance)))


def _binomial_pmf(trials: int, p: float) -> np.ndarray:
    if p >= 1:
        return np.eye(1, trials + 1, trials)[0]
    return np.exp(_log_binomial(trials) + _power(np.arange(trials + 1), p) + _power(np.arange(trials, -1, -1), 1 - p))


def _log_binomial(trials: int) -> np.ndarray:
    log_factorial = torch.lgamma(torch.arange(1, trials + 2, dtype=torch.float64)).numpy()
    return log_factorial[-1] - log_factorial - log_factorial[::-1]


def _power(exponent: np.ndarray, p: float) -> np.ndarray:
    """ln p^exponent with 0^0 = 1."""
    return exponent * math.log(p) if p > 0 else np.where(exponent == 0, 0.0, -np.inf)


def _upper_tail(trials: int, p: float, at_least: int) -> float:
    return float(_binomial_pmf(trials, p)[at_least:].sum())


def _lower_tail(trials: int, p: float, at_most: int) -> float:
    return float(_binomial_pmf(trials, p)[: at_most + 1].sum())


def _solve(rising) -> float:
    """The zero in (0, 1) of a rising function, by bisection to the last bits."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
