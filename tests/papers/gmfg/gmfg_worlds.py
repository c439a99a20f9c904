"""Games of the room's tests: the reference's numbers as the room's tensors."""

import numpy as np
import pytest
import torch
from gmfg_reference import Reference, matrix_game

from descent.papers.gmfg import Game, players_on


def tensor(x):
    return torch.as_tensor(np.asarray(x), dtype=torch.float64)


def game_like(r: Reference) -> Game:
    """The room's game with the reference's coefficients."""
    blocks = {name: tensor(getattr(r, name)) for name in ("A", "B", "Ab", "Q", "R", "H", "QT", "HT")}
    return Game(**blocks, noise=tensor(r.D), start_covariance=tensor(r.v0), horizon=r.T, intervals=r.N)


class World:
    """A random policy in a game: the reference's arrays, and the room's with a row axis and a graphon axis."""

    def __init__(self, reference, players=5, seed=3):
        rng = np.random.default_rng(seed)
        self.reference, self.game = reference, game_like(reference)
        n, k, N = len(reference.A), reference.B.shape[1], reference.N
        W = rng.random((players, players)) / players
        self.W, self.mu0 = (W + W.T) / 2, rng.standard_normal((n, players))
        self.K, self.G = 0.5 * rng.standard_normal((N, k, n)) - np.eye(k, n), rng.standard_normal((N, k, players))
        self.Z = rng.standard_normal((N + 1, n, players))
        self.players = players_on(tensor(self.W), tensor(self.mu0)[None])

    @property
    def tensors(self):
        """K, G, Z as the room takes them."""
        return tensor(self.K)[None], tensor(self.G)[None, :, :, None], tensor(self.Z)[None, :, :, None]


@pytest.fixture(params=["scalar", "square", "wide", "tall"])
def world(request):
    """Scalar states, and matrix-valued ones with as many, more and fewer actions than states."""
    size = {"square": (2, 2), "wide": (2, 3), "tall": (3, 1)}
    return World(Reference(N=7) if request.param == "scalar" else matrix_game(*size[request.param], N=7))
