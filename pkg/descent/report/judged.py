"""Judging a paper and writing down what came out: verdicts.json (no clock, no times) and, apart from it, cost.csv."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from descent.claims.judge import judge
from descent.claims.operands.planned import Cell, Planned
from descent.claims.operands.rows import NOT_AXES, groups_of
from descent.claims.results import ClaimResult
from descent.config.model import StudyConfig
from descent.config.required import must_exist
from descent.core.errors import DataError
from descent.core.files import digest, sha256, write_json, write_text
from descent.core.job import RECORDS
from descent.results.stored import Results

VERDICTS_FILE, COST_FILE = "verdicts.json", "cost.csv"
SEAL = "digest"  # of the file's own content; "records" is the digest of what it was made from
COST_COLUMNS: tuple[str, ...] = (
    "paper", "experiment", "block", "kind", "device", "threads", "cpu_seconds", "wall_seconds", "peak_memory_mb",
    "peak_device_memory_mb", "machine",
)  # fmt: skip


def judge_paper(results: Results, path: Path, costs: Path | None = None) -> dict[str, Any]:
    """Judge every claim of the paper; write `path` (verdicts.json) and cost.csv; return what verdicts.json holds.

    costs: the folder of cost.csv (default: beside verdicts.json).
    The same records give the same bytes of verdicts.json. Raises ConfigError where a claim does not fit the records.
    """
    judged = sealed(describe(results, judge_claims(results)) | {"records": inputs(results)})
    write_json(path, judged)
    write_text((costs or path.parent) / COST_FILE, cost_table(results))
    return judged


def read_verdicts(path: Path, results: Results | None = None) -> dict[str, Any]:
    """What a verdicts.json holds. results: what the paper's records here are, where it must have been made from them.

    Raises FileNotFoundError without the file, and DataError where it is not what `judge_paper` wrote, or was made from
    other records than those that lie in the results folder.
    """
    judged = _whole(path.read_bytes())
    if judged is None:
        raise DataError(f"{path} is damaged or edited; delete it and snakemake remakes it")
    if results is None or not all(file.is_file() for _, file in record_files(results)):
        return judged
    if judged.get("records") != inputs(results):
        raise DataError(
            f"{path} was made from other records than those in {results.folder}; delete it and snakemake remakes it"
        )
    return judged


def _whole(text: bytes) -> dict[str, Any] | None:
    """What the text of a verdicts.json holds, None where it is damaged or was edited."""
    try:
        judged = json.loads(text.decode("utf-8"))
        whole = isinstance(judged, dict) and {"claims", "counts", "label"} <= set(judged)
        return judged if whole and judged.get(SEAL) == sealed(judged)[SEAL] else None
    except (ValueError, RecursionError):
        return None


def sealed(judged: Mapping[str, Any]) -> dict[str, Any]:
    """The same with a digest of all its content, by which a reader sees that nobody changed it."""
    content = {name: value for name, value in judged.items() if name != SEAL}
    return content | {SEAL: digest(content)}


def record_files(results: Results) -> list[tuple[str, Path]]:
    """The record files that the verdicts are made from, each by its place in the results."""
    found = []
    for name in results.experiments():
        files = [results.folder / job.id / RECORDS for job in results.jobs(name)]
        if not files and results.bench is not None:
            files = sorted((results.bench / results.slug / name).glob(f"*/{RECORDS}"))
        found += [("/".join(file.parts[-4:-1]), file) for file in files]
    return found


def inputs(results: Results) -> str:
    """A digest of the records that the verdicts are made from."""
    return digest({place: sha256(file) for place, file in record_files(results) if file.is_file()})


def judge_claims(results: Results) -> list[ClaimResult]:
    """The engine's verdict on every claim, from the records that there are."""
    run = set(results.experiments())
    records = {name: results.records(name) for name in results.config.experiments if name in run}
    return judge(results.slug, results.config.claims, records, planned(results, records), scale=results.scale)


def planned(results: Results, records: Mapping[str, pd.DataFrame]) -> Planned:
    """What must be in the records and what is not run, as the judge's plain table.

    Stored measurements of time are no jobs of this run: of them must exist what is there.
    """
    table = must_exist(results.plan, results.slug, results.room)
    cells = {name: found for name, found in table.cells.items() if results.config.experiments[name].kind != "bench"}
    for name, frame in records.items():
        if name not in cells and len(frame):
            axes = [c for c in frame.columns if c not in NOT_AXES and c != "method"]
            groups = groups_of(frame, ["method", *axes], dropna=False, observed=True, sort=False)
            cells[name] = [
                Cell(
                    str(key[0]),
                    dict(zip(axes, map(_known, key[1:]), strict=True)),
                    tuple(sorted({int(s) for s in part["seed"]})),
                )
                for key, part in groups
            ]
    stored = set(results.experiments())
    lost = {name: why for name, why in table.lost.items() if name in cells or name not in stored}
    return Planned(cells, lost, table.metrics)


def _known(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value != value else value


def describe(results: Results, claims: list[ClaimResult]) -> dict[str, Any]:
    """Verdicts, and what a reader of the front page must know of the paper: plain values, no clock, no times."""
    config, study = results.config, results.plan.study
    return {
        "paper": results.slug, "title": config.title, "authors": config.authors, "source": config.source,
        "summary": " ".join(config.summary.split()), "label": label(study), "scale": results.scale, "seeds": study.seeds,
        "tier": study.tier, "budget": config.budget.get(results.scale),
        "counts": counts(claims),
        "claims": [{**claim.to_dict(), "commands": commands(results, claim)} for claim in claims],
        "missing": [
            {"experiment": m.experiment, "method": m.method, "setting": dict(m.setting), "reason": m.reason}
            for m in results.missing()
        ],
        "datasets": datasets(results), "sources": sources(results),
    }  # fmt: skip


def label(study: StudyConfig) -> str:
    """The name of a run's folder under results/ and reports/: the scale, and the seeds where they are not the verdicts'."""
    return study.scale if study.seeds == "verdict" else f"{study.scale}-{study.seeds}"


def counts(claims: list[ClaimResult]) -> dict[str, dict[str, int]]:
    """How often each verdict was given, by origin: what is ours never enters the paper's numbers."""
    found: dict[str, Counter] = {}
    for claim in claims:
        found.setdefault(claim.origin, Counter())[claim.verdict] += 1
    return {origin: dict(count) for origin, count in found.items()}


def commands(results: Results, claim: ClaimResult) -> list[str]:
    """What to type to judge the claim anew, and to run each of its experiments alone."""
    study = results.plan.study
    flags = "".join(
        f" {name}={value}" for name, value in (("seeds", study.seeds), ("tier", study.tier)) if value not in _DEFAULTS
    )
    whole = f"snakemake --cores all --config scale={study.scale} papers={results.slug}{flags}"
    seeds = "" if study.seeds == "verdict" else f" --seeds {study.seeds}"
    run = [name for name in claim.experiments if name in results.experiments() and results.jobs(name)]
    return [whole, *(f"python -m descent run {results.slug} {name} --scale {study.scale}{seeds}" for name in run)]


_DEFAULTS = ("verdict", "core")


def datasets(results: Results) -> dict[str, dict[str, str | None]]:
    """Every dataset that the paper's jobs read: its hash, and what stood in for it (None: nothing)."""
    found: dict[str, dict[str, str | None]] = {}
    for job in results.jobs():
        for name, hash in job.datasets.items():
            found[name] = {"hash": hash, "stand_in": job.stand_ins.get(name)}
    return dict(sorted(found.items()))


def sources(results: Results) -> dict[str, list[str]]:
    """The hashes of the code that each experiment's jobs ran."""
    return {
        name: sorted({sidecar["source_hash"] for sidecar in results.sidecars(name)}) for name in results.experiments()
    }


def cost_rows(results: Results) -> list[dict[str, Any]]:
    """What every job took: a row a job, columns COST_COLUMNS. Differs from run to run."""
    rows = []
    for name in results.experiments():
        for sidecar in results.sidecars(name):
            job = sidecar["job"]
            rows.append({"paper": job["paper"], "experiment": name, "block": job["block"], "kind": job["kind"]}
                        | {column: sidecar.get(column) for column in COST_COLUMNS[4:]})  # fmt: skip
    return rows


def cost_table(results: Results) -> str:
    """`cost_rows` as CSV."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COST_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(cost_rows(results))
    return out.getvalue()


def claim_frame(judged: Mapping[str, Any]) -> pd.DataFrame:
    """The claims of a verdicts.json as a table, for tests and notebooks."""
    return pd.DataFrame([{k: v for k, v in c.items() if k not in ("checks", "headline")} for c in judged["claims"]])
