"""RPG and its baselines on an environment of one's own: `train`. Gymnasium's vector protocol is all that it needs.

A thin surface over the same `behaviour` and `learn` that the study runs; limits are those of settings.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from descent.core.errors import SettingError, listed, nearest
from descent.core.method import Acting
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.rpg.control import METHODS
from descent.papers.rpg.environments import SEEDS, maker, rollout, spaces
from descent.papers.rpg.linear import LinearGaussian
from descent.papers.rpg.method import Draw, Schedule
from descent.papers.rpg.modules import ModuleGaussian
from descent.papers.rpg.settings import SETTINGS

REUSING = ("rpg", "mis", "bh")


class Trained(NamedTuple):
    """What `train` returns; with several seeds they lead.

    parameters: (A, d_s) of a linear policy, (P,) of a module, flattened. history, each (updates,) or (updates, S):
    "mean_return" and "mean_length" of the update's fresh trajectories, "trajectories" collected so far. A seed whose budget is
    spent earlier repeats its last row. diverged: whether the parameters left the finite range; it is never raised.
    """

    parameters: Tensor
    history: dict[str, Tensor]
    diverged: Tensor
    template: nn.Module

    def module(self, index: int = 0) -> nn.Module:
        """The policy's mean as a module of its own, of the seed in this place."""
        rows = self.parameters if self.diverged.ndim else self.parameters[None]
        module, flat, first = copy.deepcopy(self.template), rows[index].flatten(), 0
        with torch.no_grad():
            for part in module.parameters():
                if part.requires_grad:
                    part.copy_(flat[first : first + part.numel()].view_as(part))
                    first += part.numel()
        return module


def train(
    make_env: Callable[..., Any],
    *,
    horizon: int,
    budget: int,
    policy: nn.Module | None = None,
    batch: int = 10,
    window: int = 8,
    std: float = 0.3,
    lr: float = 0.01,
    discount: float = 1.0,
    method: str = "rpg",
    seed: int | Sequence[int] = 0,
    callback: Callable[[int, dict[str, Tensor]], Any] | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Trained:
    """Train a Gaussian policy of fixed standard deviation `std` on an environment with continuous actions.

    make_env(n) -> a vector environment of n (Gymnasium's protocol), one for each seed, or make_env() -> a single one. policy:
    observations (n, ...) -> mean actions (n, A), trained from the parameters it has; without it a linear mean from 0, without bias.
    horizon: the longest episode; budget: trajectories a seed; batch: fresh ones an update (on average, for methods with
    snapshots); window: batches in use, of rpg, mis and bh. method: rpg, its ablations mis and bh, or gpomdp, svrpg, srvrpg, storm,
    page, def, with the proportions that the study gives them. seed: several give a leading axis, each row equal to its single run.
    dtype: of a linear policy, torch's default if empty; a module keeps its own, and its device. callback(update, metrics) after every update;
    raising StopIteration in it ends the run there. An episode ends when it is terminated or truncated, and what a truncated one might still
    earn is not estimated. Actions reach the environment unclipped. Raises SettingError before anything is sampled.
    """
    owner = "train"
    seeds = _checked(owner, horizon, budget, batch, window, std, lr, discount, method, seed, dtype)
    make = maker(make_env, owner)
    worlds = Worlds(make, len(seeds))
    shape, (actions,) = spaces(worlds.of(0, _settings(method, batch, window)[1]), owner)
    if policy is None:
        dtype = dtype or torch.get_default_dtype()
        size = int(np.prod(shape))
        gaussian: Any = LinearGaussian(size, actions, variance=std**2, device=device, dtype=dtype)
        start, template = torch.zeros(actions * size, dtype=dtype, device=device), _linear(size, actions, dtype)
    elif isinstance(policy, nn.Module):
        gaussian = ModuleGaussian(policy, shape, actions, variance=std**2, owner=owner)
        start, template = gaussian.start(), gaussian.module
    else:
        raise SettingError(f"{owner}: `policy` must be an nn.Module or empty, got {type(policy).__name__}")
    built = METHODS[method](gaussian, step_size=lr, **_settings(method, batch, window)[0])
    state, history = _run(
        built, gaussian, worlds, seeds, start, budget, horizon, discount, callback, not isinstance(seed, int)
    )
    theta = state.theta if policy is not None else state.theta.unflatten(1, (actions, -1))
    diverged = ~state.theta.isfinite().all(-1)
    if isinstance(seed, int):
        return Trained(theta[0], history, diverged[0], template)
    return Trained(theta, history, diverged, template)


class Worlds:
    """The vector environments of each seed, by their size."""

    def __init__(self, make: Callable[[int], Any], seeds: int):
        self._make, self._made = make, [{} for _ in range(seeds)]

    def of(self, place: int, count: int) -> Any:
        """The environment of `count` for the seed in this place. Raises SettingError."""
        if count not in self._made[place]:
            made = self._make(count)
            if getattr(made, "num_envs", None) != count:
                raise SettingError(
                    f"train: `make_env` must give a vector environment with `num_envs` {count} when asked for {count}, got "
                    f"{getattr(made, 'num_envs', 'none')}"
                )
            self._made[place][count] = made
        return self._made[place][count]


def _run(
    method: Acting, policy: Any, worlds: Worlds, seeds: tuple[int, ...], start: Tensor, budget: int, horizon: int, discount: float,
    callback: Callable[[int, dict[str, Tensor]], Any] | None, several: bool,
) -> tuple[Any, dict[str, Tensor]]:  # fmt: skip
    """The loop: sample, learn, report."""
    streams = Streams("rpg")
    schedule: Schedule = method.schedule(budget, seeds, lambda s: streams.numpy("schedule", s))
    state = method.init(start.expand(len(seeds), -1).clone())
    latest = {name: torch.zeros(len(seeds), dtype=start.dtype, device=start.device) for name in ("return", "length")}
    history: dict[str, list[Tensor]] = {"mean_return": [], "mean_length": [], "trajectories": []}
    with torch.no_grad(), suppress(StopIteration):
        for k in range(len(schedule.sizes)):
            for snapshot, count, members in schedule.parts(k):
                rows = None if len(members) == len(seeds) else torch.from_numpy(members).to(start.device)
                draw = Draw(snapshot, count, len(members), rows)
                own = [seeds[place] for place in members]
                normals = [
                    torch.from_numpy(
                        streams.numpy("public", s, k).standard_normal((horizon, policy.action_size, count))
                    )
                    for s in own
                ]
                tr = rollout(
                    [worlds.of(place, count) for place in members.tolist()],
                    [int(streams.numpy("environment", s, k).integers(SEEDS)) for s in own],
                    policy.controller(method.behaviour(state, draw).flatten(0, 1)),
                    torch.cat(normals, -1).to(start),
                    discount,
                )
                by_seed = (draw.size, draw.batch)
                state = method.learn(state, draw, tr, k + 1)
                fresh = tr.returns().unflatten(0, by_seed).mean(-1)
                latest["return"] = draw.put(latest["return"], fresh)
                latest["length"] = draw.put(latest["length"], tr.alive.sum(0).unflatten(0, by_seed).mean(-1))
            row = {
                "mean_return": latest["return"],
                "mean_length": latest["length"],
                "trajectories": torch.from_numpy(schedule.collected[k].copy()),
            }
            row = row if several else {name: value[0] for name, value in row.items()}
            for name, value in row.items():
                history[name].append(value)
            if callback is not None:
                callback(k + 1, row)
    return state, {name: torch.stack(values) for name, values in history.items()}


def _settings(method: str, batch: int, window: int) -> tuple[dict[str, int], int]:
    """What the method's builder takes, and how many trajectories its first update draws."""
    if method in REUSING:
        return {"window": window, "batch": batch}, batch
    if method == "gpomdp":
        return {"batch": batch}, batch
    large, small = (5 * batch // 2, batch) if method == "storm" else (11 * batch // 2, max(1, batch // 2))
    return {"snapshot_batch": max(1, large), "mini_batch": small}, max(1, large)


def _checked(owner, horizon, budget, batch, window, std, lr, discount, method, seed, dtype) -> tuple[int, ...]:
    """The seeds, after everything that can be refused without an environment has been."""
    if method not in METHODS:
        raise SettingError(f"{owner}: `method` must be {listed(METHODS)}, got {method!r}{nearest(method, METHODS)}")
    if isinstance(std, bool) or not isinstance(std, (int, float)) or not 0 < std <= 10:
        raise SettingError(f"{owner}: `std` must lie in (0, 10], got {std!r}")
    try:
        check(
            owner, SETTINGS, horizon=horizon, budget=budget, batch=batch, window=window, step_size=lr, discount=discount
        )
    except SettingError as error:
        raise SettingError(str(error).replace("`step_size`", "`lr`")) from None
    seeds = (seed,) if isinstance(seed, int) else tuple(seed) if isinstance(seed, Sequence) else ()
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) for s in seeds) or isinstance(seed, bool):
        raise SettingError(f"{owner}: `seed` must be a whole number or several of them, got {seed!r}")
    if dtype not in (None, torch.float32, torch.float64):
        raise SettingError(f"{owner}: `dtype` must be torch.float32 or torch.float64, got {dtype}")
    return seeds


def _linear(size: int, actions: int, dtype: torch.dtype) -> nn.Linear:
    """The linear policy as a module; nothing is drawn for it."""
    module = nn.Linear(size, actions, bias=False, dtype=dtype, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        module.weight.zero_()
    return module
