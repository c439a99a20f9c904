"""What follows the last job: the joint report files, also after a failure, and the words at the end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from descent.core.errors import StudyError
from descent.results.stored import Results
from descent.workflow.published import COST, summary
from descent.workflow.study import Study
from descent.workflow.terminal import Course, ending

LAST = ("front", "track")  # rules whose failure leaves every paper whole


def write_joint(
    study: Study, results: Mapping[str, Results], folder: Path, broken: frozenset[str] = frozenset()
) -> None:
    """The front page, the joint tables and the picture: of the papers in `results`, checked against their records, and
    of those that other runs left in `folder`; `broken` ones are shown as not run."""
    os.environ["MPLBACKEND"] = "agg"  # whatever a notebook, or the user, asks for
    from descent.report.front import read_judged, titles, write_cost, write_front
    from descent.report.overview import write_overview

    papers = titles(study.root)
    judged = read_judged(folder, {slug: title for slug, title in papers.items() if slug not in broken}, results)
    write_front(folder, papers, study.config, judged)
    write_overview(folder, papers, judged)
    if (study.root / study.results / COST).is_dir():
        write_cost(study.root / study.results / COST, judged, study.config)


def failed(study: Study, course: Course) -> list[str]:
    """After a run that failed: make the front page of the papers that are whole; returns what to read."""
    broken = _broken(study, course)
    whole = [slug for slug in study.papers if slug not in broken]
    if broken and whole:
        try:
            found = {slug: study.found(slug) for slug in whole}
            write_joint(study, found, study.root / study.reports, frozenset(broken))
        except (StudyError, OSError) as error:
            return [*ending(course, [], broken), str(error)]
    return ending(course, whole, broken)


def succeeded(study: Study) -> list[str]:
    """After a run that went well: what is as published, and what is not."""
    try:
        return summary(study)
    except (StudyError, KeyError, TypeError) as error:
        return [f"The committed report could not be compared with this one ({error})"]


def _broken(study: Study, course: Course) -> list[str]:
    """The papers of this run of which a job failed, or whose page is not there."""
    if not any(failure.rule not in LAST for failure in course.failures):
        return []
    found = {slug for slug in study.papers for f in course.failures if f.rule not in LAST and _of(f.name) == slug}
    for slug in study.papers:
        page = study.root / study.reports / slug / "index.html"
        records = [study.root / path for path in study.records_of(slug)]
        if not page.is_file() or not all(path.is_file() for path in records):
            found.add(slug)
    return [slug for slug in study.papers if slug in found]


def _of(name: str) -> str:
    """The paper of a job (`paper/experiment/block`) or of a step of the report (`page paper`)."""
    return name.partition("/")[0].rpartition(" ")[2]
