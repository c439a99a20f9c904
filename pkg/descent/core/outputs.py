"""What a job left in its folder, read back with a check: nothing that was damaged is ever taken for a result.

The sidecar holds the SHA-256 of the records, arrays and choices beside it; Parquet has no checksums of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from descent.core.errors import DataError
from descent.core.files import read_npz, sha256
from descent.core.job import ARRAYS, CHOSEN, RECORDS, SIDECAR
from descent.core.records import read_records

HASHED = (RECORDS, ARRAYS, CHOSEN)


def hashes(folder: Path, names: Iterable[str] = HASHED) -> dict[str, str]:
    """File name -> SHA-256, of the outputs that are there."""
    return {name: sha256(folder / name) for name in names if (folder / name).is_file()}


def sidecar_of(folder: Path) -> dict[str, Any]:
    """The sidecar of a job's folder. Raises DataError, naming the file, when it is missing or damaged."""
    path = folder / SIDECAR
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    raise _damaged(path)


def records_of(folders: Iterable[Path]) -> pd.DataFrame:
    """The records of jobs, below each other."""
    return read_records([_verified(folder, RECORDS) for folder in folders])


def arrays_of(folders: Iterable[Path]) -> dict[str, np.ndarray]:
    """The named arrays of jobs."""
    found: dict[str, np.ndarray] = {}
    for folder in folders:
        found |= read_npz(_verified(folder, ARRAYS))
    return found


def chosen_of(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """What `select` jobs chose."""
    return [
        choice for folder in folders for choice in json.loads(_verified(folder, CHOSEN).read_text(encoding="utf-8"))
    ]


def _verified(folder: Path, name: str) -> Path:
    """The path of an output whose content is what the job wrote. Raises DataError, naming the file, otherwise.

    A sidecar from before there were hashes (measured time that is stored for long) is taken as it is.
    """
    path = folder / name
    kept = sidecar_of(folder).get("sha256")
    if not path.is_file() or (kept is not None and kept.get(name) != sha256(path)):
        raise _damaged(path)
    return path


def _damaged(path: Path) -> DataError:
    what = "is missing" if not path.exists() else "is damaged: its content is not what the job wrote"
    return DataError(f"{path} {what}; delete the folder {path.parent} and snakemake makes it anew")
