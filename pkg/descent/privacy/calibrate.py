"""One door to the accountants: the epsilon of a run, and the least noise that keeps a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

from descent.core.errors import SettingError
from descent.core.settings import Setting, check
from descent.privacy.gaussian import gaussian_epsilon
from descent.privacy.prv import prv_epsilon
from descent.privacy.renyi import INTEGER_ORDERS, OPACUS_ORDERS, rdp, rdp_epsilon

SETTINGS = {
    "rate": Setting("Probability q with which a record enters a batch.", low=0, high=1),
    "noise_multiplier": Setting("Noise on the sum over the clip norm, the paper's sigma.", low=0),
    "steps": Setting("Number T of noisy steps.", kind=int, low=0),
    "delta": Setting("Probability delta that the guarantee may fail.", low=0, high=1, open_low=True, open_high=True),
    "budget": Setting("Largest epsilon that may be spent; infinite means no noise.", low=0, open_low=True),
}


def _renyi(orders):
    def spent(rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
        return rdp_epsilon(rdp(rate, noise_multiplier, steps, orders), orders, delta)[0]

    return spent


def _numerical(rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    return prv_epsilon(rate, noise_multiplier, steps, delta).upper


def _unsampled(rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    if rate != 1:
        raise SettingError(f"privacy: accountant `gaussian` needs rate 1, got {rate}; use `rdp` or `prv`")
    return gaussian_epsilon(noise_multiplier, delta, steps)


ACCOUNTANTS: dict[str, Callable[[float, float, int, float], float]] = {
    "rdp": _renyi(INTEGER_ORDERS),
    "opacus": _renyi(OPACUS_ORDERS),
    "prv": _numerical,
    "gaussian": _unsampled,
}


def epsilon(rate: float, noise_multiplier: float, steps: int, delta: float, accountant: str = "rdp") -> float:
    """An upper bound on the epsilon of `steps` Poisson-sampled Gaussian steps.

    accountant: `rdp` (Renyi, orders 2..255), `opacus` (Renyi, Opacus's orders), `prv` (numerical, upper value) or
    `gaussian` (exact, rate 1 only). Raises SettingError.
    """
    _refuse(accountant, rate=rate, noise_multiplier=noise_multiplier, steps=steps, delta=delta)
    return _spent(accountant, rate, noise_multiplier, steps, delta)


def noise_multiplier(budget: float, rate: float, steps: int, delta: float, accountant: str = "rdp") -> float:
    """The smallest sigma whose epsilon is at most `budget`, within 1e-7 of itself from above; 0 if that is infinite."""
    _refuse(accountant, budget=budget, rate=rate, steps=steps, delta=delta)
    return _least_noise(accountant, budget, rate, steps, delta)


# Runs of one study ask the same questions again and again, and each answer takes a quarter of a second.


@lru_cache(maxsize=1024)
def _spent(accountant: str, rate: float, noise_multiplier: float, steps: int, delta: float) -> float:
    return ACCOUNTANTS[accountant](rate, noise_multiplier, steps, delta)


@lru_cache(maxsize=1024)
def _least_noise(accountant: str, budget: float, rate: float, steps: int, delta: float) -> float:
    if math.isinf(budget) or rate == 0 or steps == 0:
        return 0.0
    spent = ACCOUNTANTS[accountant]
    low, high = 0.0, 1.0
    while spent(rate, high, steps, delta) > budget:
        low, high = high, 2 * high
        if high > 1e8:
            raise SettingError(
                f"privacy: accountant `{accountant}` cannot prove epsilon {budget:g} at delta {delta:g} with any "
                "noise; raise the budget or choose another accountant"
            )
    while high - low > 1e-7 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if spent(rate, middle, steps, delta) > budget else (low, middle)
    return high


def _refuse(accountant: str, **values: float) -> None:
    check("privacy", SETTINGS, **values)
    if accountant not in ACCOUNTANTS:
        raise SettingError(f"privacy: `accountant` must be one of {', '.join(ACCOUNTANTS)}, got {accountant!r}")
