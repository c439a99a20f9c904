"""The players on their graphons, and the population that a policy makes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.gmfg.game import Game, set_on_players
from descent.papers.gmfg.recursions import recursion_


class Players(NamedTuple):
    """g graphons, each with M players; the initial means are one set a row, shared by the graphons where given so.

    Everything here is linear in the players, and in the kernel's eigenvectors as coordinates no player sees another: see `modes`.
    """

    kernel: Tensor  # (g, M, M), divided by M
    values: Tensor  # (g, M) its eigenvalues
    vectors: Tensor | None  # (g, M, M) its eigenvectors, columns; None: the unit vectors, the kernel is diagonal
    start: Tensor  # (S, n, g, M) initial means mu0

    def to(self, device: torch.device | str) -> Players:
        vectors = None if self.vectors is None else self.vectors.to(device)
        return Players(self.kernel.to(device), self.values.to(device), vectors, self.start.to(device))

    def modes(self) -> Players:
        """The same players in the eigenvectors' coordinates: x (..., g, M) there is `into(x)`, and `back` again.

        Methods do the same in either, and so do norms and means of squares over players; a population costs no matrix product there.
        """
        return Players(torch.diag_embed(self.values), self.values, None, self.into(self.start))

    def into(self, x: Tensor) -> Tensor:
        """Players' numbers (..., g, M) in the coordinates of `modes`."""
        return x if self.vectors is None else rotated(x, self.vectors)

    def back(self, x: Tensor) -> Tensor:
        """Numbers (..., g, M) of modes as the players'."""
        return x if self.vectors is None else rotated(x, self.vectors.mT)


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
    return (x.movedim(-2, 0).flatten(1, -2) @ basis).unflatten(1, x.shape[:-2]).movedim(0, -2).contiguous()


def population(game: Game, players: Players, K: Tensor, G: Tensor) -> Tensor:
    """Z (S, N + 1, n, g, M) when everyone plays (K, G): mu' = F mu + dt (B G + Ab W mu), Z = W mu.

    The modes of a graphon do not see each other: one recursion a mode, all of them at once.
    """
    mu = G.new_empty(len(G), game.intervals + 1, game.n, *G.shape[-2:])
    mu[:, 0] = players.into(players.start)
    set_on_players(mu[:, 1:], game.dt * game.B, players.into(G))
    pull = (game.dt * game.Ab) * players.values[..., None, None]
    recursion_(game.closed_loop(K)[:, :, None, None] + pull, mu.movedim(2, -1)[..., None])  # (S, N, g, M, n, n or 1)
    return players.back(mu.mul_(players.values))
