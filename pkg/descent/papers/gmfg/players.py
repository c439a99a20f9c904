"""The players on their graphons, and the population that a policy makes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.recursions import dot, recursion


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

    Raises SettingError for a kernel that is not symmetric: its modes would not be orthogonal.
    """
    kernel = kernel if kernel.dim() == 3 else kernel[None]
    if not torch.allclose(kernel, kernel.mT, rtol=1e-12, atol=1e-15):
        raise SettingError("the graphon must be symmetric: W(x, y) = W(y, x)")
    start = start[:, None] if start.dim() == 2 else start
    start = start[:, :, None] if start.dim() == 3 else start
    values, vectors = torch.linalg.eigh(kernel)
    return Players(kernel, values, vectors, start.expand(-1, -1, *kernel.shape[:2]).contiguous())


def rotated(x: Tensor, basis: Tensor) -> Tensor:
    """x (..., g, M) times a matrix a graphon, (g, M, M)."""
    return (x.movedim(-2, 0).flatten(1, -2) @ basis).unflatten(1, x.shape[:-2]).movedim(0, -2)


def population(game: Game, players: Players, K: Tensor, G: Tensor) -> Tensor:
    """Z (S, N + 1, n, g, M) when everyone plays (K, G): mu' = F mu + dt (B G + Ab W mu), Z = W mu.

    In the graphon's eigenbasis the modes do not see each other: one recursion a mode, all of them at once.
    """
    S, N, k, g, M = G.shape
    modes = (G.movedim(3, 0).reshape(g, S * N * k, M) @ players.vectors).reshape(g * S, N, k, M)
    push = dot(game.dt * game.B, modes).mT[..., None]  # (g S, N, M, n, 1)
    start = rotated(players.start, players.vectors).movedim(2, 0).reshape(g * S, game.n, M).mT[..., None]
    pull = game.dt * game.Ab * players.values[:, None, None, :, None, None]
    F = (game.closed_loop(K)[None, :, :, None] + pull).reshape(g * S, N, M, game.n, game.n)
    mu = recursion(F, push, start)[..., 0].mT.reshape(g, S * (N + 1) * game.n, M)
    # W = U diag(w) U': the eigenvalues go into the small matrix, not over all players.
    Z = G.new_empty(S, N + 1, game.n, g, M)
    torch.bmm(mu, players.values[:, :, None] * players.vectors.mT, out=Z.movedim(3, 0).flatten(1, 3))
    return Z
