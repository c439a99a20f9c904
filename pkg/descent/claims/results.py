"""What judging gives: a result a claim, a result a check instance, and the two tables that are published."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

VERDICTS = ("reproduced", "partly", "not reproduced", "inconclusive", "not run", "smoke", "reported")
OUTCOMES = ("holds", "fails", "undecided", "missing", "untested", "reported", "smoke")
VERDICT_COLUMNS = (
    "paper", "claim", "origin", "verdict", "statement", "scale", "estimate", "ci_low", "ci_high", "threshold", "n_seeds",
    "paper_value", "experiment", "figure", "reason",
)  # fmt: skip
CHECK_COLUMNS = (
    "paper", "claim", "check", "instance", "about", "outcome", "estimate", "ci_low", "ci_high", "p_value", "p_adjusted",
    "threshold", "n", "n_ok", "n_censored", "n_diverged", "estimator", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class CheckResult:
    """One instance of a check. Numbers that do not exist are None; an open end of an interval is +-inf.

    threshold: the predicate in short (`< 0.5`); bounds: the numbers in it, for a drawing.
    """

    check: str
    instance: str
    where: Mapping[str, Any]
    about: str
    outcome: str
    reason: str
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    threshold: str = ""
    n: int = 0
    n_ok: int = 0
    n_censored: int = 0
    n_diverged: int = 0
    n_undefined: int = 0
    estimator: str = ""
    experiment: str = ""
    control: bool = False
    family: str = ""
    bounds: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: infinities become the words `inf` and `-inf`."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class ClaimResult:
    """One claim with its verdict; `headline` is the check whose numbers stand for it."""

    paper: str
    claim: str
    origin: str
    verdict: str
    statement: str
    scale: str
    reason: str
    headline: CheckResult | None = None
    checks: tuple[CheckResult, ...] = ()
    tag: str | None = None
    source: str | None = None
    paper_value: str | None = None
    figure: str | None = None
    note: str | None = None
    experiments: tuple[str, ...] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def rounded(value: float | None) -> float | None:
    """10 significant digits, so that a table does not change with the last bits of a sum."""
    return None if value is None or math.isnan(value) else float(f"{value:.10g}")


def verdicts_frame(results: Iterable[ClaimResult]) -> pd.DataFrame:
    """A row a claim, columns VERDICT_COLUMNS; the numbers are those of the headline check."""
    rows = []
    for result in results:
        head = result.headline
        rows.append({
            "paper": result.paper, "claim": result.claim, "origin": result.origin, "verdict": result.verdict,
            "statement": result.statement, "scale": result.scale,
            "estimate": rounded(head.estimate) if head else None, "ci_low": rounded(head.ci_low) if head else None,
            "ci_high": rounded(head.ci_high) if head else None, "threshold": head.threshold if head else "",
            "n_seeds": head.n if head else 0, "paper_value": result.paper_value,
            "experiment": head.experiment if head else ", ".join(result.experiments), "figure": result.figure,
            "reason": result.reason,
        })  # fmt: skip
    return _frame(rows, VERDICT_COLUMNS)


def checks_frame(results: Iterable[ClaimResult]) -> pd.DataFrame:
    """A row a check instance, columns CHECK_COLUMNS."""
    rows = []
    for result in results:
        for check in result.checks:
            row = {column: getattr(check, column) for column in CHECK_COLUMNS if hasattr(check, column)}
            numbers = {c: rounded(row[c]) for c in ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted")}
            rows.append({"paper": result.paper, "claim": result.claim, **row, **numbers})
    return _frame(rows, CHECK_COLUMNS)


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(columns))
    for column in ("estimate", "ci_low", "ci_high", "p_value", "p_adjusted"):
        if column in frame:
            frame[column] = pd.to_numeric(frame[column]).astype("float64")
    return frame
