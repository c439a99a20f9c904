"""LoRA with per-sample gradients: y = W x + b + (alpha / r) B A x on every linear map of the decoder.

Hu et al., "LoRA", arXiv 2106.09685. A row's parameters are one vector theta; each A and each B is a block of it (the
paper speaks of "parameter blocks"; one a matrix is our choice). B is kept transposed, (r, outputs).

Per-sample gradients: every sample gets a copy of its row's A and B, the losses are added up, and the gradient of copy i
is the gradient of sample i's loss. Here the copies are views that take no memory, and `_Adapted` gives their gradients
directly: exact, no hooks, no vmap.

Axes: S rows (seeds), b samples, T tokens, p parameters, M blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.papers.dualpriv.decoder import Frozen, Group, Linear, Shape, groups


class Block(NamedTuple):
    """One LoRA matrix inside theta."""

    name: str  # as "1.q.A"
    start: int
    size: int


class Layout(NamedTuple):
    """Where each matrix lies in theta: group by group the A's, then the B's."""

    shape: Shape
    rank: int
    alpha: float
    groups: tuple[Group, ...]
    blocks: tuple[Block, ...]

    @property
    def size(self) -> int:
        """The number p of trained parameters."""
        return self.blocks[-1].start + self.blocks[-1].size

    @property
    def scale(self) -> float:
        """The factor alpha / r before B A."""
        return self.alpha / self.rank

    @property
    def pieces(self) -> list[int]:
        """Sizes of the parts of theta that `sample_gradients` gives one after another: A and B of each group."""
        return [n * self.rank for g in self.groups for n in (len(g.names) * g.inputs, len(g.names) * g.outputs)]


def layout(shape: Shape, rank: int = 4, alpha: float = 8.0) -> Layout:
    """The layout of rank-`rank` adapters on every linear map of a decoder."""
    blocks, start = [], 0
    for group in groups(shape):
        for side, size in (("A", rank * group.inputs), ("B", rank * group.outputs)):
            for name in group.names:
                blocks.append(Block(f"{group.layer}.{name}.{side}", start, size))
                start += size
    return Layout(shape, rank, alpha, tuple(groups(shape)), tuple(blocks))


def initial(layout: Layout, generators: Sequence[torch.Generator], dtype: torch.dtype = torch.float32) -> Tensor:
    """theta (S, p), one row a generator: A ~ U(-1/sqrt(inputs), 1/sqrt(inputs)), B = 0. On the host."""
    theta = torch.zeros(len(generators), layout.size, dtype=dtype)
    inputs = {f"{g.layer}.{name}": g.inputs for g in layout.groups for name in g.names}
    for row, generator in zip(theta, generators, strict=True):
        for block in layout.blocks:
            matrix, side = block.name.rsplit(".", 1)
            if side == "A":
                part = row[block.start : block.start + block.size]
                part.uniform_(-1, 1, generator=generator).mul_(inputs[matrix] ** -0.5)
    return theta


def split(layout: Layout, theta: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of theta (S, p), one pair a group: A (S, maps * r, inputs) and B (S, maps, r, outputs)."""
    parts = iter(theta.split(layout.pieces, -1))
    rank = layout.rank
    return [
        (
            next(parts).unflatten(-1, (len(g.names) * rank, g.inputs)),
            next(parts).unflatten(-1, (len(g.names), rank, g.outputs)),
        )
        for g in layout.groups
    ]


def frozen_linear(frozen: Frozen) -> Linear:
    """The decoder without an adapter."""
    return lambda g, x: functional.linear(x, frozen.weights[g], frozen.biases[g])


def merged_linear(layout: Layout, frozen: Frozen, theta: Tensor) -> Linear:
    """The decoder with each row's adapter added into a copy of the weights: the cheapest forward pass of many samples."""
    weights = []
    for weight, (a, b) in zip(frozen.weights, split(layout, theta), strict=True):
        update = b.transpose(-1, -2) @ a.unflatten(1, (-1, layout.rank))  # (S, maps, outputs, inputs)
        weights.append((weight + layout.scale * update.flatten(1, 2)).transpose(-1, -2))

    def linear(g: int, x: Tensor) -> Tensor:
        flat, bias = x.flatten(1, 2), frozen.biases[g]
        y = flat @ weights[g] if bias is None else torch.baddbmm(bias, flat, weights[g])
        return y.unflatten(1, x.shape[1:3])

    return linear


def adapted_linear(layout: Layout, frozen: Frozen, copies: Sequence[tuple[Tensor, Tensor]]) -> Linear:
    """The decoder with an adapter copy a sample: `copies` as `sample_copies` makes them."""
    return lambda g, x: _Adapted.apply(x, frozen.weights[g], frozen.biases[g], *copies[g], layout.scale)


def sample_copies(layout: Layout, theta: Tensor, samples: int) -> list[tuple[Tensor, Tensor]]:
    """`samples` copies of each row's A and B that gradients can be taken of: (S, b, maps * r, inputs) and so on."""

    def copies(z: Tensor) -> Tensor:
        return z.detach().unsqueeze(1).expand(-1, samples, *z.shape[1:]).requires_grad_()

    return [(copies(a), copies(b)) for a, b in split(layout, theta)]


class _Adapted(torch.autograd.Function):
    """x W^T + bias + scale (x A^T) B, differentiated with respect to x and to every sample's own copy of A and B.

    The copies of one row are equal, so products with them run over the row's samples together.
    """

    @staticmethod
    def forward(ctx, x, weight, bias, a_copies, b_copies, scale):
        a, b = a_copies[:, 0], b_copies[:, 0]  # (S, maps * r, inputs), (S, maps, r, outputs)
        flat = x.flatten(1, 2)
        y = functional.linear(flat, weight, bias)
        low = (flat @ a.transpose(-1, -2)).mul_(scale)  # (S, b T, maps * r)
        for part, piece, up in zip(y.chunk(b.shape[1], -1), low.chunk(b.shape[1], -1), b.unbind(1), strict=True):
            part.baddbmm_(piece, up)
        ctx.save_for_backward(x, weight, a, b, low)
        ctx.scale = scale
        return y.unflatten(1, x.shape[1:3])

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]: one output, one gradient
        x, weight, a, b, low = ctx.saved_tensors
        maps, rank = b.shape[1:3]
        flat = grad.flatten(1, 2)
        down = [part @ up.transpose(-1, -2) for part, up in zip(flat.chunk(maps, -1), b.unbind(1), strict=True)]
        down = (down[0] if maps == 1 else torch.cat(down, -1)).mul_(ctx.scale)  # (S, b T, maps * r)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (flat @ weight).baddbmm_(down, a).view(x.shape)
        samples, tokens = x.shape[:2], x.shape[2]
        grad_a = down.unflatten(1, (-1, tokens)).transpose(-1, -2) @ x  # (S, b, maps * r, inputs)
        lows = low.view(*samples, tokens, maps, rank).unbind(-2)
        pairs = zip(lows, grad.unflatten(-1, (maps, -1)).unbind(-2), strict=True)
        grad_b = torch.stack([u.transpose(-1, -2) @ part for u, part in pairs], 2)  # (S, b, maps, r, outputs)
        return grad_x, None, None, grad_a, grad_b, None
