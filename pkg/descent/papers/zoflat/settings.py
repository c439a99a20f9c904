"""Every setting of the room: its type, limits and meaning."""

from __future__ import annotations

from descent.settings import Setting

SETTINGS: dict[str, Setting] = {
    # methods
    "step_size": Setting("The step size eta.", low=0, high=10, open_low=True),
    "smoothing": Setting("The smoothing parameter lambda of the two-point estimate.", low=0, high=10, open_low=True),
    "radius": Setting("SAM's rho, the length of its step uphill.", low=0, high=10, open_low=True),
}
