"""The training loop: steps on the device, noise handed over a block at a time, metrics at declared points, checkpoints.

Nothing in the loop waits for the device. The host draws one block of noise, hands it over, and queues the block's
steps; metrics stay on the device until the block is done. A run killed between two blocks resumes at the last one
saved and ends with the same bytes: noise is keyed by its block, so no generator has a state to lose.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.method import Method
from descent.core.tree import on_device, on_host, tree_map

S = TypeVar("S")

WATCH: Callable[[str], AbstractContextManager] | None = None
"""Tests set this to see the phases `handover`, `step`, `measure`, `fetch` and `checkpoint` of every loop."""


@dataclass
class Trace:
    """Metrics along a run. steps: (T,) step numbers; values[metric]: (T, rows) float64 on the host."""

    steps: np.ndarray
    values: dict[str, np.ndarray]

    def last(self, metric: str) -> np.ndarray:
        """(rows,) the metric at the last recorded step."""
        return self.values[metric][-1]


def iterate(
    context: Context,
    name: str,
    state: S,
    method: Method | Callable[[S, Any], S],
    *,
    steps: int,
    block: int,
    draw: Callable[[int, int], Any] | None = None,
    measure: Callable[..., dict[str, Tensor]] | None = None,
    at: Iterable[int] = (),
    finished: Callable[[S], Tensor] | None = None,
) -> tuple[S, Trace]:
    """Do `steps` steps of a method from `state`.

    name: of this loop within the job, for its checkpoint and its progress lines.
    state: a NamedTuple (or tuple, dict) of tensors on `context.device`.
    method: a `Method`, whose `draw` is used where none is given, or a bare step(state, noise) -> state. `noise` is one
    step's slice of the block, None without `draw`. Steps run without gradients recorded; one that needs autograd uses
    torch.func or torch.enable_grad of its own.
    block: steps a hand-over; part of the definition of a run (noise is keyed by it).
    draw(k, count) -> tensors on the host, leading axis `count`, for the steps k*block, k*block+1, ...
    measure(state, info) -> metric: (rows,), called at the step numbers `at` (0 before the first step, n after n steps);
    info: what the last step reported, None at step 0. With a bare step it is measure(state).
    finished(state) -> (rows,) bool: the loop ends at a block's border once every row is done; the rows must have
    masked themselves, so that ending early changes nothing.
    """
    step, measured, draw = _bound(method, measure, draw)
    points = sorted(set(at)) if measured else []
    if points and (points[0] < 0 or points[-1] > steps):
        raise ValueError(f"{name}: metrics are asked for at steps outside 0..{steps}")
    saved = context.checkpoint.load(name)
    done = 0
    rows: list[dict[str, np.ndarray]] = []
    if saved:
        done, rows = saved["step"], [{m: v.numpy() for m, v in row.items()} for row in saved["rows"]]
        state = on_device(saved["state"], context.device, like=state)
    pending: list[dict[str, Tensor]] = []
    due = set(points)
    if done == 0 and 0 in due:
        with _phase("measure"):
            pending.append(measured(state, None))
        with _phase("fetch"):
            rows += _fetch(pending)
    info = None
    progress = Progress(context.say, name, steps, done)
    while done < steps:
        k = done // block
        count = min(block, steps - done)
        noise = None
        if draw is not None:
            drawn = draw(k, count)
            with _phase("handover"):
                noise = on_device(drawn, context.device)
        with torch.no_grad():
            for i in range(count):
                with _phase("step"):
                    state, info = step(state, None if noise is None else tree_map(lambda x, i=i: x[i], noise))
                done += 1
                if done in due:
                    with _phase("measure"):
                        pending.append(measured(state, info))
        over = done == steps
        if finished is not None and not over:
            with _phase("fetch"):
                over = bool(finished(state).all())
        with _phase("fetch"):
            rows += _fetch(pending)
        if over and done < steps:
            with torch.no_grad(), _phase("measure"):
                still = [measured(state, info)] if any(point > done for point in points) else []
            with _phase("fetch"):
                rows += _fetch(still) * sum(point > done for point in points)
            done = steps
        with _phase("checkpoint"):
            context.checkpoint.save(name, partial(_snapshot, done, rows, state), force=over)
        progress.at(done)
    values = {metric: np.stack([row[metric] for row in rows]) for metric in rows[0]} if rows else {}
    return state, Trace(np.asarray(points, dtype=np.int64), values)


def _bound(method, measure, draw):
    """(step(state, noise) -> (state, info), measure(state, info), draw), whichever form was given."""
    if isinstance(method, Method):
        return method.step, measure, draw or method.draw
    return lambda state, noise: (method(state, noise), None), measure and (lambda state, _info: measure(state)), draw


class Progress:
    """A line every ten seconds: how far, how long still."""

    def __init__(self, say: Callable[[str], None], name: str, steps: int, done: int):
        self.say, self.name, self.steps, self.first = say, name, steps, done
        self.began = self.spoke = time.monotonic()

    def at(self, done: int) -> None:
        now = time.monotonic()
        if now - self.spoke > 10 and done < self.steps:
            left = (now - self.began) / max(done - self.first, 1) * (self.steps - done)
            self.say(f"{self.name}: {done:,} of {self.steps:,} steps, about {math.ceil(left)} s left")
            self.spoke = now


def log_grid(steps: int, points: int) -> list[int]:
    """About `points` step numbers from 0 to `steps`, evenly spaced in the logarithm, both ends included."""
    grid = np.unique(np.round(np.geomspace(1, max(steps, 1), points)).astype(int))
    return [0, *(int(t) for t in grid if t <= steps)]


def _snapshot(done: int, rows: list[dict[str, np.ndarray]], state: Any) -> dict[str, Any]:
    kept = [{metric: torch.from_numpy(np.asarray(value)) for metric, value in row.items()} for row in rows]
    return {"step": done, "rows": kept, "state": on_host(state)}


def _fetch(pending: list[dict[str, Tensor]]) -> list[dict[str, np.ndarray]]:
    """Bring the metrics of a block to the host, a copy a metric, and empty `pending`."""
    if not pending:
        return []
    host = {m: torch.stack([row[m].detach().to(torch.float64) for row in pending]).cpu().numpy() for m in pending[0]}
    fetched = [{metric: host[metric][i] for metric in host} for i in range(len(pending))]
    pending.clear()
    return fetched


def _phase(name: str) -> AbstractContextManager:
    return nullcontext() if WATCH is None else WATCH(name)
