"""How far from an equilibrium a policy is, without knowing one: what a player could save by deviating alone.

The cost of the policy against its own population, less that of the best response to this population. It is 0 at a Nash equilibrium and nowhere
else, and is what users of game libraries compare methods by.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game, cost
from descent.papers.gmfg.oracles import best_response, riccati
from descent.papers.gmfg.slope import covariance


def exploitability(game: Game) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """(K, G, Z, start) -> (S, g): the players' mean gain from their best response to Z, which must be the population of (K, G).

    The oracles are solved here, once and on the host; what is returned runs where its arguments lie.
    """
    host, device = game.to("cpu"), game.A.device
    optimum = riccati(host)
    size = (game.intervals + 1) * game.n
    units = torch.eye(size, dtype=torch.float64).reshape(game.intervals + 1, game.n, size)
    answer = best_response(host, units, optimum).flatten(0, 1).to(device)
    best = optimum.K.to(device)[None]
    floor = covariance(game, best)

    def gain(K: Tensor, G: Tensor, Z: Tensor, start: Tensor) -> Tensor:
        S, g, M = len(Z), *Z.shape[-2:]
        reply = (answer @ Z.reshape(S, size, g * M)).reshape(S, game.intervals, game.k, g, M)
        own = cost(game, K, G, Z, start, covariance(game, K))
        return (own - cost(game, best.expand(S, -1, -1, -1), reply, Z, start, floor.expand(S, -1, -1, -1))).mean(-1)

    return gain
