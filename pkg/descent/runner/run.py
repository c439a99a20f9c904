"""The runner: does a job, in memory (`perform`) or with its files (`execute`).

A job's folder holds records.parquet, arrays.npz, chosen.json (what a `select` job chose) and run.json, the sidecar:
parameters, hashes, versions, device, times, memory. The first three are byte-identical from run to run on one
machine; the sidecar is not. Nothing appears in the folder before the job has succeeded.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from descent.core.checkpoint import Checkpoint, FileCheckpoint, NoCheckpoint
from descent.core.context import Context, Need
from descent.core.errors import DataError
from descent.core.files import digest, sha256, write_json, write_npz
from descent.core.job import ARRAYS, CHOSEN, RECORDS, SIDECAR, Job, Variant
from descent.core.outputs import arrays_of, chosen_of, hashes, records_of
from descent.core.records import Records, write_records
from descent.core.streams import Streams
from descent.runner.current import dependency_key
from descent.runner.datasets import Datasets
from descent.runner.sidecar import sidecar
from descent.runner.source import job_source


def perform(
    job: Job,
    *,
    device: torch.device | str = "cpu",
    data: Mapping[str, Any] | None = None,
    needs: Mapping[str, Need] | None = None,
    checkpoint: Checkpoint | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Records:
    """Do a job in memory: no file is written, no global state is left changed. The same call gives the same bytes."""
    needs = dict(needs or {})
    job = resolved(job, needs)
    context = Context(
        device=torch.device(device),
        streams=Streams(job.paper),
        data=Datasets(job.datasets, job.stand_ins) if data is None else data,
        needs=needs,
        checkpoint=checkpoint or NoCheckpoint(),
        say=say,
    )
    module = importlib.import_module(job.module)
    if job.kind == "bench":
        from descent.runner.bench import measure

        return measure(module.bench(job, context), job)
    return module.run(job, context)


def resolved(job: Job, needs: Mapping[str, Need]) -> Job:
    """The job with every tuned setting filled in by what its `select` job chose."""
    return replace(job, variants=tuple(_with_tuned(variant, needs) for variant in job.variants))


def _with_tuned(variant: Variant, needs: Mapping[str, Need]) -> Variant:
    chosen = {setting: needs[need].choose(variant, setting) for setting, need in variant.tuned.items()}
    return replace(variant, params={**variant.params, **chosen}) if chosen else variant


def execute(
    job: Job,
    results: Path,
    *,
    into: Path | None = None,
    say: Callable[[str], None] = print,
    checkpoint_every: float = 30.0,
) -> Path:
    """Do a job and write its folder `results/<paper>/<experiment>/<block>`; returns the folder.

    Reads the folders of the jobs that it needs below the same `results`; writes below `into` instead where given.
    Killed and called again, it resumes.
    """
    from descent.runner.allocator import keep_freed_memory
    from descent.runner.devices import device_for

    keep_freed_memory()
    folder = (into or results) / job.id
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORDS, ARRAYS, CHOSEN, SIDECAR):
        (folder / name).unlink(missing_ok=True)
    torch.set_num_threads(job.threads)
    source = job_source(job.module)
    needed = {id: sha256(_present(results, id)) for ids in job.needs.values() for id in ids}
    needs = {name: read_need(results, ids) for name, ids in job.needs.items()}
    with device_for(job.device, say=say) as choice:
        if choice.note:
            say(choice.note)
        if torch.device(choice.device).type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        key = dependency_key(job, source, needed)
        resumed = digest([key, torch.__version__, choice.device])
        checkpoint = FileCheckpoint(folder / "checkpoint.pt", resumed, checkpoint_every)
        began = time.perf_counter(), time.process_time()
        if job.kind == "select":
            from descent.runner.tuning import choose_best

            records, chosen = choose_best(job, needs["from"].records)
            write_json(folder / CHOSEN, chosen)
        else:
            records = perform(job, device=choice.device, needs=needs, checkpoint=checkpoint, say=say)
        write_npz(folder / ARRAYS, records.arrays)
        ready = folder / f".{RECORDS}"
        write_records(ready, records.frame(job))
        written = hashes(folder) | {RECORDS: sha256(ready)}
        write_json(folder / SIDECAR, sidecar(resolved(job, needs), key, source, needed, written, choice, began))
    ready.replace(folder / RECORDS)  # last: its presence says that the job is done
    checkpoint.remove()
    return folder


def read_need(results: Path, ids: tuple[str, ...]) -> Need:
    """The outputs of the jobs `ids`, joined: records below each other, arrays by name, choices in order."""
    folders = [_present(results, id).parent for id in ids]
    choosing = [folder for folder in folders if (folder / CHOSEN).is_file()]
    return Need(records_of(folders), arrays_of(folders), tuple(chosen_of(choosing)))


def _present(results: Path, id: str) -> Path:
    path = results / id / RECORDS
    if not path.is_file():
        raise DataError(f"{path} is missing: run the job {id} first (`snakemake` does it by itself)")
    return path
