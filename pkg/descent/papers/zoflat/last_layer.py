"""Fine-tuning a sentence encoder's last layer and a linear head, on cached outputs of the frozen layers below.

The feature is the last layer's output at [CLS], h; logits = W_h h + b_h; the loss is cross-entropy on the whole few-shot
set. Axes: R rows (seeds, each with texts and parameters of its own), B texts, T tokens, H hidden size, d parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from descent.core.job import Variant
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.transformer import first_token

HEAD = ("head.weight", "head.bias")


class Inputs(NamedTuple):
    hidden: Tensor  # (R, B, T, H) float32, the last layer's input
    mask: Tensor  # (R, B, T) bool, True at real tokens
    labels: Tensor  # (R, B) int64


class LastLayer:
    """The classifier as methods see it: rows of a flat parameter tensor (R, d)."""

    def __init__(self, layout: Layout, train: Inputs, test: Inputs, *, heads: int, eps: float):
        self.layout, self.train, self.test, self.heads, self.eps = layout, train, test, heads, eps
        self.examples = train.labels.shape[1]

    def logits(self, x: Tensor, inputs: Inputs) -> Tensor:
        """(R, B, classes)."""
        p = self.layout.split(x)
        h = first_token(inputs.hidden, inputs.mask, p, heads=self.heads, eps=self.eps)
        return torch.baddbmm(p["head.bias"][:, None], h, p["head.weight"].mT)

    def loss(self, x: Tensor, batch: Any = None) -> Tensor:
        """(R,) cross-entropy on the whole training set (there is no smaller batch)."""
        logits = self.logits(x, self.train)
        return (
            cross_entropy(logits.flatten(0, 1), self.train.labels.flatten(), reduction="none").view(len(x), -1).mean(1)
        )

    def parts(self) -> Sequence[Any]:
        """Losses that add up to `loss`, each small enough for a differentiable gradient."""
        return (self.loss,)

    def accuracy(self, x: Tensor) -> Tensor:
        """(R,) on the test texts."""
        return (self.logits(x, self.test).argmax(-1) == self.test.labels).to(x.dtype).mean(1)

    def gradient(self, x: Tensor, batch: Any = None) -> Tensor:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.loss(x, batch).sum(), x)[0]


def from_arrays(arrays: Mapping[str, np.ndarray], variant: Variant, device: torch.device) -> tuple[LastLayer, Tensor]:
    """The problem of a variant's seeds from the arrays of an `encode` job, and its start (R, d): the pretrained layer
    and the zero-shot head."""
    seeds = variant.seeds

    def inputs(names: Sequence[str], labels: bool = True) -> Inputs:
        hidden, mask = (
            torch.from_numpy(np.stack([arrays[f"{n}/{what}"] for n in names])).to(device) for what in ("hidden", "mask")
        )
        found = np.stack([arrays[f"{n}/labels"] for n in names]) if labels else np.zeros((1, 2), dtype=np.int64)
        return Inputs(hidden, mask, torch.from_numpy(found).to(device))

    layer = {
        name.removeprefix("layer/"): torch.from_numpy(a).to(device)
        for name, a in arrays.items()
        if name.startswith("layer/")
    }
    heads, eps = int(arrays["heads"].item()), float(arrays["eps"].item())
    prompts = inputs(["prompts"], labels=False)
    batched = {name: value[None] for name, value in layer.items()}
    features = first_token(prompts.hidden, prompts.mask, batched, heads=heads, eps=eps)[0]
    parameters = {**layer, **zero_shot_head(features)}
    layout = Layout.of(parameters)
    train, test = (inputs([f"{seed}/{split}" for seed in seeds]) for split in ("train", "test"))
    start = layout.join(parameters).expand(len(seeds), -1).clone()
    return LastLayer(layout, train, test, heads=heads, eps=eps), start


def zero_shot_head(features: Tensor) -> dict[str, Tensor]:
    """A head from the features (classes, H) of one prompt a class: centred, each of length 1; no bias."""
    centred = features - features.mean(0)
    weight = centred / centred.norm(dim=1, keepdim=True)
    return dict(zip(HEAD, (weight, torch.zeros_like(weight[:, 0])), strict=True))
