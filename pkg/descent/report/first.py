"""Earlier verdicts of claims that were changed after their seeds had been seen, kept beside what fresh seeds say."""

from __future__ import annotations

import csv
from pathlib import Path

from descent.config.model import PaperConfig
from descent.config.plan import FIRST_SEED

FIRST_FILE = (
    "first_verdicts.csv"  # in reports/<scale>/; kept by hand, one row a verdict, a claim's in the order of time
)


def first_verdicts(folder: Path, config: PaperConfig, scale: str) -> dict[str, list[dict[str, str]]]:
    """claim -> its earlier verdicts, each {date, seeds, verdict, reason}; seeds: the first one. Those of the paper that had any.

    folder: the report of this scale. A claim without a row in FIRST_FILE had no verdict before.
    """
    file = folder / FIRST_FILE
    if not file.is_file():
        return {}
    with file.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["paper"] == config.paper and row["scale"] == scale]
    found: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        found.setdefault(row["claim"], []).append({k: row[k] for k in ("date", "seeds", "verdict", "reason")})
    return found


def fresh_seeds(config: PaperConfig, experiments: tuple[str, ...] | list[str], scale: str) -> list[int]:
    """The first seed of each of the experiments that run on fresh seeds at this scale, ascending; empty if none does."""
    found = set()
    for name in experiments:
        experiment = config.experiments[name]
        own = experiment.scales[scale].seeds_from if scale in experiment.scales else None
        kind = own or experiment.seeds_from
        if kind in ("fresh", "again"):
            found.add(FIRST_SEED[kind])
    return sorted(found)
