"""What judging gives, ready for JSON and tables: a result a claim, with its estimates, its checks and its rules."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

VERDICTS = ("reproduced", "partly", "not reproduced", "inconclusive", "verified", "not run", "smoke", "reported")
OUTCOMES = ("for", "against", "open", "not run", "untested", "reported", "smoke")
ROLES = ("for", "against", "control", "reported", "alternative")
EFFECTS = ("supports", "opposes", "open", "none")
VERDICT_COLUMNS = (
    "paper", "claim", "origin", "verdict", "provisional", "statement", "scale", "quantity", "estimate", "ci_low", "ci_high",
    "level", "criterion", "used", "planned", "unit", "paper_value", "experiment", "figure", "reason",
)  # fmt: skip
CHECK_COLUMNS = (
    "paper", "claim", "check", "instance", "role", "outcome", "effect", "estimate_id", "quantity", "estimator", "estimate",
    "ci_low", "ci_high", "level", "criterion", "p_value", "p_adjusted", "family", "used", "planned", "unit", "n_missing",
    "n_censored", "n_diverged", "n_undefined", "n_claimed", "experiment", "reason",
)  # fmt: skip
NUMBERS = ("estimate", "ci_low", "ci_high", "level", "p_value", "p_adjusted")


@dataclass(frozen=True)
class EstimateResult:
    """One estimate, or one of its contrasts. Numbers that do not exist are None; an open end of an interval is +-inf.

    quantity: what it is, in words; short: in three or four. used, planned: of `unit` (seed, block, run).
    why: what keeps it from deciding. paper: the paper's number of the same quantity, and whether it lies inside.
    """

    id: str
    name: str
    where: Mapping[str, Any]
    contrast: str
    quantity: str
    short: str
    estimator: str
    scale: str
    experiment: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    used: int = 0
    planned: int = 0
    unit: str = "seed"
    missing: int = 0
    censored: int = 0
    diverged: int = 0
    undefined: int = 0
    cap: float | None = None
    exact: bool = False
    identity: bool = False
    not_run: str = ""
    why: str = ""
    paper: float | None = None
    paper_inside: bool | None = None


@dataclass(frozen=True)
class CheckResult:
    """One instance of a check. Its numbers are those of its estimate; of several contrasts, of the worst.

    role: for, against, control, reported, alternative. effect: what the outcome does to the claim (supports, opposes,
    open, none). claimed: seeds on the side of the criterion, of `used`.
    """

    check: str
    instance: str
    where: Mapping[str, Any]
    role: str
    outcome: str
    effect: str
    reason: str
    estimate_id: str
    quantity: str = ""
    short: str = ""
    estimator: str = ""
    estimate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    level: float | None = None
    criterion: str = ""
    bounds: tuple[float, ...] = ()
    decider: str = ""
    p_value: float | None = None
    p_adjusted: float | None = None
    family: str = ""
    used: int = 0
    planned: int = 0
    unit: str = "seed"
    n_missing: int = 0
    n_censored: int = 0
    n_diverged: int = 0
    n_undefined: int = 0
    n_claimed: int | None = None
    experiment: str = ""
    note: str | None = None
    instead_of: str | None = None
    contrasts: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ClaimResult:
    """One claim, judged. rules: verdict word -> {sentence, tree, outcome}. scope: what the verdict is limited to."""

    paper: str
    claim: str
    origin: str
    verdict: str
    statement: str
    scale: str
    reason: str
    headline: CheckResult | None
    checks: tuple[CheckResult, ...]
    estimates: tuple[EstimateResult, ...] = ()
    rules: Mapping[str, Any] = field(default_factory=dict)
    scope: str = ""
    provisional: str | None = None
    tag: str | None = None
    source: str | None = None
    paper_value: str | None = None
    figure: str | None = None
    note: str | None = None
    experiments: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: infinities become the words `inf` and `-inf`."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def rounded(value: float | None) -> float | None:
    """10 significant digits, so that a table does not change with the last bits of a sum."""
    return None if value is None or math.isnan(value) else float(f"{value:.10g}")


def verdicts_frame(results: Iterable[ClaimResult]) -> pd.DataFrame:
    """A row a claim, columns VERDICT_COLUMNS; the numbers are those of the headline's worst instance."""
    rows = []
    for result in results:
        head = asdict(result.headline) if result.headline else {}
        own = {c: getattr(result, c) for c in VERDICT_COLUMNS if hasattr(result, c)}
        taken = {
            c: head.get(c) for c in ("quantity", *NUMBERS[:4], "criterion", "used", "planned", "unit", "experiment")
        }
        rows.append({**taken, **own, "experiment": taken["experiment"] or ", ".join(result.experiments)})
    return _frame(rows, VERDICT_COLUMNS)


def checks_frame(results: Iterable[ClaimResult]) -> pd.DataFrame:
    """A row a check instance, columns CHECK_COLUMNS."""
    rows = [{"paper": r.paper, "claim": r.claim, **asdict(check)} for r in results for check in r.checks]
    return _frame(rows, CHECK_COLUMNS)


def _frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame([{c: row.get(c) for c in columns} for row in rows], columns=list(columns))
    for column in NUMBERS:
        if column in frame:
            frame[column] = frame.loc[:, column].map(rounded).astype("float64")
    return frame
