"""The players on their graphons, and the population that a policy makes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game, on_players
from descent.papers.gmfg.recursions import recursion


class Players(NamedTuple):
    """g graphons, each with M players; the initial means are one set a row, shared by the graphons where given so."""

    kernel: Tensor  # (g, M, M), divided by M
    values: Tensor  # (g, M) its eigenvalues
    vectors: Tensor  # (g, M, M) its eigenvectors, columns
    start: Tensor  # (S, n, g, M) initial means mu0

    def to(self, device: torch.device | str) -> Players:
        return Players(*(x.to(device) for x in self))


def players_on(kernel: Tensor, start: Tensor) -> Players:
    """Players of the kernels (g, M, M), or (M, M), with initial means (S, n, M), (S, n, g, M) or (S, M) for n = 1.

    Raises ValueError for a kernel that is not symmetric: its modes would not be orthogonal.
    """
    kernel = kernel if kernel.dim() == 3 else kernel[None]
    if not torch.allclose(kernel, kernel.mT, rtol=1e-12, atol=1e-15):
        raise ValueError("the graphon must be symmetric: W(x, y) = W(y, x)")
    start = start[:, None] if start.dim() == 2 else start
    start = start[:, :, None] if start.dim() == 3 else start
    values, vectors = torch.linalg.eigh(kernel)
    return Players(kernel, values, vectors, start.expand(-1, -1, *kernel.shape[:2]).contiguous())


def rotated(x: Tensor, basis: Tensor) -> Tensor:
    """x (..., g, M) times a matrix a graphon, (g, M, M)."""
    if len(basis) == 1:
        return x @ basis[0]
    return (x.movedim(-2, 0).flatten(1, -2) @ basis).unflatten(1, x.shape[:-2]).movedim(0, -2)


def population(game: Game, players: Players, K: Tensor, G: Tensor) -> Tensor:
    """Z (S, N + 1, n, g, M) when everyone plays (K, G): mu' = F mu + dt (B G + Ab W mu), Z = W mu.

    In the graphon's eigenbasis the modes do not see each other: one recursion a mode, all of them at once.
    """
    w = players.values[..., None, None]
    F = game.closed_loop(K)[:, :, None, None] + game.dt * game.Ab * w  # (S, N, g, M, n, n)
    push = game.dt * on_players(game.B, rotated(G, players.vectors))
    start = rotated(players.start, players.vectors)
    mu = recursion(F, _last(push), _last(start))[..., 0]  # (S, N + 1, g, M, n)
    return rotated((mu * players.values[..., None]).movedim(-1, 2), players.vectors.mT)


def _last(x: Tensor) -> Tensor:
    """(S, [N,] n, g, M) -> (S, [N,] g, M, n, 1)."""
    return x.movedim(-3, -1)[..., None]
