"""Records: what a job found, one long tidy table.

Columns: paper, experiment, method, the experiment's setting axes, seed, step, metric, value, status. A value that is
not finite is never `ok`, and a row is never dropped: a diverged seed stays visible to whoever averages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from descent.core.files import write_atomically
from descent.core.job import Job, Variant

STATUSES = ("ok", "censored", "diverged", "undefined")
BEFORE = ("paper", "experiment", "method")
AFTER = ("seed", "step", "metric", "value", "status")


class Records:
    """Rows and named arrays that a job collects. Order of the rows: as added."""

    def __init__(self) -> None:
        self.columns: list[dict[str, Any]] = []
        self.arrays: dict[str, np.ndarray] = {}

    def add(
        self,
        variant: Variant,
        metric: str,
        value: Any,
        *,
        step: Any = 0,
        seeds: Sequence[int] | np.ndarray | None = None,
        status: Any = None,
    ) -> None:
        """Add one metric of one variant.

        value: scalar or (S,) for a single `step`; (T, S) for steps (T,). S runs over `seeds` (default: the variant's).
        status: one of STATUSES, scalar or of value's shape; by default `ok`, or `diverged` where the value is not finite.
        Raises ValueError on shapes that do not fit: nothing is broadcast over seeds by accident.
        """
        seeds = np.asarray(variant.seeds if seeds is None else seeds, dtype=np.int64)
        steps = np.atleast_1d(np.asarray(step, dtype=np.int64))
        values = _host(value).astype(np.float64)
        if values.ndim < 2:
            values = values.reshape(1, -1) if np.ndim(step) == 0 else values.reshape(len(steps), -1)
        if values.shape != (len(steps), len(seeds)):
            raise ValueError(
                f"{metric}: got values of shape {values.shape}, want ({len(steps)} steps, {len(seeds)} seeds)"
            )
        finite = np.isfinite(values)
        if status is None:
            statuses = np.where(finite, "ok", "diverged")
        else:
            statuses = np.broadcast_to(np.asarray(status, dtype=object), values.shape)
            if not set(statuses.ravel()) <= set(STATUSES):
                raise ValueError(f"{metric}: status must be one of {STATUSES}")
            if np.any((statuses == "ok") & ~finite):
                raise ValueError(f"{metric}: a value that is not finite cannot be ok")
        self.columns.append(
            {
                "variant": variant,
                "metric": metric,
                "seed": np.tile(seeds, len(steps)),
                "step": np.repeat(steps, len(seeds)),
                "value": values.ravel(),
                "status": statuses.ravel(),
            }
        )

    def add_trace(self, variant: Variant, trace: Any, rows: slice | Sequence[int] = slice(None), only=None) -> None:
        """Add every metric of an `iterate.Trace`; `rows` picks this variant's rows of the batch."""
        for metric, values in trace.values.items():
            if only is None or metric in only:
                self.add(variant, metric, values[:, rows], step=trace.steps)

    def array(self, name: str, value: Any) -> None:
        """Keep a named array beside the records (samples, checkpoints of a base model, masks)."""
        if name in self.arrays:
            raise ValueError(f"array {name} is recorded twice")
        self.arrays[name] = _host(value)

    def frame(self, job: Job) -> pd.DataFrame:
        """The tidy table of these records."""
        parts = []
        for column in self.columns:
            variant = column["variant"]
            size = len(column["value"])
            head = {"paper": job.paper, "experiment": job.experiment, "method": variant.method, **variant.setting}
            part = {name: [head.get(name)] * size for name in (*BEFORE, *job.axes)}
            part |= {name: column[name] for name in ("seed", "step")}
            part |= {"metric": [column["metric"]] * size, "value": column["value"], "status": column["status"]}
            parts.append(pd.DataFrame(part))
        names = [*BEFORE, *job.axes, *AFTER]
        return pd.concat(parts, ignore_index=True)[names] if parts else pd.DataFrame(columns=names)  # pyright: ignore[reportReturnType]


def write_records(path: Path, frame: pd.DataFrame) -> None:
    """Write records as Parquet: fixed schema and order, no clock, so equal records give equal bytes."""
    axes = [name for name in frame.columns if name not in (*BEFORE, *AFTER)]
    types: dict[str, pa.DataType] = {name: pa.string() for name in (*BEFORE, "metric", "status")}
    types |= {"seed": pa.int64(), "step": pa.int64(), "value": pa.float64()}
    types |= {name: _axis_type(frame[name]) for name in axes}
    schema = pa.schema([(name, types[name]) for name in frame.columns])
    arrays = [pa.array(_plain(frame[name]), type=schema.field(name).type) for name in frame.columns]
    table = pa.Table.from_arrays(arrays, schema=schema)
    write_atomically(path, lambda temporary: pq.write_table(table, temporary, compression="zstd"))


def read_records(paths: Sequence[Path]) -> pd.DataFrame:
    """Records of several jobs as one table; an axis that a job does not have is missing there."""
    frames = [pq.read_table(path).to_pandas() for path in paths]
    if not frames:
        return pd.DataFrame(columns=[*BEFORE, *AFTER])
    columns = list(dict.fromkeys([*BEFORE, *(c for f in frames for c in f.columns if c not in AFTER), *AFTER]))
    return pd.concat([frame for frame in frames], ignore_index=True).reindex(columns=columns)


def axis_values(settings: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The distinct values of each axis, in order of first appearance."""
    return {name: list(dict.fromkeys(values)) for name, values in settings.items()}


def _plain(column: Any) -> list[Any]:
    return [None if value is None or value is pd.NA else value for value in column.tolist()]


def _axis_type(column: Any) -> pa.DataType:
    values = [value for value in column.tolist() if value is not None]
    if all(isinstance(value, bool) for value in values):
        return pa.bool_()
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return pa.int64()
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return pa.float64()
    return pa.string()


def _host(value: Any) -> np.ndarray:
    detach = getattr(value, "detach", None)
    return np.asarray(detach().cpu().numpy() if detach else value)
