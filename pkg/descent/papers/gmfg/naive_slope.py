"""B6: the slope along the whole gradient of the players' mean cost, its mean part included.

The total derivative of a player's cost in K_k is dt (E_k Sigma_k + gG_k mu_k'). The paper's method drops the second
term; this baseline keeps it, so its slope follows Z, G and the graphon as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.intercept import descend, gradient
from descent.papers.gmfg.players import Players, population
from descent.papers.gmfg.policy_gradient import Policy, PopulationMethod, population_method
from descent.papers.gmfg.recursions import dot
from descent.papers.gmfg.settings import SETTINGS
from descent.papers.gmfg.slope import covariance, natural_gradient


def naive(
    game: Game,
    players: Players,
    *,
    slope_steps: int = 10,
    intercept_steps: int = 10,
    slope_step_size: float = 0.3,
    intercept_step_size: float = 0.3,
) -> PopulationMethod:
    """The bilevel method with the naive slope gradient; one graphon, since each would have a slope of its own.

    Raises SettingError for a setting outside its limits, and for several graphons.
    """
    check(
        "naive", SETTINGS, slope_steps=slope_steps, intercept_steps=intercept_steps,
        slope_step_size=slope_step_size, intercept_step_size=intercept_step_size,
    )  # fmt: skip
    if len(players.kernel) != 1:
        raise SettingError("naive: the slope depends on the graphon; give one graphon at a time")

    def update(policy: Policy) -> Policy:
        K, G, Z = policy
        for _ in range(slope_steps):
            K = K - slope_step_size * naive_gradient(game, K, G, Z, players.start)
        G = descend(game, K, Z, players.start, G, intercept_step_size, intercept_steps)
        return Policy(K, G, population(game, players, K, G))

    return population_method(game, players, update, slope_steps + intercept_steps)


def naive_gradient(game: Game, K: Tensor, G: Tensor, Z: Tensor, start: Tensor) -> Tensor:
    """mean over players of (E Sigma + gG mu') Sigma^{-1}, (S, N, k, n)."""
    by_intercept, mu = gradient(game, K, G, Z, start)
    mixed = torch.einsum("stkgm,stngm->stkn", by_intercept, mu[:, :-1]) / mu.shape[-1]
    return natural_gradient(game, K) + dot(mixed, inverse(covariance(game, K)[:, :-1]))


def inverse(blocks: Tensor) -> Tensor:
    """Inverses of (..., n, n) blocks; a singular one gives infinities, without asking the device."""
    return 1 / blocks if blocks.shape[-1] == 1 else torch.linalg.inv_ex(blocks).inverse
