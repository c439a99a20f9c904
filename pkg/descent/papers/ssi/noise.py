"""The random numbers of chains: on the host a stream a chain and block, or on the device from a counter.

A step of a chain takes `columns` normals a token and one chi-square (a token's own in the plain network). Normals are drawn in
single precision, whose rounding (2^-24) lies far below what any law here could show, and used in the chains' own. The host's
are drawn a chain at a time, since a chain's numbers may not depend on the others of its batch, into rows that are turned over
once a block: chains are the last axis of everything that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.toolbox.counter import normals, subkey, words

TRIES = 4  # of Marsaglia and Tsang's rejection on the device; see `_chi_square`


@dataclass(frozen=True)
class Chain:
    """One row: its seed, the key that its noise has beside the seed, its tokens and the dimension d it lives in."""

    seed: int
    key: tuple[int | str, ...]
    tokens: int
    dimension: int


@dataclass(frozen=True)
class Plan:
    """How a run is cut. steps: T, a multiple of `chunk` (steps a launch); block: steps a draw, a multiple of chunk.

    noise: host (keyed by block) or device (counter-based, keyed by chunk), another stream of the same law.
    """

    steps: int
    block: int = 1000
    chunk: int = 50
    noise: str = "host"


class Noise(NamedTuple):
    """A chunk's noise. z: (chunk, columns, L, R). chi: (chunk, L or 1, R). Drawn on the device: a number a chunk."""

    z: Tensor
    chi: Tensor


def source(context: Context, model: Any, chains: Sequence[Chain], plan: Plan, first: int) -> HostNoise | DeviceNoise:
    """Where the blocks from `first` on come from; of `model` it reads columns, tokens and per_token."""
    kind = {"host": HostNoise, "device": DeviceNoise}[plan.noise]
    return kind(context, model, chains, plan, first)


class HostNoise:
    """PyTorch's normals and NumPy's gammas, a stream of each for every chain and block.

    A block takes the memory of the one before: to fault fresh pages in would cost a third of what the numbers do.
    """

    def __init__(self, context: Context, model: Any, chains: Sequence[Chain], plan: Plan, first: int):
        self.streams, self.model, self.chains, self.plan, self.first = context.streams, model, chains, plan, first
        rows, chis = len(chains), model.tokens if model.per_token else 1
        self.z = torch.zeros(rows, plan.block, model.columns, model.tokens, dtype=torch.float32)
        self.chi = torch.zeros(rows, plan.block, chis, dtype=torch.float32)
        self.turned = [x.flatten(1).new_empty(x[0].numel(), rows) for x in (self.z, self.chi)]

    def draw(self, k: int, count: int) -> Noise:
        """`count` chunks of block `first + k`, leading axis count. Always drawn whole: a shorter run is a prefix.

        They stand until the next draw.
        """
        model, steps, z_rows, chi_rows = self.model, self.plan.block, self.z.unbind(0), self.chi.numpy()
        for row, chain in enumerate(self.chains):
            normal = self.streams.torch("normal", chain.seed, *chain.key, self.first + k)
            gamma = self.streams.numpy("gamma", chain.seed, *chain.key, self.first + k)
            shape, padded = (steps, model.columns, chain.tokens), chain.tokens < model.tokens
            if padded:
                z_rows[row][..., : chain.tokens] = torch.randn(shape, generator=normal, dtype=torch.float32)
            else:
                torch.randn(shape, generator=normal, out=z_rows[row])
            each = chain.tokens if model.per_token else 1
            drawn = 2 * gamma.standard_gamma((chain.dimension - model.columns) / 2, steps * each)
            if model.per_token and padded:
                chi_rows[row, :, :each] = drawn.reshape(steps, each)
            else:
                chi_rows[row].reshape(-1)[:] = drawn
        cut = (self.plan.block // self.plan.chunk, self.plan.chunk, -1)
        z, chi = (
            turned.copy_(x.flatten(1).T).unflatten(0, cut)[:count]
            for turned, x in zip(self.turned, (self.z, self.chi), strict=True)
        )
        return Noise(z.unflatten(2, (model.columns, model.tokens)), chi)

    def unpack(self, drawn: Noise) -> Noise:
        return drawn


class DeviceNoise:
    """The same laws from a counter on the device: what is handed over is the number of the chunk."""

    def __init__(self, context: Context, model: Any, chains: Sequence[Chain], plan: Plan, first: int):
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
    value: Tensor | None = None
    for attempt in reversed(range(TRIES)):
        x = normals(subkey(key, 2 * attempt), size, torch.float64)
        v = (1 + c * x).clamp(min=1e-3) ** 3
        u = ((words(subkey(key, 2 * attempt + 1), size) >> 11) & (2**53 - 1)).double().add_(0.5) * 2.0**-53
        accepted = u.log() < 0.5 * x * x + d - d * v + d * v.log()
        value = d * v if value is None else torch.where(accepted, d * v, value)
    assert value is not None  # TRIES is at least 1
    return 2 * value
