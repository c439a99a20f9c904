"""The tables of a paper's page beside its final values: what was run and with which settings, tuning, cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from descent.claims.estimate import kinds  # noqa: F401  (fills KINDS)
from descent.claims.operands.rows import groups_of
from descent.core.job import Variant
from descent.report.figures import axes_of
from descent.report.finals import is_missing
from descent.report.runs import resolved
from descent.report.words import number, plain
from descent.results.stored import Results


@dataclass(frozen=True)
class Settings:
    """A group of variants of one method that share every setting but their axes."""

    method: str
    cells: str
    params: dict[str, str]
    seeds: str


def settings_of(results: Results, experiment: str) -> list[Settings]:
    """The settings of an experiment's variants, those that agree together."""
    groups: dict[tuple, list[Variant]] = {}
    for job in results.jobs(experiment):
        for variant in job.variants:
            params = {k: v for k, v in resolved(results, variant).items() if k not in variant.setting}
            shown = {k: _setting(v, variant.tuned.get(k)) for k, v in params.items()}
            groups.setdefault((variant.method, tuple(shown.items())), []).append(variant)
    found = []
    for (method, params), variants in groups.items():
        seeds = spans({seed for variant in variants for seed in variant.seeds})
        found.append(Settings(method, cells_of([v.setting for v in variants]), dict(params), seeds))
    return found


def cells_of(settings: Sequence[Mapping[str, Any]]) -> str:
    """`data = plain; step_size = 0.1, 0.3` where the settings are all combinations of these values, else one by one."""
    values: dict[str, dict[Any, None]] = {}
    for setting in settings:
        for axis, value in setting.items():
            if value is not None:
                values.setdefault(axis, {})[value] = None
    distinct = {tuple(setting.items()) for setting in settings}
    if math.prod(map(len, values.values())) == len(distinct):
        return "; ".join(f"{axis} = {', '.join(map(str, chosen))}" for axis, chosen in values.items())
    return "; ".join(", ".join(f"{a}={v}" for a, v in setting if v is not None) for setting in dict.fromkeys(
        tuple(setting.items()) for setting in settings))  # fmt: skip


def _setting(value: Any, need: str | None) -> str:
    text = number(value) if isinstance(value, float) else str(value)
    return f"{text} (chosen by {need})" if need else text


def spans(numbers: Iterable[int]) -> str:
    """`1000 to 1009, 1020`."""
    runs: list[list[int]] = []
    for n in sorted(numbers):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs)


def cost_by_experiment(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Sums over `judged.cost_rows`: an entry an experiment with jobs, cpu_seconds, wall_seconds, peak_memory_mb."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = found.setdefault(row["experiment"], {"experiment": row["experiment"], "jobs": 0, "cpu_seconds": 0.0,
                                                     "wall_seconds": 0.0, "peak_memory_mb": 0.0})  # fmt: skip
        entry["jobs"] += 1
        for name in ("cpu_seconds", "wall_seconds"):
            entry[name] += float(row[name] or 0)
        entry["peak_memory_mb"] = max(entry["peak_memory_mb"], float(row["peak_memory_mb"] or 0))
    return list(found.values())


def step_costs(results: Results) -> list[dict[str, Any]]:
    """Median measured cost of a step, from the stored `bench` jobs: experiment, method, setting, metric, median, n."""
    rows = []
    for name in results.experiments():
        if results.config.experiments[name].kind != "bench":
            continue
        frame = results.records(name)
        axes = axes_of(frame)
        for key, part in groups_of(frame, ["method", *axes, "metric"], sort=False, dropna=False):
            setting = ", ".join(f"{a}={v}" for a, v in zip(axes, key[1:-1], strict=True) if not is_missing(v))
            rows.append({"experiment": name, "method": key[0], "setting": setting, "metric": key[-1],
                         "median": plain(part["value"].median()), "n": len(part)})  # fmt: skip
    return rows
