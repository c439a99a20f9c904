"""The battery's parts: every method of every room, run on a device and watched.

A case is one method in one job at smoke scale, found from config/papers and the rooms' declarations: an eleventh
paper's methods are in it as soon as they are registered.
"""

import io
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import torch

from descent.config.plan import make_plan, room_of
from descent.config.read import read_study, registered
from descent.core import iterate
from descent.core.context import Need
from descent.core.declare import MethodCard
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.runner.run import perform
from support import ROOT

from .simulated import Accelerator

# Seeds of a variant in the battery: rows of a batch beyond the second cost time and show nothing new.
SEEDS = 2
# The simulated device has no sparse products. A room that uses them where it can has this setting, and its own tests
# compare the two forms.
WITHOUT_SPARSE = {"layout": "dense"}
# A line outside the loop of `iterate` that waits for the device this often is a loop that `iterate` does not see. Set-up
# copies more often than it waits: a job of several worlds brings each one's coefficients to the device.
HIDDEN_LOOP = {"sync": 20, "upload": 45}


@dataclass(frozen=True)
class Case:
    """One method in one job; str() names it."""

    job: Job
    card: MethodCard
    plan: object = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.job.id}-{self.job.variants[0].method}"


def cases(root: Path = ROOT, papers=None) -> list[Case]:
    """Every method of every training module of the papers registered under `root`, at smoke scale, in every form.

    Jobs and variants that differ in numbers only run the same program: of jobs the first is taken, of the variants in
    a job the first and the last.
    """
    found: dict[tuple, Case] = {}
    for paper in registered(root) if papers is None else papers:
        plan = make_plan(root, read_study(root, {"papers": paper, "scale": "smoke"}), everything=True)
        room = room_of(plan.papers[paper])
        for job in plan.jobs.values():
            if job.kind == "train":
                for method in dict.fromkeys(v.method for v in job.variants):
                    forms: dict[tuple, list[Variant]] = {}
                    for variant in job.variants:
                        if variant.method == method:
                            forms.setdefault(_form(variant), []).append(_small(variant))
                    own = tuple(v for same in forms.values() for v in (same[:1] + same[1:][-1:]))
                    case = Case(replace(job, variants=own), room.methods[method], plan)
                    found.setdefault((paper, job.module, method, *forms), case)
    return list(found.values())


def _form(variant: Variant) -> tuple:
    """What is not a number among the variant's parameters."""
    words = {k: v for k, v in variant.params.items() if isinstance(v, (str, bool)) or v is None}
    return tuple(sorted(words.items(), key=str))


def _small(variant: Variant) -> Variant:
    params = {name: WITHOUT_SPARSE.get(name, value) for name, value in variant.params.items()}
    return replace(variant, seeds=variant.seeds[:SEEDS], params=params)


class Needs:
    """What cases read of other jobs: those are run once, on the CPU."""

    def __init__(self, results: Path):
        self.results = results

    def of(self, case: Case) -> dict[str, Need]:
        from descent.runner.run import read_need

        for ids in case.job.needs.values():
            for id in ids:
                self._run(case.plan, id)
        return {name: read_need(self.results, ids) for name, ids in case.job.needs.items()}

    def _run(self, plan, id: str) -> None:
        from descent.runner.run import execute

        if not (self.results / id / "records.parquet").exists():
            job = plan.jobs[id]
            for ids in job.needs.values():
                for need in ids:
                    self._run(plan, need)
            execute(replace(job, device="cpu"), self.results, say=lambda text: None)


@dataclass
class Seen:
    """What a run did: its records, the events on the simulated device, and how often each phase of a loop was entered."""

    records: Records
    sim: Accelerator | None
    phases: Counter


def run(case: Case, device: str, needs: dict[str, Need]) -> Seen:
    """Do the case's job in memory on `cpu`, `sim:0` or `cuda`."""
    phases: Counter = Counter()
    sim = Accelerator() if device.startswith("sim") else None

    @contextmanager
    def watch(phase):
        phases[phase] += 1
        if sim is not None:
            with sim.phase(phase):
                yield
        elif device == "cuda" and phase in ("step", "measure") and not case.card.syncs_per_step:
            torch.cuda.set_sync_debug_mode("error")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")
        else:
            yield

    before, iterate.WATCH = iterate.WATCH, watch
    try:
        if sim is None:
            records = perform(case.job, device=device, needs=needs)
        else:
            with sim:
                records = perform(case.job, device=device, needs=needs)
    finally:
        iterate.WATCH = before
    return Seen(records, sim, phases)


def faults_of_the_loop(case: Case, seen: Seen) -> list[str]:
    """What a GPU would wait for between the first and the last step, a sentence each; empty when all is well."""
    sim, steps = seen.sim, seen.phases["step"]
    faults = []
    allowed = case.card.syncs_per_step * steps
    waits = sim.count("sync", "step")
    if waits != allowed:
        faults.append(
            f"{case}: {waits} synchronisations in {steps} steps, its MethodCard declares {case.card.syncs_per_step} a "
            f"step (syncs_per_step):\n{sim.report('sync', 'step')}"
        )
    for phase, kinds in {
        "step": ("upload", "host"),
        "measure": ("sync", "upload", "host"),
        "handover": ("sync",),
    }.items():
        for kind in kinds:
            if sim.count(kind, phase):
                faults.append(f"{case}: {_MEANING[kind]} in `{phase}`:\n{sim.report(kind, phase)}")
    outside = Counter((e.kind, str(e)) for e in sim.select() if e.kind in HIDDEN_LOOP and e.phase == "")
    for (kind, line), times in outside.items():
        if times > HIDDEN_LOOP[kind] and not case.card.syncs_per_step:
            faults.append(f"{case}: a loop outside `iterate`, {times} times: {line}")
    return faults


_MEANING = {
    "sync": "the host waits for the device",
    "upload": "a copy from the host to the device",
    "host": "a tensor is made on the host",
}


def as_bytes(case: Case, records: Records) -> dict[str, bytes]:
    """Records and named arrays, each as the bytes that decide equality."""
    frame = records.frame(case.job)
    table = io.BytesIO()
    frame.to_csv(table, float_format="%.17g", index=False)
    return {"records": table.getvalue(), **{name: value.tobytes() for name, value in records.arrays.items()}}


def difference(case: Case, here: Records, there: Records) -> str:
    """Where two runs differ, in one line; empty when they agree to the byte."""
    if as_bytes(case, here) == as_bytes(case, there):
        return ""
    a, b = here.frame(case.job), there.frame(case.job)
    if a.shape != b.shape or here.arrays.keys() != there.arrays.keys():
        return f"{case}: {a.shape} and {b.shape} records, arrays {sorted(here.arrays)} and {sorted(there.arrays)}"
    apart = a[(a["value"] != b["value"]) & ~(a["value"].isna() & b["value"].isna()) | (a["status"] != b["status"])]
    if len(apart) == 0:
        return f"{case}: named arrays differ: {[n for n in here.arrays if here.arrays[n].tobytes() != there.arrays[n].tobytes()]}"
    first = apart.iloc[0]
    return (
        f"{case}: {len(apart)} of {len(a)} records differ, the first at step {first['step']}, {first['metric']}: "
        f"{first['value']!r} and {b.loc[apart.index[0], 'value']!r}"
    )


def early_and_late(case: Case, records: Records) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The records of the first point after step 0 (or of step 0 alone), and the medians over seeds of the last step."""
    frame = records.frame(case.job)
    keys = ["method", *case.job.axes, "metric"]
    steps = sorted(frame["step"].unique())
    first = steps[1] if len(steps) > 1 else steps[0]
    early = frame[frame["step"] <= first]
    last = frame[frame["step"] == frame.groupby(keys, dropna=False)["step"].transform("max")]
    late = last.groupby(keys, dropna=False, sort=False)["value"].median().reset_index()
    return early.reset_index(drop=True), late
