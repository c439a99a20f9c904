"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

SETTINGS: dict[str, Setting] = {
    # Methods
    "step_size": Setting("The step size eta.", low=0, high=10, open_low=True),
    "momentum": Setting("The weight beta of the last move.", default=0.9, low=0, high=1, open_high=True),
    # The experiment
    "condition": Setting("kappa: the largest curvature over the smallest.", low=1, high=1e6),
    "dimension": Setting("d: how many coordinates x has.", int, 20, low=2, high=1_000_000),
    "noise": Setting("Standard deviation of a gradient's noise, a coordinate.", default=0.01, low=0, high=100),
    "steps": Setting("Number of steps T.", int, low=1, high=10_000_000),
    "block": Setting("Steps whose noise is drawn and handed over at once.", int, 100, low=1, high=100_000),
    "points": Setting("Number of steps at which metrics are taken.", int, 30, low=2, high=10_000),
}
