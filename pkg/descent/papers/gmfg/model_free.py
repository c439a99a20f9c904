"""The model-free version: gradients and population from simulated runs alone (our choice of estimator).

Two-point zeroth order with common random numbers: for a perturbation e of the policy, with one normal a step in time,
(J(policy + s e) - J(policy - s e)) / (2 s) times e, averaged over runs and divided by dt, estimates the functional
gradient. The slope's runs are of dY = (A + B K) Y dt + D dW, Y_0 ~ N(0, v0), which two runs of one player give as
(X - X') / sqrt 2. Random numbers are a function of (seed, iteration, player), made on the device (descent.toolbox.counter).

Axes: V noise levels (sharing their random numbers), S seeds, m players of a chunk, N steps in time, p runs a player.
Particles (V, S, m, p, n, 1); K (V, S, N, k, n); G (V, S, N, k, M); Z (V, S, N + 1, n, M).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Nothing, Unseeded
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.naive_slope import inverse
from descent.papers.gmfg.recursions import dot
from descent.papers.gmfg.settings import SETTINGS
from descent.toolbox.capture import captured
from descent.toolbox.counter import normals, subkey

Policy = Callable[[int, Tensor], Tensor]  # (step in time, particles) -> actions

SLOPE, INTERCEPT, POPULATION = range(3)  # labels of the random numbers' keys
POLICY, NOISE, START = range(3)


class Sampled(NamedTuple):
    """The state: policies and estimated aggregates."""

    K: Tensor  # (V, S, N, k, n)
    G: Tensor  # (V, S, N, k, M)
    Z: Tensor  # (V, S, N + 1, n, M)


class World(NamedTuple):
    """What is simulated. Nothing but the simulator reads the coefficients."""

    game: Game  # its noise is D of every level, (V, 1, 1, 1, n, n)
    root: Tensor  # (V, 1, 1, 1, n, n) with root root' = v0
    kernel: Tensor  # (M, M), divided by M
    start: Tensor  # (S, n, M) initial means
    players: Tensor  # (M,) 0 .. M - 1


def world(game: Game, kernel: Tensor, start: Tensor) -> World:
    """kernel (M, M); start (S, n, M); the game's noise (V, n, n), a matrix a level, its v0 the same or (n, n)."""
    noise = game.noise.reshape(-1, 1, 1, 1, game.n, game.n)
    root = torch.linalg.cholesky(game.start_covariance).reshape(-1, 1, 1, 1, game.n, game.n).expand_as(noise)
    return World(replace(game, noise=noise), root, kernel, start, torch.arange(len(kernel)))


def on_device(w: World, device: torch.device) -> World:
    return World(w.game.to(device), *(x.to(device) for x in w[1:]))


def sampled(
    w: World, *, particles: int = 64, slope_steps: int = 20, intercept_steps: int = 20, slope_step_size: float = 0.15,
    intercept_step_size: float = 0.3, radius: float = 0.1, chunk: int = 0,
) -> Unseeded[Sampled, Tensor, Nothing]:  # fmt: skip
    """init(K, G, Z); step(state, keys): one outer iteration; keys (S,) int64, the iteration's own, one a seed.

    The intercepts' step size is halved, divided by three, ... every ten steps of an iteration.
    Raises SettingError for a setting outside its limits.
    """
    check(
        "sampled", SETTINGS, particles=particles, slope_steps=slope_steps, intercept_steps=intercept_steps,
        slope_step_size=slope_step_size, intercept_step_size=intercept_step_size, radius=radius, chunk=chunk,
    )  # fmt: skip
    sizes = [intercept_step_size / (1 + i // 10) for i in range(intercept_steps)]
    falling = torch.tensor(sizes, dtype=torch.float64).to(w.kernel.device)
    chunks = w.players.split(chunk or len(w.players))

    @captured
    def slope_step(K: Tensor, keys: Tensor) -> Tensor:
        estimate, spread = slope_estimate(w, K, keys, particles, radius, chunks)
        return K - slope_step_size * dot(estimate, inverse(spread))

    @captured
    def intercept_step(K: Tensor, G: Tensor, Z: Tensor, keys: Tensor, size: Tensor) -> Tensor:
        return G - size * intercept_estimate(w, K, G, Z, keys, particles, radius, chunks)

    @captured
    def population_step(K: Tensor, G: Tensor, keys: Tensor) -> Tensor:
        return simulated_population(w, K, G, keys, particles)

    def step(state: Sampled, noise: Tensor) -> tuple[Sampled, Nothing]:
        K, G, Z = state
        for i in range(slope_steps):
            K = slope_step(K, subkey(noise, SLOPE, i))
        for i in range(intercept_steps):
            G = intercept_step(K, G, Z, subkey(noise, INTERCEPT, i), falling[i])
        return Sampled(K, G, population_step(K, G, subkey(noise, POPULATION))), Nothing()

    def drawing(streams: Streams, seeds: Sequence[int]) -> Callable[[int, int], Tensor]:
        return lambda k, count: keys(streams, seeds, k)[None]

    return Unseeded(Sampled, step, None, drawing)


def keys(streams: Streams, seeds: Sequence[int], k: int | str) -> Tensor:
    """(S,) int64: the keys of iteration k (a block of its own), or of the start, one a seed."""
    return torch.tensor([streams.entropy("runs", seed, k) % 2**63 for seed in seeds])


def slope_estimate(
    w: World, K: Tensor, keys: Tensor, particles: int, radius: float, chunks: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """The estimated plain gradient (V, S, N, k, n), and the sample covariance of Y (V, S, N, n, n) to precondition it."""
    game = w.game
    total, spread = 0.0, 0.0
    for players in chunks:
        key = subkey(keys[:, None], players)  # (S, m)
        e = _drawn(key, POLICY, (game.intervals, particles, game.k, game.n))  # (S, m, N, p, k, n)
        xi, start = _noise(w, key, particles), _start(w, key, particles)

        def perturbed(shift: float, e: Tensor = e) -> Policy:
            return lambda t, y: dot(K[:, :, t, None, None] + shift * e[:, :, t], y)

        change = (_cost(game, start, xi, perturbed(radius)) - _cost(game, start, xi, perturbed(-radius))) / (2 * radius)
        total = total + torch.einsum("vsmp,smtpkn->vstkn", change, e)
        spread = spread + _second_moments(game, K, start, xi)
    runs = len(w.players) * particles
    return total / (runs * game.dt), spread / runs  # pyright: ignore[reportReturnType] (a chunk has been added)


def intercept_estimate(
    w: World, K: Tensor, G: Tensor, Z: Tensor, keys: Tensor, particles: int, radius: float, chunks: Sequence[Tensor]
) -> Tensor:
    """The estimated intercept gradient of every player, (V, S, N, k, M), for frozen Z."""
    game = w.game
    estimates, first = [], 0
    for players in chunks:
        own = slice(first, first + len(players))
        key = subkey(keys[:, None], players)
        e = _drawn(key, POLICY, (game.intervals, particles, game.k, 1))
        xi, start = _noise(w, key, particles), _means(w.start[..., own]) + _start(w, key, particles)
        g, z = _by_player(G[..., own]), _by_player(Z[..., own])  # (V, S, m, N, 1, k, 1)

        def perturbed(shift: float, e: Tensor = e, g: Tensor = g) -> Policy:
            return lambda t, x: dot(K[:, :, t, None, None], x) + (g[:, :, :, t] + shift * e[:, :, t])

        ahead, behind = (_cost(game, start, xi, perturbed(shift), z) for shift in (radius, -radius))
        change = (ahead - behind) / (2 * radius)  # (V, S, m, p)
        estimates.append(torch.einsum("vsmp,smtpk->vstkm", change, e[..., 0]))
        first += len(players)
    return torch.cat(estimates, -1) / (particles * game.dt)


def simulated_population(w: World, K: Tensor, G: Tensor, keys: Tensor, particles: int) -> Tensor:
    """Z (V, S, N + 1, n, M) from `particles` runs a player, whose sample means make the aggregate as they go."""
    game = w.game
    key = subkey(keys[:, None], w.players)
    x = _means(w.start) + _start(w, key, particles)
    aggregates = []
    for t in range(game.intervals):
        aggregates.append(_averaged(w, x))  # (V, S, n, M)
        action = dot(K[:, :, t, None, None], x) + _means(G[:, :, t])
        xi = _drawn(subkey(key, NOISE), t, (particles, game.n, 1))
        x = _moved(game, x, action, xi, _means(aggregates[-1]))
    return torch.stack([*aggregates, _averaged(w, x)], 2)


def _cost(game: Game, x: Tensor, xi: Tensor, policy: Policy, z: Tensor | None = None) -> Tensor:
    """Cost (V, S, m, p) of runs from x that act by policy(t, x); aggregates z (V, S, m, N + 1, 1, n, 1), none: zero."""
    total = 0.0
    for t in range(game.intervals):
        here = None if z is None else z[:, :, :, t]
        action = policy(t, x)
        gap = x if here is None else x - dot(game.H, here)
        total = total + game.dt * (_quadratic(game.Q, gap) + _quadratic(game.R, action))
        x = _moved(game, x, action, xi[:, :, t], here)
    return total + _quadratic(game.QT, x if z is None else x - dot(game.HT, z[:, :, :, -1]))


def _moved(game: Game, x: Tensor, action: Tensor, xi: Tensor, z: Tensor | None = None) -> Tensor:
    """One Euler step."""
    drift = dot(game.A, x) + dot(game.B, action)
    if z is not None:
        drift = drift + dot(game.Ab, z)
    return x + game.dt * drift + dot(math.sqrt(game.dt) * game.noise, xi)


def _second_moments(game: Game, K: Tensor, y: Tensor, xi: Tensor) -> Tensor:
    """Sum over runs of Y Y' at every step, (V, S, N, n, n), under the unperturbed slope."""
    moments = []
    for t in range(game.intervals):
        moments.append(torch.einsum("vsmpi,vsmpj->vsij", y[..., 0], y[..., 0]))
        y = _moved(game, y, dot(K[:, :, t, None, None], y), xi[:, :, t])
    return torch.stack(moments, 2)


def _quadratic(block: Tensor, x: Tensor) -> Tensor:
    """x' block x over (..., n, 1)."""
    return (x * dot(block, x)).sum((-2, -1)) if x.shape[-2] > 1 else (x * x * block)[..., 0, 0]


def _averaged(w: World, x: Tensor) -> Tensor:
    """Z (V, S, n, M): each player's neighbours' sample means."""
    return x.mean(3)[..., 0].movedim(-1, -2) @ w.kernel


def _means(x: Tensor) -> Tensor:
    """(..., n, M) -> (..., M, 1, n, 1), to stand beside particles."""
    return x.movedim(-1, -2)[..., None, :, None]


def _by_player(x: Tensor) -> Tensor:
    """(V, S, N, k, m) -> (V, S, m, N, 1, k, 1)."""
    return x.movedim(-1, 2)[..., None, :, None]


def _drawn(key: Tensor, label: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normals (*key.shape, *shape)."""
    return normals(subkey(key, label), math.prod(shape), torch.float64).unflatten(-1, shape)


def _noise(w: World, key: Tensor, particles: int) -> Tensor:
    """The Brownian increments over sqrt(dt), (S, m, N, p, n, 1), shared by the noise levels."""
    return _drawn(key, NOISE, (w.game.intervals, particles, w.game.n, 1))


def _start(w: World, key: Tensor, particles: int) -> Tensor:
    """(V, S, m, p, n, 1) ~ N(0, v0)."""
    return dot(w.root, _drawn(key, START, (particles, w.game.n, 1)))
