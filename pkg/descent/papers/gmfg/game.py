"""The discretised game: coefficients, closed loop, mean paths and the exact cost of a player.

A player's state X in R^n follows dX = (A X + B u + Ab Z) dt + D dB with u = K_t X + G_t in R^k; the player pays
E[ int (X - H Z)' Q (X - H Z) + u' R u dt + (X_T - HT Z_T)' QT (X_T - HT Z_T) ]. N Euler steps of length dt = T / N,
the policy constant on each; everything below is exact for that discrete game, no Monte Carlo.

Axes: S seeds or other rows, N steps in time, g graphons, M players, n state, k action.
Slopes K (S, N, k, n); intercepts G (S, N, k, g, M); means mu and aggregates Z (S, N + 1, n, g, M);
covariances and costs-to-go (S, N + 1, n, n). A scalar game has n = k = 1.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.gmfg.recursions import dot, recursion_


@dataclass(frozen=True)
class Game:
    """The coefficients, in the paper's letters. `noise` and `start_covariance` may carry leading axes, one for each row.

    A (n, n), B (n, k), Ab (n, n): drift, control, pull of the aggregate. Q, QT (n, n), R (k, k): costs, symmetric.
    H, HT (n, n): what of the aggregate is tracked. noise: D (..., n, n). start_covariance: v0 (..., n, n).
    """

    A: Tensor
    B: Tensor
    Ab: Tensor
    Q: Tensor
    R: Tensor
    H: Tensor
    QT: Tensor
    HT: Tensor
    noise: Tensor
    start_covariance: Tensor
    horizon: float = 1.0
    intervals: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.intervals, int) or self.intervals < 1 or not self.horizon > 0:
            raise SettingError(
                f"Game: `intervals` must be a whole number from 1 on and `horizon` positive, got {self.intervals!r}, {self.horizon!r}"
            )
        n, k = self.B.shape[-2:] if isinstance(self.B, Tensor) and self.B.dim() > 1 else (1, 1)
        sizes = {"B": (n, k), "R": (k, k)}
        for f in fields(self):
            x = getattr(self, f.name)
            if f.name in ("horizon", "intervals"):
                continue
            if not isinstance(x, Tensor) or x.dtype != torch.float64:
                raise SettingError(
                    f"Game: `{f.name}` must be a float64 tensor (equilibria are solved in double), got {x.dtype if isinstance(x, Tensor) else x!r}"
                )
            if x.shape[-2:] != sizes.get(f.name, (n, n)):
                raise SettingError(
                    f"Game: `{f.name}` must be of shape {sizes.get(f.name, (n, n))} for B of shape {(n, k)}, got {tuple(x.shape)}"
                )

    @classmethod
    def scalar(
        cls, *, A=0.3, B=1.0, Ab=0.4, Q=1.0, R=0.5, H=0.8, QT=1.0, HT=0.8, noise=0.3, start_covariance=0.25,
        horizon=1.0, intervals=100,
    ) -> Game:  # fmt: skip
        """A game of scalar states; the defaults are the study's own instance (the paper's numbers are not known to us).

        noise and start_covariance may be (S,) tensors, one for each row.
        """
        values = {"A": A, "B": B, "Ab": Ab, "Q": Q, "R": R, "H": H, "QT": QT, "HT": HT}
        values |= {"noise": noise, "start_covariance": start_covariance}
        blocks = {name: torch.as_tensor(value, dtype=torch.float64)[..., None, None] for name, value in values.items()}
        return cls(**blocks, horizon=horizon, intervals=intervals)

    @property
    def dt(self) -> float:
        """Length of a step in time."""
        return self.horizon / self.intervals

    @property
    def n(self) -> int:
        """Dimension of the state."""
        return self.A.shape[-1]

    @property
    def k(self) -> int:
        """Dimension of the action."""
        return self.B.shape[-1]

    def to(self, device: torch.device | str) -> Game:
        """The same game with its coefficients on `device`."""
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: x.to(device) for name, x in moved.items() if isinstance(x, Tensor)})

    def closed_loop(self, K: Tensor) -> Tensor:
        """F_k = I + dt (A + B K_k), (S, N, n, n)."""
        still = torch.eye(self.n, dtype=K.dtype, device=K.device) + self.dt * self.A
        return still + dot(self.dt * self.B, K)


def on_players(blocks: Tensor, x: Tensor) -> Tensor:
    """Blocks (..., p, q) times x (S, N, q, g, M): the same matrix for every player, (S, N, p, g, M)."""
    return dot(blocks, x.flatten(-2)).unflatten(-1, x.shape[-2:])


def set_on_players(out: Tensor, blocks: Tensor, x: Tensor) -> Tensor:
    """`on_players` written into out: memory that is already there is half of what a pass costs."""
    if blocks.shape[-2:] == (1, 1):
        return torch.mul(blocks[..., None], x, out=out)
    return out.copy_(on_players(blocks, x))


def add_on_players(x: Tensor, blocks: Tensor, y: Tensor) -> Tensor:
    """x + on_players(blocks, y), written into x: one pass over scalars."""
    return x.addcmul_(blocks[..., None], y) if blocks.shape[-2:] == (1, 1) else x.add_(on_players(blocks, y))


def mean_path(game: Game, K: Tensor, G: Tensor, Z: Tensor, start: Tensor) -> Tensor:
    """mu (S, N + 1, n, g, M) under the policy, Z frozen; start: the means mu0 (S, n, g, M)."""
    mu = G.new_empty(len(G), game.intervals + 1, *start.shape[1:])
    mu[:, 0] = start
    add_on_players(set_on_players(mu[:, 1:], game.dt * game.B, G), game.dt * game.Ab, Z[:, :-1])
    recursion_(game.closed_loop(K), mu.flatten(-2))
    return mu


def cost(game: Game, K: Tensor, G: Tensor, Z: Tensor, start: Tensor, covariance: Tensor) -> Tensor:
    """J of every player, (S, g, M), for frozen aggregates Z; covariance (S, N + 1, n, n) as from `slope.covariance`."""
    mu = mean_path(game, K, G, Z, start)
    gap, last = mu[:, :-1] - on_players(game.H, Z[:, :-1]), mu[:, -1:] - on_players(game.HT, Z[:, -1:])
    action = on_players(K, mu[:, :-1]) + G
    running = (gap * on_players(game.Q, gap)).sum((1, 2)) + (action * on_players(game.R, action)).sum((1, 2))
    terminal = (last * on_players(game.QT, last)).sum((1, 2))
    weight = game.dt * (game.Q + dot(K.mT, dot(game.R, K)))  # the price of a unit of covariance
    spread = (weight * covariance[:, :-1]).sum((1, 2, 3)) + (game.QT * covariance[:, -1]).sum((1, 2))
    return game.dt * running + terminal + spread[:, None, None]
