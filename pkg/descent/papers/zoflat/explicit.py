"""The same models as lifted.py with all D + 1 weights, as the official code runs them: slow, and a check on the reduction.

The lifted, re-standardised features are formed (w5a at D = 10000: 0.8 GB for training, 3.2 GB for testing, a seed), so this
is for small D, or for one seed on a GPU. Axes: S seeds lead; N examples; D lifted features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.papers.zoflat.features import standardiser
from descent.papers.zoflat.lifted import accuracy
from descent.papers.zoflat.losses import Loss


class Vector(NamedTuple):
    w: Tensor  # (S, D + 1), intercept first
    margins: Tensor  # (N, S)

    @property
    def weights(self) -> tuple[Tensor]:
        return (self.w,)


class ExplicitModel:
    """f(w) over the lifted training set. draws: one W (p, D) a seed, host; other arguments as LiftedModel's."""

    def __init__(
        self,
        raw: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        loss: Loss,
        draws: Sequence[Tensor],
        *,
        device: torch.device | str = "cpu",
    ):
        self.loss = loss
        mean, scale = standardiser(raw[0])
        train, test = (torch.from_numpy((x - mean) / scale).to(device) for x in raw)
        pairs = [_lifted(train, test, w.to(device)) for w in draws]
        self.train, self.test = (torch.stack(split) for split in zip(*pairs, strict=True))  # (S, N, D + 1)
        self.train_labels, self.test_labels = (
            torch.from_numpy(y.astype(np.float64))[:, None].to(device) for y in labels
        )
        self.sq_norms = torch.linalg.vecdot(self.train, self.train).T.contiguous()  # (N, S)

    @property
    def draws(self) -> int:
        """Normals that a direction takes."""
        return self.train.shape[-1]

    def images(self, draws: Tensor) -> tuple[Tensor]:
        """(n, S, draws) host normals: the directions themselves."""
        return (draws,)

    def vector(self, w: Tensor) -> Vector:
        return Vector(w, _scores(self.train, w).mul_(self.train_labels))

    def gradient(self, w: Vector) -> Vector:
        r = self.loss.pull(w.margins).mul_(self.train_labels)
        return self.vector(torch.einsum("snd,ns->sd", self.train, r))

    def slope(self, w: Vector, u: Vector, smoothing: float) -> Tensor:
        return self.loss.slope(w.margins, u.margins, smoothing)

    def derivative(self, w: Vector, u: Vector) -> Tensor:
        return (self.loss.pull(w.margins) * u.margins).sum(0)

    def move(self, w: Vector, u: Vector, scale: float | Tensor) -> Vector:
        rows = scale[:, None] if isinstance(scale, Tensor) else scale
        return Vector(w.w + rows * u.w, w.margins + scale * u.margins)

    def measure(self, w: Vector) -> dict[str, Tensor]:
        """As LiftedModel.measure."""
        margins, test_margins = self.vector(w.w).margins, _scores(self.test, w.w).mul_(self.test_labels)
        return {
            "train_loss": self.loss.value(margins),
            "trace": (self.loss.curvature(margins) * self.sq_norms).sum(0),
            "train_accuracy": accuracy(margins, self.train_labels),
            "test_loss": self.loss.value(test_margins),
            "test_accuracy": accuracy(test_margins, self.test_labels),
        }


def _scores(x: Tensor, w: Tensor) -> Tensor:
    """(S, N, D + 1), (S, D + 1) -> (N, S)."""
    return torch.einsum("snd,sd->ns", x, w)


def _lifted(train: Tensor, test: Tensor, w: Tensor) -> tuple[Tensor, ...]:
    """Steps 2 to 4 of the preprocessing: lift, standardise by the training columns, prepend ones."""
    train, test = train @ w, test @ w
    mean, scale = train.mean(0), train.std(0, correction=0)
    return tuple(torch.cat([torch.ones_like(x[:, :1]), (x - mean) / scale], 1) for x in (train, test))
