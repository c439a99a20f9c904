"""What the private methods see: cached decoder inputs, and the loss and gradient of every sample of a batch.

Encoder, projector and embeddings are frozen, so a record is its decoder input [visual tokens; text], computed once;
with it the first LayerNorm. Loss: cross-entropy of the answer word over the whole vocabulary.

Axes: S rows (seeds), b samples, T tokens, d width, p parameters, N records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.papers.dualpriv.decoder import Frozen, Linear, Rope, decode
from descent.papers.dualpriv.lora import Layout, adapted_linear, merged_linear, sample_copies

_ANSWERED = 250  # 1.6 times as fast as 1000 at once, on 41 tokens


class Features(NamedTuple):
    """N records as the decoder takes them."""

    x: Tensor  # (N, T, d)
    normed: Tensor  # (N, T, d): the first LayerNorm of x
    answer: Tensor  # (N,) int64


class Problem(NamedTuple):
    """A frozen decoder, the adapter's layout and the training records."""

    layout: Layout
    frozen: Frozen
    rotation: Rope
    train: Features


def features(frozen: Frozen, x: Tensor, answer: Tensor) -> Features:
    """Cache what depends on frozen weights alone."""
    return Features(x, functional.layer_norm(x, x.shape[-1:], *frozen.norms[0]), answer)


def sample_gradients(problem: Problem, theta: Tensor, index: Tensor, present: Tensor) -> list[Tensor]:
    """The gradient of every sample's loss, in pieces (S, b, size) that `layout.pieces` lists in theta's order.

    theta: (S, p). index: (S, b) into the training records. present: (S, b), 1 for a sample and 0 for padding, whose
    gradient is 0.
    """
    copies = sample_copies(problem.layout, theta, index.shape[1])
    with torch.enable_grad():
        total = (_losses(problem, adapted_linear(problem.layout, problem.frozen, copies), index) * present).sum()
        gradients = torch.autograd.grad(total, [leaf for pair in copies for leaf in pair])
    return [g.flatten(2) for g in gradients]


def sample_losses(problem: Problem, theta: Tensor, index: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """The loss (S, b) of the samples `index` (S, b), forward only; 0 beyond a row's size.

    One row at a time: its activations stay in the cache, which halves the time of a few rows on a CPU.
    """
    found = []
    for row in range(len(theta)):
        width = max(1, sizes[row]) if sizes else index.shape[1]
        linear = merged_linear(problem.layout, problem.frozen, theta[row : row + 1])
        losses = _losses(problem, linear, index[row : row + 1, :width])
        found.append(functional.pad(losses, (0, index.shape[1] - width)))
    return torch.cat(found)


def answers(problem: Problem, theta: Tensor, records: Features) -> tuple[Tensor, Tensor]:
    """Whether each record is answered rightly, and its loss: (S, N) float, (S, N).

    One row and `_ANSWERED` records at a time: their activations stay in a CPU's cache.
    """
    right, losses = [], []
    for row in theta.split(1):
        linear = merged_linear(problem.layout, problem.frozen, row)
        parts = zip(records.x.split(_ANSWERED), records.normed.split(_ANSWERED), strict=True)
        logits = torch.cat([_logits(problem, linear, x[None], normed[None])[0] for x, normed in parts])
        right.append((logits.argmax(-1) == records.answer).to(theta.dtype))
        losses.append(functional.cross_entropy(logits, records.answer, reduction="none"))
    # A diverged row has no accuracy: argmax of NaN would invent one.
    lost = torch.zeros_like(theta[:, :1]).masked_fill(~theta.isfinite().all(-1, keepdim=True), float("nan"))
    return torch.stack(right) + lost, torch.stack(losses)


def _losses(problem: Problem, linear: Linear, index: Tensor) -> Tensor:
    train = problem.train
    logits = _logits(problem, linear, train.x[index], train.normed[index])
    return functional.cross_entropy(logits.flatten(0, 1), train.answer[index].flatten(), reduction="none").view_as(
        index
    )


def _logits(problem: Problem, linear: Linear, x: Tensor, normed: Tensor) -> Tensor:
    """(S, b, vocabulary) after the last token."""
    return decode(problem.layout.shape, problem.frozen, linear, x, problem.rotation, normed=normed)[:, :, 0]
