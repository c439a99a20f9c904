"""The report as it is committed: what of it a run changed and why, and which of its files this machine may write."""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

COST = "cost"  # below the results of a scale: what its jobs took on this machine
DECIDING = ("torch", "numpy", "pandas", "pyarrow")  # the packages whose versions decide a run's bytes
CLOSE = 1e-6  # relative: estimates that differ by less are the same number


class Ran(Protocol):
    """What is asked here of a study that was run: its papers, and where its records and its report lie below the root."""

    root: Path
    results: Path
    reports: Path

    @property
    def papers(self) -> list[str]: ...


def committed(root: Path, folder: str) -> dict[str, bytes]:
    """File below `folder` -> its content in the last commit; empty without git, or where nothing is committed there."""
    done = _git(root, "archive", "--format=tar", "HEAD", "--", folder)
    if done is None:
        return {}
    with tarfile.open(fileobj=io.BytesIO(done)) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {Path(name).relative_to(folder).as_posix(): file.read() for name, file in found.items() if file}


def tracked(root: Path, path: Path) -> bool:
    """Whether git keeps this file: then what one machine measured must not overwrite it."""
    return _git(root, "ls-files", "--error-unmatch", "--", str(root / path)) is not None


def summary(study: Any) -> list[str]:
    """What to read at the end of a run whose scale has a committed report: what is as published, what is not, and why."""
    from descent.report.judged import VERDICTS_FILE, read_verdicts

    smoke = study.config.scale == "smoke"  # which has no verdicts
    if smoke or study.reports.is_absolute() or not (before := committed(study.root, str(study.reports))):
        return []
    same, other, moved = 0, [], 0
    for slug in study.papers:
        path = study.root / study.reports / slug / VERDICTS_FILE
        if not path.is_file():
            continue
        new, old = read_verdicts(path), _json(before.get(f"{slug}/{VERDICTS_FILE}"))
        was = {claim["claim"]: claim for claim in (old or {}).get("claims", ())}
        for claim in new["claims"]:
            if (then := was.get(claim["claim"])) is None:
                other.append(f"{slug} {claim['claim']}: {claim['verdict']}, not published before")
            elif then["verdict"] != claim["verdict"]:
                why = because(claim, then, new, old, _machine(before.get(f"{slug}/cost.csv")))
                other.append(f"{slug} {claim['claim']}: published {then['verdict']}, here {claim['verdict']}: {why}")
            else:
                same += 1
                moved += differ(then, claim)
    lines = ["", f"Verdicts as published: {same} of {same + len(other)}" + (":" if other else ".")]
    lines += [f"  {line}" for line in other]
    if moved:
        lines.append(f"The same verdict from other numbers than the published ones: {moved}.")
    changed = _git(study.root, "status", "--porcelain", "--untracked-files=no", "--", str(study.reports)) or b""
    if files := len(changed.splitlines()):
        lines.append(
            f"Tracked files of {study.reports} that differ from the commit: {files} (git diff --stat {study.reports}; "
            f"to have them back: git checkout -- {study.reports})"
        )
    if (study.root / study.results / COST).is_dir():
        lines.append(
            f"What it took on this machine: {study.results / COST} (the report keeps what it took where it was made)"
        )
    return lines


def because(
    claim: Mapping[str, Any], then: Mapping[str, Any], new: Mapping[str, Any], old: Mapping[str, Any], machine: str
) -> str:
    """Why a verdict is another than the published one, as far as can be told."""
    experiments = set(claim["experiments"])
    lost = {m["reason"] for m in new["missing"] if m["experiment"] in experiments}
    lost -= {m["reason"] for m in old.get("missing", ()) if m["experiment"] in experiments}
    if lost:
        return sorted(lost)[0]
    used = {name: d for name, d in new["datasets"].items() if old.get("datasets", {}).get(name) != d}
    if used:
        return f"other data: {', '.join(sorted(used))}"
    if any(new["sources"].get(name) != old.get("sources", {}).get(name) for name in experiments & set(new["sources"])):
        return "the code of its experiments is not the published one"
    if versions := other_versions():
        return versions
    if machine and machine != here():
        return f"another machine ({here()}; published: {machine})"
    a, b = ((c["headline"] or {}).get("estimate") for c in (then, claim))
    return f"other numbers (estimate {b}; published: {a})" if a != b else claim.get("reason") or "its rules changed"


def differ(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the headline numbers of a claim differ by more than rounding."""
    for name in ("estimate", "ci_low", "ci_high"):
        a, b = ((c["headline"] or {}).get(name) for c in (then, now))
        if isinstance(a, (int, float)) and isinstance(b, (int, float)):
            if abs(a - b) > CLOSE * max(abs(a), abs(b)):
                return True
        elif a != b:
            return True
    return False


def other_versions() -> str:
    """Which deciding packages are here in another version than the pinned one, or nothing."""
    found = []
    pinned = Path(__file__).parents[3] / "requirements.txt"
    text = pinned.read_text(encoding="utf-8") if pinned.is_file() else ""
    for name in DECIDING:
        wanted = re.search(rf"^{name}==(\S+)$", text, re.MULTILINE)
        try:
            got = importlib.metadata.version(name).partition("+")[0]
        except importlib.metadata.PackageNotFoundError:
            continue
        if wanted and got != wanted[1]:
            found.append(f"{name} {got} where {wanted[1]} is pinned")
    return ", ".join(found)


def here() -> str:
    """This machine in the words of the cost tables, without the number of cores (which decides nothing)."""
    return f"{platform.system()} {platform.machine()}"


def publish_costs(study: Any) -> list[Path]:
    """Copy what the jobs took on this machine into the report; returns the files written."""
    from descent.core.files import write_atomically

    source, written = study.root / study.results / COST, []
    for path in sorted(p for p in source.rglob("cost.*") if p.is_file()):
        target = study.root / study.reports / path.relative_to(source)
        write_atomically(target, lambda temporary, path=path: temporary.write_bytes(path.read_bytes()))
        written.append(target)
    return written


def _machine(table: bytes | None) -> str:
    import csv

    rows = list(csv.DictReader(io.StringIO(table.decode("utf-8", "replace")))) if table else []
    return rows[0].get("machine", "").partition(",")[0] if rows else ""


def _json(text: bytes | None) -> Any:
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


def _git(root: Path, *words: str) -> bytes | None:
    """What git says, or None where it fails or is not there."""
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
