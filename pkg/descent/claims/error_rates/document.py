"""docs/error-rates.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special, stats

from descent.claims.error_rates.cases import cases, spoilt_cases
from descent.claims.error_rates.simulated import Case, N, Rates, simulate
from descent.claims.estimate.base import DATA, KINDS, Numbers, estimate


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
            named: dict[str, Any] = {"quantile": 0.9} if name == "quantile" else {}
            options = kind.options(**named)
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
estimator is slow, more where 90 % is near). Its criterion is the truth itself: "reproduced" and "not reproduced" are then both wrong, and no
criterion is worse. Standard error of a percentage near 95: {error:.1f}.

## Coverage and wrong verdicts

Per cent of intervals that hold the truth, and in brackets (wrongly "reproduced", wrongly "not reproduced"). A 95 %
interval errs 2.5 % on either side, a one-sided p or one of two one-sided tests at 5 % errs 5 %. *In italics*: the judge
refuses this estimator for what is declared of the data, or has no interval at so few seeds; the number says why, and no
verdict comes of it. An n is a number of seeds, for `bench` of blocks.

{table}

What is declared matters. Exponential numbers declared normal are judged, and err as their line says: t at 5 seeds
{skewed}.
What skew costs is on one side: the mean of skewed numbers is underestimated, so "above" errs against a claim and "below"
for it. Lognormal(1.5) numbers have no mean that few seeds can see; their median, a share or the mean of their logarithm
is estimated as well as any other. Where the truth is a number that seeds take (the median of 0 or 1 is 1), an interval
that ends there decides against "above", rightly.

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


def page(draws: int) -> str:
    """The page, from this many draws a line."""
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
