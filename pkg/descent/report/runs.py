"""Which runs a paper has in MLflow, and what their parameters are. Needs no MLflow: the report names the same keys.

A run is what a reader would compare: a method on a setting. Axes that hold numbers (a sweep) stay inside one run, so a
paper has at most about forty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from descent.core.job import Job, Variant
from descent.report.judged import label
from descent.results.stored import Results

MOST_RUNS = 40
SUMMARY = "verdicts"


@dataclass
class Run:
    """key: unique within a paper. setting: the axes that tell runs apart; inside: the axes that vary within this one."""

    key: str
    experiment: str
    method: str
    setting: dict[str, Any]
    inside: tuple[str, ...]
    variants: list[Variant] = field(default_factory=list)
    jobs: dict[str, Job] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`descent: climb, data=plain`."""
        return f"{self.experiment}: " + ", ".join([self.method, *(f"{a}={v}" for a, v in self.setting.items())])

    @property
    def datasets(self) -> dict[str, str]:
        """Dataset -> hash, of all its jobs."""
        return dict(sorted({n: h for job in self.jobs.values() for n, h in job.datasets.items()}.items()))

    @property
    def seeds(self) -> list[int]:
        """All seeds of all its variants."""
        return sorted({seed for variant in self.variants for seed in variant.seeds})


def runs_of(results: Results, most: int = MOST_RUNS) -> list[Run]:
    """The paper's runs, in the order of the plan; more axes are folded into runs while there are more than `most`."""
    inside: dict[str, set[str]] = {}
    jobs = [job for job in results.jobs() if job.variants]
    for job in jobs:
        inside.setdefault(job.experiment, set()).update(a for a in job.axes if _numeric(job, a))
    while True:
        runs = _grouped(results, jobs, inside)
        if len(runs) <= most or not (axis := _widest(runs)):
            return runs
        inside[axis[0]].add(axis[1])


def _grouped(results: Results, jobs: list[Job], inside: Mapping[str, set[str]]) -> list[Run]:
    runs: dict[str, Run] = {}
    for job in jobs:
        within = tuple(axis for axis in job.axes if axis in inside[job.experiment])
        for variant in job.variants:
            setting = {a: v for a, v in variant.setting.items() if a not in within and v is not None}
            named = ", ".join([variant.method, *(f"{a}={v}" for a, v in setting.items())])
            key = f"{label(results.plan.study)}/{job.experiment}/{named}"
            run = runs.setdefault(key, Run(key, job.experiment, variant.method, setting, within))
            run.variants.append(variant)
            run.jobs[job.id] = job
    return list(runs.values())


def _numeric(job: Job, axis: str) -> bool:
    values = [v.setting.get(axis) for v in job.variants if v.setting.get(axis) is not None]
    return bool(values) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)


def _widest(runs: list[Run]) -> tuple[str, str] | None:
    """The experiment and axis whose folding saves the most runs."""
    counts: dict[tuple[str, str], set] = {}
    for run in runs:
        for axis, value in run.setting.items():
            counts.setdefault((run.experiment, axis), set()).add(value)
    many = {key: len(values) for key, values in counts.items() if len(values) > 1}
    per = {e: sum(run.experiment == e for run in runs) for e, _ in many}
    return max(many, key=lambda key: per[key[0]] * (1 - 1 / many[key]), default=None)


def resolved(results: Results, variant: Variant) -> dict[str, Any]:
    """The variant's settings with those that tuning chose filled in; one that was not chosen yet is None."""
    chosen: dict[str, Any] = {}
    for setting, need in variant.tuned.items():
        own = {"method": variant.method, **variant.params}
        choices = results.chosen(need) if need in results.experiments() else []
        fitting = [c for c in choices if all(own.get(k) == v for k, v in c["group"].items()) and setting in c["values"]]
        chosen[setting] = fitting[0]["values"][setting] if fitting else None
    return {**variant.params, **chosen}
