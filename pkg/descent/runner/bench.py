"""`bench` jobs: what a step costs, methods interleaved, process CPU time, one thread.

Measured time is kept apart from records: it differs from run to run and from machine to machine, so it is measured
on request, labelled with the machine, and no byte comparison looks at it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np
import torch

from descent.core.job import Job, Variant
from descent.core.records import Records

WARM_UP = 3


def measure(steps: Mapping[Variant | int, Callable[[], object]], job: Job) -> Records:
    """Time one call of each method in turn, `repeats` times (a parameter of the job's variants, default 30).

    steps: index of the variant -> a callable that does one step. Records `step_cpu_seconds` and `step_wall_seconds`
    with the repeat as `step`; the seed column counts 0.
    """
    variants = list(job.variants)
    repeats = int(variants[0].params.get("repeats", 30))  # pyright: ignore[reportArgumentType] (its Setting says int)
    cpu = {key: np.zeros(repeats) for key in steps}
    wall = {key: np.zeros(repeats) for key in steps}
    for call in steps.values():
        for _ in range(WARM_UP):
            call()
    for i in range(repeats):
        for key, call in steps.items():
            _wait()
            began = time.perf_counter(), time.process_time()
            call()
            _wait()
            wall[key][i], cpu[key][i] = time.perf_counter() - began[0], time.process_time() - began[1]
    records = Records()
    for key in steps:
        variant = variants[key] if isinstance(key, int) else key
        records.add(variant, "step_cpu_seconds", cpu[key][:, None], step=np.arange(repeats), seeds=(0,))
        records.add(variant, "step_wall_seconds", wall[key][:, None], step=np.arange(repeats), seeds=(0,))
    return records


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
