"""The plan of a run, resolved in the process that was called and read by the scripts of its rules."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from descent.config.model import PaperConfig, StudyConfig
from descent.config.plan import Missing, Plan
from descent.config.read import build
from descent.core.files import digest, write_text
from descent.core.job import Job

PLAN = "DESCENT_PLAN"  # "<digest of the study's configuration> <file>", inherited by the processes of one run

KEPT = 30 * 24 * 3600  # seconds: longer than a run may take


def hand_over(plan: Plan, folder: Path) -> None:
    """Write the plan into `folder` and name it in the environment. A plan that JSON cannot hold exactly is resolved anew by each.

    The file is named after its content: another run, or a dry run, of the same results may begin while this one goes on.
    """
    content: dict[str, Any] = {
        "papers": {slug: dataclasses.asdict(paper) for slug, paper in plan.papers.items()},
        "jobs": [json.loads(job.to_json()) for job in plan.jobs.values()],
        "missing": [dataclasses.asdict(missing) for missing in plan.missing],
    }
    text = json.dumps(content)
    if _read(text, plan.study) != plan:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.json"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > KEPT:
                old.unlink()
    path = folder / f"{digest(content)}.json"
    write_text(path, text)
    os.environ[PLAN] = f"{_of(plan.study)} {path}"


def handed_over(study: StudyConfig) -> Plan | None:
    """The plan that the calling run resolved for this very configuration, or None."""
    named, _, path = os.environ.get(PLAN, "").partition(" ")
    if named != _of(study):
        return None
    try:
        return _read(Path(path).read_text(encoding="utf-8"), study)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of(study: StudyConfig) -> str:
    return digest(dataclasses.asdict(study))


def _read(text: str, study: StudyConfig) -> Plan:
    content = json.loads(text)
    papers = {slug: build(PaperConfig, paper, slug) for slug, paper in content["papers"].items()}
    jobs = [Job.from_json(json.dumps(job)) for job in content["jobs"]]
    missing = [Missing(**each) for each in content["missing"]]
    return Plan(study, papers, {job.id: job for job in jobs}, missing)
