"""The study's own instances: games from settings, random starts, and the errors that are measured.

A seed owns its initial slope K0 ~ N(-1, 0.5^2) and intercepts G0 ~ N(0, 0.5^2), each time step and player on its own,
and its initial means mu0(x) = c0 + c1 sin 2 pi x + c2 cos 2 pi x with c0, c1 ~ N(1, 0.25), c2 ~ N(0, 0.25) (variances).
Graphons, methods and couplings share them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.streams import Streams
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.graphons import kernel, midpoints
from descent.papers.gmfg.oracles import Equilibrium, nash
from descent.papers.gmfg.players import Players, players_on


class Instance(NamedTuple):
    """A game, its players on one graphon or several, and its equilibrium; on the host until `to`."""

    game: Game
    players: Players
    equilibrium: Equilibrium

    def to(self, device: torch.device) -> Instance:
        return Instance(*(part.to(device) for part in self))  # pyright: ignore[reportArgumentType] (in the fields' order)

    def modes(self) -> Instance:
        """The same in the coordinates of `Players.modes`."""
        into, best = self.players.into, self.equilibrium
        return Instance(self.game, self.players.modes(), Equilibrium(best.K, into(best.G), into(best.Z)))


def game_of(params: Mapping[str, Any], **changes: Any) -> Game:
    """The scalar game of a variant's settings; an empty start variance is the noise squared."""
    p = {**params, **changes}
    names = {"intervals": p["intervals"]}
    if "tracking" in p:
        names |= {"H": p["tracking"], "HT": p["tracking"], "Ab": p["peer_drift"]}
    if "noise" in p:
        variance = p["start_variance"]
        names |= {"noise": p["noise"], "start_covariance": p["noise"] ** 2 if variance is None else variance}
    return Game.scalar(**names)


def instance(streams: Streams, seeds: Sequence[int], params: Mapping[str, Any], graphons: Sequence[str]) -> Instance:
    """The variant's game with every seed's initial means, on all `graphons`."""
    game = game_of(params)
    kernels = torch.stack([kernel(name, params["players"]) for name in graphons])
    players = players_on(kernels, initial_means(streams, seeds, params["players"]))
    return Instance(game, players, nash(game, players))


def initial_means(streams: Streams, seeds: Sequence[int], players: int) -> Tensor:
    """mu0 (S, M) at the players' places."""
    c = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64) + 0.5 * streams.normal("means", seeds, (3,))
    angle = 2 * math.pi * midpoints(players)
    return c @ torch.stack([torch.ones_like(angle), angle.sin(), angle.cos()])


def default_means(players: int) -> Tensor:
    """mu0(x) = 1 + sin 2 pi x, (1, M): the start of the oracles' numbers."""
    return (1 + torch.sin(2 * math.pi * midpoints(players)))[None]


def initial_slopes(streams: Streams, seeds: Sequence[int], intervals: int) -> Tensor:
    """K0 (S, N, 1, 1)."""
    return (-1 + 0.5 * streams.normal("slopes", seeds, (intervals,)))[..., None, None]


def initial_intercepts(streams: Streams, seeds: Sequence[int], intervals: int, players: int) -> Tensor:
    """G0 (S, N, 1, 1, M): the same for all graphons."""
    return 0.5 * streams.normal("intercepts", seeds, (intervals, players))[:, :, None, None]


def slope_norm(game: Game, K: Tensor) -> Tensor:
    """|K| = sqrt(dt sum K^2), (S,)."""
    return (game.dt * K.square().sum((1, 2, 3))).sqrt()


def players_norm(game: Game, x: Tensor) -> Tensor:
    """|G|, or |Z| over its first N points in time: sqrt(dt / M sum x^2), (S, g)."""
    return (game.dt / x.shape[-1] * x[:, : game.intervals].square().sum((1, 2, 4))).sqrt()
