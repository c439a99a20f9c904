"""Rows of a records table -> series and values, by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from descent.claims.operands.reading import NAN, Number, Series
from descent.claims.operands.tabled import Key
from descent.claims.read.operands import Operand
from descent.claims.table import CENSORED, OK, RANKS, UNDEFINED
from descent.core.errors import ConfigError, nearest

NOT_AXES = ("paper", "experiment", "seed", "step", "metric", "value", "status")


def matching(frame: pd.DataFrame, fixed: Mapping[str, Any], operand: Operand) -> pd.DataFrame:
    """The rows that have these values. Raises ConfigError for an axis that the experiment lacks."""
    keep = np.ones(len(frame), bool)
    for axis, wanted in fixed.items():
        if axis not in frame.columns or axis in NOT_AXES:
            axes = [c for c in frame.columns if c not in (*NOT_AXES, "method")]
            raise ConfigError(f"an operand names the axis `{axis}`, which {operand.experiment} does not have"
                              f"{nearest(axis, axes)}; axes: {', '.join(axes) or 'none'}")  # fmt: skip
        options = wanted if isinstance(wanted, (list, tuple)) else [wanted]
        keep &= np.logical_or.reduce([_equal(frame.loc[:, axis], option) for option in options])
    return frame.loc[keep]


def groups_of(frame: pd.DataFrame, by: list[str], **how: Any) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The groups of a table, each with its values of the columns `by`. how: options of `groupby`."""
    for key, part in frame.groupby(by, **how):
        assert isinstance(key, tuple), "grouped by a list"
        yield key, part


def _equal(column: pd.Series, value: Any) -> np.ndarray:
    """Which rows hold `value`: numbers within rounding (0.1 read from YAML and from Parquet), the rest exactly."""
    if value is None:
        return column.isna().to_numpy()
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if number and pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return np.isclose(column.to_numpy(float, na_value=np.nan), float(value), rtol=1e-9, atol=0)
    if number:  # a column of mixed kinds
        same = [isinstance(v, (int, float)) and not isinstance(v, bool) and v == value for v in column]
        return np.array(same, bool) | (column.astype(str) == str(value)).to_numpy(bool)
    if isinstance(value, str) and isinstance(column.dtype, (pd.StringDtype, pd.CategoricalDtype)):
        return (column == value).fillna(False).to_numpy(bool)
    return (column.astype(str) == str(value)).to_numpy(bool)


def series_of(frame: pd.DataFrame, operand: Operand) -> dict[int, Series]:
    """seed -> Series, steps increasing. Raises ConfigError where a seed has two records of one step."""
    if not len(frame):
        return {}
    frame = frame.sort_values(["seed", "step"], kind="stable")
    if frame.duplicated(["seed", "step"]).any():
        raise ConfigError(_ambiguous(frame, ["seed", "step"], operand))
    value, rank = _numbers(frame)
    step = frame["step"].to_numpy()
    groups = cast("dict[int, np.ndarray]", frame.groupby("seed", sort=False).indices)
    return {
        int(seed): Series(step[rows], value[rows], rank[rows])
        for seed, rows in ((s, np.sort(r)) for s, r in groups.items())
    }


def values_at(frame: pd.DataFrame, column: str, operand: Operand) -> dict[Key, Number]:
    """(seed, value of `column`) -> Number: every record a replicate, or one of a pair of seeds."""
    if not len(frame):
        return {}
    if column not in frame.columns:
        raise ConfigError(f"an operand's `pairs` names the column `{column}`, which {operand.experiment} does not have"
                          f"{nearest(column, frame.columns)}")  # fmt: skip
    frame = frame.sort_values(["seed", column], kind="stable")
    if frame.duplicated(["seed", column]).any():
        raise ConfigError(_ambiguous(frame, ["seed", column], operand))
    value, rank = _numbers(frame)
    numbers = [Number(v if r <= CENSORED else NAN, int(r)) for v, r in zip(value.tolist(), rank.tolist(), strict=True)]
    keys = zip(frame["seed"].tolist(), frame[column].tolist(), strict=True)
    return {(int(seed), int(other)): number for (seed, other), number in zip(keys, numbers, strict=True)}


def _numbers(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    value = frame["value"].to_numpy(float)
    rank = frame.loc[:, "status"].astype(str).map(RANKS).fillna(UNDEFINED).to_numpy(np.uint8)
    rank = np.where((rank == OK) & ~np.isfinite(value), UNDEFINED, rank).astype(np.uint8)
    return np.where((rank == CENSORED) & (value != -np.inf), np.inf, value), rank


def _ambiguous(frame: pd.DataFrame, by: list[str], operand: Operand) -> str:
    spread = [
        c for c in frame.columns if c not in (*by, "paper", "experiment", "metric", "value", "status", "seed", "step")
    ]
    spread = [c for c in spread if frame.loc[:, c].nunique(dropna=False) > 1]
    if not spread:
        return f"an operand finds two records of one seed at one step in {operand.experiment}: its records are wrong"
    shown = [f"`{c}` ({', '.join(map(str, frame[c].unique()[:4]))})" for c in spread]
    return (f"an operand of {operand.experiment} selects several records for one seed: they differ in {' and '.join(shown)}; "
            "name one in `where`, or go `across` it")  # fmt: skip
