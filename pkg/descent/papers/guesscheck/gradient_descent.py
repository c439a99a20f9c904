"""The baseline: full-batch gradient descent on the factors, from a small start, with one normalised step for all layers.

The official code's optimiser (GroupRMSprop): v <- 0.99 v + 0.01 |G|^2 over the whole network, then every layer moves by
lr / (sqrt(v / (1 - 0.99^t)) + 1e-6) times its gradient. Its "momentum" builds a buffer and never uses it; `momentum`
here is heavy ball on the gradients, our reading of the text.

Problems of different depths, widths and activations run as one batch: narrow layers are padded with zeros, whose
gradients are zero since sigma(0) = 0, and shallow networks with identity layers in front, which are not trained.
Axes: B problems, D layers of the deepest, r x c the largest shape of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import Task
from descent.papers.guesscheck.settings import ACTIVATION_NAMES, LEAK, SETTINGS

DECAY, TINY = 0.99, 1e-6  # code: of the second moment, and what is added to its root


class State(NamedTuple):
    layers: tuple[Tensor, ...]  # D of (B, r, c)
    moment: Tensor  # (B,) v
    kept: Tensor  # (B,) DECAY^t
    direction: tuple[Tensor, ...]  # heavy ball's, shaped as layers; empty without momentum


class Info(NamedTuple):
    """Of the weights before the step."""

    training: Tensor  # (B,) L_train
    gradient_norm: Tensor  # (B,)


def descent(task: Task, networks: Sequence[Network], *, step_size: float, momentum: float = 0.0) -> Method:
    """Gradient descent on B problems; task: a row a problem. `init` takes the layers (`start` makes them).

    networks: grouped by activation, in the order linear, tanh, leaky. Raises SettingError for a setting outside its
    limits, and where a shallower network cannot be padded (its layers are not square).
    """
    check("descent", SETTINGS, step_size=step_size, momentum=momentum)
    plan = _plan(networks, task.labels)

    def init(layers: Sequence[Tensor]) -> State:
        zero = torch.zeros(len(networks), dtype=layers[0].dtype, device=layers[0].device)
        return State(tuple(layers), zero, zero + 1, tuple(torch.zeros_like(w) for w in layers) if momentum else ())

    def gradients(layers: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """dL_train / dW of every layer, zero at padding layers, and L_train (B,)."""
        hidden, product = _forward(plan, layers)
        residual = torch.baddbmm(task.labels[..., None], task.seen, product.flatten(1)[..., None], beta=-1)
        delta = (task.seen.mT @ residual).mul_(2 / residual.shape[1]).view_as(product)
        found = []
        for layer in range(len(layers) - 1, 0, -1):
            found.append(hidden[layer - 1].mT @ delta)
            delta = _pulled_back(plan, delta @ layers[layer].mT, hidden[layer - 1], layer - 1)
        found.append(delta)
        found.reverse()
        found = [g if full else g * mask for g, mask, full in zip(found, plan.masks, plan.full, strict=True)]
        return found, residual.square().mean((1, 2))

    def step(state: State, noise: None = None) -> tuple[State, Info]:
        found, training = gradients(state.layers)
        square = reduce(torch.add, (torch.linalg.vector_norm(g, dim=(1, 2)).square() for g in found))
        moment = DECAY * state.moment + (1 - DECAY) * square
        kept = state.kept * DECAY
        size = (step_size / ((moment / (1 - kept)).sqrt() + TINY))[:, None, None]
        direction = state.direction
        if momentum:
            direction = tuple(momentum * old + g for old, g in zip(direction, found, strict=True))
        moves = direction if momentum else found
        layers = tuple(torch.addcmul(w, size, g, value=-1) for w, g in zip(state.layers, moves, strict=True))
        return State(layers, moment, kept, direction), Info(training, square.sqrt())

    return Method(init, step)


def order(network: Network) -> int:
    """What networks are sorted by: the activation."""
    return ACTIVATION_NAMES.index(network.activation)


def output(networks: Sequence[Network], like: Tensor) -> Callable[[State], Tensor]:
    """The function that gives the products (B, m, m') of a state. like: says dtype and device."""
    plan = _plan(networks, like)
    return lambda state: _forward(plan, state.layers)[1]


def start(
    networks: Sequence[Network], streams: Streams, seeds: Sequence[int], scales: Sequence[float], like: Tensor
) -> tuple[Tensor, ...]:
    """The padded first weights: U(-1, 1) / sqrt(inputs) times the scale, a stream for each seed, depth and width.

    seeds, scales: one a problem; activations share their start. like: says dtype and device.
    """
    layers = drawn(networks, streams, seeds, scales)
    return tuple(x.to(like.device, like.dtype) for x in padded(networks, layers))


def drawn(
    networks: Sequence[Network], streams: Streams, seeds: Sequence[int], scales: Sequence[float]
) -> list[list[Tensor]]:
    """Every problem's first weights, not padded, float64."""
    found = []
    for network, seed, scale in zip(networks, seeds, scales, strict=True):
        rng = streams.numpy("weights", seed, network.depth, network.width)
        shapes = network.shapes
        found.append([torch.from_numpy(scale * r**-0.5 * rng.uniform(-1, 1, (r, c))) for r, c in shapes])
    return found


def padded(networks: Sequence[Network], layers: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Every problem's layers as D tensors (B, r, c), float64."""
    depth = max(n.depth for n in networks)
    shapes = [_shape(networks, depth, layer) for layer in range(depth)]
    out = [torch.zeros(len(networks), *shape, dtype=torch.float64) for shape in shapes]
    for row, (network, own) in enumerate(zip(networks, layers, strict=True)):
        front = depth - network.depth
        for layer in range(depth):
            if layer < front:
                out[layer][row] = torch.eye(network.rows)
            else:
                weights = own[layer - front]
                out[layer][row, : weights.shape[0], : weights.shape[1]] = weights
    return out


def _shape(networks: Sequence[Network], depth: int, layer: int) -> tuple[int, int]:
    shapes = [n.shapes[layer - depth + n.depth] for n in networks if layer >= depth - n.depth]
    return max(r for r, _ in shapes), max(c for _, c in shapes)


class _Plan(NamedTuple):
    slices: list[tuple[str, slice]]  # the rows of each activation
    masks: list[Tensor]  # (B, 1, 1) a layer: 1 where the problem trains it, 0 where it is padding
    full: list[bool]  # whether every problem trains the layer


def _plan(networks: Sequence[Network], like: Tensor) -> _Plan:
    names = [n.activation for n in networks]
    if names != sorted(names, key=ACTIVATION_NAMES.index):
        raise ValueError("descent: networks must be grouped by activation: linear, tanh, leaky")
    depth = max(n.depth for n in networks)
    if any(n.depth < depth and n.width != n.rows for n in networks) or (
        any(n.depth < depth for n in networks) and len({n.width for n in networks}) > 1
    ):
        raise SettingError("descent: networks of different depths share a batch only where all widths equal the rows")
    slices = []
    for name in dict.fromkeys(names):
        first = names.index(name)
        slices.append((name, slice(first, first + names.count(name))))
    real = torch.tensor([[layer >= depth - n.depth for n in networks] for layer in range(depth)])
    masks = [x[:, None, None].to(like.device, like.dtype) for x in real]
    return _Plan(slices, masks, real.all(1).tolist())


def _forward(plan: _Plan, layers: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """The outputs of all layers but the last, and the product (B, m, m')."""
    hidden = [_activated(plan, layers[0], 0)]
    for layer, weights in enumerate(layers[1:-1], 1):
        hidden.append(_activated(plan, hidden[-1] @ weights, layer))
    return hidden, hidden[-1] @ layers[-1]


def _activated(plan: _Plan, x: Tensor, layer: int) -> Tensor:
    """sigma of a layer, in place but for the first layer's weights; the identity where the layer is padding."""
    out, full = x.clone() if layer == 0 else x, plan.full[layer]
    for name, rows in plan.slices:
        part, mask = out[rows], plan.masks[layer][rows]
        if name == "tanh":
            part.copy_(torch.tanh(part) if full else torch.where(mask > 0, torch.tanh(part), part))
        elif name == "leaky":
            part.copy_(torch.maximum(part, part * (LEAK if full else 1 - (1 - LEAK) * mask)))
    return out


def _pulled_back(plan: _Plan, delta: Tensor, h: Tensor, layer: int) -> Tensor:
    """delta times sigma' at the layer whose output is h, in place."""
    full = plan.full[layer]
    for name, rows in plan.slices:
        part, out, mask = delta[rows], h[rows], plan.masks[layer][rows]
        if name == "tanh":
            part.mul_(1 - (out.square() if full else mask * out.square()))
        elif name == "leaky":
            part.copy_(torch.where(out > 0 if full else (out > 0) | (mask == 0), part, LEAK * part))
    return delta
