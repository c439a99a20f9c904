"""PG-GMFG: policy gradients for the best response to a frozen population, in turn with population updates.

Plank and Zhang, arXiv 2506.05894: (a) steps of the shared slope along its geometry-aware gradient, (b) steps of every
player's intercept, Z frozen, (c) the population that the new policies make. Counts and step sizes are our choice
(docs/papers/gmfg.md).

Baselines that differ in one thing: `vanilla` (slope gradient without the covariance's inverse), `unscaled` (Euclidean
gradients, the functional ones times dt), `single` (a population update after every gradient step).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method, Nothing
from descent.core.settings import check
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.intercept import descend
from descent.papers.gmfg.players import Players, population
from descent.papers.gmfg.settings import SETTINGS
from descent.papers.gmfg.slope import natural_gradient, plain_gradient


class Policy(NamedTuple):
    """The state of every method: the policies of all players, and the aggregates that they make."""

    K: Tensor  # (S, N, k, n)
    G: Tensor  # (S, N, k, g, M)
    Z: Tensor  # (S, N + 1, n, g, M)


@dataclass(frozen=True)
class PopulationMethod(Method[Policy, None, Nothing]):
    """init(K, G) -> Policy; step: one population update and what comes before it. gradient_steps: how many gradients that takes."""

    gradient_steps: int = 0


def population_method(
    game: Game, players: Players, update: Callable[[Policy], Policy], gradient_steps: int
) -> PopulationMethod:
    """The method of one population update `update`; nothing is drawn, nothing reported."""
    return PopulationMethod(
        lambda K, G: started(game, players, K, G),
        lambda policy, _=None: (update(policy), Nothing()),
        None,
        gradient_steps,
    )


def started(game: Game, players: Players, K: Tensor, G: Tensor) -> Policy:
    """Where every method starts: a policy, and the population that it makes."""
    return Policy(K, G, population(game, players, K, G))


def pg(
    game: Game,
    players: Players,
    *,
    slope_steps: int = 10,
    intercept_steps: int = 10,
    slope_step_size: float = 0.3,
    intercept_step_size: float = 0.3,
    slope_gradient: Callable[[Game, Tensor], Tensor] = natural_gradient,
) -> PopulationMethod:
    """The paper's method. Newton-like step sizes are 1 / (2 R); from 1 / R on it diverges.

    Raises SettingError, before anything is computed, for a setting outside its limits.
    """
    check(
        "pg", SETTINGS, slope_steps=slope_steps, intercept_steps=intercept_steps,
        slope_step_size=slope_step_size, intercept_step_size=intercept_step_size,
    )  # fmt: skip

    def update(policy: Policy) -> Policy:
        K, G, Z = policy
        for _ in range(slope_steps):
            K = torch.sub(K, slope_gradient(game, K), alpha=slope_step_size)
        # Z is frozen in cost, dynamics and gradient: through it one would find the social optimum, not the equilibrium.
        G = descend(game, K, Z, players.start, G, intercept_step_size, intercept_steps)
        return Policy(K, G, population(game, players, K, G))

    return population_method(game, players, update, slope_steps + intercept_steps)


def vanilla(
    game: Game, players: Players, *, slope_steps: int = 10, intercept_steps: int = 10, slope_step_size: float = 0.3,
    intercept_step_size: float = 0.3,
) -> PopulationMethod:  # fmt: skip
    """B1: without preconditioning."""
    return pg(
        game, players, slope_steps=slope_steps, intercept_steps=intercept_steps, slope_step_size=slope_step_size,
        intercept_step_size=intercept_step_size, slope_gradient=plain_gradient,
    )  # fmt: skip


def unscaled(
    game: Game, players: Players, *, slope_steps: int = 10, intercept_steps: int = 10, euclidean_step_size: float = 3.0
) -> PopulationMethod:
    """B2: Euclidean gradients of the discrete cost; the step size is tuned at N = 10, where it equals 0.3 functional."""
    check("unscaled", SETTINGS, euclidean_step_size=euclidean_step_size)
    size = euclidean_step_size * game.dt
    return pg(
        game, players, slope_steps=slope_steps, intercept_steps=intercept_steps, slope_step_size=size, intercept_step_size=size
    )  # fmt: skip


def single(
    game: Game, players: Players, *, slope_step_size: float = 0.3, intercept_step_size: float = 0.3
) -> PopulationMethod:
    """B4: one slope step, one intercept step, one population update."""
    return pg(
        game, players, slope_steps=1, intercept_steps=1, slope_step_size=slope_step_size, intercept_step_size=intercept_step_size
    )  # fmt: skip
