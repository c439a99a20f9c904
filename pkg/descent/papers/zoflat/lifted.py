"""The over-parameterised linear models of Fig. 2, exactly, without ever forming their D features (derived: docs/papers/zoflat.md).

Standardised features Xs (N, p) are lifted by W ~ N(0, 1)^{p x D} and standardised again. Their columns have mean zero,
so the lifted features are Xs A with A = W diag(1 / s), s_j^2 = W_j^T C W_j, C = Xs^T Xs / N, and a weight vector
w = (b, w') in R^{D+1} acts on data only through b and z = A w' in R^p. ZO, GD, DD and SAM all close in (b, z):

    A u ~ N(0, M) for u ~ N(0, I_D),  A grad_w' f = M grad_z f,  M = A A^T (p x p),  |x_i|^2 = 1 + |A^T xs_i|^2.

10001 dimensions become 124 or 301. With M = L L^T (Cholesky) an image is v = L g, g ~ N(0, I_p); for D < p, where M is
singular, or to share draws with the explicit D-dimensional model, v = A u with u in R^D.
float64. Axes: N examples, p features, S seeds; seeds are columns (margins (N, S), z (p, S)), each with a lift of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.papers.zoflat.features import features, standardiser
from descent.papers.zoflat.losses import Loss


class Lift(NamedTuple):
    """What the lift leaves behind, a row a seed, on the host."""

    factor: Tensor  # (S, p, q): L with q = p, or A with q = D
    metric: Tensor  # (S, p, p): M


class Vector(NamedTuple):
    """A point or a direction of R^{D+1} as the data sees it; margins belong to the training set."""

    b: Tensor  # (S,) intercept
    z: Tensor  # (p, S)
    margins: Tensor  # (N, S): y (Xs z + b)

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        return self.b, self.z


def lift(xs: Tensor, draws: Sequence[Tensor], *, cholesky: bool) -> Lift:
    """From standardised training features (N, p) and one W (p, D) a seed. cholesky: factor M (needs D >= p)."""
    covariance = xs.T @ xs / len(xs)
    factors, metrics = [], []
    for w in draws:
        a = w / (w * (covariance @ w)).sum(0).sqrt()
        m = a @ a.T
        metrics.append(m)
        factors.append(torch.linalg.cholesky(m) if cholesky else a)
    return Lift(torch.stack(factors), torch.stack(metrics))


class LiftedModel:
    """f(w) = mean loss(y_i x_i^T w) over the lifted training set, as the methods see it.

    `raw` are (train, test) features (N, p) before standardisation, `labels` their +-1 labels; `lift` is made from
    `standardised`. `layout`: see features.py.
    """

    def __init__(
        self,
        raw: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        loss: Loss,
        lifted: Lift,
        *,
        layout: str = "auto",
        device: torch.device | str = "cpu",
    ):
        mean, scale = standardiser(raw[0])
        self.loss = loss
        self.train, self.test = (
            features(x, y, mean, scale, layout=layout, device=device) for x, y in zip(raw, labels, strict=True)
        )
        self.factor = lifted.factor  # on the host: directions are imaged as they are drawn
        self.metric = lifted.metric.to(device)
        xs = torch.from_numpy((raw[0] - mean) / scale)
        norms = [1 + torch.linalg.vecdot(xs @ m, xs) for m in lifted.metric]
        self.sq_norms = torch.stack(norms, 1).to(device)  # (N, S) |x_i|^2

    @property
    def draws(self) -> int:
        """Normals that a direction takes."""
        return 1 + self.factor.shape[-1]

    def images(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(n, S, draws) host normals -> intercepts (n, S) and images (n, p, S) of n directions (or starts)."""
        return draws[..., 0], torch.einsum("spq,nsq->nps", self.factor, draws[..., 1:])

    def vector(self, b: Tensor, z: Tensor) -> Vector:
        """(S,), (p, S) on the device -> the vector with its margins: one product with the data."""
        return Vector(b, z, self.train.margins(b, z))

    def gradient(self, w: Vector) -> Vector:
        b, z = self.train.pull(self.loss.pull(w.margins))
        # A row times the symmetric M: many times faster on the CPU than M times a column.
        return self.vector(b, torch.bmm(z.T[:, None], self.metric)[:, 0].T)

    def slope(self, w: Vector, u: Vector, smoothing: float) -> Tensor:
        return self.loss.slope(w.margins, u.margins, smoothing)

    def derivative(self, w: Vector, u: Vector) -> Tensor:
        return (self.loss.pull(w.margins) * u.margins).sum(0)

    def move(self, w: Vector, u: Vector, scale: float | Tensor) -> Vector:
        # Margins are linear in w: they move along and need no product with the data.
        if isinstance(scale, Tensor):
            return Vector(*(torch.addcmul(x, y, scale) for x, y in zip(w, u, strict=True)))
        return Vector(*(torch.add(x, y, alpha=scale) for x, y in zip(w, u, strict=True)))

    def measure(self, w: Vector) -> dict[str, Tensor]:
        """Losses, accuracies and the Hessian's trace, (S,) each, from (b, z) alone."""
        margins, test_margins = (split.margins(w.b, w.z) for split in (self.train, self.test))
        return {
            "train_loss": self.loss.value(margins),
            "trace": (self.loss.curvature(margins) * self.sq_norms).sum(0),
            "train_accuracy": accuracy(margins, self.train.labels),
            "test_loss": self.loss.value(test_margins),
            "test_accuracy": accuracy(test_margins, self.test.labels),
        }


def accuracy(margins: Tensor, labels: Tensor) -> Tensor:
    """(S,) share of rows classified rightly; a score of exactly 0 predicts +."""
    return torch.where(labels > 0, margins >= 0, margins > 0).to(margins.dtype).mean(0)
