"""What a method sees of a problem.

A point and a direction are whatever the problem says (a tensor, a tuple of tensors); rows (seeds, variants) lead and
never mix. Only a problem knows its coordinates, so a method reads as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from descent.core.errors import SettingError

Point = TypeVar("Point")
Direction = TypeVar("Direction")


class Problem(Protocol[Point, Direction]):
    """f: R^d -> R for every row. A method asks for the parts it uses: ZO never sees a gradient."""

    def gradient(self, point: Point) -> Direction:  # pyright: ignore[reportReturnType] (a protocol's)
        """grad f (GD, SAM)."""

    def slope(self, point: Point, direction: Direction, smoothing: float | Tensor) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """(f(x + l u) - f(x - l u)) / (2 l) for l > 0, one number a row (ZO)."""

    def derivative(self, point: Point, direction: Direction) -> Tensor:  # pyright: ignore[reportReturnType] (a protocol's)
        """<grad f, u>, one number a row: the slope's limit at l = 0 (DD; SAM for the gradient's length)."""

    def move(self, point: Point, direction: Direction, scale: float | Tensor) -> Point:  # pyright: ignore[reportReturnType] (a protocol's)
        """x + scale * u; `scale` is a number or one a row (all)."""


class Differentiable:
    """Any f that torch can differentiate, given as loss(x): (R, d) -> (R,); points and directions are (R, d)."""

    def __init__(self, loss: Callable[[Tensor], Tensor]):
        if not callable(loss):
            raise SettingError(f"Differentiable: `loss` must be callable, loss(x) -> one number a row, got {loss!r}")
        self.loss = loss

    def gradient(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.loss(x).sum(), x)[0]

    def slope(self, x: Tensor, u: Tensor, smoothing: float) -> Tensor:
        with torch.no_grad():
            above, below = self.loss(torch.add(x, u, alpha=smoothing)), self.loss(torch.sub(x, u, alpha=smoothing))
        return two_point_slope(above, below, smoothing)

    def derivative(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.linalg.vecdot(self.gradient(x), u)

    def move(self, x: Tensor, u: Tensor, scale: float | Tensor) -> Tensor:
        return torch.add(x, u, alpha=scale) if isinstance(scale, float) else torch.addcmul(x, scale[..., None], u)  # pyright: ignore[reportIndexIssue] (a number is a float)


def two_point_slope(f_plus: Tensor, f_minus: Tensor, smoothing: float | Tensor) -> Tensor:
    """(f(x + l u) - f(x - l u)) / (2 l), of the shape of the losses; `smoothing` is l > 0."""
    return (f_plus - f_minus) / (2 * smoothing)


NETWORKS = {"zo": "zoflat.ZO", "dd": "zoflat.DD", "sam": "zoflat.SAM", "gd": "torch.optim.SGD"}
"""The optimiser of a network's parameters that does what a method does."""


def must_have(owner: str, problem: Any, *parts: str) -> None:
    """Raise SettingError unless `problem` has these methods of a Problem: said when a method is built, not at a step."""
    absent = [part for part in parts if not callable(getattr(problem, part, None))]
    if absent:
        raise SettingError(
            f"{owner}: the problem must have {' and '.join(f'`{part}`' for part in absent)} (zoflat.Differentiable makes one of a "
            f"function), got {type(problem).__name__}; to train an nn.Module use {NETWORKS[owner]}"
        )
