"""The runner: does a job, in memory (`perform`) or with its files (`execute`).

A job's folder holds records.parquet, arrays.npz, chosen.json (what a `select` job chose) and run.json, the sidecar:
parameters, hashes, versions, device, times, memory. The first three are byte-identical from run to run on one
machine; the sidecar is not. Nothing appears in the folder before the job has succeeded.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from descent.checkpoint import Checkpoint, FileCheckpoint, NoCheckpoint
from descent.errors import ConfigError, DataError
from descent.files import digest, read_npz, sha256, write_json, write_npz
from descent.job import ARRAYS, CHOSEN, RECORDS, SIDECAR, Job, Variant
from descent.records import Records, read_records, write_records
from descent.source import job_source
from descent.streams import Streams


@dataclass(frozen=True)
class Need:
    """What a job reads of another: its records, its named arrays, what it chose."""

    records: pd.DataFrame
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    chosen: tuple[Mapping[str, Any], ...] = ()

    def choose(self, variant: Variant, setting: str) -> Any:
        """The value that a `select` job chose for `setting`, for the group that `variant` belongs to."""
        own = {"method": variant.method, **variant.params}
        for choice in self.chosen:
            if all(own.get(name) == value for name, value in choice["group"].items()) and setting in choice["values"]:
                return choice["values"][setting]
        raise ConfigError(
            f"nothing was chosen for `{setting}` of {variant.key}: its `select` experiment has no such group"
        )


@dataclass
class Context:
    """All that a job may use beside its parameters."""

    device: torch.device
    streams: Streams
    data: Mapping[str, Any]
    needs: Mapping[str, Need] = field(default_factory=dict)
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    say: Callable[[str], None] = lambda text: None


class Datasets(Mapping):
    """The datasets of a job, loaded and checked at first use; a job sees only those that it declares.

    stand_ins: dataset -> the one that takes its place (at smoke, where an import may be absent).
    """

    def __init__(self, hashes: Mapping[str, str], stand_ins: Mapping[str, str]):
        self.hashes, self.stand_ins, self._loaded = hashes, stand_ins, {}

    def __getitem__(self, name: str) -> Any:
        from descent.data import load

        if name not in self.hashes:
            raise ConfigError(f"the job reads the dataset {name} but its `datasets` do not declare it")
        if name not in self._loaded:
            dataset = load(self.stand_ins.get(name, name))
            if self.hashes[name] != dataset.hash:
                raise DataError(f"dataset {name} has hash {dataset.hash}, the job was planned for {self.hashes[name]}")
            self._loaded[name] = dataset
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.hashes)

    def __len__(self) -> int:
        return len(self.hashes)


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
    tuned = [_with_tuned(variant, needs) for variant in job.variants]
    job = replace(job, variants=tuple(tuned))
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
        from descent.bench import measure

        return measure(module.bench(job, context), job)
    return module.run(job, context)


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
    from descent.devices import device_for
    from descent.memory import keep_freed_memory

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
        key = digest([json.loads(job.to_json()), source, needed, torch.__version__, choice.device])
        checkpoint = FileCheckpoint(folder / "checkpoint.pt", key, checkpoint_every)
        began = time.perf_counter(), time.process_time()
        if job.kind == "select":
            from descent.select import choose_best

            records, chosen = choose_best(job, needs["from"].records)
            write_json(folder / CHOSEN, chosen)
        else:
            records = perform(job, device=choice.device, needs=needs, checkpoint=checkpoint, say=say)
        write_npz(folder / ARRAYS, records.arrays)
        write_json(folder / SIDECAR, sidecar(job, source, needed, choice, began))
    write_records(folder / RECORDS, records.frame(job))  # last: its presence says that the job is done
    checkpoint.remove()
    return folder


def read_need(results: Path, ids: tuple[str, ...]) -> Need:
    """The outputs of the jobs `ids`, joined: records below each other, arrays by name, choices in order."""
    arrays: dict[str, np.ndarray] = {}
    chosen: list[Mapping[str, Any]] = []
    for id in ids:
        _present(results, id)
        arrays |= read_npz(results / id / ARRAYS)
        if (results / id / CHOSEN).is_file():
            chosen += json.loads((results / id / CHOSEN).read_text())
    return Need(read_records([results / id / RECORDS for id in ids]), arrays, tuple(chosen))


def _present(results: Path, id: str) -> Path:
    path = results / id / RECORDS
    if not path.is_file():
        raise DataError(f"{path} is missing: run the job {id} first (`snakemake` does it by itself)")
    return path


def sidecar(
    job: Job, source: str, needed: Mapping[str, str], choice: Any, began: tuple[float, float]
) -> dict[str, Any]:
    """What is worth knowing of a run and may differ from run to run."""
    cuda = torch.device(choice.device).type == "cuda"
    return {
        "job": json.loads(job.to_json()),
        "source_hash": source,
        "needs_sha256": dict(needed),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "device_note": choice.note,
        "threads": job.threads,
        "wall_seconds": round(time.perf_counter() - began[0], 3),
        "cpu_seconds": round(time.process_time() - began[1], 3),
        "peak_memory_mb": round(
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024), 1
        ),
        "peak_device_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1) if cuda else None,
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def versions() -> dict[str, str]:
    """The versions that decide a run's bytes."""
    import pyarrow

    packages = {"torch": torch, "numpy": np, "pandas": pd, "pyarrow": pyarrow}
    return {"python": platform.python_version(), **{name: module.__version__ for name, module in packages.items()}}
