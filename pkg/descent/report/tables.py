"""The tables of a paper's page: final values with intervals, what was run and with which settings, tuning, cost."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from descent.core.job import Variant
from descent.core.records import STATUSES
from descent.report.figures import axes_of
from descent.report.runs import resolved
from descent.report.words import number, plain
from descent.results.stored import Results

MOST_COLUMNS = 6


@dataclass(frozen=True)
class Cell:
    """A metric's final value over seeds: mean and 95 % t interval (of logarithms where `geometric`), NaN when undecided."""

    mean: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    geometric: bool = False

    @property
    def not_ok(self) -> str:
        """`1 of 10 diverged`, or nothing."""
        return ", ".join(f"{count} of {self.n} {status}" for status, count in self.bad.items())


@dataclass(frozen=True)
class Finals:
    """Final values of one experiment: rows are (method, setting), columns metrics; `hidden` metrics are in results.csv."""

    experiment: str
    axes: list[str]
    metrics: list[str]
    hidden: list[str]
    rows: list[tuple[str, dict[str, Any], dict[str, Cell]]]
    geometric: frozenset[str] = frozenset()

    @property
    def counts(self) -> str:
        """`10 seeds`, or `2 to 10 seeds`: how many there are behind each number."""
        sizes = sorted({cell.n for _, _, cells in self.rows for cell in cells.values()})
        text = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return f"{text} seed{'' if sizes == [1] else 's'}"


def final_values(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the last recorded step of every unit (method, setting, seed) and metric."""
    keys = ["method", *axes_of(frame), "metric", "seed"]
    return frame.sort_values("step", kind="stable").drop_duplicates(keys, keep="last").sort_index()


def summarise(values: np.ndarray, statuses: Sequence[str], geometric: bool = False) -> Cell:
    """The Cell of one metric's final values (n,). A value that is not ok leaves the mean undecided, its count shown."""
    n = len(values)
    bad = {s: c for s in STATUSES if s != "ok" and (c := Counter(statuses)[s])}
    if bad or n == 0:
        return Cell(n=n, bad=bad)
    x = np.log(values) if geometric else values
    mean = float(x.mean())
    half = float(stats.t.ppf(0.975, n - 1) * x.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    ends = (mean, mean - half, mean + half)
    return Cell(*(np.exp(ends).tolist() if geometric else ends), n=n, geometric=geometric)


def finals(results: Results, experiment: str) -> Finals | None:
    """The table of an experiment's final values, methods in the room's order inside each setting; None without records."""
    frame = results.records(experiment)
    if frame.empty:
        return None
    frame = final_values(frame)
    axes = axes_of(frame)
    cards = results.room.metrics
    recorded = set(frame["metric"])
    ordered = sorted((m for m in cards if m in recorded), key=lambda m: cards[m].better == "none")
    ordered += sorted(recorded - set(cards))
    positive = frame.groupby("metric")["value"].apply(lambda v: bool((v.dropna() > 0).all()))
    geometric = {m for m in ordered if m in cards and cards[m].log and positive[m]}
    rows = []
    order = {name: i for i, name in enumerate(results.room.methods)}
    settings = list(dict.fromkeys(map(tuple, frame[axes].astype(object).where(frame[axes].notna(), None).to_numpy())))
    groups = frame.astype({axis: object for axis in axes}).where(frame.notna(), None).groupby(
        ["method", *axes], dropna=False, sort=False
    )  # fmt: skip
    for key, part in groups:
        method, *setting = key
        cells = {
            metric: summarise(p["value"].to_numpy(float), p["status"].tolist(), metric in geometric)
            for metric, p in part.groupby("metric", sort=False)
        }
        setting = tuple(None if _is_missing(v) else _plain(v) for v in setting)
        rows.append((method, dict(zip(axes, setting, strict=True)), cells))
    place = {tuple(_plain(v) for v in s): i for i, s in enumerate(settings)}
    rows.sort(key=lambda row: (place.get(tuple(row[1].values()), len(place)), order.get(row[0], len(order))))
    return Finals(experiment, axes, ordered[:MOST_COLUMNS], ordered[MOST_COLUMNS:], rows, frozenset(geometric))


def results_csv(tables: Iterable[Finals]) -> str:
    """All final values as CSV: experiment, method, setting, metric, n, n_ok, mean, ci_low, ci_high, kind of mean."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["experiment", "method", "setting", "metric", "n", "n_ok", "mean", "ci_low", "ci_high", "mean_of"])
    for table in tables:
        for method, setting, cells in table.rows:
            named = "; ".join(f"{axis}={value}" for axis, value in setting.items() if value is not None)
            for metric in (*table.metrics, *table.hidden):
                if cell := cells.get(metric):
                    numbers = ["" if np.isnan(v) else f"{v:.10g}" for v in (cell.mean, cell.low, cell.high)]
                    writer.writerow([table.experiment, method, named, metric, cell.n, cell.n - sum(cell.bad.values()),
                                     *numbers, "logarithms" if cell.geometric else "values"])  # fmt: skip
    return out.getvalue()


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
        for key, part in frame.groupby(["method", *axes, "metric"], sort=False, dropna=False):
            setting = ", ".join(f"{a}={v}" for a, v in zip(axes, key[1:-1], strict=True) if not _is_missing(v))
            rows.append({"experiment": name, "method": key[0], "setting": setting, "metric": key[-1],
                         "median": plain(part["value"].median()), "n": len(part)})  # fmt: skip
    return rows


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
