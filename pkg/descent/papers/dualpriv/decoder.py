"""The decoder: a causal transformer over [visual tokens; text], read at its last position.

One forward pass serves pre-training, fine-tuning, evaluation and the memory count at the paper's size: `decode` leaves
every linear map to the caller's `linear`, which may be frozen, low-rank adapted with per-sample gradients (`lora`) or
merged with an adapter.

Exact savings: only the last positions are answered, so in the last layer only keys and values are computed for the
others; with a cached first LayerNorm (`normed`) the frozen inputs are normalised once.

Axes: S rows (seeds), b samples of a row, T tokens, d width. Rows never mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint as recompute


class Shape(NamedTuple):
    """Sizes of a decoder. gated: RMSNorm, SwiGLU and no biases, as LLaMA has; else LayerNorm, GELU and biases."""

    width: int = 48
    hidden: int = 192
    heads: int = 4
    layers: int = 2
    gated: bool = False

    @property
    def matrices(self) -> dict[str, tuple[int, int]]:
        """The linear maps of a layer and their (inputs, outputs)."""
        d, h = self.width, self.hidden
        attention = dict.fromkeys(("q", "k", "v", "o"), (d, d))
        return attention | (
            {"gate": (d, h), "up": (d, h), "down": (h, d)} if self.gated else {"f1": (d, h), "f2": (h, d)}
        )


class Group(NamedTuple):
    """Linear maps of one layer that share their input and are computed together."""

    layer: int
    names: tuple[str, ...]
    inputs: int
    outputs: int  # of each map


class Rope(NamedTuple):
    """Rotations of the last n positions; the tokens before them stand at position 0, where the rotation is none."""

    cos: Tensor  # (n, head width)
    sin: Tensor  # (n, head width)


class Frozen(NamedTuple):
    """The decoder's frozen weights, aligned with `groups(shape)`."""

    weights: tuple[Tensor, ...]  # one a group, (maps * outputs, inputs)
    biases: tuple[Tensor | None, ...]
    norms: tuple[tuple[Tensor, Tensor | None], ...]  # two a layer and the last one: (gain, shift)
    head: Tensor  # (vocabulary, d)


Linear = Callable[[int, Tensor], Tensor]
"""linear(g, x): the maps of group g on x (S, b, T, inputs) -> (S, b, T, maps * outputs)."""


def groups(shape: Shape) -> list[Group]:
    """The groups in the order in which `decode` asks for them, layer by layer."""
    found = []
    for layer in range(shape.layers):
        last = layer == shape.layers - 1
        together = [("q",), ("k", "v")] if last else [("q", "k", "v")]
        together += [("o",)] + ([("gate", "up"), ("down",)] if shape.gated else [("f1",), ("f2",)])
        found += [Group(layer, names, *shape.matrices[names[0]]) for names in together]
    return found


def rope(shape: Shape, positions: Tensor, base: float = 10000.0) -> Rope:
    """Rotary embedding (Su et al., arXiv 2104.09864) of the given positions (n,), of the last n tokens."""
    half = shape.width // shape.heads // 2
    frequency = base ** (-torch.arange(half, dtype=torch.float64, device=positions.device) / half)
    angle = positions.double()[:, None] * frequency
    angle = torch.cat([angle, angle], -1).float()
    return Rope(angle.cos(), angle.sin())


def decode(
    shape: Shape,
    frozen: Frozen,
    linear: Linear,
    x: Tensor,
    rotation: Rope,
    *,
    normed: Tensor | None = None,
    answered: int = 1,
    checkpoint: bool = False,
) -> Tensor:
    """Logits (S, b, answered, vocabulary) of the words after the last `answered` tokens of x (S, b, T, d).

    normed: the first LayerNorm of x where it is cached. checkpoint: keep only the layers' inputs for the backward pass
    and compute the rest again.
    """
    count = len(groups(shape)) // shape.layers  # of every layer but the last, which has one more
    for layer in range(shape.layers):
        last = answered if layer == shape.layers - 1 else None
        arguments = (shape, frozen, linear, x, rotation, layer, layer * count, normed if layer == 0 else None, last)
        x = recompute(_layer, *arguments, use_reentrant=False) if checkpoint else _layer(*arguments)
    return functional.linear(_norm(shape, x, frozen.norms[-1]), frozen.head)


def _layer(
    shape: Shape,
    frozen: Frozen,
    linear: Linear,
    x: Tensor,
    rotation: Rope,
    layer: int,
    g: int,
    normed: Tensor | None,
    answered: int | None,
) -> Tensor:
    """One layer, its first group being g; of the last layer only the last `answered` positions."""
    h = _norm(shape, x, frozen.norms[2 * layer]) if normed is None else normed
    # A forward pass alone holds no tensor longer than it is used: no name here outlives its use.
    if answered is None:
        projected = [*linear(g, h).chunk(3, -1)]
    else:
        projected = [linear(g, h[:, :, -answered:]), *linear(g + 1, h).chunk(2, -1)]
        x = x[:, :, -answered:]
        g += 1
    del h
    x = x + linear(g + 1, _attend(shape, projected, rotation))
    return x + linear(g + 3, _activate(shape, linear(g + 2, _norm(shape, x, frozen.norms[2 * layer + 1]))))


def _attend(shape: Shape, projected: list[Tensor], rotation: Rope) -> Tensor:
    """Causal attention of the last `q.shape[2]` positions: (S, b, t, d). `projected`, [q, k, v], is emptied."""
    v, k, q = (_split(shape, projected.pop()) for _ in range(3))
    q, k = _rotate(q, rotation), _rotate(k, rotation)
    score = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    queries, keys = score.shape[-2:]
    if queries > 1:
        future = torch.full((queries, keys), float("-inf"), dtype=q.dtype, device=q.device).triu_(keys - queries + 1)
        score = score.add_(future)  # no product saves its own result, so in place is safe
    mixed = score.softmax(-1) @ v
    return mixed.transpose(-2, -3).flatten(-2)


def _split(shape: Shape, z: Tensor) -> Tensor:
    return z.unflatten(-1, (shape.heads, -1)).transpose(-2, -3)


def _rotate(z: Tensor, rotation: Rope) -> Tensor:
    """Rotate the last positions of z (..., t, head width)."""
    count = min(len(rotation.cos), z.shape[-2])
    cos, sin = (table[len(table) - count :].to(z.dtype) for table in rotation)
    tail = z[..., z.shape[-2] - count :, :]
    first, second = tail.chunk(2, -1)
    turned = tail * cos + torch.cat([-second, first], -1) * sin
    return turned if count == z.shape[-2] else torch.cat([z[..., : z.shape[-2] - count, :], turned], -2)


def _norm(shape: Shape, x: Tensor, gain_shift: tuple[Tensor, Tensor | None]) -> Tensor:
    if shape.gated:
        return functional.rms_norm(x, (shape.width,), gain_shift[0], 1e-5)
    return functional.layer_norm(x, (shape.width,), *gain_shift)


def _activate(shape: Shape, h: Tensor) -> Tensor:
    if not shape.gated:
        return functional.gelu(h)
    gate, up = h.chunk(2, -1)
    return functional.silu(gate) * up
