"""Functionals: the statistic of aggregated operands (a ratio of medians, the slope of a mean), with the bootstrap.

Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals. Their coverage at small n is below
the nominal (STACK.md: 89 % of 95 at n = 8), so fewer than 8 units have no interval.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from descent.claims.estimate import Estimate, counted, finite, generator, spoilt, too_few, withheld
from descent.claims.evidence import aligned
from descent.claims.expression import Expression, ExpressionError
from descent.claims.kinds import MIN_BOOTSTRAP
from descent.claims.model import Instance
from descent.claims.select import MissingCell
from descent.claims.table import OK, Cells, Sample, Table
from descent.core.errors import ConfigError, nearest

CHUNK = 4_000_000  # numbers that a resampling holds at once
ORDER_ONLY = ("median", "max", "min")  # aggregates that a censored unit does not spoil


def median(value: np.ndarray) -> float:
    """The median; between a number and an infinity it is the infinity, never NaN."""
    return float(median_along(value[None], axis=1)[0])


def median_along(value: np.ndarray, axis: int) -> np.ndarray:
    """Median along an axis of numbers that may be infinite."""
    ordered = np.sort(value, axis=axis)
    n = value.shape[axis]
    low, high = np.take(ordered, (n - 1) // 2, axis), np.take(ordered, n // 2, axis)
    with np.errstate(invalid="ignore"):
        return np.where(low == high, low, low / 2 + high / 2)


def percentiles(draws: np.ndarray, level: float) -> tuple[float, float]:
    """(low, high) of (B,) resampled values. A value that is not defined counts as -inf below and as +inf above."""
    last = len(draws) - 1
    below = np.sort(np.where(np.isnan(draws), -np.inf, draws))
    above = np.sort(np.where(np.isnan(draws), np.inf, draws))
    cut = (1 - level) / 2 * last
    return float(below[int(np.floor(cut))]), float(above[int(np.ceil(last - cut))])


def resamples_of(rng: np.random.Generator, n: int, resamples: int, width: int = 1) -> Iterator[np.ndarray]:
    """Chunks (b, n) of `resamples` rows of indices, so small that (b, n, width) numbers stay within tens of megabytes."""
    chunk = max(1, CHUNK // (n * width))
    for start in range(0, resamples, chunk):
        yield rng.integers(0, n, (min(chunk, resamples - start), n))


_AGGREGATE: dict[str, Callable] = {
    "mean": np.mean,
    "median": median_along,
    "max": np.max,
    "min": np.min,
    "sum": np.sum,
    "std": lambda v, axis: np.std(v, axis=axis, ddof=1),
    "rms": lambda v, axis: np.sqrt(np.mean(v * v, axis=axis)),
    "geomean": lambda v, axis: np.exp(np.mean(np.log(v), axis=axis)),
}


def estimate(
    instance: Instance, tables: Mapping[str, Table], options: Mapping[str, Any], variety: str, key: str, path: str
) -> list[Estimate]:
    """One Estimate a label of the statistic, or one a setting where a single expression is a vector."""
    read = {name for expression in instance.statistic.values() for name in expression.names}
    used = {n: t for n, t in tables.items() if n in read} or dict(tables)
    if read - set(used) - {axis for t in used.values() for axis in t.axes}:
        used = dict(tables)
    sampled = {n: t for n, t in used.items() if t.units}
    fixed = {n: t for n, t in used.items() if not t.units}
    if instance.among is not None or instance.substitute:
        raise ConfigError(f"{path}: a functional takes no `among` and no check's `substitute`; give the operand's own")
    if not sampled:
        raise ConfigError(f"{path}: a functional needs an operand with units; for exact numbers use {{exact: value}}")
    left_out = ""
    if options["eligible"] is not None:
        used, left_out = _eligible(used, options["eligible"], path)
        sampled = {n: t for n, t in used.items() if t.units}
        fixed = {n: t for n, t in used.items() if not t.units}
    draw = _Paired(sampled, options, path) if options["paired"] else _Apart(sampled, options, path)
    what = f"the {options['of']} functional" if len(read) != 1 else f"the {options['of']}"
    result = counted(draw.sample, what, level=options["level"] if variety == "bootstrap" else None)
    result = replace(result, units=None, why=left_out)
    if left_out == _NONE_LEFT:
        return [replace(result, decides=False)]
    if why := draw.spoilt(options["of"]):
        return [withheld(result, f"{why}, so the estimate is undecided")]
    axes = {name: table.axes for name, table in used.items() if table.axes}

    def evaluated(cells: Mapping[str, Cells]) -> tuple[list[str], np.ndarray]:
        constant = {name: table.cells for name, table in fixed.items()}
        labels, columns = [], []
        for label, expression in instance.statistic.items():
            got = _evaluate(expression, {**cells, **constant}, axes, path).value
            c = got.shape[-1]
            grid = next((t.labels for t in used.values() if len(t.labels) == c), ()) if c > 1 else (label,)
            labels += [f"{label} {name}".strip() for name in grid] if c > 1 else [label]
            columns.append(got)
        return labels, np.concatenate(columns, axis=-1)

    labels, point = evaluated(draw.point(options["of"]))
    parts = [replace(result, label=label, value=finite(point[0, c])) for c, label in enumerate(labels)]
    parts = [part if part.value is not None else withheld(part, "the estimate is not defined") for part in parts]
    if why := too_few(draw.n, draw.sample.noun):
        return [withheld(part, why) for part in parts]
    if variety == "none":
        return parts
    if why := too_few(draw.n, draw.sample.noun, MIN_BOOTSTRAP, "a bootstrap interval"):
        return [replace(part, why="; ".join(filter(None, [part.why, why]))) for part in parts]
    _, draws = evaluated(draw.resampled(options["of"], options["resamples"], generator(key)))
    ends = [percentiles(draws[:, c], options["level"]) for c in range(len(labels))]
    return [replace(part, low=low, high=high) for part, (low, high) in zip(parts, ends, strict=True)]


_NONE_LEFT = "fewer than two settings have enough units that are ok"


def _eligible(tables: Mapping[str, Table], share: float, path: str) -> tuple[dict[str, Table], str]:
    """(the tables cut down to the settings where at least `share` of the units of every operand is ok, what was left out).

    Units that are not ok become NaN that the aggregate leaves out. Raises ConfigError unless all have the same settings.
    """
    vectors = {name: table for name, table in tables.items() if table.units}
    labels = next(iter(vectors.values())).labels
    if len(labels) < 2 or any(table.labels != labels for table in vectors.values()):
        raise ConfigError(f"{path}.estimator.eligible needs operands that go `across` the same settings")
    ok = np.min([(table.cells.rank == OK).mean(axis=0) for table in vectors.values()], axis=0)
    keep = np.flatnonzero(ok >= share - 1e-9)
    if len(keep) < 2:
        return dict(tables), _NONE_LEFT
    cut = {}
    for name, table in tables.items():
        cells = Cells(table.cells.value[:, keep], table.cells.rank[:, keep]) if table.units else table.cells
        if table.units:
            cells = Cells(np.where(cells.rank == OK, cells.value, np.nan), np.zeros(cells.rank.shape, np.int8))
        axes = {axis: grid[keep] for axis, grid in table.axes.items()} if table.units else table.axes
        cut[name] = Table(
            table.units, table.keys, cells, tuple(labels[i] for i in keep) if table.units else table.labels, axes
        )
    gone = [f"{labels[i]} ({ok[i]:.0%} ok)" for i in range(len(labels)) if i not in keep]
    return cut, f"left out, since fewer than {share:.0%} of the units are ok: {', '.join(gone)}" if gone else ""


def _evaluate(expression: Expression, cells: Mapping[str, Cells], axes: Mapping, path: str) -> Cells:
    try:
        return expression.evaluate(cells, axes)
    except (ExpressionError, ValueError) as fault:
        raise ConfigError(f"{path}: {fault}") from fault


def _cells(value: np.ndarray) -> Cells:
    return Cells(value, np.zeros(value.shape, np.int8))


def _aggregate(value: np.ndarray, of: str, axis: int) -> np.ndarray:
    """`of` along an axis; NaN (a unit that `eligible` leaves out) is skipped by mean and median, spoils the others."""
    gone = np.isnan(value)
    with np.errstate(all="ignore"):
        if not gone.any() or of not in ("mean", "median"):
            return _AGGREGATE[of](value, axis=axis)
        if of == "mean":
            return np.where(gone, 0.0, value).sum(axis) / (~gone).sum(axis)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # a resample without any ok unit is NaN, and widens the interval
        return np.nanmedian(value, axis=axis)


class _Paired:
    """Operands that share their units: a resample takes the same units for all of them and for all settings."""

    def __init__(self, tables: Mapping[str, Table], options: Mapping[str, Any], path: str):
        self._path = path
        column = options["resample"]
        self._pairs = column["pairs"] if isinstance(column, Mapping) else None
        if self._pairs:
            # Pairs of one population (bptt with e-prop, bptt with bptt) are different pairs: nothing to align.
            self._keys = {name: table.keys for name, table in tables.items()}
            self._cells = {name: table.cells for name, table in tables.items()}
            self._unit = {name: table.units for name, table in tables.items()}
            for name, units in self._unit.items():
                for part in self._pairs:
                    _must_have(part, units, f"{path}.values.{name}")
            self._nodes = sorted(
                {k[self._unit[n].index(p)] for n, keys in self._keys.items() for k in keys for p in self._pairs}
            )
            self.n, noun = len(self._nodes), self._pairs[0] + "s"
        else:
            shared, self._cells = aligned(tables, path)
            rows = np.arange(len(shared.keys))
            self._clusters = [rows[i : i + 1] for i in rows]
            noun = shared.noun
            if column is not None:
                _must_have(column, shared.units, path)
                at = shared.units.index(column)
                labels = [key[at] for key in shared.keys]
                self._clusters = [np.array([i for i in rows if labels[i] == name]) for name in dict.fromkeys(labels)]
                noun = column + "s"
            self._put_in_order()
            self.n = len(self._clusters)
        rank = [cells.rank.max(axis=1) for cells in self._cells.values()]
        worst = np.max(rank, axis=0) if not self._pairs else np.concatenate(rank)
        if self.n < len(worst):  # counts are of the units that are resampled
            worst = np.full(self.n, worst.max())
        elif self.n > len(worst):
            worst = np.pad(worst, (0, self.n - len(worst)))
        self.sample = Sample(np.zeros(self.n), worst, noun)

    def _put_in_order(self) -> None:
        """Rows and clusters ordered by their numbers, so that a seed's name changes nothing, not even the last bit."""
        flat = np.nan_to_num(np.concatenate([cells.value for cells in self._cells.values()], axis=1), nan=0.0)
        inner = [c[np.lexsort(flat[c].T)] for c in self._clusters]
        inner.sort(key=lambda c: tuple(flat[c].ravel()))
        order = np.concatenate(inner)
        self._cells = {name: Cells(c.value[order], c.rank[order]) for name, c in self._cells.items()}
        ends = np.cumsum([len(c) for c in inner])
        self._clusters = [np.arange(end - len(c), end) for c, end in zip(inner, ends, strict=True)]

    def spoilt(self, of: str) -> str:
        return spoilt(self.sample, ranks=of in ORDER_ONLY)

    def point(self, of: str) -> dict[str, Cells]:
        return {name: _cells(_aggregate(c.value, of, 0)[None]) for name, c in self._cells.items()}

    def resampled(self, of: str, resamples: int, rng: np.random.Generator) -> dict[str, Cells]:
        if self._pairs:
            return self._resampled_pairs(resamples, rng)
        single = all(len(c) == 1 for c in self._clusters)
        draws: dict[str, list[np.ndarray]] = {name: [] for name in self._cells}
        for picks in resamples_of(rng, self.n, resamples, max(c.value.shape[1] for c in self._cells.values())):
            if single:  # rows are clusters: _put_in_order has made them the same
                for name, cells in self._cells.items():
                    draws[name].append(_aggregate(cells.value[picks], of, 1))
                continue
            for pick in picks:
                rows = np.concatenate([self._clusters[i] for i in pick])
                for name, cells in self._cells.items():
                    draws[name].append(_aggregate(cells.value[rows], of, 0)[None])
        return {name: _cells(np.concatenate(parts)) for name, parts in draws.items()}

    def _resampled_pairs(self, resamples: int, rng: np.random.Generator) -> dict[str, Cells]:
        """Nodes are drawn; a pair counts as often as the product of its nodes' counts. Means only."""
        times = rng.multinomial(self.n, np.full(self.n, 1 / self.n), resamples)  # (B, nodes)
        place = {node: i for i, node in enumerate(self._nodes)}
        draws = {}
        for name, cells in self._cells.items():
            ends = [
                np.array([place[key[self._unit[name].index(part)]] for key in self._keys[name]]) for part in self._pairs
            ]
            weight = np.where(ends[0] == ends[1], times[:, ends[0]], times[:, ends[0]] * times[:, ends[1]])
            total = weight.sum(1, keepdims=True)
            with np.errstate(all="ignore"):
                draws[name] = _cells((weight @ cells.value) / total)  # no pair drawn: NaN, which widens the interval
        return draws


class _Apart:
    """Independent operands: every operand and setting is resampled by itself."""

    def __init__(self, tables: Mapping[str, Table], options: Mapping[str, Any], path: str):
        if options["resample"] is not None:
            raise ConfigError(f"{path}.estimator.resample needs `paired: true`")
        self._columns = {n: [t.column(c).in_order() for c in range(len(t.labels))] for n, t in tables.items()}
        everything = [sample for columns in self._columns.values() for sample in columns]
        if any(not sample.n for sample in everything):
            raise MissingCell("a setting has no unit")
        self._all = everything
        self.n = min(sample.n for sample in everything)
        smallest = min(everything, key=lambda sample: sample.n)
        worst = max(everything, key=lambda sample: int(sample.rank.max()))
        self.sample = worst if worst.rank.max() > OK else smallest

    def spoilt(self, of: str) -> str:
        return next(filter(None, (spoilt(sample, ranks=of in ORDER_ONLY) for sample in self._all)), "")

    def point(self, of: str) -> dict[str, Cells]:
        return {
            name: _cells(np.array([[_aggregate(s.value, of, 0) for s in columns]]))
            for name, columns in self._columns.items()
        }

    def resampled(self, of: str, resamples: int, rng: np.random.Generator) -> dict[str, Cells]:
        draws = {}
        for name, columns in self._columns.items():
            parts = [
                np.concatenate([_aggregate(s.value[rows], of, 1) for rows in resamples_of(rng, s.n, resamples)])
                for s in columns
            ]
            draws[name] = _cells(np.stack(parts, axis=1))
        return draws


def _must_have(column: str, units: tuple[str, ...], path: str) -> None:
    if column not in units:
        raise ConfigError(f"{path}: the resampled column `{column}` is not part of the unit{nearest(column, units)}; "
                          f"unit: {', '.join(units)}")  # fmt: skip
