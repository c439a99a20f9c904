"""Estimates, made once: every instance of every estimate of a claim, whatever number of checks look at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from descent.claims.estimate.base import Estimate, estimate
from descent.claims.operands.statistic import Sample, samples
from descent.claims.operands.tabled import LostCells, Source
from descent.claims.read.claim import Quantity, TypedClaim
from descent.core.errors import ConfigError

Alter = Callable[[Quantity, Sample], Sample]


@dataclass(frozen=True)
class Part:
    """One number with its interval: the estimate itself, or one of its contrasts."""

    label: str
    sample: Sample
    estimate: Estimate
    unfit: str = ""  # why so few seeds may not decide with this estimator

    def why_not(self, draw: int = 0) -> str:
        """What keeps it from deciding, "" where nothing does."""
        why = self.unfit or self.estimate.why_not(draw)
        missing = int(self.sample.counts["missing"][draw]) if self.sample.counts["missing"].size else 0
        return f"{why} ({self.sample.why})" if why and missing and self.sample.why else why


@dataclass(frozen=True)
class Made:
    """One instance of an estimate. lost: why nothing of it is run here."""

    quantity: Quantity
    parts: tuple[Part, ...] = ()
    lost: str = ""

    @cached_property
    def id(self) -> str:
        """What it is called: `ratio`, `ratio (data=a5a)`."""
        return f"{self.quantity.name} ({self.quantity.label})" if self.quantity.label else self.quantity.name


def make(claim: TypedClaim, source: Source, where: str, alter: Alter | None = None) -> dict[str, list[Made]]:
    """Every estimate of the claim: name -> its instances. Raises ConfigError with all faults."""
    found: dict[str, list[Made]] = {}
    faults: list[str] = []
    for name, quantities in claim.quantities.items():
        found[name] = []
        for quantity in quantities:
            try:
                found[name].append(
                    Made(
                        quantity,
                        tuple(_part(quantity, alter(quantity, s) if alter else s) for s in samples(quantity, source)),
                    )
                )
            except LostCells as lost:
                found[name].append(Made(quantity, lost=str(lost)))
            except ConfigError as error:
                faults += [f"{where}: claims.{claim.name}.estimates.{name}: {fault}" for fault in error.faults]
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return found


def _part(quantity: Quantity, sample: Sample) -> Part:
    made = estimate(quantity.options, *sample.numbers, resolution=sample.half)
    if quantity.kind.data and made.decidable.any():
        least = quantity.kind.least_for(quantity.options, quantity.model.data)
        if least is None or (made.n < least).all():
            held = f"from {least} on" if least is not None else "at no number of them"
            unfit = (f"{int(made.n.max(initial=0))} {made.noun}s are too few for this estimator on {quantity.model.data} data: its "
                     f"interval covers 90 % {held}")  # fmt: skip
            return Part(sample.label, sample, replace(made, reason=np.maximum(made.reason, 1)), unfit)
    return Part(sample.label, sample, made)
