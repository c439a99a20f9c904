"""What a method sees of a problem.

A point and a direction are whatever the problem says (a tensor, a tuple of tensors); rows (seeds, variants) lead and
never mix. Only a problem knows its coordinates, so a method reads as in the paper.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from torch import Tensor

Point = TypeVar("Point")
Direction = TypeVar("Direction")


class Problem(Protocol[Point, Direction]):
    """f: R^d -> R for every row."""

    def gradient(self, point: Point) -> Direction:
        """grad f."""

    def slope(self, point: Point, direction: Direction, smoothing: float | Tensor) -> Tensor:
        """(f(x + l u) - f(x - l u)) / (2 l), and its limit <grad f, u> at l = 0; one number a row."""

    def move(self, point: Point, direction: Direction, scale: float | Tensor) -> Point:
        """x + scale * u; `scale` is a number or one a row."""
