"""The frozen world of a job: a pre-trained base, the scenes, and their decoder inputs, computed once.

The scenes are fixed: every method and every seed trains on the same private records (seeds differ in the base, the
adapter's start, the batches and the noise). Encoded private records and their answers stay in memory and are never recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams
from descent.papers.dualpriv import model
from descent.papers.dualpriv.decoder import Frozen
from descent.papers.dualpriv.pretraining import named
from descent.papers.dualpriv.problem import Features, features
from descent.papers.dualpriv.scenes import Scenes, draw_scenes, pools
from descent.papers.dualpriv.tokens import prune

TASKS = {"content": (("digit", "parity"), "shared"), "spatial": (("digit", "row"), "ordinary")}
"""Questions and rotary positions: the study's task, and the stress case in which pruning costs (ours)."""


def bases_of(arrays: Mapping[str, np.ndarray], seeds: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """(number of a base, its seeds): seed s trains on base s modulo their number, so no result hangs on one of them."""
    count = len(arrays["base"])
    found = {base: tuple(s for s in seeds if s % count == base) for base in range(count)}
    return [(base, own) for base, own in found.items() if own]


FIXED = 0
"""Seed of everything that is one world for all seeds: scenes, fusion noise, the random token choice."""

_CHUNK = 250  # scenes encoded at once: their activations fit the cache


class Split(NamedTuple):
    """Encoded records of one pool, on the device."""

    name: str
    encoded: model.Encoded
    text: Tensor  # (N, 4) int64
    answer: Tensor  # (N,) int64
    digit: Tensor  # (N,) int64
    on_digit: Tensor  # (N, P) bool


@dataclass
class World:
    """Base, digits and streams; `split` and `inputs` compute at first use and keep."""

    sizes: model.Sizes
    task: str
    weights: Mapping[str, Tensor]
    digits: Any
    streams: Streams
    device: torch.device
    base: int = 0  # which of the pre-trained bases
    _splits: dict[tuple, Split] = field(default_factory=dict)
    _inputs: dict[tuple, Features] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        arrays: Mapping[str, np.ndarray],
        digits: Any,
        streams: Streams,
        task: str,
        device: torch.device,
        base: int = 0,
    ):
        """From the arrays that a `pretrain` job keeps: its base number `base`."""
        sizes = model.Sizes(*(int(n) for n in arrays["sizes"]))
        weights = named(sizes, torch.from_numpy(np.array(arrays["base"][base])).to(device))
        return cls(sizes, task, weights, digits, streams, device, base)

    @property
    def frozen(self) -> Frozen:
        return model.freeze(self.sizes, self.weights)

    def rotation(self, tokens: int):
        """Rotary table for inputs of `tokens` tokens, text included."""
        return model.rotation(self.sizes, TASKS[self.task][1], tokens - model.TEXT, self.device)

    def scenes(self, name: str, count: int, *, private: bool = True) -> Scenes:
        """`count` scenes on the host. name: test (test pool), public (public pool), anything else (private pool)."""
        found = pools(len(self.digits["labels"]))
        pool = {"test": found.test, "public": found.public}.get(name, found.private)
        images = np.asarray(self.digits["images"], dtype=np.float64) / 16
        return draw_scenes(
            self.streams.numpy("scenes", FIXED, name),
            images[pool],
            np.asarray(self.digits["labels"])[pool],
            count,
            private=private,
            canvas=self.sizes.canvas,
            questions=TASKS[self.task][0],
        )

    def split(self, name: str, count: int, *, private: bool = True) -> Split:
        """The same, encoded."""
        key = name, count, private
        if key not in self._splits:
            self._splits[key] = self.encoded(name, self.scenes(name, count, private=private))
        return self._splits[key]

    def encoded(self, name: str, drawn: Scenes) -> Split:
        """H and the attention of CLS of `drawn`."""
        patches = torch.from_numpy(drawn.patches).to(self.device)
        with torch.no_grad():
            parts = [model.encode(self.sizes, self.weights, part) for part in patches.split(_CHUNK)]
        encoded = model.Encoded(*(torch.cat(z) for z in zip(*parts, strict=True)))
        rest = (torch.from_numpy(z).to(self.device) for z in (drawn.text, drawn.answer, drawn.digit, drawn.on_digit))
        return Split(name, encoded, *rest)

    def token_score(self, split: Split, tokens: str) -> Tensor:
        """What patches are chosen by, (N, P): attention of CLS, or for the control random numbers."""
        if tokens == "cls":
            return split.encoded.attention
        shape = tuple(split.encoded.attention.shape)
        generator = self.streams.torch("random tokens", FIXED, split.name)
        return torch.rand(shape, generator=generator, dtype=torch.float32).to(self.device)

    def inputs(
        self, split: Split, tokens: str = "all", dominant: int = 0, contextual: int = 0, fuse_std: float = 0.0
    ) -> Features:
        """Decoder inputs of a split. tokens: all, cls or random. fuse_std: of the noise on fused tokens."""
        key = split.name, len(split.answer), tokens, dominant, contextual, fuse_std
        if key not in self._inputs:
            self._inputs.clear()  # one set of tokens at a time is trained on
            with torch.no_grad():
                self._inputs[key] = self._computed(split, tokens, dominant, contextual, fuse_std)
        return self._inputs[key]

    def _computed(self, split: Split, tokens: str, dominant: int, contextual: int, fuse_std: float) -> Features:
        visual = split.encoded.hidden
        if tokens != "all":
            noise = None
            if fuse_std:
                shape = (len(visual), contextual, visual.shape[-1])
                generator = self.streams.torch("fusion noise", FIXED, split.name)
                noise = torch.randn(shape, generator=generator, dtype=torch.float32)
                noise = fuse_std * noise.to(self.device)
            visual = prune(visual, self.token_score(split, tokens), dominant, contextual, noise)
        x = torch.cat([model.project(self.weights, visual), model.embed(self.weights, split.text)], 1)
        return features(self.frozen, x, split.answer)
