"""Estimates: one number, one interval, from one number a seed.

`base` holds what all kinds share and the registry `KINDS`; `kinds` fills it. `former` is the first edition's.
"""

from descent.claims.estimate.former import (  # the first edition's engine reads these; they go with it
    Estimate,
    counted,
    finite,
    generator,
    quantity,
    spoilt,
    too_few,
    withheld,
)

__all__ = ["Estimate", "counted", "finite", "generator", "quantity", "spoilt", "too_few", "withheld"]
