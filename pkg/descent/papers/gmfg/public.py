"""`solve`: the Nash equilibrium of one's own linear-quadratic graphon game, by the paper's policy gradient, a baseline, or simulated runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.gmfg.exact_response import damped, picard
from descent.papers.gmfg.game import Game
from descent.papers.gmfg.graphons import kernel, midpoints
from descent.papers.gmfg.model_free import keys, on_device, sampled, simulated_population, world
from descent.papers.gmfg.naive_slope import naive
from descent.papers.gmfg.oracles import outer_rate
from descent.papers.gmfg.players import Players, players_on, population
from descent.papers.gmfg.policy_gradient import pg, single, unscaled, vanilla
from descent.papers.gmfg.regret import exploitability
from descent.papers.gmfg.settings import PUBLIC

METHODS = {
    "pg": pg,
    "vanilla": vanilla,
    "unscaled": unscaled,
    "single": single,
    "picard": picard,
    "damped": damped,
    "naive": naive,
}
BOTH = ("slope_step_size", "intercept_step_size")


class Equilibrium(NamedTuple):
    """What `solve` gives: the policy u = K_t x + G_t of every player, and the aggregates that it makes.

    K (N, k, n), G (N, k, M), Z (N + 1, n, M); with several seeds a leading axis of seeds. exploitability (steps + 1,), [seeds]
    trailing: what a player could still save by deviating alone, the mean over players, at the start and after every update.
    rate: the factor of an exact update near the equilibrium; from 1 on the updates diverge. history: metric -> like
    exploitability: "exploitability", and "change", how far Z moved (root mean square; 0 at the start). diverged: something is not finite.
    """

    K: Tensor
    G: Tensor
    Z: Tensor
    exploitability: Tensor
    rate: float
    history: dict[str, Tensor]
    diverged: Tensor


def solve(
    game: Game,
    graphon: str | Callable[[Tensor, Tensor], Tensor] | Tensor,
    *,
    players: int,
    start: Callable[[Tensor], Tensor] | Tensor,
    steps: int,
    lr: float | None = None,
    inner: int | None = None,
    method: str = "pg",
    particles: int = 64,
    seed: int | Sequence[int] = 0,
    dtype: torch.dtype | None = None,
    device: str | torch.device = "cpu",
    callback: Callable[[int, dict[str, Tensor]], Any] | None = None,
) -> Equilibrium:
    """From zero policies, `steps` population updates, each after `inner` steps of slope and of intercepts.

    graphon: W(x, y) of places in [0, 1]; or the symmetric (M, M) matrix W(x_i, x_j); or a name of the study's. players: M.
    start: the players' initial means, x (M,) -> (M,) or (n, M), or that tensor.
    lr: of slope and intercepts alike; a little below 1 / (2 R) is fast, from 1 / R on it diverges. inner: steps before an update.
    method: "pg", the paper's; "single", an update after every gradient step; "picard" and "damped", exact best responses (no lr);
    "vanilla", "unscaled", "naive", the study's other baselines; "sampled", gradients from `particles` simulated runs a player and no
    look at the coefficients: the only one that draws, and that takes several seeds.
    dtype: of the result, by default that of `start` or the matrix, or torch's: the work is done in float64 whatever it is.
    callback(step, metrics) after every update; `raise StopIteration` there stops. Raises SettingError for what cannot be.
    """
    check("solve", PUBLIC, players=players, steps=steps, lr=lr, inner=inner, method=method, particles=particles)
    if not isinstance(game, Game):
        raise SettingError(f"solve: `game` must be a Game (Game.scalar(A=..., ...) for scalar states), got {game!r}")
    if method in ("picard", "damped") and (lr is not None or inner is not None):
        raise SettingError(f"solve: `{method}` answers exactly: it takes no `lr` and no `inner`")
    if method == "single" and inner is not None:
        raise SettingError("solve: `single` does one step before each update: it takes no `inner`")
    alone = isinstance(seed, int)
    seeds = (seed,) if alone else tuple(seed) if isinstance(seed, Sequence) else ()
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds):
        raise SettingError(f"solve: `seed` must be a whole number or a sequence of them, got {seed!r}")
    if method != "sampled" and not alone:
        raise SettingError(f"solve: `{method}` draws nothing, so `seed` must be one number, got {seed!r}")
    own = next(
        (x.dtype for x in (start, graphon) if isinstance(x, Tensor) and x.is_floating_point()),
        torch.get_default_dtype(),
    )
    dtype = own if dtype is None else dtype
    if dtype not in (torch.float32, torch.float64):
        raise SettingError(f"solve: `dtype` must be torch.float32 or torch.float64, got {dtype}")
    means = _means(game, start, players)
    host = players_on(kernel(graphon, players), means)
    rate = float(outer_rate(game, host.values)[0])
    game, whole = game.to(device), host.to(device)
    crowd = whole if method == "sampled" else whole.modes()  # simulated players are themselves
    advance, policy = (_sampling if method == "sampled" else _exact)(game, crowd, method, lr, inner, particles, seeds)
    gain = exploitability(game)
    rows = crowd.start.expand(len(seeds), -1, -1, -1)

    def seen(before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> dict[str, Tensor]:
        K, G = after[:2]
        Z = population(game, crowd._replace(start=rows), K, G)
        return {
            "exploitability": gain(K, G, Z, rows)[:, 0].to(dtype),
            "change": (after[2] - before[2]).square().mean((1, 2, 3, 4)).sqrt().to(dtype),
        }

    with torch.no_grad():
        history = [seen(policy, policy)]
        for k in range(steps):
            before, policy = policy, advance(k, policy)
            history.append(seen(before, policy))
            try:
                if callback is not None:
                    callback(k + 1, {name: x[0] if alone else x for name, x in history[-1].items()})
            except StopIteration:
                break
    table = {name: torch.stack([row[name] for row in history]) for name in history[0]}
    G, Z = policy[1:] if method == "sampled" else map(whole.back, policy[1:])
    K, G, Z = (x.to(dtype) for x in (policy[0], G[..., 0, :], Z[..., 0, :]))
    diverged = ~(K.flatten(1).isfinite().all(1) & G.flatten(1).isfinite().all(1) & Z.flatten(1).isfinite().all(1))
    if alone:
        table, K, G, Z, diverged = {name: x[:, 0] for name, x in table.items()}, K[0], G[0], Z[0], diverged[0]
    return Equilibrium(K, G, Z, table["exploitability"], rate, table, diverged)


def _exact(
    game: Game, crowd: Players, method: str, lr: float | None, inner: int | None, particles: int, seeds: Sequence[int]
):
    """(advance(k, policy), first policy) of a method that knows the coefficients; a policy is (K, G, Z)."""
    settings: dict[str, Any] = {}
    if lr is not None:
        settings |= {"euclidean_step_size": lr} if method == "unscaled" else dict.fromkeys(BOTH, lr)
    if inner is not None:
        settings |= {"slope_steps": inner, "intercept_steps": inner}
    chosen = METHODS[method](game, crowd, **settings)
    K, G = _zeros(game, len(crowd.kernel[0]), 1)
    return lambda k, policy: chosen.update(policy), chosen.init(K, G)


def _sampling(
    game: Game, crowd: Players, method: str, lr: float | None, inner: int | None, particles: int, seeds: Sequence[int]
):
    """The same of the model-free version, one level of noise."""
    settings: dict[str, Any] = {} if lr is None else dict.fromkeys(BOTH, lr)
    if inner is not None:
        settings |= {"slope_steps": inner, "intercept_steps": inner}
    streams, device = Streams("gmfg"), crowd.kernel.device
    start = crowd.start[..., 0, :].expand(len(seeds), -1, -1).to("cpu")
    simulated = on_device(world(game.to("cpu"), crowd.kernel[0].to("cpu"), start), device)
    chosen = sampled(simulated, particles=particles, **settings).seeded(streams, seeds)
    K, G = (x[None] for x in _zeros(game, len(crowd.kernel[0]), len(seeds)))
    G = G[..., 0, :]
    Z = simulated_population(simulated, K, G, keys(streams, seeds, "start").to(device), particles)
    state = [chosen.init(K, G, Z)]

    def advance(k: int, _policy: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        state[0] = chosen.update(state[0], chosen.draw(k, 1)[0].to(device))  # pyright: ignore[reportOptionalCall] (a seeded method draws)
        return opened(state[0])

    def opened(s: Any) -> tuple[Tensor, ...]:
        return s.K[0], s.G[0][..., None, :], s.Z[0][..., None, :]

    return advance, opened(state[0])


def _zeros(game: Game, players: int, rows: int) -> tuple[Tensor, Tensor]:
    like, N = game.A, game.intervals
    return like.new_zeros(rows, N, game.k, game.n), like.new_zeros(rows, N, game.k, 1, players)


def _means(game: Game, start: Any, players: int) -> Tensor:
    """mu0 (1, n, M) float64 on the host."""
    found = start(midpoints(players)) if callable(start) and not isinstance(start, Tensor) else start
    if not isinstance(found, Tensor):
        raise SettingError(
            f"solve: `start` must be a function of the players' places that gives a tensor, or a tensor, got {found!r}"
        )
    found = found.detach().to("cpu", torch.float64)
    found = found.expand(game.n, players) if found.shape in ((), (players,)) and game.n == 1 else found
    if found.shape != (game.n, players) or not found.isfinite().all():
        want = f"({players},) or (1, {players})" if game.n == 1 else f"({game.n}, {players})"
        raise SettingError(f"solve: `start` must give finite means of shape {want}, got {tuple(found.shape)}")
    return found[None]
