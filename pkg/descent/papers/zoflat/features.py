"""Standardised features as a linear operator: Xs z for scores, Xs^T r for gradients.

Xs = (B - 1 mu^T) / sd with B the raw features. Sparse: B stays as it is (a5a and w5a are binary, 14 and 12 ones a row),
and mu and sd touch only vectors of length p. Dense: Xs is formed; for devices without sparse products.
Axes: N examples, p features, S seeds (columns).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Features(Protocol):
    def scores(self, z: Tensor) -> Tensor:
        """Xs z: (p, S) -> (N, S)."""

    def pull(self, r: Tensor) -> Tensor:
        """Xs^T r: (N, S) -> (p, S)."""


class Dense(NamedTuple):
    matrix: Tensor  # (N, p) Xs

    def scores(self, z: Tensor) -> Tensor:
        return self.matrix @ z

    def pull(self, r: Tensor) -> Tensor:
        return self.matrix.T @ r


class Sparse(NamedTuple):
    matrix: Tensor  # (N, p) B, CSR
    transposed: Tensor  # (p, N) B^T, CSR
    mean: Tensor  # (1, p) mu
    scale: Tensor  # (p, 1) sd

    def scores(self, z: Tensor) -> Tensor:
        z = z / self.scale
        return (self.matrix @ z).sub_(self.mean @ z)

    def pull(self, r: Tensor) -> Tensor:
        return (self.transposed @ r).sub_(self.mean.T * r.sum(0)).div_(self.scale)


def standardiser(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation of each column of (N, p); a constant column keeps scale 1."""
    scale = train.std(axis=0)
    return train.mean(axis=0), np.where(scale > 0, scale, 1.0)


def features(raw: np.ndarray, mean: np.ndarray, scale: np.ndarray, *, layout: str, device: torch.device) -> Features:
    """The operator of `raw` (N, p), float64. layout: `sparse`, `dense`, or `auto`: sparse where the device has it."""
    if layout == "auto":
        layout = "sparse" if torch.device(device).type in ("cpu", "cuda") else "dense"
    if layout == "dense":
        return Dense(torch.from_numpy((raw - mean) / scale).to(device))
    matrix = torch.from_numpy(np.ascontiguousarray(raw, dtype=np.float64))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return Sparse(
            _narrow(matrix.to_sparse_csr()).to(device),
            _narrow(matrix.T.contiguous().to_sparse_csr()).to(device),
            torch.from_numpy(mean)[None].to(device),
            torch.from_numpy(scale)[:, None].to(device),
        )


def _narrow(csr: Tensor) -> Tensor:
    """32-bit indices: a quarter less to read."""
    rows, columns = csr.crow_indices().int(), csr.col_indices().int()
    return torch.sparse_csr_tensor(rows, columns, csr.values(), csr.shape, check_invariants=True)
