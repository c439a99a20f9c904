"""Methods in lock step: one rollout an update for the trajectories of every method and seed.

A rollout of a few thousand rows costs hardly more than one of a few, because time steps are many and small. So all rows
of all methods act at once, and each method then learns from its own. A row's random numbers are keyed by its seed and by
the number of its trajectory in that seed's run: all methods meet the same ones, which pairs them and draws them once, and
they do not depend on what else is in the batch. A method whose budget is spent drops out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.method import Acting
from descent.papers.rpg.method import Draw, Policy, Schedule
from descent.papers.rpg.problem import Problem


class Entry(NamedTuple):
    """One method with its seeds. start (S, d): theta_0 on the host."""

    name: str
    method: Acting
    seeds: tuple[int, ...]
    budget: int
    start: Tensor


class Curves(NamedTuple):
    """What became of one entry, by update and seed; row u is after update u + 1."""

    schedule: Schedule
    values: Mapping[str, np.ndarray]  # metric -> (U, S); a seed's rows after its last update repeat it
    theta: np.ndarray  # (S, d) at the end


class Update(NamedTuple):
    """One update's share of the noise; tensors have the leading axis of `iterate`, of length 1."""

    number: int  # from 1
    normals: Tensor  # (1, T, A, R)
    start: Tensor  # (1, d, R) uniform
    draws: tuple[tuple[Draw, ...], ...]  # of each entry


def ascend(
    context: Context,
    problem: Problem,
    policy: Policy,
    entries: Sequence[Entry],
    *,
    block: int = 50,
    name: str = "ascend",
    watch: Any = None,
) -> dict[str, Curves]:
    """Run every entry until its budget of trajectories is spent; entry name -> Curves.

    block: trajectories whose random numbers a seed draws at once. watch(theta (rows, d)) -> {metric: (rows,)}, taken after
    every update beside `mean_return`, the mean return of the fresh trajectories (NaN where theta is not finite).
    """
    schedules = [e.method.schedule(e.budget, e.seeds, lambda s: context.streams.numpy("schedule", s)) for e in entries]
    updates = max(len(schedule.sizes) for schedule in schedules)
    noise = Noise(context, problem, entries, schedules, block)

    def step(state: dict[str, tuple], update: Update) -> dict[str, tuple]:
        return one_update(problem, policy, entries, state, update)

    def measure(state: dict[str, tuple]) -> dict[str, Tensor]:
        found = {"mean_return": torch.cat([state[e.name][1] for e in entries])}
        return found | (watch(torch.cat([state[e.name][0].theta for e in entries])) if watch else {})

    start = {}
    for e in entries:
        theta = e.start.to(context.device)
        start[e.name] = (e.method.init(theta), torch.zeros_like(theta[:, 0]))
    state, trace = iterate(
        context, name, start, step, steps=updates, block=1, draw=noise.draw, measure=measure, at=range(1, updates + 1)
    )
    return _curves(entries, schedules, state, trace)


def one_update(
    problem: Problem, policy: Policy, entries: Sequence[Entry], state: dict[str, tuple], update: Update
) -> dict[str, tuple]:
    """Sample for all entries at once, then let each learn. state: entry name -> (method's state, (S,) mean return)."""
    asked = [
        (e, draw, e.method.behaviour(state[e.name][0], draw))
        for e, draws in zip(entries, update.draws, strict=True)
        for draw in draws
    ]
    rows = torch.cat([theta.flatten(0, 1) for _, _, theta in asked])
    tr = problem.rollout(policy.controller(rows), update.normals, update.start)
    state, first = dict(state), 0
    for e, draw, theta in asked:
        inner, returns = state[e.name]
        own = tr.columns(first, first + draw.size * draw.batch)
        first += draw.size * draw.batch
        fresh = own.returns().unflatten(0, (draw.size, draw.batch)).mean(-1)
        fresh = torch.where(theta.isfinite().flatten(1).all(-1), fresh, torch.nan)  # a broken policy has no return
        state[e.name] = (e.method.learn(inner, draw, own, update.number), draw.put(returns, fresh))
    return state


class Noise:
    """The random numbers of an update, on the host, in the order of its rows: entry, draw, seed, trajectory.

    The j-th trajectory of a seed has the same numbers under every method. They are drawn in blocks of trajectories, each a
    stream of its own; blocks that methods still need are kept, up to `KEPT` bytes, and drawn again where they are not.
    """

    KEPT = 2**26

    def __init__(
        self, context: Context, problem: Problem, entries: Sequence[Entry], schedules: Sequence[Schedule], block: int
    ):
        self.streams, self.problem, self.block = context.streams, problem, block
        self.entries = list(zip(entries, schedules, strict=True))
        self.before = [schedule.collected - schedule.sizes for schedule in schedules]
        self._blocks: OrderedDict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._most = max(8, self.KEPT // (8 * block * problem.horizon * problem.action_size))

    def draw(self, k: int, count: int) -> Update:
        """For `iterate` with blocks of one update."""
        p = self.problem
        plans = [schedule.parts(k) for _, schedule in self.entries]
        rows = sum(n * len(seeds) for plan in plans for _, n, seeds in plan)
        normals, start = np.empty((p.horizon, p.action_size, rows)), np.empty((p.state_size, rows))
        first, made = 0, {}
        for (entry, _), before, plan in zip(self.entries, self.before, plans, strict=True):
            for _, n, seeds in plan:
                end = first + n * len(seeds)
                wanted = tuple((entry.seeds[s], int(before[k, s])) for s in seeds)
                if (n, wanted) in made:  # another method has just had the very same trajectories
                    at = made[n, wanted]
                    normals[..., first:end] = normals[..., at : at + end - first]
                    start[:, first:end] = start[:, at : at + end - first]
                else:
                    for i, (seed, at) in enumerate(wanted):
                        self._copy(seed, at, n, normals, start, first + i * n)
                made[n, wanted], first = first, end
        draws = tuple(
            tuple(_as_draw(entry, *part) for part in plan) for (entry, _), plan in zip(self.entries, plans, strict=True)
        )
        return Update(k + 1, torch.from_numpy(normals)[None], torch.from_numpy(start)[None], draws)

    def _copy(self, seed: int, at: int, n: int, normals: np.ndarray, start: np.ndarray, first: int) -> None:
        """Trajectories at .. at + n - 1 of the seed to the rows from `first` on."""
        while n > 0:
            block, within = divmod(at, self.block)
            many = min(n, self.block - within)
            normal, uniform = self._block(seed, block)
            normals[..., first : first + many] = normal[..., within : within + many]
            start[:, first : first + many] = uniform[:, within : within + many]
            at, n, first = at + many, n - many, first + many

    def _block(self, seed: int, block: int) -> tuple[np.ndarray, np.ndarray]:
        key = seed, block
        if key not in self._blocks:
            p, generator = self.problem, self.streams.numpy("rollout", seed, block)
            normal = generator.standard_normal((p.horizon, p.action_size, self.block))
            self._blocks[key] = normal, generator.random((p.state_size, self.block))
            if len(self._blocks) > self._most:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(key)
        return self._blocks[key]


def _as_draw(entry: Entry, snapshot: bool, count: int, seeds: np.ndarray) -> Draw:
    members = None if len(seeds) == len(entry.seeds) else torch.from_numpy(seeds)[None]
    return Draw(snapshot, count, len(seeds), members)


def _curves(
    entries: Sequence[Entry], schedules: Sequence[Schedule], state: dict[str, tuple], trace: Trace
) -> dict[str, Curves]:
    found, first = {}, 0
    for e, schedule in zip(entries, schedules, strict=True):
        rows = slice(first, first + len(e.seeds))
        first += len(e.seeds)
        values = {metric: table[: len(schedule.sizes), rows] for metric, table in trace.values.items()}
        found[e.name] = Curves(schedule, values, state[e.name][0].theta.cpu().numpy())
    return found
