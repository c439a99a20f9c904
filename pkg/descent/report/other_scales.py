"""What the same claims came to at the other scale, where its report is published: shown beside, deciding nothing here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from descent.core.files import sha256

SCALES = ("study", "paper")  # those that give verdicts
FILE = "verdicts.json"  # judged.VERDICTS_FILE, which costs a second to import where only the plan is made


def reports_of(report: Path, paper: str) -> dict[str, Path]:
    """scale -> verdicts.json of the paper's report at every other scale. report: reports/<scale>."""
    if report.name not in SCALES:
        return {}  # development seeds, smoke, a scale of a user's own
    found = {scale: report.parent / scale / paper / FILE for scale in SCALES if scale != report.name}
    return {scale: path for scale, path in found.items() if path.is_file()}


def hashes(report: Path, paper: str) -> list[str]:
    """Of the files that a page shows the verdicts of: when they change the page is made anew."""
    return [sha256(path) for path in reports_of(report, paper).values()]


def verdicts_elsewhere(report: Path, paper: str) -> dict[str, list[dict[str, Any]]]:
    """claim -> its verdict, reason and headline at every other scale at which something of it was run.

    Raises DataError where such a report is damaged.
    """
    from descent.report.judged import read_verdicts

    found: dict[str, list[dict[str, Any]]] = {}
    for scale, path in reports_of(report, paper).items():
        for claim in read_verdicts(path)["claims"]:
            if claim["verdict"] != "not run":
                own = {"scale": scale, "page": f"../../{scale}/{paper}/index.html#{claim['claim']}"}
                found.setdefault(claim["claim"], []).append(
                    {**own, **{name: claim[name] for name in ("verdict", "reason", "headline")}}
                )
    return found
