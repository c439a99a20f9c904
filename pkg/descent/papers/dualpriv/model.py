"""The small LLaVA: a vision encoder, a projector and a decoder, pre-trained on public scenes and then frozen.

Encoder: patch embedding with learned positions, two transformer layers over the patches; then CLS is put in front and
a third layer lets it look at them ("class attention"). H is that layer's input (the penultimate hidden states), S its
attention from CLS. Projector: two linear maps. Decoder: `decoder.decode`, rotary positions shared by all visual tokens
(`rope="shared"`: pruning then moves nothing) or counted up as usual (`rope="ordinary"`).

Parameters are a dictionary of tensors; shapes follow `Sizes`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.papers.dualpriv.decoder import Frozen, Rope, Shape, decode, groups, rope
from descent.papers.dualpriv.lora import frozen_linear
from descent.papers.dualpriv.scenes import VOCABULARY

TEXT = 4  # text tokens: BOS, domain, question, ANS
_VISION_LAYERS = 3
_DIGITS = 10
Parameters = Mapping[str, Tensor]


class Sizes(NamedTuple):
    """Sizes of the whole model. `Sizes()` is the study's; paper scale takes width 256, 6 layers, canvas 56."""

    canvas: int = 24
    patch: int = 4
    width: int = 48
    heads: int = 4
    layers: int = 2  # of the decoder

    @property
    def patches(self) -> int:
        return (self.canvas // self.patch) ** 2

    @property
    def decoder(self) -> Shape:
        return Shape(self.width, 4 * self.width, self.heads, self.layers)


class Encoded(NamedTuple):
    """What the frozen encoder says of n scenes."""

    hidden: Tensor  # H (n, 1 + P, d): CLS, then the patches
    attention: Tensor  # (n, P): CLS -> patch, mean over heads


def parameter_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, in the order of the flat vector."""
    d = sizes.width
    pixels = sizes.patch**2
    shapes: dict[str, tuple[int, ...]] = {
        "vision.embed.weight": (d, pixels),
        "vision.embed.bias": (d,),
        "vision.positions": (sizes.patches, d),
        "vision.cls": (d,),
    }
    stacks = [("vision", _VISION_LAYERS), ("decoder", sizes.layers)]
    for stack, layers in stacks:
        for layer in range(layers):
            for norm in ("norm1", "norm2"):
                shapes |= _affine(f"{stack}.{layer}.{norm}", (d,), d)
            for name, (inputs, outputs) in sizes.decoder.matrices.items():
                shapes |= _affine(f"{stack}.{layer}.{name}", (outputs, inputs), outputs)
    shapes |= _affine("vision.norm", (d,), d) | _affine("vision.digit", (_DIGITS, d), _DIGITS)
    shapes |= _affine("projector.1", (d, d), d) | _affine("projector.2", (d, d), d)
    shapes |= _affine("decoder.norm", (d,), d)
    return shapes | {"decoder.embedding": (VOCABULARY, d), "decoder.head": (VOCABULARY, d)}


def initial_parameters(sizes: Sizes, generator: torch.Generator) -> dict[str, Tensor]:
    """Start of pre-training, float32 on the host: normals of std 0.3 for embeddings, U(-1, 1) / sqrt(inputs) for linear maps."""
    start = {}
    shapes = parameter_shapes(sizes)
    for name, shape in shapes.items():
        if "norm" in name:
            start[name] = torch.full(shape, 1.0 if name.endswith("weight") else 0.0, dtype=torch.float32)
        elif name in ("vision.positions", "vision.cls", "decoder.embedding"):
            start[name] = 0.3 * torch.randn(shape, generator=generator, dtype=torch.float32)
        else:
            weight = shapes[name.removesuffix("bias") + "weight"] if name.endswith("bias") else shape
            start[name] = (2 * torch.rand(shape, generator=generator, dtype=torch.float32) - 1) / math.sqrt(weight[-1])
    return start


def hidden_states(sizes: Sizes, w: Parameters, patches: Tensor) -> Tensor:
    """H (n, 1 + P, d), the input of the last encoder layer, of patches (n, P, pixels)."""
    x = _linear(w, "vision.embed", patches) + w["vision.positions"]
    for layer in range(_VISION_LAYERS - 1):
        name = f"vision.{layer}"
        h = _norm(w, f"{name}.norm1", x)
        q, k, v = (_heads(sizes, _linear(w, f"{name}.{z}", h)) for z in "qkv")
        x = x + _linear(w, f"{name}.o", _attention(q, k, v))
        x = x + _mlp(w, name, _norm(w, f"{name}.norm2", x))
    return torch.cat([w["vision.cls"].expand(len(x), 1, -1), x], 1)


def encode(sizes: Sizes, w: Parameters, patches: Tensor) -> Encoded:
    """H and the attention of CLS, of patches (n, P, pixels)."""
    hidden = hidden_states(sizes, w, patches)
    query, key, _ = _class_projections(sizes, w, hidden)
    score = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)  # (n, heads, 1, 1 + P)
    return Encoded(hidden, score.softmax(-1).mean(1)[:, 0, 1:])


def digit_logits(sizes: Sizes, w: Parameters, hidden: Tensor) -> Tensor:
    """The CLS head (n, 10), used in pre-training only. Only CLS is needed of the last encoder layer."""
    query, key, value = _class_projections(sizes, w, hidden)
    mixed = _attention(query, key, value)
    x = hidden[:, :1] + _linear(w, "vision.2.o", mixed)
    x = x + _mlp(w, "vision.2", _norm(w, "vision.2.norm2", x))
    return _linear(w, "vision.digit", _norm(w, "vision.norm", x[:, 0]))


def project(w: Parameters, tokens: Tensor) -> Tensor:
    """The frozen projector P: visual tokens (..., d) into the decoder's space (..., d)."""
    return _linear(w, "projector.2", functional.gelu(_linear(w, "projector.1", tokens)))


def embed(w: Parameters, text: Tensor) -> Tensor:
    """Text tokens (...) int64 into the decoder's space (..., d)."""
    return functional.embedding(text, w["decoder.embedding"])


def freeze(sizes: Sizes, w: Parameters) -> Frozen:
    """The decoder's weights as `decode` wants them."""
    found = groups(sizes.decoder)
    weights = tuple(_stacked(w, g, "weight") for g in found)
    biases = tuple(_stacked(w, g, "bias") for g in found)
    norms = [f"decoder.{layer}.{norm}" for layer in range(sizes.layers) for norm in ("norm1", "norm2")]
    gains = tuple((w[f"{name}.weight"], w[f"{name}.bias"]) for name in (*norms, "decoder.norm"))
    return Frozen(weights, biases, gains, w["decoder.head"])


def rotation(sizes: Sizes, kind: str, visual: int, device: torch.device | None = None) -> Rope:
    """Rotary table for `visual` visual tokens and the text. kind: "shared" (visual 0, text 1..4) or "ordinary"."""
    if kind == "shared":
        return rope(sizes.decoder, torch.arange(1, TEXT + 1, device=device))
    return rope(sizes.decoder, torch.arange(visual + TEXT, device=device))


def answer_logits(sizes: Sizes, w: Parameters, visual: Tensor, text: Tensor, kind: str = "shared") -> Tensor:
    """Logits (n, vocabulary) of the answer, from projected visual tokens (n, T, d) and text (n, 4), no adapter."""
    x = torch.cat([visual, embed(w, text)], 1)
    frozen = freeze(sizes, w)
    table = rotation(sizes, kind, visual.shape[1], x.device)
    return decode(sizes.decoder, frozen, frozen_linear(frozen), x[None], table)[0, :, 0]


def _class_projections(sizes: Sizes, w: Parameters, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = _norm(w, "vision.2.norm1", hidden)
    query = _linear(w, "vision.2.q", h[:, :1])
    key, value = _linear(w, "vision.2.k", h), _linear(w, "vision.2.v", h)
    return _heads(sizes, query), _heads(sizes, key), _heads(sizes, value)


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    mixed = ((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)).softmax(-1) @ v
    return mixed.transpose(1, 2).flatten(2)


def _heads(sizes: Sizes, z: Tensor) -> Tensor:
    return z.unflatten(-1, (sizes.heads, -1)).transpose(1, 2)


def _mlp(w: Parameters, name: str, h: Tensor) -> Tensor:
    return _linear(w, f"{name}.f2", functional.gelu(_linear(w, f"{name}.f1", h)))


def _linear(w: Parameters, name: str, x: Tensor) -> Tensor:
    return functional.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])


def _norm(w: Parameters, name: str, x: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])


def _affine(name: str, weight: tuple[int, ...], bias: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": weight, f"{name}.bias": (bias,)}


def _stacked(w: Parameters, group, kind: str) -> Tensor:
    parts = [w[f"decoder.{group.layer}.{name}.{kind}"] for name in group.names]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
