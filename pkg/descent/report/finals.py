"""Final values of a paper's experiments: one number a seed, an interval that fits what it is, a table, results.csv."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from descent.claims.estimate import kinds  # noqa: F401  (fills KINDS)
from descent.claims.estimate.base import KINDS, Estimate, Numbers, Options, estimate
from descent.claims.estimate.means import T
from descent.claims.operands.rows import groups_of
from descent.core.declare import Metric
from descent.core.records import STATUSES
from descent.report.figures import axes_of
from descent.results.stored import Results

MOST_COLUMNS = 6
TAIL = 10  # `tail` is the last tenth of a seed's records


@dataclass(frozen=True)
class Cell:
    """A metric's final value over seeds with its 95 % interval, NaN where there is none.

    statistic: what it is, e.g. `geometric mean`. bad: how many seeds are not ok, by status.
    """

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: int = 0
    bad: Mapping[str, int] = field(default_factory=dict)
    statistic: str = "mean"

    @property
    def not_ok(self) -> str:
        """`1 of 10 diverged`, or nothing."""
        return ", ".join(f"{count} of {self.n} {status}" for status, count in self.bad.items())

    @property
    def has_interval(self) -> bool:
        """Whether both ends are numbers."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


@dataclass(frozen=True)
class Finals:
    """Final values of one experiment: rows are (method, setting), columns metrics; `hidden` metrics are in results.csv.

    statistics: metric -> what its column shows.
    """

    experiment: str
    axes: list[str]
    metrics: list[str]
    hidden: list[str]
    rows: list[tuple[str, dict[str, Any], dict[str, Cell]]]
    statistics: Mapping[str, str] = field(default_factory=dict)

    @property
    def counts(self) -> str:
        """`10 seeds`, or `2 to 10 seeds`: how many there are behind each number."""
        sizes = sorted({cell.n for _, _, cells in self.rows for cell in cells.values()})
        text = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        return f"{text} seed{'' if sizes == [1] else 's'}"


def final_values(frame: pd.DataFrame, metrics: Mapping[str, Metric] | None = None) -> pd.DataFrame:
    """One row for every unit (method, setting, seed) and metric: what `Metric.final` says of its records.

    The last record by default. A mean has the worst status of the records it is taken over.
    """
    keys = ["method", *axes_of(frame), "metric", "seed"]
    frame = frame.sort_values("step", kind="stable")
    last = frame.drop_duplicates(keys, keep="last").sort_index()
    how = {name: card.final for name, card in (metrics or {}).items() if card.final != "last"}
    last = last.loc[last["metric"].map(lambda m: how.get(m) != "none")]
    parts = [last.loc[~last["metric"].isin(how)]]
    for name, final in how.items():
        own = frame.loc[frame["metric"] == name]
        if final != "none" and len(own):
            parts.append(_averaged(own, last.loc[last["metric"] == name], keys, final))
    return pd.concat(parts).sort_index() if len(parts) > 1 else last


def _averaged(frame: pd.DataFrame, last: pd.DataFrame, keys: list[str], final: str) -> pd.DataFrame:
    """The rows `last`, their values means over all records of the unit, or over the last tenth of them."""
    groups = frame.groupby(keys, dropna=False, sort=False)
    place, size = groups.cumcount(ascending=False), groups["value"].transform("size")
    kept = frame.loc[place < np.maximum(size // TAIL, 1)] if final == "tail" else frame
    worst = kept["status"].astype(str).map(STATUSES.index)
    groups = kept.assign(worst=worst).groupby(keys, dropna=False, sort=False)
    means = groups.agg(value=("value", lambda v: v.mean(skipna=False)), worst=("worst", "max")).reset_index()
    order = last[keys].reset_index().merge(means, on=keys, how="left").set_index("index")
    status = order.loc[:, "worst"].map(dict(enumerate(STATUSES))).astype(str)
    return last.assign(value=order["value"], status=status)


def table_options(metric: Metric | None, columns: Sequence[np.ndarray]) -> Options:
    """The estimator of one column of a table: one for all its cells, whose ok values `columns` are.

    0 or 1 (both occur, or the range says so): the share, exact. Positive and declared `log`: the geometric mean. Else the
    mean with its t interval, cut to a declared range; where none is declared and an interval would leave what the values
    do not leave (0 for numbers never below it, 1 for numbers inside [0, 1]), positive numbers go to the log scale and
    others to the median, whose interval lies among the values.
    """
    values = np.concatenate([np.asarray(c, float) for c in columns]) if columns else np.empty(0)
    values = values[np.isfinite(values)]
    both = len(np.unique(values)) == 2 or (metric is not None and metric.range == (0, 1))
    if len(values) and both and np.isin(values, (0, 1)).all():
        return KINDS["share"].options(kind="share")
    positive = bool(len(values)) and bool((values > 0).all())
    if metric is not None and metric.log and positive:
        return T(scale="log")
    plain = T()
    low, high = (-np.inf, np.inf)
    if metric is not None and metric.range is not None:
        if np.isfinite(metric.range).all():
            return plain  # its interval is cut to the range
        low, high = metric.range
    elif len(values) and metric is not None:
        low = 0.0 if (values >= 0).all() else low
        high = 1.0 if low == 0 and (values <= 1).all() else high
    found = [estimate(plain, Numbers.ok(c)) for c in columns if len(c)]
    if any(e.low[0] < low or e.high[0] > high for e in found):
        ratio = high == np.inf and low == 0 and positive
        return T(scale="log") if ratio else KINDS["median"].options(kind="median")
    return plain


STATISTICS = {"share": "share", "median": "median"}


def statistic_of(options: Options) -> str:
    """What a column shows, in words: `mean`, `geometric mean`, `share`, `median`."""
    log = getattr(options, "scale", "") == "log"
    return STATISTICS.get(options.kind, "geometric mean" if log else "mean")


def table_interval(metric: Metric | None, numbers: Numbers, options: Options | None = None) -> Estimate:
    """The estimate that a table shows of a metric's final values, its interval inside what the metric cannot leave.

    options: the column's, by default chosen from these numbers alone (see `table_options`).
    """
    options = options or table_options(metric, [row[row == row] for row in numbers.values])
    found = estimate(options, numbers)
    if metric is not None and metric.range is not None:  # the truth lies there: cutting loses no coverage
        low, high = metric.range
        found = replace(found, low=np.maximum(found.low, low), high=np.minimum(found.high, high))
    return found


def summarise(
    values: np.ndarray, statuses: Sequence[str], metric: Metric | None = None, options: Options | None = None
) -> Cell:
    """The Cell of one metric's final values (n,). A value that is not ok leaves it undecided, its count shown."""
    n = len(values)
    bad = {s: c for s in STATUSES if s != "ok" and (c := Counter(statuses)[s])}
    options = options or table_options(metric, [np.asarray(values, float)])
    if bad or n == 0:
        return Cell(n=n, bad=bad, statistic=statistic_of(options))
    found = table_interval(metric, Numbers.ok(values), options)
    value, low, high = (float(x[0]) for x in (found.value, found.low, found.high))
    low, high = (low, high) if np.isfinite(low) and np.isfinite(high) else (np.nan, np.nan)
    return Cell(value, low, high, n, statistic=statistic_of(options))


def finals(results: Results, experiment: str) -> Finals | None:
    """The table of an experiment's final values, methods in the room's order inside each setting; None without records."""
    frame = results.records(experiment)
    if frame.empty:
        return None
    cards = results.room.metrics
    frame = final_values(frame, cards)
    axes = axes_of(frame)
    recorded = set(frame["metric"])
    ordered = sorted((m for m in cards if m in recorded), key=lambda m: cards[m].better == "none")
    ordered += sorted(recorded - set(cards))
    rows = []
    order = {name: i for i, name in enumerate(results.room.methods)}
    settings = list(dict.fromkeys(map(tuple, frame[axes].astype(object).where(frame[axes].notna(), None).to_numpy())))
    shown = frame.astype({axis: object for axis in axes}).where(frame.notna(), None)
    groups = list(groups_of(shown, ["method", *axes], dropna=False, sort=False))
    parts = {(key, metric): p for key, part in groups for (metric,), p in groups_of(part, ["metric"], sort=False)}
    columns: dict[str, list[np.ndarray]] = {metric: [] for metric in ordered}
    for (_, metric), part in parts.items():
        columns[metric].append(part["value"].to_numpy(float)[(part["status"] == "ok").to_numpy()])
    chosen = {metric: table_options(cards.get(metric), columns[metric]) for metric in ordered}
    for key, part in groups:
        method, *setting = key
        cells = {
            metric: summarise(p["value"].to_numpy(float), p["status"].tolist(), cards.get(metric), chosen[metric])
            for (metric,), p in groups_of(part, ["metric"], sort=False)
        }
        setting = tuple(None if is_missing(v) else unwrapped(v) for v in setting)
        rows.append((method, dict(zip(axes, setting, strict=True)), cells))
    place = {tuple(unwrapped(v) for v in s): i for i, s in enumerate(settings)}
    rows.sort(key=lambda row: (place.get(tuple(row[1].values()), len(place)), order.get(row[0], len(order))))
    statistics = {metric: statistic_of(options) for metric, options in chosen.items()}
    return Finals(experiment, axes, ordered[:MOST_COLUMNS], ordered[MOST_COLUMNS:], rows, statistics)


def results_csv(tables: Iterable[Finals]) -> str:
    """All final values as CSV: experiment, method, setting, metric, n, n_ok, value, ci_low, ci_high, statistic."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["experiment", "method", "setting", "metric", "n", "n_ok", "value", "ci_low", "ci_high", "statistic"]
    )
    for table in tables:
        for method, setting, cells in table.rows:
            named = "; ".join(f"{axis}={value}" for axis, value in setting.items() if value is not None)
            for metric in (*table.metrics, *table.hidden):
                if cell := cells.get(metric):
                    numbers = ["" if np.isnan(v) else f"{v:.10g}" for v in (cell.value, cell.low, cell.high)]
                    writer.writerow([table.experiment, method, named, metric, cell.n, cell.n - sum(cell.bad.values()),
                                     *numbers, cell.statistic])  # fmt: skip
    return out.getvalue()


def is_missing(value: Any) -> bool:
    """None or NaN."""
    return value is None or (isinstance(value, float) and np.isnan(value))


def unwrapped(value: Any) -> Any:
    """A Python value of a NumPy one."""
    return value.item() if hasattr(value, "item") else value
