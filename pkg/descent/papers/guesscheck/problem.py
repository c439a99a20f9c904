"""The problem: a low-rank matrix seen through a few linear measurements, and two losses of a candidate.

Alexander et al., arXiv 2506.03931, section 2 and the official code. Axes: S seeds, n measurements, q = m m' - n
directions that no measurement sees, m rows, m' columns, C candidates (last, so that every operation runs along them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.streams import Streams


class Task(NamedTuple):
    """What is measured and what is held out, a row a matrix in row-major order."""

    seen: Tensor  # (S, n, m m') the measurement matrices A_i
    labels: Tensor  # (S, n) y_i = <A_i, W*>
    unseen: Tensor  # (S, q, m m') an orthonormal basis of the complement of span{A_i}
    answers: Tensor  # (S, q) <B_j, W*>; NaN where the target is not known


def training_loss(task: Task, product: Tensor) -> Tensor:
    """L_train (S, C) of candidates (S, m, m', C): the mean squared residual of the measurements."""
    return _mean_square(task.seen, task.labels, product)


def generalisation_loss(task: Task, product: Tensor) -> Tensor:
    """L_gen (S, C): the mean squared residual over the directions that were not measured."""
    return _mean_square(task.unseen, task.answers, product)


def _mean_square(rows: Tensor, targets: Tensor, product: Tensor) -> Tensor:
    residual = torch.baddbmm(targets[..., None], rows, product.flatten(1, 2), beta=-1)
    return residual.square_().mean(1)


def low_rank(streams: Streams, seeds: Sequence[int], rank: int, rows: int = 5, columns: int = 5) -> Tensor:
    """W* (S, m, m') = U V / |U V| with normal factors of the given rank: Frobenius norm 1."""
    left = streams.normal("target", seeds, (rows, rank), "left", rank)
    right = streams.normal("target", seeds, (rank, columns), "right", rank)
    product = left @ right
    return product / product.norm(dim=(1, 2), keepdim=True)


def sensing(streams: Streams, seeds: Sequence[int], count: int, rows: int = 5, columns: int = 5) -> Tensor:
    """Normal measurement matrices (S, n, m, m'), each divided by its own Frobenius norm."""
    drawn = streams.normal("sensing", seeds, (count, rows, columns))
    return drawn / drawn.norm(dim=(2, 3), keepdim=True)


def completion(streams: Streams, seeds: Sequence[int], count: int, rows: int = 5, columns: int = 5) -> Tensor:
    """One-hot measurement matrices (S, n, m, m'): n entries of the matrix, none twice."""
    basis = torch.eye(rows * columns, dtype=torch.float64).unflatten(1, (rows, columns))
    order = [streams.numpy("completion", seed).permutation(rows * columns)[:count] for seed in seeds]
    return torch.stack([basis[torch.from_numpy(index)] for index in order])


def measured(measurements: Tensor, labels: Tensor, target: Tensor | None = None) -> Task:
    """The task of measurements (S, n, m, m') with labels (S, n), and of a target (S, m, m') where it is known.

    The measurements must be linearly independent and fewer than m m': otherwise nothing is held out, or not by them.
    """
    seen = measurements.flatten(2)
    unseen = complement(seen)
    if target is None:
        answers = labels.new_full(unseen.shape[:2], torch.nan)
    else:
        answers = (unseen @ target.flatten(1)[..., None])[..., 0]
    return Task(seen, labels, unseen, answers)


def complement(rows: Tensor) -> Tensor:
    """Orthonormal rows (S, q, p) that span the complement of the rows (S, n, p): the last columns of a complete QR."""
    basis = torch.linalg.qr(rows.mT, mode="complete").Q
    return basis[..., rows.shape[1] :].mT.contiguous()


MEASUREMENTS = {"sensing": sensing, "completion": completion}


def instance(streams: Streams, seeds: Sequence[int], *, task: str, rank: int, measurements: int) -> Task:
    """The study's tasks, one a seed, float64 on the host. Width, depth and activation do not enter: all share them."""
    target = low_rank(streams, seeds, rank)
    matrices = MEASUREMENTS[task](streams, seeds, measurements)
    labels = torch.einsum("snij,sij->sn", matrices, target)
    return measured(matrices, labels, target)
