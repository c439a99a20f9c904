"""B3 and B5: exact best responses in place of gradients, then the population update, in full or damped."""

from __future__ import annotations

import torch

from descent.core.settings import check
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.oracles import best_response, riccati
from descent.papers.gmfg.players import Players, population
from descent.papers.gmfg.policy_gradient import Policy, PopulationMethod, population_method
from descent.papers.gmfg.settings import SETTINGS


def picard(game: Game, players: Players) -> PopulationMethod:
    """B3: K = K*, G = BR(Z) in closed form, Z = population(K, G)."""
    return _responding(game, players, 1.0)


def damped(game: Game, players: Players, *, damping: float = 0.5) -> PopulationMethod:
    """B5, in the manner of fictitious play: Z moves only the fraction `damping` of the way to the new population."""
    check("damped", SETTINGS, damping=damping)
    return _responding(game, players, damping)


def _responding(game: Game, players: Players, fraction: float) -> PopulationMethod:
    device, host = players.kernel.device, game.to("cpu")
    optimum = riccati(host)
    size = (game.intervals + 1) * game.n
    units = torch.eye(size, dtype=torch.float64).reshape(game.intervals + 1, game.n, size)
    answer = best_response(host, units, optimum).flatten(0, 1).to(device)  # (N k, (N + 1) n): linear in Z
    K = optimum.K.to(device)[None]

    def update(policy: Policy) -> Policy:
        S, g, M = len(policy.Z), *policy.Z.shape[-2:]
        G = (answer @ policy.Z.reshape(S, size, g * M)).reshape(S, game.intervals, game.k, g, M)
        slopes = K.expand(S, -1, -1, -1)
        return Policy(slopes, G, torch.lerp(policy.Z, population(game, players, slopes, G), fraction))

    return population_method(game, players, update, 0)
