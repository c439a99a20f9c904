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
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from descent.run import Context

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
    step: Callable[[S, Any], S],
    *,
    steps: int,
    block: int,
    draw: Callable[[int, int], Any] | None = None,
    measure: Callable[[S], dict[str, Tensor]] | None = None,
    at: Iterable[int] = (),
    finished: Callable[[S], Tensor] | None = None,
) -> tuple[S, Trace]:
    """Run `step` `steps` times.

    name: of this loop within the job, for its checkpoint and its progress lines.
    state: a NamedTuple (or tuple, dict) of tensors on `context.device`.
    step(state, noise) -> state: `noise` is one step's slice of the block, None without `draw`. Runs without
    gradients recorded; a step that needs autograd uses torch.func or torch.enable_grad of its own.
    block: steps a hand-over; part of the definition of a run (noise is keyed by it).
    draw(k, count) -> tensors on the host, leading axis `count`, for the steps k*block, k*block+1, ...
    measure(state) -> metric: (rows,), called at the step numbers `at` (0 before the first step, n after n steps).
    finished(state) -> (rows,) bool: the loop ends at a block's border once every row is done; the rows must have
    masked themselves, so that ending early changes nothing.
    """
    points = sorted(set(at)) if measure else []
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
            pending.append(measure(state))
        with _phase("fetch"):
            rows += _fetch(pending)
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
                    state = step(state, None if noise is None else tree_map(lambda x, i=i: x[i], noise))
                done += 1
                if done in due:
                    with _phase("measure"):
                        pending.append(measure(state))
        over = done == steps
        if finished is not None and not over:
            with _phase("fetch"):
                over = bool(finished(state).all())
        with _phase("fetch"):
            rows += _fetch(pending)
        if over and done < steps:
            with torch.no_grad(), _phase("measure"):
                still = [measure(state)] if any(point > done for point in points) else []
            with _phase("fetch"):
                rows += _fetch(still) * sum(point > done for point in points)
            done = steps
        with _phase("checkpoint"):
            context.checkpoint.save(name, partial(_snapshot, done, rows, state), force=over)
        progress.at(done)
    values = {metric: np.stack([row[metric] for row in rows]) for metric in rows[0]} if rows else {}
    return state, Trace(np.asarray(points, dtype=np.int64), values)


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


def tree_map(f: Callable[[Tensor], Any], tree: Any) -> Any:
    """`f` on every tensor of nested tuples, named tuples, lists and dicts; other leaves stay."""
    if isinstance(tree, Tensor):
        return f(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(tree_map(f, leaf) for leaf in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(tree_map(f, leaf) for leaf in tree)
    if isinstance(tree, dict):
        return {key: tree_map(f, leaf) for key, leaf in tree.items()}
    return tree


def on_host(tree: Any) -> Any:
    """A copy on the host as plain lists, tensors, dicts and numbers (what a checkpoint may hold)."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True)
    if isinstance(tree, dict):
        return {key: on_host(leaf) for key, leaf in tree.items()}
    return [on_host(leaf) for leaf in tree] if isinstance(tree, (tuple, list)) else tree


def on_device(tree: Any, device: torch.device, like: Any = None) -> Any:
    """`tree` with its tensors on `device`; with `like`, in the same (named) tuples as that."""
    if isinstance(tree, Tensor):
        return tree.to(device, non_blocking=True)
    if isinstance(tree, dict):
        return {key: on_device(leaf, device, like[key] if like is not None else None) for key, leaf in tree.items()}
    if isinstance(tree, (tuple, list)):
        leaves = [on_device(leaf, device, like[i] if like is not None else None) for i, leaf in enumerate(tree)]
        kind = type(tree if like is None else like)
        return kind(*leaves) if hasattr(kind, "_fields") else kind(leaves)
    return tree


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
