"""The study's own problems: data sets standardised, the ball, and the fixed points at which gradients are compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams
from descent.papers.wdro.classification import Classification
from descent.papers.wdro.point import Point
from descent.papers.wdro.regression import Regression

PLANE = (2, 8)  # body mass index and serum measurement s5: two of the ten features of diabetes


def problem_of(params: Mapping[str, Any], data: Mapping[str, Any]) -> Regression | Classification:
    """The problem of a variant's settings, float64 on the host. Standardised with the population deviation.

    In memory of PyTorch's own: NumPy aligns less, and the last bits of matrix products follow the alignment.
    """
    name, rows = params["problem"], params["rows"]
    if name in ("diabetes", "diabetes2"):
        table = data["diabetes"]
        kept = spread(len(table["target"]), rows)
        x, y = standardised(table["features"][kept]), standardised(table["target"][kept])
        x = x[:, PLANE] if name == "diabetes2" else x
        return Regression(torch.tensor(x), torch.tensor(y), params["radius"], params["deviation"])
    if name in ("cancer", "cancer_mixed"):
        table = data["breast_cancer"]
        kept = spread(len(table["labels"]), rows)
        x, y = standardised(table["features"][kept]), 2.0 * table["labels"][kept] - 1
        mixed = {"kappa": params["kappa"], "flip": params["flip"]} if name == "cancer_mixed" else {}
        return Classification(torch.tensor(x), torch.tensor(y), params["radius"], params["deviation"], **mixed)
    raise ValueError(f"{name} has no data set: it is made in wells.py")


def spread(n: int, rows: int) -> np.ndarray:
    """The indices of `rows` data evenly spaced among n; all of them for 0."""
    return np.arange(n) if rows in (0, n) else np.linspace(0, n - 1, min(rows, n)).round().astype(int)


def standardised(table: np.ndarray) -> np.ndarray:
    """Every column with mean zero and population deviation one."""
    return np.ascontiguousarray((table - table.mean(0)) / table.std(0), dtype=np.float64)


def points_of_k(problem: Regression | Classification, streams: Streams, count: int) -> Point:
    """Fixed points (count, d) of the compact set, the same for all seeds.

    Regression: |w| uniform on (0, 1) in a uniform direction, lam on (1.5, 10). Classification: w ~ N(0, 0.2^2), no
    intercept, lam on (0.5, 2.5). F is finite at all of them (regression: lam > |w|^2).
    """
    rng = streams.numpy("points", 0)
    weight = torch.tensor(rng.standard_normal((count, problem.dimension)))
    first, second = torch.tensor(rng.random((2, count)))
    if isinstance(problem, Regression):
        weight, lam = weight / weight.norm(dim=1, keepdim=True) * first[:, None], 1.5 + 8.5 * second
    else:
        weight, lam = 0.2 * weight, 0.5 + 2 * second
    return Point(weight, torch.zeros_like(lam), lam)


def distance(a: Point, b: Point) -> Tensor:
    """|theta_a - theta_b| (...,)."""
    return ((a.weight - b.weight).square().sum(-1) + (a.intercept - b.intercept).square()).sqrt()
