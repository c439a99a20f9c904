"""`select` jobs: tuning. The best value of a grid, by the mean of a metric over the tuning seeds."""

# pandas ships no types of what a column or a row holds, so these rules see a fault in every selection.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false, reportReturnType=false
from __future__ import annotations

import math
from typing import Any

import pandas as pd

from descent.core.errors import ConfigError
from descent.core.job import Job, Variant
from descent.core.records import Records


def choose_best(job: Job, records: pd.DataFrame) -> tuple[Records, list[dict[str, Any]]]:
    """Choose, in each group, the grid point of the best mean; returns the scores as records, and the choices.

    job.select: metric, best (`max` or `min`), over (the axes that form the grid). The groups are the method and all
    other axes. The score is the arithmetic mean over seeds of the metric at each seed's last step. A grid point with a
    seed that is not `ok` cannot win; a tie goes to the earlier point of the grid. Raises ConfigError when every point of
    a group failed.
    """
    spec = job.select or {}
    over = list(spec["over"])
    rows = records[records["metric"] == spec["metric"]]
    if rows.empty:
        raise ConfigError(f"{job.id}: the records have no metric `{spec['metric']}` to choose by")
    axes = [
        name
        for name in rows.columns
        if name not in ("paper", "experiment", "method", "seed", "step", "metric", "value", "status")
    ]
    keys = ["method", *axes]
    last = rows.groupby([*keys, "seed"], sort=False, dropna=False).tail(1)
    table = (
        last.groupby(keys, sort=False, dropna=False)
        .agg(score=("value", "mean"), n=("value", "size"), status=("status", _worst))
        .reset_index()
    )
    found = Records()
    chosen = []
    group_by = [name for name in keys if name not in over]
    for group, points in table.groupby(group_by, sort=False, dropna=False):
        points = points.reset_index(drop=True)
        valid = points[points["status"] == "ok"]
        named = dict(zip(group_by, group, strict=True))
        if valid.empty:
            raise ConfigError(_none_left(job, spec["metric"], named, set(points["status"])))
        best = valid["score"].idxmax() if spec["best"] == "max" else valid["score"].idxmin()
        chosen.append(
            {
                "group": {name: _plain(value) for name, value in named.items() if not pd.isna(value)},
                "values": _named(points.loc[best], over),
                "metric": spec["metric"],
                "score": float(points.loc[best, "score"]),
                "seeds": sorted({int(seed) for seed in last["seed"]}),
                "grid": [{**_named(p, over), "score": _score(p["score"])} for _, p in points.iterrows()],
            }
        )
        for i, point in points.iterrows():
            variant = Variant(point["method"], _named(point, axes), {}, (0,))
            found.add(variant, f"mean_{spec['metric']}", point["score"], status=point["status"])
            found.add(variant, "chosen", float(i == best))
    return found, chosen


def _worst(statuses: pd.Series) -> str:
    """What a grid point counts as: `ok` when all its seeds are."""
    return next((word for word in ("diverged", "undefined", "censored") if (statuses == word).any()), "ok")


def _none_left(job: Job, metric: str, named: dict[str, Any], statuses: set[str]) -> str:
    group = ", ".join(
        [str(named["method"]), *(f"{k}={v}" for k, v in named.items() if k != "method" and not pd.isna(v))]
    )
    if statuses == {"censored"}:
        return (
            f"{job.id}: at every grid point of {group} some seed is censored, never reaching what `{metric}` counts: "
            f"take more steps or an easier target at scale {job.scale}"
        )
    return f"{job.id}: at every grid point of {group} some seed is {' or '.join(sorted(statuses))}; widen the grid"


def _named(point: pd.Series, names: list[str]) -> dict[str, Any]:
    """The point's values of those axes that its method has: an axis may be listed for some methods only."""
    return {name: _plain(point[name]) for name in names if not pd.isna(point[name])}


def _score(value: float) -> float | None:
    """None where a seed of the point diverged: JSON has no number for it."""
    return float(value) if math.isfinite(value) else None


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
