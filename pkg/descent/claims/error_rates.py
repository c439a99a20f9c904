"""How often a claim would be wrong: simulated records of known truth, judged as any paper's are.

`python -m descent.claims.error_rates > docs/error-rates.md` writes the table; tests hold what must hold. Every case is a
claim in the grammar of docs/claims.md whose criterion is the truth itself, so that "reproduced" and "not reproduced" are
both wrong: the worst case for either. Draws lead, and the judge decides them all at once; the random numbers are keyed by
the case and its n, so that every run gives the same table.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special, stats

from descent.claims.decide.verdict import REPRODUCED, VERDICTS
from descent.claims.estimate.base import DATA, KINDS, Numbers, estimate
from descent.claims.judge import judge_source
from descent.claims.operands.planned import Cell, MetricInfo, Planned
from descent.claims.operands.source import Table
from descent.claims.read.operands import Operand
from descent.claims.table import CENSORED, DIVERGED, MISSING, OK, Cells

N = (5, 8, 10, 20, 40)
NOT_REPRODUCED = VERDICTS.index("not reproduced")
LEAST_COVERAGE = 0.9
CHUNK = 2000
FIRST_SEED = 1000


class Drawn(NamedTuple):
    """Records of one operand in D draws: values and statuses (D, n, C), axes {name: (C,)}."""

    value: NDArray[np.float64]
    status: NDArray[np.uint8]
    axes: Mapping[str, NDArray[np.float64]] = {}


Draw = Callable[[np.random.Generator, int, int], Mapping[str, Drawn]]


@dataclass(frozen=True)
class World:
    """A Source whose records are drawn: the judge reads it as it reads a paper's records."""

    planned: Planned
    draws: int
    operands: Mapping[str, Drawn]
    blocks: bool = False  # of one seed, instead of seeds

    def table(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        """The operand's numbers, one column a planned seed."""
        drawn = self.operands[operand.metric]
        keys = tuple((FIRST_SEED, i) if self.blocks else (FIRST_SEED + i,) for i in range(drawn.value.shape[1]))
        return Table(keys, Cells(drawn.value, drawn.status), dict(drawn.axes))

    def frame(self, draw: int) -> pd.DataFrame:
        """One draw as a job would have recorded it; a missing seed has no row."""
        names = {OK: "ok", CENSORED: "censored", DIVERGED: "diverged"}
        rows = []
        for metric, drawn in self.operands.items():
            for i, c in np.ndindex(drawn.value.shape[1:]):
                if (code := int(drawn.status[draw, i, c])) != MISSING:
                    rows.append({
                        "paper": "simulated", "experiment": "s", "method": "m", **{a: v[c] for a, v in drawn.axes.items()},
                        "seed": FIRST_SEED + (0 if self.blocks else i), "step": i if self.blocks else 0, "metric": metric, "value": drawn.value[draw, i, c],
                        "status": names[code],
                    })  # fmt: skip
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class Case:
    """One estimator on one law.

    law: in words. draw(rng, D, n) -> operands. truth: of the quantity. estimator, value, scale, data: as the claim has
    them. criterion(truth) -> the check's word and number; by default `above` the truth. p: level, where a p decides.
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
    slow: int = 1

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
        estimate = {
            "operands": operands,
            "estimator": dict(self.estimator),
            "scale": self.scale,
            "data": data or self.data,
        }
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
        planned = Planned(
            {"s": [Cell("m", {}, tuple(range(FIRST_SEED, FIRST_SEED + n)))]}, {}, {m: MetricInfo() for m in operands}
        )
        return World(planned, draws, operands)


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
    draws = max(min(CHUNK, draws), draws // case.slow)
    found = [_counts(case, n, min(CHUNK, draws - at), at // CHUNK) for at in range(0, draws, CHUNK)]
    total = np.sum([counts for counts, _ in found], axis=0) / draws
    return Rates(*(float(x) for x in total), found[0][1], draws)


def _counts(case: Case, n: int, draws: int, stream: int) -> tuple[NDArray[np.float64], str]:
    judged = judge_source(case.claims(), case.world(draws, n, stream), scale="study")[0]
    part = judged.made["q"][0].parts[0]
    e = part.estimate
    slack = 1e-12 * max(1.0, abs(case.truth))  # an interval of equal numbers is a point
    too_high, too_low = e.low > case.truth + slack, e.high < case.truth - slack
    covered = ~too_high & ~too_low & ~np.isnan(e.low)
    counts = [covered, too_high, too_low, judged.verdict == REPRODUCED, judged.verdict == NOT_REPRODUCED, e.decidable]
    return np.array([c.sum() for c in counts], float), "" if e.decidable.any() else part.why_not()


# -- laws -------------------------------------------------------------------------------------------------------------

SIGMA = 1.5
RIGHT = 0.9
SLOPES, NOISE = 0.5, 1.0


def _ok(value: NDArray[np.float64], axes: Mapping[str, Any] | None = None) -> Drawn:
    value = value if value.ndim == 3 else value[..., None]
    return Drawn(value, np.zeros(value.shape, np.uint8), axes or {})


def _one(sample: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]) -> Draw:
    return lambda rng, draws, n: {"v": _ok(sample(rng, (draws, n)))}


NORMAL = _one(lambda rng, shape: rng.normal(size=shape))
EXPONENTIAL = _one(lambda rng, shape: rng.exponential(size=shape))
LOGNORMAL = _one(lambda rng, shape: rng.lognormal(0, SIGMA, size=shape))
BINARY = _one(lambda rng, shape: (rng.random(shape) < RIGHT).astype(float))


def slopes(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """Random effects: each seed has a level and a slope of its own along k = 1, 2, 4, 8; no slope on average."""
    k = np.array([1.0, 2, 4, 8])
    level, slope = rng.normal(size=(2, draws, n, 1))
    return {"v": _ok(level + SLOPES * slope * np.log2(k) + NOISE * rng.normal(size=(draws, n, 4)), {"k": k})}


def outcomes(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """0 or 1 at five settings of k, right more often as k grows, with an effect shared by a seed's five; half at k = 3."""
    k = np.arange(1.0, 6)
    effect = rng.normal(size=(draws, n, 1))
    return {"v": _ok((rng.random((draws, n, 5)) < special.expit(1.5 * (k - 3) + effect)).astype(float), {"k": k})}


def clusters(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
    """The mean of four numbers that share a seed's effect."""
    return {"v": _ok(rng.normal(size=(draws, n)) + NOISE * rng.normal(size=(draws, n, 4)).mean(axis=-1))}


def apart(draw: Draw, data: str) -> Draw:
    """Two samples: one of the law, one of the law times 1.5 plus 0.5 (0 or 1: of p = 0.7)."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        a, b = draw(rng, draws, n)["v"].value, draw(rng, draws, n)["v"].value
        moved = b * (rng.random(b.shape) < 0.7 / RIGHT) if data == "binary" else 1.5 * b + 0.5
        return {"a": _ok(a), "b": _ok(moved)}

    return drawn


def costs(draw: Draw) -> Draw:
    """Costs of two rivals in interleaved blocks; the machine's load moves both."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        load = np.exp(rng.normal(size=(draws, n, 1)))
        return {"a": _ok(load * np.exp(draw(rng, draws, n)["v"].value)), "b": _ok(load)}

    return drawn


def pair(sample: Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]) -> Draw:
    """Two operands of one law."""
    return lambda rng, draws, n: {"a": _ok(sample(rng, (draws, n))), "b": _ok(sample(rng, (draws, n)))}


def lost(draw: Draw, gone: Callable[[np.random.Generator, NDArray[np.float64]], NDArray[np.bool_]], code: int) -> Draw:
    """The same records, some of them missing, censored or diverged."""

    def drawn(rng: np.random.Generator, draws: int, n: int) -> dict[str, Drawn]:
        found = {}
        for name, one in draw(rng, draws, n).items():
            where = gone(rng, one.value)
            value = np.where(where, np.inf if code in (CENSORED, DIVERGED) else np.nan, one.value)
            found[name] = Drawn(value, np.where(where, code, one.status).astype(np.uint8), one.axes)
        return found

    return drawn


def at_random(rng: np.random.Generator, value: NDArray[np.float64]) -> NDArray[np.bool_]:
    """One seed in twenty."""
    return rng.random(value.shape) < 0.05


def the_worst(below: float) -> Callable[..., NDArray[np.bool_]]:
    """Half of the seeds whose number is below this one."""
    return lambda rng, value: (value < below) & (rng.random(value.shape) < 0.5)


def beyond(level: float) -> Callable[..., NDArray[np.bool_]]:
    """Every seed whose number is above this one."""
    return lambda rng, value: value > level


# -- cases ------------------------------------------------------------------------------------------------------------

CLUSTERS = "several numbers a seed, averaged"
LAWS: dict[str, tuple[str, Draw, Any]] = {
    "normal": ("normal", NORMAL, stats.norm()),
    "skewed": ("exponential", EXPONENTIAL, stats.expon()),
    "heavy": (f"lognormal({SIGMA})", LOGNORMAL, stats.lognorm(SIGMA)),
    "binary": (f"0 or 1, p = {RIGHT}", BINARY, stats.bernoulli(RIGHT)),
    "clustered": (CLUSTERS, clusters, stats.norm(0, math.sqrt(1 + NOISE**2 / 4))),
}
ALONG = {"across": {"k": [1, 2, 4, 8]}}


def pseudo_median(law: Any) -> float:
    """The median of the mean of two independent draws."""
    if not law.support()[0] >= 0:
        return float(law.median())
    if law.support()[1] == 1:
        return 1.0  # two of three pairs of 0.9 are both 1
    x = law.ppf((np.arange(4000) + 0.5) / 4000)
    return float(optimize.brentq(lambda m: law.cdf(np.maximum(2 * m - x, 0)).mean() - 0.5, 1e-3, 50))


def distance(law: Any) -> float:
    """Largest distance of the law and the same law times 1.5 plus 0.5, on a fine grid of quantiles."""
    x = law.ppf((np.arange(200_000) + 0.5) / 200_000)
    return float(np.abs(law.cdf(x) - law.cdf((x - 0.5) / 1.5)).max())


def _means() -> Iterator[Case]:
    for data, (word, draw, law) in LAWS.items():
        yield Case({"kind": "t"}, word, draw, float(law.mean()), data)
    yield Case(
        {"kind": "t"}, "a slope a seed, random slopes", slopes, 0.0, "clustered", "slope(log2(k), v)", extra=ALONG
    )
    yield Case({"kind": "t"}, f"lognormal({SIGMA}) ratios", LOGNORMAL, 1.0, "normal", scale="log")
    yield Case({"kind": "t"}, "exponential ratios", EXPONENTIAL, math.exp(-np.euler_gamma), "skewed", scale="log")
    for data in ("normal", "skewed", "heavy"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "t", "alpha": 0.05}, word, draw, float(law.mean()), data,
                   criterion=lambda truth: {"inside": [truth - (2 if truth == 0 else 2 * truth), truth]},
                   note="two one-sided t tests at 5 %, truth on the margin")  # fmt: skip
    yield Case({"kind": "t"}, "normal", NORMAL, 0.0, "normal", p=0.05, note="one-sided t test at 5 %, p decides")
    ratio = {"value": "a / b", "scale": "log", "note": "ratio of pooled means, jackknife"}
    yield Case(
        {"kind": "jackknife"}, "normal, sd a fifth", pair(lambda g, s: g.normal(1, 0.2, s)), 1.0, "normal", **ratio
    )
    yield Case({"kind": "jackknife"}, "exponential", pair(lambda g, s: g.exponential(size=s)), 1.0, "skewed", **ratio)
    yield Case(
        {"kind": "jackknife"}, f"lognormal({SIGMA})", pair(lambda g, s: g.lognormal(0, SIGMA, s)), 1.0, "heavy", **ratio
    )
    for data in ("skewed", "heavy", "binary"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "jackknife"}, word, draw, float(law.mean()), data, note="pooled mean, jackknife")
    yield Case({"kind": "jackknife"}, "random slopes", slopes, 0.0, "clustered", "slope(log2(k), v)", extra=ALONG,
               note="slope of the pooled mean, jackknife")  # fmt: skip
    yield Case({"kind": "jackknife"}, "0 or 1 along k, an effect a seed", outcomes, 3.0, "clustered", "half(k, v)",
               extra={"across": {"k": [1, 2, 3, 4, 5]}}, note="50 % point of pooled seeds, jackknife", slow=10)  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = (
            float(law.mean() + stats.norm.ppf(0.8) * law.std())
            if data in ("normal", "clustered")
            else float(law.ppf(0.8))
        )
        yield Case({"kind": "tolerance"}, word, draw, truth, data, slow=2)


def _orders() -> Iterator[Case]:
    for share in (0.5, 0.9):
        kind = {"kind": "median"} if share == 0.5 else {"kind": "quantile", "quantile": share}
        for data, (word, draw, law) in LAWS.items():
            yield Case(kind, word, draw, float(law.ppf(share)), data)
    yield Case({"kind": "median"}, "exponential, a third never reached", lost(EXPONENTIAL, beyond(math.log(3)), CENSORED),
               math.log(2), "skewed")  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = RIGHT if data == "binary" else float(law.sf(0.5))
        yield Case({"kind": "share"}, f"{word}, above 0.5", draw, truth, data, "v > 0.5")
    for data, (word, draw, law) in LAWS.items():
        middle = 0.5 if data == "binary" else float(law.median())
        truth = RIGHT if data == "binary" else 0.5
        yield Case({"kind": "sign"}, f"{word} less {middle:.3g}", draw, truth, data, f"v - {middle!r}")
    for data, (word, draw, law) in LAWS.items():
        yield Case({"kind": "wilcoxon"}, word, draw, pseudo_median(law), data, slow=2)
    yield Case({"kind": "wilcoxon"}, "normal", NORMAL, 0.0, "normal", p=0.05, slow=2,
               note="signed-rank test at 5 %, p decides")  # fmt: skip
    for data, (word, draw, law) in LAWS.items():
        truth = 0.2 if data == "binary" else distance(law)
        yield Case({"kind": "ks"}, f"{word}, and shifted", apart(draw, data), truth, data)
    for data in ("normal", "skewed", "heavy"):
        word, draw, law = LAWS[data]
        yield Case({"kind": "bench"}, f"costs apart by exp({word})", costs(draw), math.exp(float(law.median())), data, "a / b",
                   scale="log", extra={"read": "all"}, sizes=(20, 40))  # fmt: skip


def cases() -> Iterator[Case]:
    """Every estimator in use on every kind of data that it may meet."""
    yield from _means()
    yield from _orders()


def spoilt_cases() -> Iterator[Case]:
    """Seeds that are missing or that ended badly."""
    for kind, draw, truth, data, value, low in (
        ({"kind": "t"}, NORMAL, 0.0, "normal", None, -0.84),
        ({"kind": "median"}, NORMAL, 0.0, "normal", None, -0.84),
        ({"kind": "share"}, BINARY, RIGHT, "binary", "v > 0.5", 0.5),
    ):
        yield Case(kind, "one seed in twenty missing at random", lost(draw, at_random, MISSING), truth, data, value)
        yield Case(kind, "half of the worst fifth missing", lost(draw, the_worst(low), MISSING), truth, data, value)


# -- the page ---------------------------------------------------------------------------------------------------------


def least(kind: str, found: Mapping[tuple[Case, int], Rates]) -> dict[str, int | None]:
    """For every kind of data the least n from which all simulated cases of this kind cover 90 % or more."""
    held: dict[str, int | None] = {}
    for case in dict.fromkeys(c for c, _ in found):
        if case.estimator["kind"] != kind or "alpha" in case.estimator:  # a 90 % interval may cover 90 %
            continue
        good: int | None = None
        for n in reversed(case.sizes):
            if found[case, n].coverage < LEAST_COVERAGE:
                break
            good = n
        before = held.get(case.data, 0)
        held[case.data] = None if good is None or before is None else max(good, before)
    return held


def percent(share: float) -> str:
    """`94.8`."""
    return f"{100 * share:.1f}"


def table(found: Mapping[tuple[Case, int], Rates]) -> str:
    """Rows of cases, columns of n: coverage, then the two wrong verdicts; in italics where the reader refuses."""
    lines = [
        "| estimator | records | declared | " + " | ".join(f"n = {n}" for n in N) + " |",
        "|---|---|---|" + "---|" * len(N),
    ]
    for case in dict.fromkeys(c for c, _ in found):
        cells = []
        for n in N:
            got = found.get((case, n))
            if got is None:
                cells.append("")
            elif got.refused:
                cells.append(f"*{percent(got.coverage)}*")
            else:
                cells.append(f"{percent(got.coverage)} ({percent(got.reproduced)}, {percent(got.not_reproduced)})")
        lines.append(f"| {case.label} | {case.law} | {case.data} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spoilt_table(found: Mapping[tuple[Case, int], Rates]) -> str:
    """Share of draws that decide at all, then the two wrong verdicts."""
    lines = ["| estimator | seeds | " + " | ".join(f"n = {n}" for n in N) + " |", "|---|---|" + "---|" * len(N)]
    for case in dict.fromkeys(c for c, _ in found):
        cells = [
            f"{percent(got.decided)} ({percent(got.reproduced)}, {percent(got.not_reproduced)})"
            for got in (found[case, n] for n in N)
        ]
        lines.append(f"| {case.label} | {case.law} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def least_table() -> str:
    """The least n at which the reader takes an estimator, for each kind of data (KINDS)."""
    lines = ["| estimator | " + " | ".join(DATA) + " |", "|---|" + "---|" * len(DATA)]
    for name, kind in KINDS.items():
        if kind.data:
            options = kind.options(**({"quantile": 0.9} if name == "quantile" else {}))
            held = [kind.least_for(options, data) for data in DATA]
            lines.append(f"| {name} | " + " | ".join("never" if n is None else str(n) for n in held) + " |")
    return "\n".join(lines)


def audit_table() -> str:
    """Chance that an audit of randomised response accuses it of more than its epsilon: summed over all counts."""
    lines = ["| guesses | canaries | epsilon | accused at 5 % |", "|---|---|---|---|"]
    for guesses, canaries, epsilon in ((20, 100, 1.0), (100, 1000, 1.0), (100, 1000, 3.0), (500, 1000, 4.0)):
        right = np.arange(guesses + 1)
        shape = (len(right), 1)
        counts = [
            Numbers.ok(np.broadcast_to(np.asarray(c, float).reshape(-1, 1), shape)) for c in (right, guesses, canaries)
        ]
        p = estimate(KINDS["audit"].options(kind="audit"), *counts).p(epsilon, "above")
        rate = stats.binom.pmf(right, guesses, special.expit(epsilon))[p < 0.05].sum()
        lines.append(f"| {guesses} | {canaries} | {epsilon:g} | {percent(rate)} |")
    return "\n".join(lines)


PAGE = """# How often a verdict is wrong

Made by `python -m descent.claims.error_rates`; the random numbers are keyed, so it makes the same page again. Every line
is a claim in the grammar of [claims.md](claims.md), judged on {draws:,} simulated sets of records (fewer where an
estimator is slow). Its criterion is the truth itself: "reproduced" and "not reproduced" are then both wrong, and no
criterion is worse. Standard error of a percentage near 95: {error:.1f}.

## Coverage and wrong verdicts

Per cent of intervals that hold the truth, and in brackets (wrongly "reproduced", wrongly "not reproduced"). A 95 %
interval errs 2.5 % on either side, a one-sided p or one of two one-sided tests at 5 % errs 5 %. *In italics*: the judge
refuses this estimator for what is declared of the data, or has no interval at so few seeds; the number says why, and no
verdict comes of it. An n is a number of seeds, for `bench` of blocks.

{table}

What is declared matters: exponential numbers declared normal are judged, and err as their line says (t at 5 seeds
{skewed}). Lognormal(1.5) numbers have no mean that few seeds can see; their median, a share or the mean of their
logarithm is estimated as well as any other.

## Missing seeds

Seeds that should exist and do not leave the check open, whatever the others say. In brackets, as above, of all draws;
before them, the per cent of draws with no seed missing, the only ones that decide. "Half of the worst fifth missing": a
seed whose number is among the lowest fifth is lost every other time; what is still complete is then a little too good.

{spoilt}

## Audits

The chance that randomised response of exactly this epsilon, attacked with its best guesses, is accused of more: summed
over every number of right guesses, not simulated.

{audits}

## What the reader accepts

The least n at which each estimator may decide, by the kind of data that an estimate declares: simulated coverage of 90 %
or more there and at every larger n above, five seeds at least (twenty blocks), and enough for an interval to exist.

{least}
"""


def simulate(which: Iterator[Case], draws: int) -> dict[tuple[Case, int], Rates]:
    """The rates of every case at each of its sizes."""
    return {(case, n): rates(case, n, draws) for case in which for n in case.sizes}


def page(draws: int) -> str:
    """docs/error-rates.md."""
    found, spoilt = simulate(cases(), draws), simulate(spoilt_cases(), draws)
    skewed = next(
        got
        for (case, n), got in found.items()
        if case.estimator == {"kind": "t"} and case.law == "exponential" and n == 5
    )
    words = f"lies above the truth {percent(skewed.too_high)} %, below it {percent(skewed.too_low)} % of the time"
    return PAGE.format(
        draws=draws, error=100 * math.sqrt(0.05 * 0.95 / draws), table=table(found), spoilt=spoilt_table(spoilt),
        skewed=words, audits=audit_table(), least=least_table(),
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print docs/error-rates.md.")
    parser.add_argument("--draws", type=int, default=10_000, help="simulated sets of records a line (default 10000)")
    sys.stdout.write(page(parser.parse_args().draws))
