"""The count of the long robustness runs (`make soak`): what was done to the study, how often, and what it lost.

DESCENT_SOAK multiplies the number of tries (default 1). DESCENT_SOAK_TABLE names a file that holds the table after every
try, for a run that may be cut short.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from support import ROOMS, snakemake

ROWS: dict[str, list[int]] = {}  # what was done -> [tries, lost]
SMOKE = ("--config", "scale=smoke", "--")
JOBS = ("base/base-round", "base/base-long", "tuning/all", "tune/all", "race/round", "race/long")
RECORDS = (*SMOKE, *(f"results/smoke/tiny/{job}/records.parquet" for job in JOBS))
VERDICTS = (*SMOKE, "reports/smoke/tiny/verdicts.json")


def tries(count: int) -> int:
    """How often, of a number meant for DESCENT_SOAK=1."""
    return max(1, round(count * float(os.environ.get("DESCENT_SOAK", "1"))))


@contextmanager
def tally(what: str) -> Iterator[Callable[[str | None], None]]:
    """Count tries of one kind: call with None for one that was survived, else with what was lost. Fails at the end if any was."""
    row, lost = ROWS.setdefault(what, [0, 0]), []

    def count(fault: str | None) -> None:
        row[0] += 1
        if fault:
            row[1] += 1
            lost.append(fault)
        if place := os.environ.get("DESCENT_SOAK_TABLE"):
            Path(place).write_text("\n".join(table()) + "\n", encoding="utf-8")

    yield count
    assert not lost, f"{what}: lost {len(lost)}\n" + "\n".join(lost[:10])


def table() -> list[str]:
    """The rows as a Markdown table, as docs/reliability.md shows them."""
    lines = ["| what was done to it | tries | survived | lost |", "|---|---:|---:|---:|"]
    return lines + [f"| {what} | {count} | {count - lost} | {lost} |" for what, (count, lost) in ROWS.items()]


def outputs(folder: Path) -> dict[str, bytes]:
    """What a run must repeat to the byte: records, arrays, choices, verdicts, pages and figures."""
    kept = {".parquet", ".npz", ".html", ".svg", ".png", ".csv"}
    found = {}
    for top in ("results", "reports"):
        for path in sorted((folder / top).rglob("*")):
            private = {"logs", "mlflow", "mlartifacts", "cost", "gpus"} & set(path.relative_to(folder).parts)
            named = path.suffix in kept or path.name in ("chosen.json", "verdicts.json", "figures.json")
            if named and not private and not path.name.startswith((".", "cost")):
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> str | None:
    """The files that differ, or None."""
    names = [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]
    return f"other bytes: {', '.join(names)}" if names else None


def environment(**more: str) -> dict[str, str]:
    """The environment of a run of a tiny checkout, in which this interpreter is `snakemake`'s."""
    found = {k: v for k, v in os.environ.items() if k != "DESCENT_ROOT"}
    found |= {"PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{ROOMS}", "OMP_NUM_THREADS": "1"}
    return found | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{found['PATH']}"} | more


def started(folder: Path, *words: str, **more: str) -> subprocess.Popen:
    """A run in the background, with a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", *(words or RECORDS)], cwd=folder, env=environment(**more),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def members(group: int) -> dict[int, str]:
    """The living processes of a group: number -> command line. Linux only."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                after = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(after[2]) == group and after[0] != "Z":
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def gone(group: int, within: float = 10.0) -> bool:
    """Whether a group has no process left; those that outlive `within` seconds are ended."""
    limit = time.monotonic() + within
    while members(group):
        if time.monotonic() > limit:
            with suppress(OSError):
                os.killpg(group, signal.SIGKILL)
            return False
        time.sleep(0.05)
    return True


def finish(folder: Path, words: tuple[str, ...] = RECORDS) -> str | None:
    """Unlock, as `make study` does first, and run to the end; returns what went wrong."""
    unlock = [sys.executable, "-m", "descent", "unlock"]
    done = subprocess.run(unlock, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        return f"unlock: {done.stderr}"
    done = snakemake(folder, *words, check=False)
    return f"the next run failed: {done.stdout[-600:]}" if done.returncode else None


def litter(folder: Path) -> str | None:
    """What should not be there after a run that went well."""
    left = [p for p in folder.rglob("*") if p.name.endswith(".part") or p.name == "checkpoint.pt"]
    left += list((folder / ".snakemake" / "locks").glob("*")) + list((folder / ".snakemake" / "incomplete").glob("*"))
    return f"left behind: {', '.join(str(p.relative_to(folder)) for p in left)}" if left else None
