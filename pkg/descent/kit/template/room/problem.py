"""The problem: a quadratic whose curvatures are spread evenly in the logarithm, with noisy gradients.

    f(x) = sum_i h_i x_i^2 / 2,   h from 1 / kappa to 1

Axes: S seeds (rows, never mixed), d coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from descent.core.streams import Streams


@dataclass(frozen=True)
class Quadratic:
    """One quadratic for all seeds. seeds: whose noise it draws, row by row."""

    curvature: Tensor  # (d,)
    noise: float
    streams: Streams
    seeds: Sequence[int]

    @classmethod
    def of(
        cls,
        *,
        dimension: int,
        condition: float,
        noise: float,
        streams: Streams,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> Quadratic:
        """The quadratic with `condition` = kappa on `device`."""
        exponents = torch.linspace(-1, 0, dimension, dtype=torch.float64)
        return cls((condition**exponents).to(device), noise, streams, tuple(seeds))

    def start(self) -> Tensor:
        """(S, d) standard normal: every method of a seed starts here."""
        drawn = self.streams.normal("start", self.seeds, self.curvature.shape)
        return drawn.to(self.curvature.device)

    def draw(self, k: int, count: int) -> Tensor:
        """(count, S, d) the gradients' noise of block k, on the host; shared by all methods of a seed."""
        normals = self.streams.normal("gradient noise", self.seeds, (count, *self.curvature.shape), k)
        return self.noise * normals.transpose(0, 1).contiguous()

    def loss(self, x: Tensor) -> Tensor:
        """(S,) f(x)."""
        return (self.curvature * x**2).sum(-1) / 2

    def gradient(self, x: Tensor) -> Tensor:
        """(S, d) grad f(x)."""
        return self.curvature * x
