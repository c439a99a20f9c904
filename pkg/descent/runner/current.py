"""Whether what a job left is still what it would make: the one rule that the workflow and `descent run` share.

A result depends on the job as planned (settings, seeds, dataset hashes), on the source it runs, and on the records of
the jobs it needs. The workflow hands the first two to Snakemake as parameters and the third as inputs; here they are
one key, kept in the sidecar.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from descent.core.files import digest, sha256
from descent.core.job import RECORDS, SIDECAR, Job
from descent.runner.source import job_source


def dependency_key(job: Job, source: str, needed: Mapping[str, str]) -> str:
    """16 hexadecimal digits. source: the hash of the code; needed: job id -> SHA-256 of its records."""
    return digest([json.loads(job.to_json()), source, dict(needed)])


def needed_hashes(job: Job, results: Path) -> dict[str, str] | None:
    """The SHA-256 of the records of every job that `job` needs; None when one of them is missing."""
    paths = {id: results / id / RECORDS for ids in job.needs.values() for id in ids}
    return {id: sha256(path) for id, path in paths.items()} if all(p.is_file() for p in paths.values()) else None


def is_current(job: Job, results: Path) -> bool:
    """Whether the folder of `job` below `results` holds what the job would give now."""
    folder = results / job.id
    needed = needed_hashes(job, results)
    if needed is None or not (folder / RECORDS).is_file():
        return False
    try:
        kept = json.loads((folder / SIDECAR).read_text(encoding="utf-8")).get("key")
    except (OSError, ValueError, AttributeError):
        return False
    return kept == dependency_key(job, job_source(job.module), needed)
