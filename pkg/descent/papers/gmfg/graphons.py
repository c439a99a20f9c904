"""Seven graphons: symmetric kernels on [0, 1]^2, and their grids."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from descent.core.errors import SettingError, listed, nearest


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


def kernel(graphon: str | Callable[[Tensor, Tensor], Tensor] | Tensor, players: int) -> Tensor:
    """W(x_i, x_j) / M, (M, M) float64: what a player's neighbours' means are averaged with.

    graphon: a name of GRAPHONS, a function W(x, y) of places (M, 1) and (1, M) in [0, 1], or the (M, M) matrix W(x_i, x_j).
    Raises SettingError for an unknown name, a matrix of another size, and one that is not symmetric and finite.
    """
    x = midpoints(players)
    if isinstance(graphon, str):
        if graphon not in GRAPHONS:
            raise SettingError(
                f"graphon: must be a function, a matrix or {listed(tuple(GRAPHONS))}, got {graphon!r}{nearest(graphon, GRAPHONS)}"
            )
        graphon = GRAPHONS[graphon]
    if callable(graphon) and not isinstance(graphon, Tensor):
        graphon = torch.as_tensor(graphon(x[:, None], x[None, :]))
        graphon = graphon.expand(players, players) if graphon.dim() <= 2 else graphon
    if not isinstance(graphon, Tensor) or graphon.shape != (players, players):
        got = tuple(graphon.shape) if isinstance(graphon, Tensor) else repr(graphon)
        raise SettingError(
            f"graphon: must be a function W(x, y) or a matrix ({players}, {players}), a row a player, got {got}"
        )
    W = graphon.detach().to("cpu", torch.float64)
    if not W.isfinite().all():
        raise SettingError(
            "graphon: W(x, y) must be finite at the players' places (the midpoints of M equal parts of [0, 1])"
        )
    if not torch.allclose(W, W.mT, rtol=1e-6, atol=1e-9):
        raise SettingError("graphon: must be symmetric, W(x, y) = W(y, x)")
    return (W + W.mT) / (2 * players)
