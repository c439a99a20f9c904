"""Many chains as one program: noise in blocks, chunks of steps as one launch, finished chains dropped.

A chunk of steps is one call: on CUDA a captured graph, so that a step costs no Python; elsewhere the same function
called directly. Chains of one experiment share a batch. One that has
passed its threshold is dropped at the next border between segments, which changes nothing for the others: rows never
mix, noise is keyed by the chain and its block, and padding is exact (links.fold).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import Trace, iterate
from descent.core.tree import tree_map
from descent.toolbox.capture import captured
from descent.toolbox.counter import normals, subkey, words

TRIES = 4  # of Marsaglia and Tsang's rejection on the device; see `_chi_square`


@dataclass(frozen=True)
class Model:
    """What a chain is.

    prepare(z, chi, constants) -> tensors with the leading axis steps: all of a chunk that needs no state, at once.
    step(body, prepared[i], constants) -> body. overlap(body) -> (..., R), of bodies with leading axes too.
    columns: normals a token and step. per_token: a chi-square a token (plain network) or one a chain.
    tokens: L, the padded length.
    """

    prepare: Callable[[Tensor, Tensor, Any], tuple[Tensor, ...]]
    step: Callable[[Any, tuple[Tensor, ...], Any], Any]
    overlap: Callable[[Any], Tensor]
    columns: int
    per_token: bool
    tokens: int


@dataclass(frozen=True)
class Chain:
    """One row: its seed, the key that its noise has beside the seed, its tokens and the dimension d it lives in."""

    seed: int
    key: tuple[int | str, ...]
    tokens: int
    dimension: int


class State(NamedTuple):
    """body: the model's tensors. alive: (R,) the threshold is not yet reached. steps: (R,) float64 steps survived."""

    body: Any
    alive: Tensor
    steps: Tensor


class Noise(NamedTuple):
    """A chunk's noise. z: (chunk, columns, L, R). chi: (chunk, L or 1, R). Drawn on the device: a number a chunk."""

    z: Tensor
    chi: Tensor


@dataclass(frozen=True)
class Plan:
    """How a run is cut. steps: T, a multiple of `chunk` (steps a launch); block: steps a draw, a multiple of chunk.

    noise: host (NumPy, keyed by block) or device (counter-based, keyed by chunk), another stream of the same law.
    """

    steps: int
    block: int = 1000
    chunk: int = 50
    noise: str = "host"


@dataclass
class Passages:
    """First passages. time: (R,) the step at which the threshold was reached, inf where it was not within T steps, NaN
    where the chain ended in something that is not a number."""

    time: np.ndarray
    trace: Trace | None


def simulate(
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
    rows = len(chains)
    device = context.device
    state = State(body, torch.ones(rows, dtype=torch.bool).to(device), torch.zeros(rows).double().to(device))
    time = np.full(rows, np.inf)
    kept = np.arange(rows)
    total, per_block = plan.steps // plan.chunk, plan.block // plan.chunk
    points = sorted({t // plan.chunk for t in at})
    done, trace = 0, None
    while done < total and len(kept):
        # Segments grow with the run: few borders, and at most an eighth of a chain's life is spent after its end.
        length = total if measure else per_block * max(1, done // (8 * per_block))
        length = min(length, total - done)
        source = _source(context, model, [chains[i] for i in kept], plan, done // per_block)
        advance = advancing(model, constants, threshold, source)
        state, trace = iterate(
            context, f"{name}, {plan.chunk} SGD steps each, from {done}", state, captured(advance), steps=length, block=per_block, draw=source.draw,
            measure=None if measure is None else lambda s: measure(s.body), at=points,
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


def advancing(model: Model, constants: Any, threshold: Tensor | None, source: Any) -> Callable[[State, Any], State]:
    """The function of a chunk: (state, what the source drew) -> state, without a look at the values."""

    def advance(state: State, drawn: Any) -> State:
        prepared = model.prepare(*source.unpack(drawn), constants)
        body, alive, steps = state
        passed = []
        for one in zip(*(x.unbind(0) for x in prepared), strict=True):
            body = model.step(body, one, constants)
            if threshold is not None:
                passed.append(body)
        if threshold is not None:
            # Written so that an overlap that is not a number has not arrived.
            arrived = model.overlap(type(body)(*map(torch.stack, zip(*passed, strict=True)))) >= threshold
            lasting = torch.cat([alive[None], ~arrived]).to(steps.dtype).cumprod(0)[1:]  # 1 until the first passage
            alive, steps = lasting[-1] > 0, steps + lasting.sum(0)
        return State(body, alive, steps)

    return advance


def _source(context: Context, model: Model, chains: Sequence[Chain], plan: Plan, first: int) -> Any:
    kind = {"host": HostNoise, "device": DeviceNoise}[plan.noise]
    return kind(context, model, chains, plan, first)


class HostNoise:
    """NumPy's normals and chi-squares, a stream for every chain and block."""

    def __init__(self, context: Context, model: Model, chains: Sequence[Chain], plan: Plan, first: int):
        self.streams, self.model, self.chains, self.plan, self.first = context.streams, model, chains, plan, first

    def draw(self, k: int, count: int) -> Noise:
        """`count` chunks of block `first + k`, leading axis count. Always drawn whole: a shorter run is a prefix."""
        model, plan = self.model, self.plan
        steps, rows = plan.block, len(self.chains)
        chis = model.tokens if model.per_token else 1
        z = np.zeros((rows, steps, model.columns, model.tokens))
        chi = np.zeros((rows, steps, chis))
        for row, chain in enumerate(self.chains):
            rng = self.streams.numpy("noise", chain.seed, *chain.key, self.first + k)
            each = chain.tokens if model.per_token else 1
            if chain.tokens == model.tokens:
                rng.standard_normal(out=z[row])
            else:
                z[row, :, :, : chain.tokens] = rng.standard_normal((steps, model.columns, chain.tokens))
            chi[row, :, :each] = rng.chisquare(chain.dimension - model.columns, (steps, each))
        shape = (plan.block // plan.chunk, plan.chunk)
        cut = lambda x: torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, 0, -1))).unflatten(0, shape)[:count]  # noqa: E731
        return Noise(cut(z), cut(chi))

    def unpack(self, drawn: Noise) -> Noise:
        return drawn


class DeviceNoise:
    """The same laws from a counter on the device: what is handed over is the number of the chunk."""

    def __init__(self, context: Context, model: Model, chains: Sequence[Chain], plan: Plan, first: int):
        self.model, self.plan, self.first = model, plan, first * (plan.block // plan.chunk)
        # The chain's own noise key, as 63 bits; tokens beyond a chain's own are masked below.
        keys = [context.streams.entropy("device", c.seed, *c.key) % 2**63 for c in chains]
        dof = [float(c.dimension - model.columns) for c in chains]
        mask = np.arange(model.tokens)[:, None] < np.array([c.tokens for c in chains])
        self.keys = torch.tensor(keys, dtype=torch.int64).to(context.device)
        self.dof = torch.tensor(dof, dtype=torch.float64).to(context.device)
        self.mask = torch.from_numpy(mask.astype(float)).to(context.device)
        self.per_block = plan.block // plan.chunk

    def draw(self, k: int, count: int) -> Tensor:
        return torch.arange(count) + (self.first + k * self.per_block)

    def unpack(self, number: Tensor) -> Noise:
        """number: the chunk's, a 0-d int64 tensor on the device."""
        model, chunk = self.model, self.plan.chunk
        key = subkey(self.keys, number)
        shape = (chunk, model.columns, model.tokens)
        z = normals(subkey(key, 0), chunk * model.columns * model.tokens, torch.float64).T.unflatten(0, shape)
        chis = model.tokens if model.per_token else 1
        chi = _chi_square(subkey(key, 1), self.dof, chunk * chis).T.unflatten(0, (chunk, chis))
        return Noise(z * self.mask, chi * self.mask if model.per_token else chi)


def _chi_square(key: Tensor, dof: Tensor, size: int) -> Tensor:
    """Chi-square variables (R, size) with dof (R,) > 2 degrees of freedom: Marsaglia and Tsang (2000), twice a gamma.

    A rejection loop would wait for the device, so TRIES candidates are made and the first accepted is taken; with 28
    degrees of freedom or more all are rejected less than once in 10^9 draws, and then the last one stands.
    """
    d = dof[:, None] / 2 - 1 / 3
    c = (9 * d).rsqrt()
    value = None
    for attempt in reversed(range(TRIES)):
        x = normals(subkey(key, 2 * attempt), size, torch.float64)
        v = (1 + c * x).clamp(min=1e-3) ** 3
        u = ((words(subkey(key, 2 * attempt + 1), size) >> 11) & (2**53 - 1)).double().add_(0.5) * 2.0**-53
        accepted = u.log() < 0.5 * x * x + d - d * v + d * v.log()
        value = d * v if value is None else torch.where(accepted, d * v, value)
    return 2 * value
