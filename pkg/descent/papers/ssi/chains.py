"""Many chains as one program: a chunk of steps a launch, finished chains dropped.

A chunk of steps is one call: on CUDA a captured graph, so that a step costs no Python; elsewhere the same function called
directly, writing into memory that is made once. Chains of one experiment share a batch. One that has passed its
threshold is dropped at the next border between segments, which changes nothing for the others: rows never mix, noise is keyed by
the chain and its block (noise.py), and padding is exact (links.fold).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import Trace, iterate
from descent.core.method import Method
from descent.core.tree import tree_map
from descent.papers.ssi import operations as op
from descent.papers.ssi.noise import Chain, Plan, source
from descent.toolbox.capture import captured


@dataclass(frozen=True)
class Model:
    """What a chain is. A body is a NamedTuple of one tensor w (..., R).

    work(body, steps) -> the memory of a chunk of so many steps. `work.w`, like the body's w: what is in it is the state;
    `work.noise`: where the chunk's noise is written.
    prepare(work, constants): all of a chunk that needs no state, at once. step(work, i, constants): its step i.
    overlap(body) -> (..., R), of bodies with leading axes too.
    columns: normals a token and step. per_token: a chi-square a token (plain network) or one a chain.
    tokens: L, the padded length. autograd: a step differentiates a loss; others run in inference mode on the CPU, where PyTorch
    keeps no versions and a small operation costs a fifth less.
    """

    work: Callable[[Any, int], Any]
    prepare: Callable[[Any, Any], None]
    step: Callable[[Any, int, Any], None]
    overlap: Callable[[Any], Tensor]
    columns: int
    per_token: bool
    tokens: int
    autograd: bool = False


class State(NamedTuple):
    """body: the model's tensor. alive: (R,) the threshold is not yet reached. steps: (R,) float64 steps survived."""

    body: Any
    alive: Tensor
    steps: Tensor


class Info(NamedTuple):
    """What a chunk reports. alive (R,): the chain has not passed its threshold."""

    alive: Tensor


@dataclass
class Passages:
    """First passages. time: (R,) the step at which the threshold was reached, inf where it was not within T steps, NaN
    where the chain ended in something that is not a number."""

    time: np.ndarray
    trace: Trace | None


def descending(model: Model, constants: Any, threshold: Tensor | None, noise: Any) -> Method[State, Any, Info]:
    """A chunk of SGD steps of every chain as one step of a `Method`.

    constants: (named) tuple of tensors whose last axis is the rows R. threshold: (R,) levels of model.overlap; None: nobody stops.
    noise: of noise.source, or anything that has its plan, draw and unpack.
    """

    def init(body: Any) -> State:
        rows = body[0].shape[-1]
        device = body[0].device
        return State(
            body, torch.ones(rows, dtype=torch.bool).to(device), torch.zeros(rows, dtype=torch.float64).to(device)
        )

    works: dict[Any, Any] = {}  # made once: a captured graph holds on to its own

    def step(state: State, drawn: Any) -> tuple[State, Info]:
        # Only where starting operations is what costs: a captured graph starts none, and a device written in Python has no such views.
        quick = not model.autograd and state.alive.device.type == "cpu"
        with torch.inference_mode() if quick else nullcontext(), op.quiet(state.alive.device):
            (w,), alive, steps = state
            kind = w.shape, w.dtype, w.device
            if kind not in works:
                made = model.work(state.body, noise.plan.chunk)
                path = None if threshold is None else w.new_empty(noise.plan.chunk, *w.shape)
                works[kind] = made, path, () if path is None else [op.copy(made.w, seen) for seen in path.unbind(0)]
            work, path, keep = works[kind]
            work.w.copy_(w)
            noise.unpack(drawn, work.noise)
            model.prepare(work, constants)
            for i in range(noise.plan.chunk):
                model.step(work, i, constants)
                if path is not None:
                    op.perform(keep[i])
            if path is not None and threshold is not None:
                # Written so that an overlap that is not a number has not arrived.
                arrived = model.overlap(type(state.body)(path)) >= threshold
                lasting = torch.cat([alive[None], ~arrived]).to(steps.dtype).cumprod(0)[1:]  # 1 until the first passage
                alive, steps = lasting[-1] > 0, steps + lasting.sum(0)
        # Clones made outside are ordinary tensors again.
        body, alive, steps = tree_map(torch.clone, (type(state.body)(work.w), alive, steps))
        return State(body, alive, steps), Info(alive)

    return Method(init, captured(step), noise.draw)


def run_chains(
    context: Context,
    name: str,
    model: Model,
    chains: Sequence[Chain],
    body: Any,
    constants: Any,
    plan: Plan,
    *,
    threshold: Tensor | None = None,
    measure: Callable[[Any], dict[str, Tensor]] | None = None,
    at: Iterable[int] = (),
) -> Passages:
    """Run the chains for plan.steps steps, or until each has passed.

    body, constants: (named) tuples of tensors on the context's device whose last axis is the rows R.
    threshold: (R,) levels of model.overlap; None: nobody stops. measure(body) at the steps `at` (multiples of the
    chunk) keeps every chain to the end, since a curve has no end of its own.
    """
    if plan.steps % plan.chunk or plan.block % plan.chunk:
        raise SettingError(f"ssi: `chunk` must divide `steps` {plan.steps} and `block` {plan.block}, got {plan.chunk}")
    rows, device = len(chains), context.device
    time, kept = np.full(rows, np.inf), np.arange(rows)
    total, per_block = plan.steps // plan.chunk, plan.block // plan.chunk
    points = sorted({t // plan.chunk for t in at})
    done, trace, state = 0, None, None
    while done < total and len(kept):
        # Segments grow with the run: few borders, and at most an eighth of a chain's life is spent after its end.
        length = total if measure else per_block * max(1, done // (8 * per_block))
        length = min(length, total - done)
        noise = source(context, model, [chains[i] for i in kept.tolist()], plan, done // per_block)
        method = descending(model, constants, threshold, noise)
        state, trace = iterate(
            context, f"{name}, {plan.chunk} SGD steps each, from {done}", method.init(body) if state is None else state, method,
            steps=length, block=per_block, measure=None if measure is None else lambda s, _info: measure(s.body), at=points,
            finished=None if threshold is None or measure else lambda s: ~s.alive,
        )  # fmt: skip
        done += length
        if threshold is not None:
            alive, steps = state.alive.cpu().numpy(), state.steps.cpu().numpy()
            time[kept[~alive]] = steps[~alive] + 1
            if measure is None and not alive.all():
                index = torch.from_numpy(np.flatnonzero(alive)).to(device)
                state, constants, threshold = tree_map(
                    lambda x, index=index: x.index_select(-1, index), (state, constants, threshold)
                )
                kept = kept[alive]
        if done >= total and len(kept):
            ended = model.overlap(state.body).cpu().numpy()
            time[kept[~np.isfinite(ended) & np.isinf(time[kept])]] = np.nan
    if trace is not None:
        trace = Trace(trace.steps * plan.chunk, trace.values)
    return Passages(time, trace)
