"""The random numbers of chains: on the host a stream a tile of chains and block, or on the device from a counter.

A step of a chain takes `columns` normals a token and one chi-square (a token's own in the plain network). Normals are drawn in
single precision, whose rounding (2^-24) lies far below what any law here could show, and used in the chains' own.

A chain's numbers may not depend on the others of its batch, and chains are the last axis of everything that follows. So the host draws
tiles: of TILE neighbouring seeds at once, whichever of them are there, with the seed as the fastest axis. A tile lies as it is
used, and a lone chain pays for TILE, which nobody notices beside its step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.streams import Streams
from descent.papers.ssi.chi_square import chi_square
from descent.toolbox.counter import normals, subkey, words

TILE = 8  # seeds of a tile: numbers of seeds are mostly multiples of 8, and a line of a cache holds 8 doubles
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


class Tile(NamedTuple):
    """The chains of seeds TILE * number to TILE * (number + 1) - 1 that have the same key, tokens and dimension."""

    number: int
    key: tuple[int | str, ...]
    tokens: int
    dimension: int

    @classmethod
    def of(cls, chain: Chain) -> tuple[Tile, int]:
        """The tile of a chain and its place there, in [0, TILE)."""
        number, lane = divmod(chain.seed, TILE)
        return cls(number, chain.key, chain.tokens, chain.dimension), lane

    def draw(self, streams: Streams, model: Any, block: int, z: Tensor, chi: Tensor) -> None:
        """One block into z (steps, columns, L, TILE) and chi (steps, L or 1, TILE), float32; what lies at padding stays.

        Always drawn whole, and the normals first: models of a chi-square a chain and of one a token see the same sequences.
        """
        generator = streams.torch("noise", self.number, *self.key, block)
        each = self.tokens if model.per_token else 1
        _normals(generator, z[:, :, : self.tokens])
        drawn = _normals(generator, chi[:, :each])
        decider = streams.numpy("rejection", self.number, *self.key, block)
        chi_square(self.dimension - model.columns).turn(drawn.view(-1).numpy(), decider)
        if drawn.data_ptr() != chi.data_ptr():
            chi[:, :each] = drawn


def _normals(generator: torch.Generator, out: Tensor) -> Tensor:
    """Standard normals in `out`; what is given back is contiguous: it, or a copy. Their order is that of a contiguous tensor."""
    if out.is_contiguous():
        return torch.randn(out.shape, generator=generator, out=out)
    drawn = torch.randn(out.shape, generator=generator, dtype=out.dtype)
    out.copy_(drawn)
    return drawn


class Run(NamedTuple):
    """Neighbouring rows that are neighbours in their tiles as well: whole tiles, or some lanes of one."""

    rows: slice
    tiles: slice
    lanes: slice


def runs(places: Sequence[tuple[int, int]]) -> list[Run]:
    """The fewest runs that cover all rows; places: the tile and the lane of each."""
    found: list[Run] = []
    for row, (tile, lane) in enumerate(places):
        last = found[-1] if found else None
        if last and last.tiles.stop == tile + 1 and last.lanes.stop == lane:  # the next lane of the same tile
            found[-1] = Run(slice(last.rows.start, row + 1), last.tiles, slice(last.lanes.start, lane + 1))
        else:
            found.append(Run(slice(row, row + 1), slice(tile, tile + 1), slice(lane, lane + 1)))
        if len(found) > 1 and found[-1].lanes == found[-2].lanes == slice(0, TILE) and found[-2].tiles.stop == tile:
            whole = found.pop()  # the next tile after whole ones
            found[-1] = Run(slice(found[-1].rows.start, row + 1), slice(found[-1].tiles.start, tile + 1), whole.lanes)
    return found


class HostNoise:
    """A stream for every tile and block. Chains that share a tile share its draw: the two losses of a seed, say.

    A block takes the memory of the one before: to fault fresh pages in would cost a third of what the numbers do.
    """

    def __init__(self, context: Context, model: Any, chains: Sequence[Chain], plan: Plan, first: int):
        self.streams, self.model, self.chains, self.plan, self.first = context.streams, model, chains, plan, first
        numbers: dict[Tile, int] = {}
        places = [(numbers.setdefault(tile, len(numbers)), lane) for tile, lane in map(Tile.of, chains)]
        self.tiles, self.runs = list(numbers), runs(places)
        chis = model.tokens if model.per_token else 1
        self.z = torch.zeros(len(numbers), plan.block, model.columns, model.tokens, TILE, dtype=torch.float32)
        self.chi = torch.zeros(len(numbers), plan.block, chis, TILE, dtype=torch.float32)

    def draw(self, k: int, count: int) -> Noise:
        """`count` chunks of block `first + k`, leading axes count and tiles, last axis lanes; `unpack` makes rows of them.

        A block is always drawn whole: a shorter run is a prefix. The numbers stand until the next draw.
        """
        for tile, z, chi in zip(self.tiles, self.z.unbind(0), self.chi.unbind(0), strict=True):
            tile.draw(self.streams, self.model, self.first + k, z, chi)
        cut = (self.plan.block // self.plan.chunk, self.plan.chunk)
        return Noise(*(x.unflatten(1, cut).transpose(0, 1)[:count] for x in (self.z, self.chi)))

    def unpack(self, drawn: Noise, out: Noise) -> None:
        """A chunk into `out` as its model takes it, the chains' rows last; drawn: one of what `draw` gave, on any device."""
        for part, rows in zip(drawn, out, strict=True):
            tiles = part.contiguous()  # read as it lies: the join jumps from tile to tile, and memory is slow at that
            for run in self.runs:
                some = tiles[run.tiles, ..., run.lanes].movedim(0, -2)
                rows[..., run.rows].unflatten(-1, some.shape[-2:]).copy_(some)


class DeviceNoise:
    """The same laws from a counter on the device: what is handed over is the number of the chunk."""

    def __init__(self, context: Context, model: Any, chains: Sequence[Chain], plan: Plan, first: int):
        self.model, self.chains, self.plan = model, chains, plan
        self.first = first * (plan.block // plan.chunk)
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

    def unpack(self, number: Tensor, out: Noise) -> None:
        """number: the chunk's, a 0-d int64 tensor on the device."""
        model, chunk = self.model, self.plan.chunk
        key = subkey(self.keys, number)
        shape = (chunk, model.columns, model.tokens)
        z = normals(subkey(key, 0), chunk * model.columns * model.tokens, torch.float64).T.unflatten(0, shape)
        chis = model.tokens if model.per_token else 1
        chi = _chi_square(subkey(key, 1), self.dof, chunk * chis).T.unflatten(0, (chunk, chis))
        torch.mul(z, self.mask, out=out.z)
        out.chi.copy_(chi * self.mask if model.per_token else chi)


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
