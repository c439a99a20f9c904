"""What is said of jobs: their names, why they start or failed, times, and lines that are not too long."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

WIDTH = 160
_REASONS = (
    ("Missing output files", "new"),
    ("Incomplete output files", "was cut short"),
    ("Params have changed", "its settings, data or source changed"),
    ("Set of input files has changed", "it reads other files"),
    ("Code has changed", "its script changed"),
    ("Updated input files", "what it reads changed"),
    ("Input files updated by another job", "what it reads was made anew"),
    ("Forced execution", "asked for"),
)


def name_of(rule: str, wildcards: Mapping[str, Any] | Any) -> str:
    """`zoflat/linear/sam` for a job of a paper, `judge zoflat` for a step of the report."""
    found = dict(wildcards.items()) if hasattr(wildcards, "items") else {}
    if "job" in found:
        return str(found["job"])
    return " ".join([rule, *(str(value) for value in found.values())])


def reason(text: str, made_elsewhere: bool = False) -> str:
    """Snakemake's reason in a few words."""
    words = [word for start, word in _REASONS if start in text]
    if made_elsewhere:  # a file of a fresh clone: its time stamp against its script's says nothing
        words = [w for w in words if w not in ("its script changed",)] or ["not made here yet"]
    return words[0] if words else short(text.split(";")[0], 80)


def why(log: str) -> str:
    """The last words of a job's log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except (OSError, ValueError):
        lines = []
    return re.sub(r"^\d\d:\d\d:\d\d ", "", lines[-1]) if lines else "it ended without a word; was there memory enough?"


def short(line: str, width: int = WIDTH) -> str:
    """The line, cut at `width` characters."""
    return line if len(line) <= width else f"{line[: width - 2]} …"


def span(seconds: float) -> str:
    """`5.2 s`, `3 min`, `2 h 05 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
