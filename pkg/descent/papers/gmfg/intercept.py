"""The intercepts' part: for a fixed slope and frozen aggregates a player's cost is quadratic in the intercept.

So m gradient steps are one: G - s (1 + A + ... + A^(m - 1)) g, where g is the gradient at G, H the Hessian and A = 1 - s H.
The Hessian knows neither graphon, nor player, nor Z: one matrix a slope, and all players are columns of one product.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game, add_on_players, mean_path, on_players, set_on_players
from descent.papers.gmfg.recursions import dot, propagator, recursion_
from descent.papers.gmfg.slope import advantage, cost_to_go

WHOLE = 16


def gradient(game: Game, K: Tensor, G: Tensor, Z: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """gG (S, N, k, g, M) = 2 R (K mu + G) + B' lambda_{k+1} while Z (S, N + 1, n, g, M) is frozen, and the mean mu like Z.

    lambda is the adjoint: what a unit of mean costs from there on. start: the initial means (S, n, g, M).
    """
    Q, H = 2 * game.dt * game.Q, game.H
    mu = mean_path(game, K, G, Z, start)
    now, aggregate = mu[:, :-1], Z[:, :-1]
    spent = add_on_players(on_players(2 * game.R @ K, now), 2 * game.R, G)
    adjoint = torch.empty_like(mu)
    paid = set_on_players(adjoint[:, :-1], Q, now)
    add_on_players(add_on_players(paid, -(Q @ H), aggregate), game.dt * K.mT, spent)
    adjoint[:, -1:] = on_players(2 * game.QT, mu[:, -1:] - on_players(game.HT, Z[:, -1:]))
    recursion_(game.closed_loop(K).mT, adjoint.flatten(-2), backward=True)
    return add_on_players(spent, game.B.mT, adjoint[:, 1:]), mu


def hessian(game: Game, K: Tensor) -> Tensor:
    """How the gradient answers the intercept under the slope K (S, N, k, n): (S, N k, N k), symmetric, time and action flattened.

    What is added to G_j moves the mean alone from there on, so block (i, j), i > j, is dt E_i F_{i-1} ... F_{j+1} B, with the slope's own
    gradient E (at the best slope nothing but the diagonal is left); block (i, i) is 2 (R + dt B' P_{i+1} B).
    """
    S, N, k, n = K.shape
    P = cost_to_go(game, K)
    F = game.closed_loop(K)
    free = propagator(F)[:, : N * n, n:].unflatten(2, (N, n)).unflatten(1, (N, n)).movedim(3, 2)  # (S, N, N, n, n)
    below = dot(dot(game.dt * advantage(game, K, F, P)[:, :, None], free), game.B)
    below = below.movedim(2, 3).reshape(S, N * k, N * k)
    H = below + below.mT
    own = 2 * (game.R + game.dt * dot(game.B.mT, dot(P[:, 1:], game.B)))
    H.unflatten(2, (N, k)).unflatten(1, (N, k)).diagonal(dim1=1, dim2=3).add_(own.movedim(1, -1))
    return H


def descend(game: Game, K: Tensor, Z: Tensor, start: Tensor, G: Tensor, step_size: float, steps: int) -> Tensor:
    """G after `steps` gradient steps, Z (S, N + 1, n, g, M) frozen; start: initial means (S, n, g, M)."""
    if not steps:
        return G
    first, _ = gradient(game, K, G, Z, start)
    if steps == 1:
        return G - step_size * first
    x, g = (y.flatten(1, 2).flatten(2) for y in (G, first))
    H = step_size * hessian(game, K)
    if x.shape[-1] < x.shape[-2]:  # few players: step by step is less work than to compose steps
        for _ in range(steps):
            x, g = x - step_size * g, torch.baddbmm(g, H, g, alpha=-1)
        return x.reshape(G.shape)
    return torch.baddbmm(x, geometric_sum(H, steps), g, alpha=-step_size).reshape(G.shape)


def geometric_sum(H: Tensor, terms: int) -> Tensor:
    """1 + A + ... + A^(terms - 1) of A = 1 - H, H (S, m, m), terms >= 1, in few products.

    Up to WHOLE terms in blocks of about their root (Paterson and Stockmeyer 1973): four products for ten terms. Beyond, doubled:
    with T the sum of j terms, A^j = 1 - H T, and that of 2 j terms is T + A^j T.
    """
    eye = torch.eye(H.shape[-1], dtype=H.dtype, device=H.device)
    if terms > WHOLE:
        half = geometric_sum(H, terms // 2)
        total = torch.baddbmm(half, torch.baddbmm(eye, H, half, alpha=-1), half)
        return torch.baddbmm(eye + total, H, total, alpha=-1) if terms % 2 else total
    width = math.isqrt(terms)
    powers = [eye.expand_as(H), eye - H]
    while len(powers) <= width:
        powers.append(powers[1] @ powers[-1])
    block, blocks, rest = sum(powers[1:width], powers[0]), terms // width, terms % width
    if rest < 2:  # the first of the products below would be one by 1
        total, blocks = (block + powers[width] if rest else block), blocks - 1
    else:
        total = sum(powers[1:rest], powers[0])
    for _ in range(blocks):
        total = torch.baddbmm(block, powers[width], total)
    return total
