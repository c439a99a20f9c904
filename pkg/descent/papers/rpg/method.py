"""What a policy is, what an update draws, and its schedule: how many trajectories each seed draws at each update.

A schedule is settled on the host before the first update (it may be random, never data-dependent), so nothing in the
loop has to ask the device how many trajectories come next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor

from descent.papers.rpg.problem import Controller, Trajectories


class Policy(Protocol):
    """A Gaussian policy of fixed variance; what it keeps of a trajectory is its own business.

    R rows are G x N: N trajectories of each of G seeds.
    """

    size: int  # d, parameters

    def controller(self, theta: Tensor) -> Controller:
        """theta (R, d) -> what acts in each row."""
        ...

    def summarise(self, tr: Trajectories, to_go: Tensor) -> Any:
        """What is kept of each trajectory, leading axis R; to_go (T, R) weighs the score of each step."""
        ...

    def log_ratio_and_divergence(self, past: Any, theta: Tensor, past_theta: Tensor) -> tuple[Tensor, Tensor]:
        """log p_theta / p_i (S, K, N) and log D_i (S, K)."""
        ...

    def log_likelihoods(self, past: Any, past_theta: Tensor) -> Tensor:
        """(S, K, K, N): every trajectory under every policy of the window, up to a constant of the trajectory."""
        ...

    def gradient(self, past: Any, theta: Tensor, weights: Tensor) -> Tensor:
        """(S, d): (1 / N) sum of W g_theta."""
        ...

    def means(self, theta: Tensor, tr: Trajectories) -> Any:
        """The mean actions of every step, in the policy's own form; theta (G, d)."""
        ...

    def step_log_ratios(self, means: Any, reference: Any, tr: Trajectories) -> Tensor:
        """(T, G, N): log pi - log pi_reference, 0 after the end; both given by their `means`."""
        ...

    def mean_score(self, tr: Trajectories, terms: Sequence[tuple[Tensor, Any, Tensor]]) -> Tensor:
        """(G, d): mean over N of sum_t weight_t score_theta, summed over the terms (theta, its `means`, weights (T, G, N))."""
        ...


class Draw(NamedTuple):
    """A part of an update: seeds of one method that draw equally many trajectories for the same purpose."""

    snapshot: bool
    batch: int  # trajectories a seed, N
    size: int  # seeds, G
    members: Tensor | None  # (G,) their rows in the method's state; None: all of them, in order

    def of(self, values: Tensor) -> Tensor:
        """The members' rows of `values` (S, ...)."""
        return values if self.members is None else values.index_select(0, self.members)

    def put(self, values: Tensor, new: Tensor) -> Tensor:
        """`values` (S, ...) with the members' rows replaced by `new` (G, ...)."""
        return new if self.members is None else values.index_copy(0, self.members, new)


@dataclass(frozen=True)
class Schedule:
    """sizes (U, S) int: fresh trajectories by update and seed, 0 once the seed's budget is spent; snapshot (U, S) bool."""

    sizes: np.ndarray
    snapshot: np.ndarray

    @property
    def collected(self) -> np.ndarray:
        """(U, S) trajectories collected up to and with each update."""
        return self.sizes.cumsum(0)

    @property
    def updates(self) -> np.ndarray:
        """(S,) updates of each seed."""
        return (self.sizes > 0).sum(0)

    def parts(self, update: int) -> list[tuple[bool, int, np.ndarray]]:
        """(snapshot, trajectories a seed, rows of the seeds) of the update's draws, snapshots first."""
        found = []
        if update < len(self.sizes):
            for kind in (True, False):
                rows = np.flatnonzero((self.snapshot[update] == kind) & (self.sizes[update] > 0))
                if len(rows):
                    found.append((kind, int(self.sizes[update, rows[0]]), rows))
        return found


def spend(budget: int, snapshot: np.ndarray, at_snapshot: int, between: int) -> Schedule:
    """The schedule of given snapshots (U, S): a seed draws until its budget is spent, so its last update may exceed it.

    U must be large enough for that: budget // min(at_snapshot, between) + 1 always is.
    """
    sizes = np.where(snapshot, at_snapshot, between)
    sizes = np.where(sizes.cumsum(0) - sizes < budget, sizes, 0)
    used = int((sizes > 0).any(1).sum())
    return Schedule(sizes[:used], snapshot[:used])


def steady(batch: int) -> Callable[..., Schedule]:
    """`batch` trajectories at every update."""

    def schedule(budget: int, seeds: tuple[int, ...], coin: Callable[[int], np.random.Generator]) -> Schedule:
        return spend(budget, np.zeros((budget // batch + 1, len(seeds)), bool), batch, batch)

    return schedule


def first_only(at_snapshot: int, between: int) -> Callable[..., Schedule]:
    """A snapshot at the first update alone."""

    def schedule(budget: int, seeds: tuple[int, ...], coin: Callable[[int], np.random.Generator]) -> Schedule:
        flags = np.zeros((budget // min(at_snapshot, between) + 1, len(seeds)), bool)
        flags[0] = True
        return spend(budget, flags, at_snapshot, between)

    return schedule


def periodic(at_snapshot: int, between: int, epoch: int) -> Callable[..., Schedule]:
    """A snapshot at every `epoch`-th update, the first one included."""

    def schedule(budget: int, seeds: tuple[int, ...], coin: Callable[[int], np.random.Generator]) -> Schedule:
        flags = np.arange(budget // min(at_snapshot, between) + 1) % epoch == 0
        return spend(budget, np.repeat(flags[:, None], len(seeds), 1), at_snapshot, between)

    return schedule


def tossed(at_snapshot: int, between: int, probability: float) -> Callable[..., Schedule]:
    """A snapshot with a probability, seed by seed; the first update always is one."""

    def schedule(budget: int, seeds: tuple[int, ...], coin: Callable[[int], np.random.Generator]) -> Schedule:
        updates = budget // min(at_snapshot, between) + 1
        flags = np.stack([coin(seed).random(updates) < probability for seed in seeds], axis=1)
        flags[0] = True
        return spend(budget, flags, at_snapshot, between)

    return schedule
