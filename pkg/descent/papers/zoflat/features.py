"""Labelled, standardised features as a linear operator: margins m = y (b + Xs z) and gradients of functions of them.

Xs = (B - 1 mu^T) / sd with B the raw features. Sparse: the operator's matrix is y [1, B] (a5a and w5a are binary, 14 and
12 ones a row); mu and sd touch only vectors of length p, and the intercept's column carries mu's share. Dense: y [1, Xs];
for devices without sparse products. Axes: N examples, p features, S seeds (columns).
"""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor


class Features(Protocol):
    labels: Tensor  # (N, 1), -1 or +1

    def margins(self, b: Tensor, z: Tensor) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """(S,), (p, S) -> (N, S): y (b + Xs z)."""

    def pull(self, r: Tensor) -> tuple[Tensor, Tensor]:  # pyright: ignore[reportReturnType] (a protocol's)
        """The transpose: (N, S) -> (S,), (p, S)."""


class Dense(NamedTuple):
    labels: Tensor  # (N, 1)
    matrix: Tensor  # (N, 1 + p): y [1, Xs]

    def margins(self, b: Tensor, z: Tensor) -> Tensor:
        return self.matrix @ torch.cat([b[None], z])

    def pull(self, r: Tensor) -> tuple[Tensor, Tensor]:
        pulled = self.matrix.T @ r
        return pulled[0], pulled[1:]


class Sparse(NamedTuple):
    labels: Tensor  # (N, 1)
    matrix: Tensor  # (N, 1 + p) CSR: y [1, B]
    transposed: Tensor  # (1 + p, N) CSR
    mean: Tensor  # (1, p) mu
    scale: Tensor  # (p, 1) sd

    def margins(self, b: Tensor, z: Tensor) -> Tensor:
        z = z / self.scale
        return self.matrix @ torch.cat([b - self.mean @ z, z])

    def pull(self, r: Tensor) -> tuple[Tensor, Tensor]:
        pulled = self.transposed @ r
        return pulled[0], torch.addcmul(pulled[1:], self.mean.T, pulled[:1], value=-1).div_(self.scale)


def standardiser(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population deviation of each column of (N, p); a constant column keeps scale 1."""
    scale = train.std(axis=0)
    return train.mean(axis=0), np.where(scale > 0, scale, 1.0)


def features(
    raw: np.ndarray, labels: np.ndarray, mean: np.ndarray, scale: np.ndarray, *, layout: str, device: torch.device | str
) -> Dense | Sparse:
    """The operator of `raw` (N, p) with +-1 `labels` (N,), float64.

    layout: `sparse`, `dense`, or `auto`: sparse where the device has it.
    """
    if layout == "auto":
        layout = "sparse" if torch.device(device).type in ("cpu", "cuda") else "dense"
    y = torch.from_numpy(labels.astype(np.float64))[:, None]
    x = torch.from_numpy(raw if layout == "sparse" else (raw - mean) / scale)
    matrix = torch.cat([y, y * x], 1)
    if layout == "dense":
        return Dense(y.to(device), matrix.to(device))
    return Sparse(
        y.to(device),
        _csr(matrix).to(device),
        _csr(matrix.T.contiguous()).to(device),
        torch.from_numpy(mean)[None].to(device),
        torch.from_numpy(scale)[:, None].to(device),
    )


def _csr(matrix: Tensor) -> Tensor:
    """With 32-bit indices: a quarter less to read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        csr = matrix.to_sparse_csr()
    rows, columns = csr.crow_indices().int(), csr.col_indices().int()
    return torch.sparse_csr_tensor(rows, columns, csr.values(), csr.shape, check_invariants=True)
