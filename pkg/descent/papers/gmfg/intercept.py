"""The intercepts' part: for a fixed slope a player's mean is affine in the intercept, so its gradient is a matrix product.

G (S, N, k, g, M) is handled as (S, N k, g M): all graphons and players are columns of one product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game, mean_path, on_players
from descent.papers.gmfg.recursions import dot, propagator, recursion


class Response(NamedTuple):
    """How mean and action respond, for a fixed slope. Blocks of time are flattened: (N + 1) n, N k."""

    start: Tensor  # (S, (N + 1) n, n): mean to the initial mean
    aggregate: Tensor  # (S, (N + 1) n, N n): mean to Z
    intercept: Tensor  # (S, (N + 1) n, N k): mean to G
    action: Tensor  # (S, N k, N k): action K mu + G to G
    hessian: Tensor  # (S, N k, N k): of the cost in G, functional


def response(game: Game, K: Tensor) -> Response:
    """The responses under the slope K (S, N, k, n)."""
    S, N, n, k = K.shape[0], game.intervals, game.n, game.k
    T = propagator(game.closed_loop(K))
    after = T[:, :, n:].reshape(S, (N + 1) * n, N, n)  # to a push at the end of each step
    intercept = game.dt * _each_step(after, game.B)
    aggregate = game.dt * _each_step(after, game.Ab)
    eye = torch.eye(N * k, dtype=K.dtype, device=K.device)
    action = dot(K, intercept[:, : N * n].reshape(S, N, n, N * k)).reshape(S, N * k, N * k) + eye
    paid = _weighted(game, intercept)
    hessian = (2 / game.dt) * (intercept.mT @ paid) + 2 * action.mT @ _stepwise(game.R, action, k)
    return Response(T[:, :, :n], aggregate, intercept, action, hessian)


def offset(game: Game, K: Tensor, r: Response, Z: Tensor, start: Tensor) -> Tensor:
    """The gradient at G = 0, (S, N, k, g, M); start: the initial means (S, n, g, M)."""
    N, n = game.intervals, game.n
    flat = Z.flatten(3)  # (S, N + 1, n, g M)
    mean = r.start @ start.flatten(2) + r.aggregate @ flat[:, :-1].flatten(1, 2)
    tracked = torch.cat([on_players(game.H, Z[:, :-1]), on_players(game.HT, Z[:, -1:])], 1).flatten(1, 2).flatten(2)
    spent = dot(game.R, dot(K, mean[:, : N * n].unflatten(1, (N, n)))).flatten(1, 2)
    gradient = (2 / game.dt) * (r.intercept.mT @ _weighted(game, mean - tracked)) + 2 * r.action.mT @ spent
    return gradient.reshape(-1, N, game.k, *Z.shape[3:])


def gradient(r: Response, offset: Tensor, G: Tensor) -> Tensor:
    """gG (S, N, k, g, M) = 2 R (K mu + G) + B' lambda_{k+1}, lambda the adjoint: here as hessian G + offset."""
    return (r.hessian @ G.flatten(1, 2).flatten(2)).reshape(offset.shape) + offset


def adjoint_gradient(game: Game, K: Tensor, G: Tensor, Z: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The same gradient by mean path and adjoint, for slopes used only once; returns it and mu (S, N + 1, n, g, M)."""
    mu = mean_path(game, K, G, Z, start)
    spent = 2 * on_players(game.R, on_players(K, mu[:, :-1]) + G)
    paid = game.dt * (2 * on_players(game.Q, mu[:, :-1] - on_players(game.H, Z[:, :-1])) + on_players(K.mT, spent))
    last = 2 * on_players(game.QT, mu[:, -1:] - on_players(game.HT, Z[:, -1:]))[:, 0]
    F = game.closed_loop(K).mT
    adjoint = recursion(F.flip(1), paid.flip(1).flatten(-2), last.flatten(-2)).flip(1).unflatten(-1, start.shape[-2:])
    return spent + on_players(game.B.mT, adjoint[:, 1:]), mu


def _each_step(after: Tensor, block: Tensor) -> Tensor:
    """(S, rows, N, n) times one matrix (n, c) in every step: (S, rows, N c)."""
    return (after * block if block.shape == (1, 1) else after @ block).flatten(2)


def _stepwise(block: Tensor, x: Tensor, size: int) -> Tensor:
    """One matrix on every block of `size` rows of x (S, rows, columns)."""
    return dot(block, x.unflatten(1, (-1, size))).flatten(1, 2)


def _weighted(game: Game, x: Tensor) -> Tensor:
    """The state's price on x (S, (N + 1) n, columns): dt Q in every step, QT at the end."""
    last = game.n
    return torch.cat([game.dt * _stepwise(game.Q, x[:, :-last], last), _stepwise(game.QT, x[:, -last:], last)], 1)
