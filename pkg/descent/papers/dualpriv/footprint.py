"""Peak memory of one micro-batch's step: every tensor counted, also at the paper's 7B size.

Counted: the decoder's weights, the adapter, the micro-batch's inputs, activations, gradients and what the update needs.
Not counted: a cache of the data set (a choice of ours that would decide the comparison by itself). What else to count
is a choice as well, so it is declared: COUNTED. Steps are in place, as large models are trained: `first_order_step`
and `zeroth_order_step` do what `dpsgd` and `dpzero` do, with no second copy of anything.

On `device="meta"` nothing is computed and nothing held, so a 7B-shaped step is counted in a second; the count of the
small model is the same there as on the CPU. On CUDA the allocator's peak is read instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.core.job import Job
from descent.core.records import Records
from descent.papers.dualpriv.blocks import largest
from descent.papers.dualpriv.decoder import Frozen, Rope, Shape, decode, groups, rope
from descent.papers.dualpriv.first_order import clip_factors
from descent.papers.dualpriv.lora import Layout, adapted_linear, layout, sample_copies
from descent.papers.dualpriv.methods import FirstOrder, Recipe, recipe_of
from descent.papers.dualpriv.model import TEXT, Sizes
from descent.papers.dualpriv.scenes import VOCABULARY
from descent.toolbox.memory import LiveStorages, cuda_peak

LLAVA = Shape(width=4096, hidden=11008, heads=32, layers=32, gated=True)
_LLAVA_VOCABULARY = 32_000
_LLAVA_PATCHES = 576
_TOWER = 303_507_456 + 1024 * 4096 + 4096 + 4096 * 4096 + 4096  # CLIP-L/14-336's weights and the two-layer projector


class Counting(NamedTuple):
    """What a 7B-shaped count includes beside the decoder layers, the adapter and the step."""

    tower: bool = False  # the frozen vision tower's weights and the projector's
    vocabulary: bool = False  # embedding and output matrices, and the logits of every position in float32
    noise: bool = False  # one buffer of p random numbers (first order: the noise; zeroth order: the direction)
    checkpoint: bool = False  # only layer inputs are kept for the backward pass
    last_only: bool = False  # the last layer computes its last position only, as our small model does
    text: int = 64  # text tokens
    rank: int = 128  # of the adapter; alpha is twice the rank


COUNTED = {
    "plain": Counting(),
    "tower": Counting(tower=True),
    "vocabulary": Counting(vocabulary=True),
    "noise": Counting(noise=True),
    "checkpoint": Counting(checkpoint=True),
    "last_only": Counting(last_only=True),
    "text128": Counting(text=128),
    "rank8": Counting(rank=8),
    "all": Counting(tower=True, vocabulary=True, noise=True),
    "all+checkpoint": Counting(tower=True, vocabulary=True, noise=True, checkpoint=True),
    "all+checkpoint+rank8": Counting(tower=True, vocabulary=True, noise=True, checkpoint=True, rank=8),
}
"""The declared grid."""


class Case(NamedTuple):
    """A model with one micro-batch on a device; S = 1."""

    layout: Layout
    frozen: Frozen
    rotation: Rope
    theta: Tensor  # (1, p)
    x: Tensor  # (1, b, T, d)
    normed: Tensor | None  # (1, b, T, d) or None
    answer: Tensor  # (b,)
    extra: tuple[Tensor, ...]  # held, not used: the tower, the embedding
    answered: int
    checkpoint: bool
    noise: bool

    def held(self) -> list[Tensor]:
        """Everything there before the step."""
        norms = [z for pair in self.frozen.norms for z in pair]
        parts = [*self.frozen.weights, *self.frozen.biases, *norms, self.frozen.head, *self.rotation, *self.extra]
        return [z for z in (*parts, self.theta, self.x, self.normed, self.answer) if z is not None]


def small_case(
    visual: int, micro_batch: int, rank: int, device: torch.device | str, sizes: Sizes | None = None
) -> Case:
    """The study's model with `visual` visual tokens, float32, first LayerNorm cached with the inputs."""
    sizes = sizes or Sizes()
    shape, tokens = sizes.decoder, visual + TEXT
    found = groups(shape)
    make = _maker(device, torch.float32)
    weights = tuple(make(len(g.names) * g.outputs, g.inputs) for g in found)
    biases = tuple(make(len(g.names) * g.outputs) for g in found)
    norms = tuple((make(shape.width), make(shape.width)) for _ in range(2 * shape.layers + 1))
    frozen = Frozen(weights, biases, norms, make(VOCABULARY, shape.width))
    adapter = layout(shape, rank, 2.0 * rank)
    inputs = make(1, micro_batch, tokens, shape.width), make(1, micro_batch, tokens, shape.width)
    return Case(
        adapter, frozen, rope(shape, torch.arange(1, TEXT + 1, device=device)), make(1, adapter.size), *inputs,
        torch.zeros(micro_batch, dtype=torch.int64, device=device), (), 1, False, False,
    )  # fmt: skip


def llava_case(
    visual: int, micro_batch: int, counted: Counting, device: torch.device | str, shape: Shape = LLAVA
) -> Case:
    """A LLaVA-1.5-7B-shaped decoder in bfloat16, weights of no meaning."""
    make = _maker(device, torch.bfloat16)
    found = groups(shape)
    weights = tuple(make(len(g.names) * g.outputs, g.inputs) for g in found)
    norms = tuple((make(shape.width), None) for _ in range(2 * shape.layers + 1))
    words = _LLAVA_VOCABULARY if counted.vocabulary else VOCABULARY
    frozen = Frozen(weights, (None,) * len(found), norms, make(words, shape.width))
    extra = [make(words, shape.width)] if counted.vocabulary else []
    extra += [make(_TOWER)] if counted.tower else []
    adapter = layout(shape, counted.rank, 2.0 * counted.rank)
    inputs = _llava_inputs(visual, micro_batch, counted, device, shape)
    return Case(
        adapter, frozen, inputs.rotation, make(1, adapter.size), inputs.x, None, inputs.answer, tuple(extra),
        inputs.answered, counted.checkpoint, counted.noise,
    )  # fmt: skip


def with_inputs(case: Case, visual: int, micro_batch: int, counted: Counting) -> Case:
    """`llava_case` of other inputs on the weights and the adapter of `case`."""
    inputs = _llava_inputs(visual, micro_batch, counted, case.theta.device, case.layout.shape)
    return case._replace(**inputs._asdict())


class _Inputs(NamedTuple):
    rotation: Rope
    x: Tensor
    answer: Tensor
    answered: int


def _llava_inputs(
    visual: int, micro_batch: int, counted: Counting, device: torch.device | str, shape: Shape
) -> _Inputs:
    tokens = visual + counted.text
    return _Inputs(
        rope(shape, torch.arange(tokens, device=device)),
        _maker(device, torch.bfloat16)(1, micro_batch, tokens, shape.width),
        torch.zeros(micro_batch, dtype=torch.int64, device=device),
        1 if counted.last_only else tokens,
    )


def visual_tokens(recipe: Recipe, model: str) -> int:
    """Visual tokens that the decoder of this model sees under a method."""
    if recipe.tokens != "all":
        return 1 + recipe.dominant + recipe.contextual
    return Sizes().patches + 1 if model == "small" else _LLAVA_PATCHES


def first_order_step(
    case: Case,
    *,
    keep: float,
    clip_norm: float = 1.0,
    noise_std: float = 0.0,
    batch: float = 1.0,
    step_size: float = 1.0,
    normal: Callable[[Tensor], Tensor] = torch.zeros_like,
) -> None:
    """One step of DP-SGD (keep = 1) or Dual-Priv on the micro-batch, in place on `case.theta`.

    normal(z): standard normals like z.
    """
    copies = sample_copies(case.layout, case.theta, case.x.shape[1])
    with torch.enable_grad():
        total = _losses(case, copies).sum()
        gradients = list(torch.autograd.grad(total, [leaf for pair in copies for leaf in pair]))
    del total, copies
    gradients = [g.flatten(2) for g in gradients]
    factors = clip_factors(gradients, clip_norm)
    buffer = normal(case.theta) if case.noise else None
    updates, start = [], 0
    while gradients:  # a sample's gradient goes as soon as it is summed
        update = (factors @ gradients.pop(0))[:, 0]
        noise = normal(update) if buffer is None else buffer[:, start : start + update.shape[1]]
        updates.append(update.add_(noise, alpha=noise_std).div_(batch))
        start += update.shape[1]
        del noise
    blocks = [part for part, size in zip(updates, _sizes(case.layout), strict=True) for part in part.split(size, -1)]
    mask = largest(torch.stack([torch.linalg.vector_norm(b, dim=-1) / b.shape[-1] ** 0.5 for b in blocks], -1), keep)
    sizes = [block.size for block in case.layout.blocks]
    for part, block, kept in zip(case.theta.split(sizes, -1), blocks, mask.unbind(-1), strict=True):
        part.add_(block.mul_(kept[:, None]), alpha=-step_size)


def zeroth_order_step(
    case: Case,
    *,
    clip_norm: float = 1.0,
    noise: float = 0.0,
    batch: float = 1.0,
    step_size: float = 1.0,
    probe: float = 1e-3,
    normal: Callable[[int, Tensor], Tensor] = lambda piece, z: torch.zeros_like(z),
) -> None:
    """One step of DPZero on the micro-batch, in place: theta goes to theta + mu z, to theta - mu z and back.

    normal(i, z): piece i of the direction, the same at every call (regenerated from its seed). noise: the scalar.
    """
    pieces = case.theta.split(case.layout.pieces, -1)
    kept = [normal(i, z) for i, z in enumerate(pieces)] if case.noise else None

    def move(scale: float | Tensor) -> None:
        for i, piece in enumerate(pieces):
            direction = kept[i] if kept else normal(i, piece)
            piece.add_(direction, alpha=scale) if isinstance(scale, float) else piece.sub_(scale * direction)

    def losses() -> Tensor:
        return _losses(case, sample_copies(case.layout, case.theta, 1))

    with torch.no_grad():
        move(probe)
        above = losses()
        move(-2 * probe)
        difference = (above - losses()) / (2 * probe)
        move(probe)
        slope = (difference.clamp(-clip_norm, clip_norm).sum() + noise) / batch
        move(step_size * slope)


def count(case: Case, order: str, keep: float = 1.0) -> int:
    """Peak bytes of a step on the case's device: counted, or on CUDA read from the allocator."""

    def step() -> None:
        if order == "zeroth":
            zeroth_order_step(case)
        else:
            first_order_step(case, keep=keep)

    if case.theta.device.type == "cuda":
        return cuda_peak(step, case.theta.device)
    with LiveStorages(held=case.held()) as memory:
        step()
    return memory.peak


def run(job: Job, context: Any) -> Records:
    """Counts are deterministic: one number a variant, whatever the seed."""
    records = Records()
    for variant in job.variants:
        recipe, p = recipe_of(variant), variant.params
        device = context.device if p["measured"] else "meta"
        visual = visual_tokens(recipe, p["model"])
        if p["model"] == "small":
            case = small_case(visual, p["micro_batch_size"], p["rank"], device)
        else:
            case = llava_case(visual, p["micro_batch_size"], COUNTED[p["counted"]], device)
        peak = count(case, "first", recipe.keep) if isinstance(recipe, FirstOrder) else count(case, "zeroth")
        records.add(variant, "peak_memory", peak / 1e6, seeds=variant.seeds[:1])
        records.add(variant, "held_memory", sum(z.nbytes for z in case.held()) / 1e6, seeds=variant.seeds[:1])
        del case
    return records


def _losses(case: Case, copies) -> Tensor:
    linear = adapted_linear(case.layout, case.frozen, copies)
    logits = decode(
        case.layout.shape, case.frozen, linear, case.x, case.rotation,
        normed=case.normed, answered=case.answered, checkpoint=case.checkpoint,
    )  # fmt: skip
    # As large models are trained: every position's logits in float32 where they were computed in less.
    logits = logits[0].to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(logits[:, -1], case.answer, reduction="none")


def _sizes(layout: Layout) -> list[int]:
    """Size of the blocks in each piece: the maps of a group have equal sizes."""
    return [n * layout.rank for g in layout.groups for n in (g.inputs, g.outputs)]


def _maker(device: torch.device | str, dtype: torch.dtype) -> Callable[..., Tensor]:
    if torch.device(device).type == "meta":
        return lambda *shape: torch.empty(shape, dtype=dtype, device=device)
    generator = torch.Generator(device).manual_seed(0)
    return lambda *shape: 0.02 * torch.randn(shape, generator=generator, dtype=dtype, device=device)
