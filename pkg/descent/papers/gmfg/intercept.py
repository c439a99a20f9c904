"""The intercepts' part: for a fixed slope a player's mean is affine in the intercept, so its gradient is a matrix product.

G (S, N, k, g, M) is handled as (S, N k, g M): all graphons and players are columns of one product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game, mean_path, on_players
from descent.papers.gmfg.recursions import dot, propagator, recursion


class Affine(NamedTuple):
    """The gradient for a fixed slope: hessian G + by_aggregate Z + by_start mu0. Time and state are flattened."""

    hessian: Tensor  # (S, N k, N k): of a player's cost, functional
    by_aggregate: Tensor  # (S, N k, (N + 1) n)
    by_start: Tensor  # (S, N k, n)


def affine_gradient(game: Game, K: Tensor) -> Affine:
    """The intercepts' gradient under the slope K (S, N, k, n), from how mean and action answer to G, Z and mu0.

    The mean is T (mu0, push) with push = dt (B G + Ab Z), the action K mean + G, so all three answers are columns of one product:
    (paid + spent K) T, where `paid` and `spent` are a player's prices of mean and action.
    """
    N, n, k = game.intervals, game.n, game.k
    T = propagator(game.closed_loop(K))
    mean_by_G = _each_step(T[:, :, n:].unflatten(2, (N, n)), game.dt * game.B)
    action_by_G = dot(K, mean_by_G[:, : N * n].unflatten(1, (N, n))).flatten(1, 2)
    action_by_G = action_by_G + torch.eye(N * k, dtype=K.dtype, device=K.device)
    paid = (2 / game.dt) * _weighted(game, mean_by_G).mT
    spent = 2 * _stepwise(game.R, action_by_G, k).mT
    paid_steps, paid_last = paid[:, :, : N * n].unflatten(2, (N, n)), paid[:, :, N * n :]
    spent_on_mean = dot(spent.unflatten(2, (N, 1, k)), K[:, None])[:, :, :, 0]
    by = torch.cat([(paid_steps + spent_on_mean).flatten(2), paid_last], 2) @ T
    by_push = by[:, :, n:].unflatten(2, (N, n))
    tracked = _each_step(by_push, game.dt * game.Ab) - _each_step(paid_steps, game.H)  # Z_N pushes nobody
    return Affine(
        _each_step(by_push, game.dt * game.B) + spent,
        torch.cat([tracked, -dot(paid_last, game.HT)], 2),
        by[:, :, :n],
    )


def offset(a: Affine, Z: Tensor, start: Tensor) -> Tensor:
    """The gradient at G = 0, (S, N k, g M), while Z (S, N + 1, n, g, M) is frozen; start: initial means (S, n, g, M)."""
    return a.by_aggregate @ Z.flatten(3).flatten(1, 2) + a.by_start @ start.flatten(2)


def gradient(a: Affine, offset: Tensor, G: Tensor) -> Tensor:
    """gG (S, N, k, g, M) = 2 R (K mu + G) + B' lambda_{k+1}, lambda the adjoint: here as hessian G + offset."""
    return (a.hessian @ G.flatten(1, 2).flatten(2) + offset).reshape(G.shape)


def descend(a: Affine, Z: Tensor, start: Tensor, G: Tensor, step_size: float, steps: int) -> Tensor:
    """G after `steps` gradient steps, Z (S, N + 1, n, g, M) frozen; start: initial means (S, n, g, M).

    They are one affine map each, the same one: for many players composed before applied.
    """
    x = G.flatten(1, 2).flatten(2)
    if steps < 3 or x.shape[-1] < x.shape[-2]:
        move = step_size * offset(a, Z, start)
        for _ in range(steps):
            x = torch.baddbmm(x - move, a.hessian, x, alpha=-step_size)
        return x.reshape(G.shape)
    # m steps: x -> (1 - s H total) x - s total c, total = 1 + A + ... + A^(m - 1) of A = 1 - s H; doubled and raised by one.
    eye = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    once = power = torch.add(eye, a.hessian, alpha=-step_size)
    total = eye.expand_as(once)
    for i, bit in enumerate(f"{steps:b}"[1:]):
        total = total + (power if i == 0 else power @ total)
        if bit == "1":
            total = torch.baddbmm(eye, once, total)
        power = torch.baddbmm(eye, a.hessian, total, alpha=-step_size)
    moved = power @ x
    moved.baddbmm_(total @ a.by_aggregate, Z.flatten(3).flatten(1, 2), alpha=-step_size)
    moved.baddbmm_(total @ a.by_start, start.flatten(2), alpha=-step_size)
    return moved.reshape(G.shape)


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
    return dot(after, block).flatten(2)


def _stepwise(block: Tensor, x: Tensor, size: int) -> Tensor:
    """One matrix on every block of `size` rows of x (S, rows, columns)."""
    return dot(block, x.unflatten(1, (-1, size))).flatten(1, 2)


def _weighted(game: Game, x: Tensor) -> Tensor:
    """The state's price on x (S, (N + 1) n, columns): dt Q in every step, QT at the end."""
    last = game.n
    return torch.cat([game.dt * _stepwise(game.Q, x[:, :-last], last), _stepwise(game.QT, x[:, -last:], last)], 1)
