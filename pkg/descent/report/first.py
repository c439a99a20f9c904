"""The first verdicts of claims that were changed after their seeds had been seen, kept beside what fresh seeds say."""

from __future__ import annotations

import csv
from pathlib import Path

from descent.config.model import PaperConfig

FIRST_FILE = "first_verdicts.csv"  # in reports/<scale>/; kept by hand, one row a claim


def first_verdicts(folder: Path, config: PaperConfig, scale: str) -> dict[str, dict[str, str]]:
    """claim -> {date, verdict, reason} of the claims of the paper that had a verdict before.

    folder: the report of this scale. A claim without a row in FIRST_FILE had no verdict before.
    """
    file = folder / FIRST_FILE
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["paper"] == config.paper and row["scale"] == scale]
    return {row["claim"]: {k: row[k] for k in ("date", "verdict", "reason")} for row in rows}


def on_fresh_seeds(config: PaperConfig, experiments: tuple[str, ...] | list[str], scale: str) -> bool:
    """Whether any of the experiments runs on fresh seeds at this scale."""
    for name in experiments:
        experiment = config.experiments[name]
        own = experiment.scales[scale].seeds_from if scale in experiment.scales else None
        if (own or experiment.seeds_from) == "fresh":
            return True
    return False
