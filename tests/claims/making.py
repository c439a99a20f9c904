"""Records, plans and claims in a few words, for the tests of the judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from descent.claims.judge import judge
from descent.claims.operands.planned import Cell, Lost, MetricInfo, Planned
from descent.claims.results import ClaimResult

SEEDS = tuple(range(1000, 1010))


def rows(
    values: Sequence[float] | Mapping[int, Sequence[float]],
    method: str = "a",
    metric: str = "y",
    *,
    experiment: str = "e",
    seeds: Sequence[int] | None = None,
    step: int | Iterable[int] = 0,
    status: Mapping[int, str] | None = None,
    **setting: Any,
) -> pd.DataFrame:
    """A row a seed (values: one a seed, by default from 1000), or a run a seed (values: seed -> one a step)."""
    status = status or {}
    if isinstance(values, Mapping):
        steps = list(step) if not isinstance(step, int) else None
        found = [
            (seed, at, v) for seed, run in values.items() for at, v in zip(steps or range(len(run)), run, strict=False)
        ]
    else:
        own = seeds if seeds is not None else range(1000, 1000 + len(values))
        found = [(seed, step, v) for seed, v in zip(own, values, strict=True)]
    return pd.DataFrame({
        "paper": "p", "experiment": experiment, "method": method, **setting,
        "seed": [seed for seed, _, _ in found], "step": [at for _, at, _ in found], "metric": metric,
        "value": [float(v) for _, _, v in found], "status": [status.get(seed, "ok") for seed, _, _ in found],
    })  # fmt: skip


def together(*frames: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """experiment -> its records."""
    whole = pd.concat(frames, ignore_index=True)
    return {str(name): part.reset_index(drop=True) for name, part in whole.groupby("experiment", sort=False)}


def planned(
    records: Mapping[str, pd.DataFrame], lost: Mapping[str, Sequence[Lost]] | None = None, **metrics: MetricInfo
) -> Planned:
    """A plan that wants exactly what these records hold."""
    cells = {}
    for name, frame in records.items():
        axes = [
            c for c in frame if c not in ("paper", "experiment", "seed", "step", "metric", "value", "status", "method")
        ]
        groups = frame.groupby(["method", *axes], dropna=False, sort=False)
        cells[name] = [
            Cell(key[0], dict(zip(axes, key[1:], strict=True)), tuple(sorted({int(s) for s in part["seed"]})))
            for key, part in groups
        ]
    return Planned(cells, lost or {}, metrics)


def claim(
    estimates: Mapping[str, Any],
    checks: Mapping[str, Any] | None = None,
    rules: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A claim as the YAML has it; by default every check must hold."""
    checks = checks or {}
    rules = rules or {"reproduced": {"all": list(checks)}}
    return {
        "statement": "s",
        "headline": next(iter(checks), "x"),
        "estimates": dict(estimates),
        "checks": dict(checks),
        "rules": dict(rules),
        **more,
    }


def operand(method: str = "a", metric: str = "y", **more: Any) -> dict[str, Any]:
    """One operand of the experiment `e`."""
    return {"experiment": "e", "method": method, "metric": metric, **more}


def verdict_of(
    claim_: Mapping[str, Any], *frames: pd.DataFrame, plan: Planned | None = None, scale: str = "study"
) -> ClaimResult:
    """The one claim judged on these records, by default planned as they are."""
    records = together(*frames)
    (result,) = judge("p", {"c": claim_}, records, plan or planned(records), scale=scale)
    return result


def normal(mean: float, sd: float, n: int = 10, seed: int = 0) -> np.ndarray:
    """n numbers with exactly this mean and standard deviation."""
    x = np.random.default_rng(seed).standard_normal(n)
    return mean + sd * (x - x.mean()) / x.std(ddof=1)
