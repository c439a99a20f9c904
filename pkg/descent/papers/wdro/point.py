"""A point of the dual problem (theta, lam), and what an objective says there.

Axes: `...` leading batch axes (seeds, configurations), d features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Point(NamedTuple):
    """theta = (weight, intercept) and the dual variable lam of the transport budget; also a gradient in them."""

    weight: Tensor  # (..., d)
    intercept: Tensor  # (...,) zero where the model has none
    lam: Tensor  # (...,)

    def flat(self, intercept: bool) -> Tensor:
        """(..., d + 1), or (..., d + 2) with the intercept before lam."""
        parts = [self.weight, self.intercept[..., None], self.lam[..., None]]
        return torch.cat(parts if intercept else parts[::2], -1)

    @staticmethod
    def of(flat: Tensor, intercept: bool) -> Point:
        """The inverse of `flat`."""
        end = flat.shape[-1] - (2 if intercept else 1)
        middle = flat[..., end] if intercept else torch.zeros_like(flat[..., -1])
        return Point(flat[..., :end], middle, flat[..., -1])

    def to(self, device: torch.device | str) -> Point:
        """The same on `device`."""
        return Point(*(x.to(device) for x in self))


class Evaluation(NamedTuple):
    """An objective's value (...,) and its (sub)gradient."""

    value: Tensor
    gradient: Point


class Box(NamedTuple):
    """K = {|theta| <= radius} x [low, high], the compact set of the projected method."""

    radius: float
    low: float
    high: float

    def project(self, point: Point) -> Point:
        """The nearest point of K; the intercept belongs to theta."""
        size = (point.weight.square().sum(-1) + point.intercept.square()).sqrt()
        shrink = (self.radius / size.clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=1.0)
        lam = point.lam.clamp(self.low, self.high)
        return Point(point.weight * shrink[..., None], point.intercept * shrink, lam)


def direction(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(|w| (...), w / |w| (..., d)); the zero vector has direction zero."""
    norm = weight.norm(dim=-1)
    return norm, weight / norm.clamp(min=torch.finfo(weight.dtype).tiny)[..., None]
