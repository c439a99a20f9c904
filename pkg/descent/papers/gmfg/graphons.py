"""Seven graphons: symmetric kernels on [0, 1]^2, and their grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _threshold(x: Tensor, y: Tensor) -> Tensor:
    on_the_line = torch.isclose(x + y, torch.ones((), dtype=x.dtype))
    return torch.where(on_the_line, 0.5, (x + y < 1).to(x.dtype))  # the jump's mean, so that the grid stays symmetric


GRAPHONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "constant": lambda x, y: torch.full(torch.broadcast_shapes(x.shape, y.shape), 0.5, dtype=x.dtype),
    "minmax": lambda x, y: torch.minimum(x, y) * (1 - torch.maximum(x, y)),
    "unifatt": lambda x, y: 1 - torch.maximum(x, y),  # uniform attachment
    "threshold": _threshold,
    "cosine": lambda x, y: 0.5 * (1 + torch.cos(2 * math.pi * (x - y))),
    "sbm": lambda x, y: 0.2 + 0.6 * ((x < 0.5) == (y < 0.5)).to(x.dtype),  # two blocks: 0.8 within, 0.2 between
    "powerlaw": lambda x, y: 0.25 * (x * y) ** -0.25,
}


def midpoints(players: int) -> Tensor:
    """(M,) the players' places (i + 1/2) / M."""
    return (torch.arange(players, dtype=torch.float64) + 0.5) / players


def kernel(name: str, players: int) -> Tensor:
    """W(x_i, x_j) / M, (M, M) float64: what a player's neighbours' means are averaged with."""
    x = midpoints(players)
    return GRAPHONS[name](x[:, None], x[None, :]) / players
