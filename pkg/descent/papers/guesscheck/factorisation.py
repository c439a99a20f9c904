"""The factorisation: Y = sigma(... sigma(sigma(W_1) W_2) ...) W_d, its activations and the prior over its weights.

Weights are kept as independent standard normals z, a column a candidate; the prior says what weight a normal stands
for. So the same z serve every prior, and a move that leaves normals invariant leaves the prior invariant.
Axes: S seeds, P weights of a candidate (layer by layer, row-major), then candidates in any number of axes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from descent.papers.guesscheck.settings import LEAK

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "tanh": torch.tanh,
    "leaky": lambda x: leaky_relu(x, LEAK),
}
TINY = 1e-6  # code: what the official normalisation adds to the norm


@dataclass(frozen=True)
class Network:
    """What a guess is: sizes, activation, prior, and whether the product is divided by its norm."""

    rows: int
    columns: int
    depth: int
    width: int
    activation: str = "linear"
    prior: str = "gauss"
    normalised: bool = False

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of every layer; H_0 is the identity."""
        sizes = [self.rows, *[self.width] * (self.depth - 1), self.columns]
        return list(itertools.pairwise(sizes))

    @property
    def scales(self) -> list[float]:
        """What the prior multiplies each layer by: one over the root of its number of OUTPUTS, as the official code."""
        return [outputs**-0.5 for _, outputs in self.shapes]

    @property
    def sizes(self) -> list[int]:
        """Weights of every layer."""
        return [inputs * outputs for inputs, outputs in self.shapes]

    def product(self, z: Tensor) -> Tensor:
        """Y (S, m, m', ...) of all weights z (S, P, ...), normalised where the network is."""
        layers = z.split(self.sizes, 1)
        return self.output(self.hidden(layers.__getitem__), layers[-1])

    def hidden(self, layer: Callable[[int], Tensor]) -> Tensor:
        """H_{d-1} (S, m, k, ...); layer(l) gives the z (S, inputs outputs, ...) of layer l, which may be made on demand."""
        sigma = ACTIVATIONS[self.activation]
        h = sigma(self.weights(layer(0)).unflatten(1, self.shapes[0]) * self.scales[0])
        for i in range(1, self.depth - 1):
            weights = self.weights(layer(i)).unflatten(1, self.shapes[i])
            h = sigma(chained(h, weights, self.scales[i]))
        return h

    def output(self, h: Tensor, z: Tensor) -> Tensor:
        """Y (S, m, m', ...) of the hidden features (S, m, k, ...) and the last layer's z (S, k m', ...)."""
        y = chained(h, self.weights(z).unflatten(1, self.shapes[-1]), self.scales[-1])
        if self.normalised:
            y = y / (y.square().sum((1, 2), keepdim=True).sqrt_() + TINY)
        return y

    def weights(self, z: Tensor) -> Tensor:
        """The prior's weights, unscaled: N(0, 1), or U(-1, 1) as 2 Phi(z) - 1."""
        return z if self.prior == "gauss" else (z * math.sqrt(0.5)).erf_()


def chained(h: Tensor, weights: Tensor, scale: float) -> Tensor:
    """scale * h @ weights for (S, m, k, ...) and (S, k, j, ...), candidates last: k passes over the result."""
    out = (h[:, :, 0, None] * weights[:, 0, None]).mul_(scale)
    for i in range(1, h.shape[2]):
        out.addcmul_(h[:, :, i, None], weights[:, i, None], value=scale)
    return out


def top_share(y: Tensor) -> Tensor:
    """The largest singular value of each (S, m, m', C) over the Frobenius norm, (S, C): 1 for rank one.

    By squaring the Gram matrix six times: a weighted mean of eigenvalues with weights lambda^64. No decomposition, so
    nothing waits for the device.
    """
    y = y.double()
    power = gram = _of_trace_one(chained(y, y.transpose(1, 2), 1.0))
    for _ in range(6):
        power = _of_trace_one(chained(power, power, 1.0))
    return (gram * power).sum((1, 2)).sqrt()


def _of_trace_one(x: Tensor) -> Tensor:
    """(S, m, m, C) over the trace."""
    return x / x.diagonal(dim1=1, dim2=2).sum(-1)[:, None, None]
