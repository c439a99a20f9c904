"""Public pre-training of the small LLaVA: answers of public scenes, and the digit from CLS.

AdamW (decay 0.01), one-cycle learning rate (10 % warm-up, then a cosine), loss = cross-entropy of the answer word plus
cross-entropy of the CLS head, all tokens visible. Afterwards everything is frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.papers.dualpriv.model import Sizes, answer_logits, digit_logits, hidden_states, parameter_shapes, project

BETAS, EPS, DECAY = (0.9, 0.999), 1e-8, 0.01
START, END = 1 / 25, 1e-5  # learning rate at the start and the end, as shares of its maximum
WARM_UP = 0.1


class Scenes(NamedTuple):
    """Public scenes on the device."""

    patches: Tensor  # (n, P, pixels)
    text: Tensor  # (n, 4)
    answer: Tensor  # (n,)
    digit: Tensor  # (n,)


class State(NamedTuple):
    w: Tensor  # (size,) all parameters
    first: Tensor  # (size,)
    second: Tensor  # (size,)


class Batch(NamedTuple):
    """One step's scenes and learning rate, and Adam's two bias corrections."""

    index: Tensor  # (B,)  # pyright: ignore[reportIncompatibleMethodOverride]: tuple.index is not used
    rate: Tensor  # ()
    corrections: Tensor  # (2,)


def flat(parameters: dict[str, Tensor]) -> Tensor:
    """One vector of all parameters, in the order of `parameter_shapes`."""
    return torch.cat([z.flatten() for z in parameters.values()])


def named(sizes: Sizes, w: Tensor) -> dict[str, Tensor]:
    """Views of the vector by name."""
    shapes = parameter_shapes(sizes)
    parts = w.split([math.prod(shape) for shape in shapes.values()])
    return {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def one_cycle(step: int, steps: int, peak: float) -> float:
    """Learning rate of step 0 .. steps - 1: a cosine up to `peak`, a cosine down."""
    top = max(1.0, WARM_UP * steps - 1)
    low, high, along = (START, 1.0, step / top) if step <= top else (END, 1.0, (steps - 1 - step) / (steps - 1 - top))
    return peak * (low + (high - low) * (1 - math.cos(math.pi * along)) / 2)


def batches(
    rng_of: Callable, scenes: int, size: int, steps: int, block: int, peak: float
) -> Callable[[int, int], Batch]:
    """draw(k, count) for `iterate`. rng_of(k): the NumPy generator of block k."""

    def draw(k: int, count: int) -> Batch:
        numbers = range(k * block, k * block + count)
        index = torch.from_numpy(rng_of(k).integers(scenes, size=(count, size)))
        rate = torch.tensor([one_cycle(t, steps, peak) for t in numbers], dtype=torch.float32)
        corrections = torch.tensor([[1 - beta ** (t + 1) for beta in BETAS] for t in numbers], dtype=torch.float32)
        return Batch(index, rate, corrections)

    return draw


def loss(sizes: Sizes, w: Tensor, scenes: Scenes, kind: str) -> Tensor:
    """Mean loss over `scenes`. kind: of the rotary positions."""
    weights = named(sizes, w)
    hidden = hidden_states(sizes, weights, scenes.patches)
    logits = answer_logits(sizes, weights, project(weights, hidden), scenes.text, kind)
    digit = digit_logits(sizes, weights, hidden)
    return functional.cross_entropy(logits, scenes.answer) + functional.cross_entropy(digit, scenes.digit)


def pretraining(sizes: Sizes, scenes: Scenes, kind: str = "shared") -> Callable[[State, Batch], State]:
    """step(state, batch) -> state."""

    def step(state: State, batch: Batch) -> State:
        with torch.enable_grad():
            w = state.w.detach().requires_grad_()
            value = loss(sizes, w, Scenes(*(z[batch.index] for z in scenes)), kind)
            (gradient,) = torch.autograd.grad(value, w)
        first = state.first.lerp(gradient, 1 - BETAS[0])
        second = state.second.lerp(gradient.square(), 1 - BETAS[1])
        correct_first, correct_second = batch.corrections.unbind()
        move = first / correct_first / ((second / correct_second).sqrt() + EPS)
        return State(state.w * (1 - batch.rate * DECAY) - batch.rate * move, first, second)

    return step


def start(w: Tensor) -> State:
    """State before the first step."""
    return State(w, torch.zeros_like(w), torch.zeros_like(w))
