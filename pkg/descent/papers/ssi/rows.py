"""From a job's variants to rows of one program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.iterate import log_grid
from descent.core.job import Variant
from descent.papers.ssi.noise import Plan


def programs(variants: Sequence[Variant], key: Callable[[Variant], tuple]) -> Iterator[list[Variant]]:
    """Groups of variants that agree on `key` and run as one tensor program, in a fixed order."""
    text = lambda v: tuple(map(str, key(v)))  # noqa: E731
    for _, group in groupby(sorted(variants, key=text), key=text):
        yield list(group)


def plan_of(variants: Sequence[Variant], steps: int | None = None) -> Plan:
    """The plan that the variants of a program share (their `steps`, `block`, `chunk` and `noise` agree)."""
    p = variants[0].params
    return Plan(p["steps"] if steps is None else steps, p["block"], p["chunk"], p["noise"])


def column(variants: Sequence[Variant], value: Callable[[Variant], float], device: torch.device) -> Tensor:
    """(R,) float64: a number of each variant, repeated for its seeds."""
    numbers = [float(value(v)) for v in variants for _ in v.seeds]
    return torch.tensor(numbers, dtype=torch.float64).to(device)


def slices(variants: Sequence[Variant]) -> Iterator[tuple[Variant, slice]]:
    """Every variant with its rows."""
    first = 0
    for variant in variants:
        yield variant, slice(first, first + len(variant.seeds))
        first += len(variant.seeds)


def curve_points(plan: Plan, points: int) -> list[int]:
    """About `points` steps, evenly spaced in the logarithm and multiples of the chunk, and 0."""
    return [plan.chunk * k for k in log_grid(plan.steps // plan.chunk, points)]


def even_points(plan: Plan, points: int) -> list[int]:
    """`points` evenly spaced steps after 0, rounded to the chunk; the last is the end."""
    return sorted({int(plan.chunk * round(plan.steps / plan.chunk * (i + 1) / points)) for i in range(points)} - {0})


def add_times(records: Any, variant: Variant, times: np.ndarray) -> None:
    """Record first passages (S,): inf is censored, NaN diverged, and `reached` says which were made."""
    reached = np.isfinite(times)
    records.add(
        variant, "time", times, status=np.where(reached, "ok", np.where(np.isnan(times), "diverged", "censored"))
    )
    records.add(variant, "reached", reached.astype(float))
