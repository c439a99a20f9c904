"""A round: some updates, then a look at the network on the test trials; what is kept of a run, and nothing more.

One step of the loop is a round, so that the device alone sees when a run first reaches the error at which networks are
compared, and keeps its activity there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.core.tree import tree_map
from descent.papers.eprop.network import Parameters, Wiring, forward
from descent.papers.eprop.similarity import centred
from descent.papers.eprop.tasks import Batch, normalised_error
from descent.papers.eprop.training import State


class Test(NamedTuple):
    """The test trials, one a direction, and what their activity is compared with; on the device."""

    batch: Batch  # K = 1
    recorded: Tensor  # (P, q) rates, condition-major rows, centred
    window: Tensor  # (W,) steps compared
    unshifted: Tensor  # (W,) the same with movement onset at the end of the hold


class Look(NamedTuple):
    """What the test trials show of K runs."""

    error: Tensor  # (K,) NE
    window: Tensor  # (K, P, N) activity in the window
    unshifted: Tensor  # (K, P, N)


class Run(NamedTuple):
    """A run's state: learning, and its activity when `target_error` was first reached (NaN before)."""

    learning: State
    look: Look
    reached: Tensor  # (K,) bool
    kept: Tensor  # (K, P, N)


def look_with(test: Test, wiring: Wiring, *, alpha: float, activation: str) -> Callable[[Parameters], Look]:
    """look(parameters) -> Look."""

    def look(parameters: Parameters) -> Look:
        activity = forward(parameters, wiring.effective(parameters.W), test.batch.x, alpha=alpha, activation=activation)
        chosen = (activity.hidden[:, steps].transpose(1, 2).flatten(1, 2) for steps in (test.window, test.unshifted))
        return Look(normalised_error(activity.output, test.batch), *chosen)

    return look


def rounds(learning: Method, look: Callable[[Parameters], Look], *, every: int, target_error: float) -> Method:
    """The method whose step is `every` updates and a look. Noise: (rounds, every, ...)."""

    def seen(state: State, reached: Tensor, kept: Tensor) -> Run:
        now = look(state.parameters)
        first = ~reached & (now.error <= target_error)
        kept = torch.where(first[:, None, None], now.window, kept)
        return Run(state, now, reached | first, kept)

    def init(parameters: Parameters) -> Run:
        state = learning.init(parameters)
        error = look(parameters)
        return seen(state, torch.zeros_like(error.error, dtype=torch.bool), torch.full_like(error.window, torch.nan))

    def draw(k: int, count: int):
        return tree_map(lambda x: x.unflatten(0, (count, every)), learning.draw(k, count * every))  # pyright: ignore[reportOptionalCall]: learners draw

    def step(run: Run, noise) -> tuple[Run, NamedTuple]:
        state, info = run.learning, None
        for i in range(every):
            state, info = learning.step(state, tree_map(lambda x, i=i: x[i], noise))
        return seen(state, run.reached, run.kept), info  # pyright: ignore[reportReturnType]: `every` is at least 1

    return Method(init, step, draw)


def measure_with(test: Test) -> Callable[[Run, NamedTuple | None], dict[str, Tensor]]:
    """What a round hands to the host: products that distances are made of there (a singular value decomposition would wait)."""

    def measure(run: Run, info: NamedTuple | None) -> dict[str, Tensor]:
        measured = {"error": run.look.error}
        for name in ("window", "unshifted"):
            x = centred(getattr(run.look, name))
            measured[f"{name}_product"] = (x.mT @ test.recorded).flatten(1)
            measured[f"{name}_norm"] = x.flatten(1).norm(dim=1)
        x = centred(run.look.window)
        measured["window_gram"] = (x.mT @ x).flatten(1).norm(dim=1)
        return measured

    return measure
