"""Exact oracles of the discrete game: best response, Nash equilibrium, and the rate of the outer iteration.

Backward Riccati recursions, small dense solves and eigenvalues, on the host and before any loop.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.papers.gmfg.game import Game
from descent.papers.gmfg.players import Players
from descent.papers.gmfg.recursions import propagator

MODES_AT_ONCE = 64


class Equilibrium(NamedTuple):
    """The Nash equilibrium; axes as in game.py."""

    K: Tensor  # (1, N, k, n): one slope for all rows, graphons and players
    G: Tensor  # (S, N, k, g, M)
    Z: Tensor  # (S, N + 1, n, g, M)

    def to(self, device: torch.device | str) -> Equilibrium:
        return Equilibrium(*(x.to(device) for x in self))


class Riccati(NamedTuple):
    """The backward recursion, times first."""

    K: Tensor  # (N, k, n) the optimal slope K*
    P: Tensor  # (N + 1, n, n) the optimal cost-to-go
    gain: Tensor  # (N, k, n): (dt R + b' P b)^{-1} b'
    closed: Tensor  # (N, n, n): a + b K*


def riccati(game: Game) -> Riccati:
    """The optimal slope: P_k = dt (Q + K' R K) + (a + b K)' P (a + b K), a = I + dt A, b = dt B."""
    a = torch.eye(game.n, dtype=torch.float64) + game.dt * game.A
    b = game.dt * game.B
    P, rows = game.QT, []
    costs = [P]
    for _ in range(game.intervals):
        gain = torch.linalg.solve(game.dt * game.R + b.mT @ P @ b, b.mT)
        K = -gain @ P @ a
        closed = a + b @ K
        P = game.dt * (game.Q + K.mT @ game.R @ K) + closed.mT @ P @ closed
        rows.append((K, gain, closed))
        costs.append(P)
    K, gain, closed = (torch.stack(column[::-1]) for column in zip(*rows, strict=True))
    return Riccati(K, torch.stack(costs[::-1]), gain, closed)


def best_response(game: Game, Z: Tensor, optimum: Riccati | None = None) -> Tensor:
    """The optimal intercept for frozen aggregates Z (..., N + 1, n, c): G (..., N, k, c). The slope is K* whatever Z."""
    r = optimum or riccati(game)
    q = -game.QT @ game.HT @ Z[..., -1, :, :]
    rows = []
    for t in range(game.intervals - 1, -1, -1):
        y = q + r.P[t + 1] @ (game.dt * game.Ab @ Z[..., t, :, :])
        rows.append(-r.gain[t] @ y)
        q = -game.dt * game.Q @ game.H @ Z[..., t, :, :] + r.closed[t].mT @ y
    return torch.stack(rows[::-1], -3)


class _Maps(NamedTuple):
    """The linear maps behind the equilibrium; time and state flattened."""

    answer: Tensor  # (N k, (N + 1) n): best response to Z
    after: Tensor  # ((N + 1) n, N n): mean to a push, under K*
    start: Tensor  # ((N + 1) n, n): mean to the initial mean
    controls: Tensor  # (N n, (N + 1) n): dt B best response


def _maps(game: Game, r: Riccati) -> _Maps:
    N, n = game.intervals, game.n
    units = torch.eye((N + 1) * n, dtype=torch.float64).reshape(N + 1, n, (N + 1) * n)
    answer = best_response(game, units, r)
    T = propagator(r.closed[None])[0]
    controls = (game.dt * game.B @ answer).flatten(0, 1)
    return _Maps(answer.flatten(0, 1), T[:, n:], T[:, :n], controls)


def nash(game: Game, players: Players) -> Equilibrium:
    """The Nash equilibrium for every row of initial means: one linear system for each mode of each graphon."""
    N, n, r = game.intervals, game.n, riccati(game)
    maps = _maps(game, r)
    pushes = maps.controls.clone()
    pushes[:, : N * n] += torch.kron(torch.eye(N, dtype=torch.float64), game.dt * game.Ab)
    mean = maps.after @ pushes  # mean to Z, through the best response and through the drift
    eye = torch.eye((N + 1) * n, dtype=torch.float64)
    modes = [
        torch.linalg.solve(eye - w[:, None, None] * mean, w[:, None, None] * maps.start)
        for w in players.values.flatten().split(MODES_AT_ONCE)
    ]
    per_start = torch.cat(modes).unflatten(0, players.values.shape)  # (g, M, (N + 1) n, n)
    start = players.into(players.start)
    z = torch.einsum("gmtn,sngm->stgm", per_start, start)
    G = torch.einsum("at,stgm->sagm", maps.answer, z).unflatten(1, (N, game.k))
    return Equilibrium(r.K[None], players.back(G), players.back(z.unflatten(1, (N + 1, n))))


def outer_rate(game: Game, values: Tensor) -> Tensor:
    """rho (g,): the spectral radius of one round of best response and population update, for eigenvalues (g, M).

    Z -> w m_w Z a mode, m_w the population's answer to G = BR(Z), which feels its own aggregate. The iteration
    converges if and only if rho < 1. Modes are taken from the largest |w| down, until none left can matter.
    """
    r = riccati(game)
    maps = _maps(game, r)
    rates = []
    for w in values:
        best, top = 0.0, float(w.abs().max())
        ceiling = _ceiling(game, r, maps, top)
        for value in sorted(w.tolist(), key=abs, reverse=True):
            if abs(value) * ceiling <= best:
                break
            T = propagator((r.closed + game.dt * game.Ab * value)[None])[0]
            round_trip = value * (T[:, game.n :] @ maps.controls)
            best = max(best, float(torch.linalg.eigvals(round_trip).abs().max()))
        rates.append(best)
    return torch.tensor(rates, dtype=torch.float64)


def _ceiling(game: Game, r: Riccati, maps: _Maps, top: float) -> float:
    """A bound on |m_w| for all |w| <= top: the largest row sum with every number replaced by its absolute value.

    Entries of products are at most those of the products of absolute values, and |closed + w dt Ab| <= |closed| + top dt |Ab|.
    """
    T = propagator((r.closed.abs() + game.dt * game.Ab.abs() * top)[None])[0]
    return float((T[:, game.n :] @ maps.controls.abs()).sum(-1).max())
