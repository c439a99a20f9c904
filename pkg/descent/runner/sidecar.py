"""The sidecar of a job: what is worth knowing of a run and may differ from run to run."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from descent.core.job import Job


def sidecar(
    job: Job,
    key: str,
    source: str,
    needed: Mapping[str, str],
    written: Mapping[str, str],
    choice: Any,
    began: tuple[float, float],
) -> dict[str, Any]:
    """What is worth knowing of a run and may differ from run to run.

    job: with its tuned settings filled in. written: output -> SHA-256, by which readers know it is whole. key: what tells whether the result is current (`runner.current`).
    """
    cuda = torch.device(choice.device).type == "cuda"
    return {
        "job": json.loads(job.to_json()),
        "key": key,
        "source_hash": source,
        "needs_sha256": dict(needed),
        "sha256": dict(written),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "device_note": choice.note,
        "threads": job.threads,
        "began": round(time.time() - (time.perf_counter() - began[0]), 3),
        "wall_seconds": round(time.perf_counter() - began[0], 3),
        "cpu_seconds": round(time.process_time() - began[1], 3),
        "peak_memory_mb": _peak_memory(),
        "peak_device_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1) if cuda else None,
        "versions": versions(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def versions() -> dict[str, str]:
    """The versions that decide a run's bytes."""
    import pyarrow

    packages = {"torch": torch, "numpy": np, "pandas": pd, "pyarrow": pyarrow}
    return {"python": platform.python_version(), **{name: module.__version__ for name, module in packages.items()}}


def _peak_memory() -> float:
    """The most memory that this process held, in MB; 0 where the system does not tell (Windows)."""
    try:
        import resource
    except ModuleNotFoundError:
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes on macOS, kB on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
