"""Simulated claims: records of known truth through the judge, and how often it is wrong.

Every case is a claim in the grammar of docs/claims.md whose criterion is the truth itself, so that "reproduced" and "not
reproduced" are both wrong: the worst case for either. Draws lead, and the judge decides them all at once; the random
numbers are keyed by the case and its n, so that every run gives the same numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from descent.claims.decide.verdict import REPRODUCED, VERDICTS
from descent.claims.error_rates.laws import Draw, Drawn
from descent.claims.estimate.base import KINDS
from descent.claims.judge import judge_source
from descent.claims.operands.planned import Cell, MetricInfo, Planned
from descent.claims.operands.tabled import Table
from descent.claims.read.operands import Operand
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, Cells
from descent.core.errors import ConfigError

N = (5, 8, 10, 20, 40)
NOT_REPRODUCED = VERDICTS.index("not reproduced")
LEAST_COVERAGE = 0.9
TWO_VALUES = ("t", "jackknife", "tolerance")  # refuse numbers of two values
CHUNK = 2000
FIRST_SEED = 1000


@dataclass(frozen=True)
class World:
    """A Source whose records are drawn: the judge reads it as it reads a paper's records."""

    planned: Planned
    draws: int
    operands: Mapping[str, Drawn]
    records: int = 0  # records a seed that are replicates, 0 where seeds are

    def table(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        """The operand's numbers, one column a planned seed."""
        drawn = self.operands[operand.metric]
        columns = range(drawn.value.shape[1])
        keys = tuple(self._place(i) if self.records else (FIRST_SEED + i,) for i in columns)
        return Table(keys, Cells(drawn.value, drawn.status), dict(drawn.axes))

    def _place(self, column: int) -> tuple[int, int]:
        """(seed, step) of a column."""
        return (
            (FIRST_SEED + column // self.records, column % self.records) if self.records else (FIRST_SEED + column, 0)
        )

    def frame(self, draw: int) -> pd.DataFrame:
        """One draw as a job would have recorded it; a missing seed has no row."""
        names = {OK: "ok", CENSORED: "censored", DIVERGED: "diverged"}
        rows = []
        for metric, drawn in self.operands.items():
            for i, c in np.ndindex(drawn.value.shape[1:]):
                if (code := int(drawn.status[draw, i, c])) != MISSING:
                    seed, step = self._place(i)
                    rows.append({
                        "paper": "simulated", "experiment": "s", "method": "m", **{a: v[c] for a, v in drawn.axes.items()},
                        "seed": seed, "step": step, "metric": metric, "value": drawn.value[draw, i, c],
                        "status": names[code],
                    })  # fmt: skip
        return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class Case:
    """One estimator on one law.

    law: in words. draw(rng, D, n) -> operands. truth: of the quantity. estimator, value, scale, data: as the claim has
    them. criterion(truth) -> the check's word and number; by default `above` the truth. p: level, where a p decides.
    slow: more is fewer draws. records: replicates a seed, where records are the replicates.
    """

    estimator: Mapping[str, Any]
    law: str
    draw: Draw
    truth: float
    data: str
    value: Any = None
    scale: str = "linear"
    criterion: Callable[[float], Mapping[str, Any]] = lambda truth: {"above": truth}
    p: float | None = None
    note: str = ""
    sizes: tuple[int, ...] = N
    extra: Mapping[str, Any] = field(default_factory=dict)
    slow: float = 1
    records: int = 0

    @property
    def name(self) -> str:
        """What it is called in messages and what its random numbers are keyed by."""
        return f"{self.label}, {self.law}"

    @property
    def label(self) -> str:
        """The estimator in words."""
        return self.note or KINDS[self.estimator["kind"]].words(KINDS[self.estimator["kind"]].options(**self.estimator))

    def claims(self, data: str | None = None) -> dict[str, Any]:
        """The claim, as a paper's YAML would have it."""
        metrics = list(self.draw(np.random.default_rng(0), 1, 5))
        operands = {name: {"experiment": "s", "method": "m", "metric": name, **self.extra} for name in metrics}
        estimate: dict[str, Any] = {
            "operands": operands,
            "estimator": dict(self.estimator),
            "scale": self.scale,
            "data": data or self.data,
        }
        if self.records:
            estimate["replicate"] = "record"
        if self.value is not None:
            estimate["value"] = self.value
        check = {"estimate": "q", **self.criterion(self.truth)}
        if self.p is not None:
            check["decide"] = {"p": self.p}
        return {
            "c": {
                "statement": "simulated", "tag": "derived", "source": "simulated", "origin": "ours", "headline": "right",
                "estimates": {"q": estimate}, "checks": {"right": check},
                "rules": {"reproduced": "right", "not_reproduced": {"not": "right"}},
            }
        }  # fmt: skip

    def world(self, draws: int, n: int, stream: int = 0) -> World:
        """`draws` sets of records with n planned seeds."""
        key = zlib.crc32(f"{self.name}, n = {n}".encode())
        operands = self.draw(np.random.Generator(np.random.SFC64([key, stream])), draws, n)
        bench = self.estimator["kind"] == "bench"
        seeds = tuple(range(FIRST_SEED, FIRST_SEED + (1 if bench else n)))
        settings = [{axis: v} for drawn in operands.values() for axis in drawn.axes for v in drawn.axes[axis].tolist()]
        cells = [Cell("m", setting, seeds) for setting in settings or [{}]]
        return World(
            Planned({"s": cells}, {}, {m: MetricInfo() for m in operands}),
            draws,
            operands,
            n if bench else self.records,
        )


class Rates(NamedTuple):
    """Shares of draws.

    coverage: the interval holds the truth. low, high: it lies above the truth, below it. reproduced, not_reproduced:
    verdicts, both wrong. decided: draws whose estimate may decide at all. refused: why none of them may, or "".
    """

    coverage: float
    too_high: float
    too_low: float
    reproduced: float
    not_reproduced: float
    decided: float
    refused: str
    draws: int


def rates(case: Case, n: int, draws: int) -> Rates:
    """Judge `draws` simulated sets of records, a chunk at a time."""
    draws = max(min(CHUNK, draws), int(draws / case.slow))
    found = [_counts(case, n, min(CHUNK, draws - at), at // CHUNK) for at in range(0, draws, CHUNK)]
    total = np.sum([counts for counts, _ in found], axis=0) / draws
    return Rates(*map(float, total), refused=found[0][1], draws=draws)


def _counts(case: Case, n: int, draws: int, stream: int) -> tuple[NDArray[np.float64], str]:
    world, refused = case.world(draws, n, stream), ""
    try:
        judged = judge_source(case.claims(), world, scale="study")[0]
    except ConfigError as fault:  # the reader's own refusal; what would come of it is shown all the same
        judged, refused = judge_source(case.claims("normal"), world, scale="study")[0], str(fault)
    part = judged.made["q"][0].parts[0]
    e = part.estimate
    slack = 1e-12 * max(1.0, abs(case.truth))  # an interval of equal numbers is a point
    too_high, too_low = e.low > case.truth + slack, e.high < case.truth - slack
    covered = ~too_high & ~too_low & ~np.isnan(e.low)
    refused = refused or ("" if e.decidable.any() else part.why_not())
    verdicts = [(judged.verdict == verdict) & (not refused) for verdict in (REPRODUCED, NOT_REPRODUCED)]
    counts = [covered, too_high, too_low, *verdicts, e.decidable & (not refused)]
    return np.array([c.sum() for c in counts], float), refused


def simulate(which: Iterable[Case], draws: int) -> dict[tuple[Case, int], Rates]:
    """The rates of every case at each of its sizes."""
    return {(case, n): rates(case, n, draws) for case in which for n in case.sizes}


def least(kind: str, which: Iterable[Case], coverage: Callable[[Case, int], float]) -> dict[str, int | None]:
    """For every kind of data the least n from which all cases of this kind of estimator cover 90 % or more.

    None: at no n that is simulated. A t interval takes no 0 or 1 data at any n: each draw of two values is refused. The
    90 % interval of two one-sided tests is the t interval's own, so it does not count here; a tolerance bound, whose
    interval has 90 %, may fall short of it by as much as others of 95. Clustered records are refused as replicates.
    """
    held: dict[str, int | None] = {}
    for case in which:
        if case.estimator["kind"] != kind or "alpha" in case.estimator or case.records:
            continue
        wanted = min(LEAST_COVERAGE, KINDS[kind].options(**case.estimator).model_dump()["level"] - 0.05)
        good: int | None = None
        for n in reversed(case.sizes):
            if coverage(case, n) < wanted or (case.data == "binary" and kind in TWO_VALUES):
                break
            good = n
        before = held.get(case.data, 0)
        held[case.data] = None if good is None or before is None else max(good, before)
    return held
