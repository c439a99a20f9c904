"""What a person reads while the workflow runs: a line when a job starts, one when it ends, and what failed, at the end.

Snakemake's own words, with every file of every job, go to its log file as before (`.snakemake/log`), and to the
terminal with `--verbose`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from descent.workflow.phrases import name_of, reason, short, span, why

QUIET = "DESCENT_TERMINAL"  # set where this process tells what failed, so that the jobs need not
HANDLER = "DefaultStreamHandler"
_TOLD = (
    "Exiting because a job execution failed",
    "WorkflowError:\nAt least one job did not",
    "Select jobs to execute",
    "Execute ",
    "Using shell",
    "Assuming unrestricted",
    "Building DAG",
    "Elapsed time",
)


@dataclass
class Failure:
    """A job that failed: its rule and name, why in one line, and its log."""

    rule: str
    name: str
    why: str
    log: str


@dataclass
class Course:
    """How a run stands: what began when, what is done, what failed. weight: expected seconds of a job by its name;
    behind: the jobs that wait for one."""

    weight: Callable[[str, str], float] = lambda rule, name: 1.0
    clock: Callable[[], float] = time.monotonic
    behind: Callable[[int], Iterable[int]] = lambda id: ()
    began: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    ahead: dict[int, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    kept_back: set[int] = field(default_factory=set)
    done: float = 0.0
    start: float | None = None
    ended: list[tuple[str, float]] = field(default_factory=list)

    def begin(self, id: int, rule: str, name: str) -> None:
        self.start = self.clock() if self.start is None else self.start
        self.began[id] = rule, name, self.clock()
        self.ahead.setdefault(id, self.weight(rule, name))

    def finish(self, id: int) -> None:
        _, name, since = self.began.pop(id, ("", f"job {id}", self.clock()))
        self.done += self.ahead.pop(id, 0.0)
        self.ended.append((name, self.clock() - since))

    def fail(self, id: int, failure: Failure) -> None:
        self.began.pop(id, None)
        self.ahead.pop(id, None)
        for other in self.behind(id):
            self.kept_back.add(other)
            self.ahead.pop(other, None)
        if failure not in self.failures:
            self.failures.append(failure)

    def left(self) -> float | None:
        """Seconds that the rest will take if it goes on as it went; None while too little is done to tell."""
        ahead = sum(self.ahead.values())
        if self.start is None or self.done <= 0 or self.done < 0.03 * (self.done + ahead):
            return None
        return (self.clock() - self.start) * ahead / self.done


class Watch(logging.Handler):
    """Keeps the course of the run, whichever handler writes to the terminal."""

    def __init__(self, course: Course, ahead: Callable[[], Mapping[int, tuple[str, str]]]):
        super().__init__()
        self.course, self._ahead, self._known = course, ahead, False

    def emit(self, record: Any) -> None:
        event = str(getattr(record, "event", "") or "")
        if event == "job_info":
            if not self._known:
                self._known = True
                for id, (rule, name) in self._ahead().items():
                    self.course.ahead[id] = self.course.weight(rule, name)
            self.course.begin(record.jobid, record.rule_name, name_of(record.rule_name, record.wildcards))
        elif event == "job_finished":
            self.course.finish(record.job_id)
        elif event == "job_error":
            log = next(iter(record.log), "") if record.log else ""
            name = name_of(record.rule_name, getattr(record, "wildcards", None) or _named(self.course, record.jobid))
            self.course.fail(record.jobid, Failure(record.rule_name, name, why(log), log))


class Lines(logging.Formatter):
    """Snakemake's events as lines of at most `phrases.WIDTH` characters; an empty text is not written.

    handler: the one that writes them, which is kept from putting a blank line before every job that starts.
    """

    def __init__(
        self,
        course: Course,
        plain: logging.Formatter,
        made_elsewhere: Callable[[int], bool],
        dry: bool,
        handler: Any = None,
    ):
        super().__init__()
        self.course, self.plain, self.made_elsewhere, self.dry = course, plain, made_elsewhere, dry
        self.handler = handler

    def format(self, record: Any) -> str:
        if self.handler is not None and not self.dry:
            self.handler.last_msg_was_job_info = True
        if getattr(record, "aux", None):  # a cluster's job: its number and its own log stand in Snakemake's words
            return "\n".join([*told(self.course.failures[-1:]), str(self.plain.format(record) or "")])
        # Where a log lies is never cut: it is there to be copied.
        return "\n".join(line if "log: " in line else short(line) for line in self._text(record).splitlines())

    def _text(self, record: Any) -> str:
        event = str(getattr(record, "event", "") or "")
        if self.dry:
            return str(self.plain.format(record) or "")
        if event == "job_info":
            if record.rule_name == "all":  # the end of the plan, which does nothing
                return ""
            name = name_of(record.rule_name, record.wildcards)
            return f"{_now()}  {name} starts ({reason(record.reason, self.made_elsewhere(record.jobid))})"
        if event == "progress":
            return self._progress(record.done, record.total)
        if event == "job_error":
            return "\n".join(told(self.course.failures[-1:]))
        if event in ("job_finished", "job_started", "shellcmd", "resources_info", "workflow_started", "rulegraph"):
            return ""
        text = str(self.plain.format(record) or "")
        if event == "error" and "CalledProcessError in file" in text:  # that a job failed is told by itself
            return ""
        return "" if text.startswith(_TOLD) else text

    def _progress(self, done: int, total: int) -> str:
        ended, self.course.ended = self.course.ended, []
        left = self.course.left()
        ahead = f", about {span(left)} left" if left and done < total else ""
        of = f"{done:>{len(str(total))}} of {total} done{ahead}"
        return (
            "\n".join(f"{_now()}  [{of}]  {name}  {span(seconds)}" for name, seconds in ended if name != "all")
            or f"{_now()}  [{of}]"
        )


def install(workflow: Any, weight: Callable[[str, str], float]) -> Course:
    """Have the run tell itself in lines; the course of the run is returned, to be asked at its end."""
    from snakemake.logging import logger

    course = Course(weight)
    jobs: dict[int, Any] = {}

    def ahead() -> dict[int, tuple[str, str]]:
        try:
            jobs.update({workflow.dag.jobid(job): job for job in workflow.dag.needrun_jobs()})
        except Exception:  # the inside of Snakemake: where it is another one, times are told without weights
            return {}
        return {id: (job.rule.name, name_of(job.rule.name, job.wildcards_dict)) for id, job in jobs.items()}

    def behind(id: int) -> set[int]:
        found: set[int] = set()
        try:
            rest = [id]
            while rest:
                ids = {workflow.dag.jobid(other) for other in workflow.dag.depending[jobs[rest.pop()]]}
                new = {other for other in ids - found if other in jobs and jobs[other].rule.name != "all"}
                found |= new
                rest += new
        except Exception:
            return set()
        return found

    def made_elsewhere(id: int) -> bool:
        try:
            return bool(workflow.dag.reason(jobs[id]).no_metadata)
        except Exception:
            return False

    course.behind = behind
    logger.handlers.insert(0, Watch(course, ahead))
    for handler in logger.handlers:
        if handler.name == HANDLER and logger.level > logging.DEBUG:
            dry = bool(getattr(workflow, "dryrun", False))
            handler.setFormatter(Lines(course, handler.formatter or logging.Formatter(), made_elsewhere, dry, handler))
            os.environ[QUIET] = "1"
    return course


def weights(reports: Path) -> Callable[[str, str], float]:
    """Expected seconds of a job, from the costs that the report's folder holds (of whichever machine: they are relative)."""
    import csv

    known: dict[str, float] = {}
    for path in sorted(reports.glob("*/cost.csv")):
        try:
            with open(path, encoding="utf-8", newline="") as file:
                for row in csv.DictReader(file):
                    known[f"{row['paper']}/{row['experiment']}/{row['block']}"] = float(row["wall_seconds"]) + 0.5
        except (OSError, ValueError, KeyError, UnicodeDecodeError):
            continue
    usual = sorted(known.values())[len(known) // 2] if known else 2.0
    others = {"judge": 5.0, "page": 15.0, "front": 10.0, "track": 10.0, "data": 3.0, "all": 0.0}
    return lambda rule, name: known.get(name, others.get(rule, usual))


def told(failures: Iterable[Failure]) -> list[str]:
    """What failed, why, and where to read more."""
    lines = []
    for failure in failures:
        lines += [f"{_now()}  FAILED  {failure.name}: {failure.why}"]
        lines += [f"          log: {Path(failure.log).resolve()}"] if failure.log else []
    return lines


def ending(course: Course, whole: Iterable[str], broken: Iterable[str]) -> list[str]:
    """What to read at the end of a run that failed: every failure once, what became of the report, how to go on."""
    failures = course.failures
    if not failures:
        return []
    failed = "1 job failed" if len(failures) == 1 else f"{len(failures)} jobs failed"
    lines = ["", f"{failed}; what was done is kept:"]
    lines += [
        short(f"  {f.name}: {f.why}") + (f"\n    log: {Path(f.log).resolve()}" if f.log else "") for f in failures
    ]
    if count := len(course.kept_back):
        lines += [f"Not started, since they wait for {'it' if len(failures) == 1 else 'these'}: {count} more."]
    if broken := list(broken):
        whole = list(whole)
        made = f"was made from the papers that are whole ({', '.join(whole)})" if whole else "was not made"
        lines += [f"The front page {made}; not whole: {', '.join(broken)}."]
    return [*lines, "Mend the cause and give the same command again: only what is missing is done."]


def _named(course: Course, id: int) -> dict[str, str]:
    rule, name, _ = course.began.get(id, ("", "", 0.0))
    return {"paper": name.removeprefix(f"{rule} ")} if name.startswith(f"{rule} ") else {"job": name}


def _now() -> str:
    return time.strftime("%H:%M:%S")
