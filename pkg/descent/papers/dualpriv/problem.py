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

from descent.core.errors import SettingError
from descent.papers.dualpriv.decoder import Frozen, Linear, Rope, decode
from descent.papers.dualpriv.lora import Layout, adapted_linear, merged_linear, sample_copies
from descent.privacy.ledger import Ledger

_ANSWERED = 250  # 1.6 times as fast as 1000 at once, on 41 tokens
_CACHE = 6 * 2**20  # bytes of one hidden activation; six rows at once are 25 % slower than fewer on a CPU


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
    train: Features  # the ledger's N records; or a set of N for each row of theta, one after another


def in_a_row(parts: Sequence[Features]) -> Features:
    """Several sets of records as one, one after another."""
    return Features(*(torch.cat(z) for z in zip(*parts, strict=True)))


def check_records(problem: Problem, ledger: Ledger) -> None:
    """Raises SettingError unless the problem holds the ledger's records, or several sets of as many."""
    held = len(problem.train.answer)
    if held % ledger.records:
        raise SettingError(
            f"dualpriv: the ledger accounts for {ledger.records} records, but the problem holds {held}; open the ledger "
            "for as many"
        )


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
    """The loss (S, b) of the samples `index` (S, b), forward only, a few rows at a time.

    sizes: (S,), beyond which a row is padding and its loss means nothing.
    """
    found = []
    for rows, width in together(problem, sizes or [index.shape[1]] * len(theta)):
        linear = merged_linear(problem.layout, problem.frozen, theta[rows])
        losses = _losses(problem, linear, index[rows, :width])
        found.append(functional.pad(losses, (0, index.shape[1] - width)))
    return torch.cat(found)


def together(problem: Problem, sizes: Sequence[int]) -> list[tuple[slice, int]]:
    """Neighbouring rows whose activations are held together, and the largest of their sizes, 1 at least.

    On a CPU as many rows as the cache takes, else all.
    """
    x, most = problem.train.x, len(sizes)
    if x.device.type == "cpu":
        most = max(1, _CACHE // (max(1, *sizes) * x.shape[1] * problem.layout.shape.hidden * x.element_size()))
    parts = [slice(at, at + most) for at in range(0, len(sizes), most)]
    return [(rows, max(1, *sizes[rows])) for rows in parts]


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
