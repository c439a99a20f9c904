"""How alike two populations are: Procrustes angle, CKA, CCA; the noise floor of the recordings.

Matrices hold points in rows (condition-major: all times of condition 0 first), units in columns, and may have different
widths. Columns are centred; nothing else is done to them. Leading axes are batches.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def centred(x: Tensor) -> Tensor:
    """Every column's mean taken off."""
    return x - x.mean(-2, keepdim=True)


def nuclear(x: Tensor) -> Tensor:
    """The sum of singular values; NaN where x is not finite, which leaves the rest of a batch alone."""
    sound = x.isfinite().all(-1).all(-1)
    values = torch.linalg.svdvals(torch.where(sound[..., None, None], x, torch.zeros_like(x))).sum(-1)
    return torch.where(sound, values, torch.full_like(values, torch.nan))


def procrustes(x: Tensor, y: Tensor) -> Tensor:
    """D(x, y) in [0, 1], 0 for equal up to rotation, scale and shift.

    arccos(||x^T y||_* / (||x||_F ||y||_F)) / (pi / 2), the angular Procrustes distance (Williams et al. 2021). x: (..., P, p),
    y: (..., P, q).
    """
    x, y = centred(x), centred(y)
    cosine = nuclear(x.mT @ y) / (x.flatten(-2).norm(dim=-1) * y.flatten(-2).norm(dim=-1))
    return cosine.clamp(-1, 1).arccos() / (math.pi / 2)


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear centred kernel alignment in [0, 1], 1 for equal up to rotation, scale and shift (Kornblith et al. 2019)."""
    x, y = centred(x), centred(y)
    square = lambda a, b: (a.mT @ b).square().sum((-2, -1))  # noqa: E731
    return square(x, y) / (square(x, x) * square(y, y)).sqrt()


def cka_angle(x: Tensor, y: Tensor) -> Tensor:
    """arccos(CKA) / (pi / 2), a metric."""
    return cka(x, y).clamp(-1, 1).arccos() / (math.pi / 2)


def cca(x: Tensor, y: Tensor, *, components: int = 20) -> Tensor:
    """Mean canonical correlation of the first principal components of x and y; 1 for equal up to an invertible map of them."""
    bases = []
    for part in (x, y):
        left, _values, _ = torch.linalg.svd(centred(part), full_matrices=False)
        rank = min(components, part.shape[-1], part.shape[-2] - 1)
        bases.append(left[..., :rank])
    return torch.linalg.svdvals(bases[0].mT @ bases[1]).mean(-1)


def participation_ratio(x: Tensor) -> Tensor:
    """(sum of eigenvalues)^2 / sum of their squares, of the covariance: how many dimensions the activity fills."""
    gram = centred(x).mT @ centred(x)
    return gram.diagonal(dim1=-2, dim2=-1).sum(-1).square() / gram.square().sum((-2, -1))


def condition_average(y: Tensor, conditions: int) -> Tensor:
    """Each point replaced by the mean over conditions at its time: what is left when a model knows no condition."""
    by_condition = y.unflatten(-2, (conditions, -1))
    return by_condition.mean(-3, keepdim=True).expand_as(by_condition).flatten(-3, -2)


class Floor(NamedTuple):
    """Distances to a random half of the recorded units, (splits,)."""

    other_half: Tensor  # d1: from a disjoint half: the noise floor
    model: Tensor  # d2: from as many of the model's units
    average: Tensor  # d3: from the condition average of the disjoint half

    @property
    def normalised(self) -> Tensor:
        """(d2 - d1) / (1 - d1): 0 at the floor, 1 at no relation."""
        return (self.model - self.other_half) / (1 - self.other_half)

    @property
    def normalised_average(self) -> Tensor:
        """(d3 - d1) / (1 - d1), the same for the condition average."""
        return (self.average - self.other_half) / (1 - self.other_half)


def random_halves(random: np.random.Generator, units: int, half: int, splits: int) -> Tensor:
    """(splits, 2, half) two disjoint random sets of units, for each split."""
    order = np.stack([random.permutation(units)[: 2 * half] for _ in range(splits)])
    return torch.as_tensor(order).unflatten(1, (2, half))


def half_distances(x: Tensor, y: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(splits,) Procrustes distances of x[:, rows[s]] and y[:, columns[s]]; x: (P, p), y: (P, q), rows and columns (splits, n).

    Centring and products go column by column, so every split is a block of one product.
    """
    x, y = centred(x), centred(y)
    block = (x.mT @ y)[rows[:, :, None], columns[:, None, :]]
    size = x.square().sum(0)[rows].sum(-1) * y.square().sum(0)[columns].sum(-1)
    return (nuclear(block) / size.sqrt()).clamp(-1, 1).arccos() / (math.pi / 2)


def floor(x: Tensor, y: Tensor, halves: Tensor, chosen: Tensor, *, conditions: int) -> Floor:
    """Noise floor and normalised distance over random splits (official code).

    x: (P, p) model, y: (P, q) recordings; halves: (splits, 2, n) two disjoint sets of recorded units; chosen: (splits, n) units
    of the model.
    """
    one, two = halves[:, 0], halves[:, 1]
    average = half_distances(condition_average(y, conditions), y, two, one)
    return Floor(half_distances(y, y, two, one), half_distances(x, y, chosen, one), average)
