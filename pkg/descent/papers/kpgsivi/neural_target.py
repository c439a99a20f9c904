"""Weights of a small regression network as a target: score and Hessian products written out, a data set a row.

f(x) = w2 . relu(W1 x + b1) + b2; y ~ N(f(x), 1 / precision), weights N(0, I / prior_precision). ReLU's own second derivative is 0
almost everywhere, so that second derivatives of f are products of the two layers only.
Axes: R rows, N points, H hidden units, n data; a point z (d,) is W1 row by row, b1, w2, b2.
"""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor


class NeuralRegression:
    """features (R, n, p), labels (R, n), precision (R,) of the labels' noise. `log_prob` leaves out the constants."""

    def __init__(self, features: Tensor, labels: Tensor, precision: Tensor, prior_precision: float, hidden: int = 50):
        self.features, self.labels, self.precision = features, labels, precision[:, None, None]
        self.prior_precision, self.hidden = prior_precision, hidden
        self.dim = hidden * (features.shape[-1] + 2) + 1

    def log_prob(self, z: Tensor) -> Tensor:
        off = self.labels[:, None] - self.predicted(z)
        return -0.5 * (self.precision * off.square()).sum(-1) - 0.5 * self.prior_precision * z.square().sum(-1)

    def predicted(self, z: Tensor, features: Tensor | None = None) -> Tensor:
        """f (R, N, n) at the data, or at other features (R, n, p)."""
        return self._output(z, self._before(z, self.features if features is None else features).relu_())

    def log_predictive(self, z: Tensor, features: Tensor, labels: Tensor) -> Tensor:
        """(R,) mean over data (R, n, p), (R, n) of log mean over points z of the density of a label."""
        off = labels[:, None] - self.predicted(z, features)
        terms = -0.5 * (self.precision * off.square()) + 0.5 * (self.precision / (2 * pi)).log()
        return (torch.logsumexp(terms, dim=1) - log(z.shape[1])).mean(-1)

    def score(self, z: Tensor) -> Tensor:
        before = self._before(z, self.features)
        active, after = before > 0, before.relu()
        pull = self.precision * (self.labels[:, None] - self._output(z, after))
        return self._back(self._second(z)[..., None] * pull[:, :, None], active, after, pull) - self.prior_precision * z

    def score_pull(self, z: Tensor, v: Tensor) -> Tensor:
        before = self._before(z, self.features)
        active, after = before > 0, before.relu()
        pull = self.precision * (self.labels[:, None] - self._output(z, after))
        moved = self._before(v, self.features) * active  # of the hidden layer along v
        turned = -self.precision * (self._output(v, after) + (self._second(z)[..., None, :] @ moved)[..., 0, :])
        first = self._second(v)[..., None] * pull[:, :, None] + self._second(z)[..., None] * turned[:, :, None]
        back = self._back(first, active, after, turned)
        at = self.hidden * (self.features.shape[-1] + 1)
        back[..., at : at + self.hidden] += (moved @ pull[..., None])[..., 0]
        return back - self.prior_precision * v

    def _before(self, z: Tensor, features: Tensor) -> Tensor:
        """W1 x + b1 (R, N, H, n)."""
        R, N, H, p = *z.shape[:2], self.hidden, features.shape[-1]
        first = torch.bmm(z[..., : H * p].reshape(R, N * H, p), features.mT)
        return first.view(R, N, H, -1).add_(z[..., H * p : H * p + H, None])

    def _second(self, z: Tensor) -> Tensor:
        """w2 (R, N, H)."""
        return z[..., -self.hidden - 1 : -1]

    def _output(self, z: Tensor, after: Tensor) -> Tensor:
        """w2 . hidden + b2 (R, N, n)."""
        return (self._second(z)[..., None, :] @ after)[..., 0, :] + z[..., -1:]

    def _back(self, first: Tensor, active: Tensor, after: Tensor, pull: Tensor) -> Tensor:
        """(R, N, d) from slopes before the activation (R, N, H, n) and of the output (R, N, n)."""
        first = first * active
        R, N, H, n = first.shape
        to_weights = torch.bmm(first.reshape(R, N * H, n), self.features).view(R, N, -1)
        to_second = (after @ pull[..., None])[..., 0]
        return torch.cat([to_weights, first.sum(-1), to_second, pull.sum(-1, keepdim=True)], dim=-1)
