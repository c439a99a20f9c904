"""The slope's part: covariance, cost-to-go, and the two gradients of the slope that all players share.

Only the covariance enters, so the gradient knows neither Z, nor G, nor the player: one slope serves all graphons and
players. Gradients are functional (L2 in time): the Euclidean gradient of the discrete cost divided by dt.
"""

from __future__ import annotations

from torch import Tensor

from descent.papers.gmfg.game import Game
from descent.papers.gmfg.recursions import dot, quadratic_recursion


def covariance(game: Game, K: Tensor) -> Tensor:
    """Sigma (S, N + 1, n, n): Sigma' = F Sigma F' + dt D D'."""
    F = game.closed_loop(K)
    noise = (game.dt * dot(game.noise, game.noise.mT)).expand(F.shape[0], game.n, game.n)[:, None].expand_as(F)
    return quadratic_recursion(F, noise, game.start_covariance.expand(F.shape[0], game.n, game.n))


def cost_to_go(game: Game, K: Tensor) -> Tensor:
    """P (S, N + 1, n, n): P_N = QT, P_k = dt (Q + K' R K) + F' P_{k+1} F."""
    return _cost_to_go(game, K, game.closed_loop(K))


def natural_gradient(game: Game, K: Tensor) -> Tensor:
    """E (S, N, k, n) = 2 (R K + B' P_{k+1} F): the gradient preconditioned by the covariance (geometry-aware)."""
    F = game.closed_loop(K)
    return advantage(game, K, F, _cost_to_go(game, K, F))


def advantage(game: Game, K: Tensor, F: Tensor, P: Tensor) -> Tensor:
    """E of a slope, of its closed loop and of its cost-to-go: what a unit of action costs more, by state."""
    return dot(2 * game.R, K) + dot(2 * game.B.mT, dot(P[:, 1:], F))


def _cost_to_go(game: Game, K: Tensor, F: Tensor) -> Tensor:
    price = game.dt * game.Q + dot(K.mT, dot(game.dt * game.R, K))
    last = game.QT.expand(F.shape[0], game.n, game.n)
    return quadratic_recursion(F.mT, price, last, backward=True)


def plain_gradient(game: Game, K: Tensor) -> Tensor:
    """E Sigma (S, N, k, n): the L2 gradient, whose size follows the spread of the states."""
    return dot(natural_gradient(game, K), covariance(game, K)[:, :-1])
