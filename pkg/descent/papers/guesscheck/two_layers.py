"""Gradient descent on two layers, all widths and activations at once: the steps of gradient_descent.py, for less.

A problem has W_1 and the transpose of W_2, both m rows and a column a hidden unit. With H = sigma(W_1) and D = dL / dY
their gradients are D W_2' times sigma'(W_1), and D' H. D itself is linear in Y, one product with a matrix that is made
once. Two reductions, both exact (docs/papers/guesscheck.md, "Gradient descent"):

  linear networks  a step multiplies W_1, stacked on the transpose of W_2, by a matrix from the left. So with the stack
                   written as R Q, where Q has orthonormal rows, Q stays for ever, and R has the products, gradient norms
                   and steps of the whole: 2 m columns at most, whatever the width
  other widths     narrow networks are padded with columns of zeros, which stay zero since sigma(0) = 0

Axes: B problems, in groups g of like widths; n measurements of an m x m product.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu_

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.gradient_descent import DECAY, TINY, drawn
from descent.papers.guesscheck.problem import Task
from descent.papers.guesscheck.settings import ACTIVATION_NAMES, LEAK, SETTINGS


class State(NamedTuple):
    first: tuple[Tensor, ...]  # a group: (B_g, m, k_g) W_1
    last: tuple[Tensor, ...]  # a group: (B_g, m, k_g) the transpose of W_2
    moment: Tensor  # (B,) v
    kept: Tensor  # (B,) DECAY^t
    direction: tuple[Tensor, ...]  # heavy ball's, shaped as first and then last; empty without momentum


class Info(NamedTuple):
    """Of the weights before the step."""

    gradient_norm: Tensor  # (B,)


class Group(NamedTuple):
    """Problems whose layers are one tensor, ordered by activation."""

    size: int
    tanh: slice | None  # the rows of that activation
    leaky: slice | None


def descent(task: Task, networks: Sequence[Network], *, step_size: float, momentum: float = 0.0) -> Method:
    """Gradient descent on B problems; task: a row a problem. `init` takes the layers (`start` makes them).

    networks: sorted by `order`. Raises SettingError for a setting outside its limits, and for a network of another
    depth or whose product is not square.
    """
    check("descent", SETTINGS, step_size=step_size, momentum=momentum)
    groups = grouped(networks)
    rows, sizes = networks[0].rows, [group.size for group in groups]
    # dL / dY = (2 / n) A' (A vec(Y) - y)
    weighted = task.seen.mT * (2 / task.seen.shape[1])
    slope, shift = weighted @ task.seen, weighted @ task.labels[..., None]

    def init(layers: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]) -> State:
        first, last = layers
        zero = torch.zeros(len(networks), dtype=first[0].dtype, device=first[0].device)
        direction = tuple(torch.zeros_like(w) for w in (*first, *last)) if momentum else ()
        return State(first, last, zero, zero + 1, direction)

    def gradients(first: tuple[Tensor, ...], last: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor]]:
        """dL_train of the first layers and of the last ones, a group each."""
        hidden = [_hidden(group, w) for group, w in zip(groups, first, strict=True)]
        product = _products(hidden, last).flatten(1)[..., None]
        delta = torch.baddbmm(shift, slope, product, beta=-1).view(-1, rows, rows).split(sizes)
        of_first = [torch.bmm(d, w) for d, w in zip(delta, last, strict=True)]
        of_last = [torch.bmm(d.mT, h) for d, h in zip(delta, hidden, strict=True)]
        for group, g, h in zip(groups, of_first, hidden, strict=True):
            if group.tanh:
                own = g[group.tanh]
                torch.ops.aten.tanh_backward(own, h[group.tanh], grad_input=own)
            if group.leaky:
                own = g[group.leaky]
                torch.ops.aten.leaky_relu_backward(own, h[group.leaky], LEAK, True, grad_input=own)
        return of_first, of_last

    def step(state: State, noise: None = None) -> tuple[State, Info]:
        of_first, of_last = gradients(state.first, state.last)
        norms = [torch.cat([torch.linalg.vector_norm(g, dim=(1, 2)) for g in found]) for found in (of_first, of_last)]
        square = norms[0].square_().addcmul_(norms[1], norms[1])
        moment = torch.lerp(square, state.moment, DECAY)
        kept = state.kept * DECAY
        size = (step_size / (moment / (1 - kept)).sqrt_().add_(TINY))[:, None, None].split(sizes)
        moves, direction = (*of_first, *of_last), state.direction
        if momentum:
            moves = direction = tuple(momentum * old + g for old, g in zip(direction, moves, strict=True))
        layers = [
            torch.addcmul(w, s, g, value=-1)
            for w, s, g in zip((*state.first, *state.last), (*size, *size), moves, strict=True)
        ]
        half = len(groups)
        return State(tuple(layers[:half]), tuple(layers[half:]), moment, kept, direction), Info(square.sqrt_())

    return Method(init, step)


def output(networks: Sequence[Network]) -> Callable[[State], Tensor]:
    """The function that gives the products (B, m, m) of a state."""
    groups = grouped(networks)

    def products(state: State) -> Tensor:
        return _products([_hidden(g, w) for g, w in zip(groups, state.first, strict=True)], state.last)

    return products


def start(
    networks: Sequence[Network], streams: Streams, seeds: Sequence[int], scales: Sequence[float], like: Tensor
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The first layers and the last ones at the start, of the same numbers as gradient_descent.start.

    seeds, scales: one a problem. like: says dtype and device.
    """
    both = stacked(networks, drawn(networks, streams, seeds, scales))
    first, last = ([x[i].to(like.device, like.dtype) for x in both] for i in range(2))
    return tuple(first), tuple(last)


def stacked(networks: Sequence[Network], layers: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Every problem's W_1 and transpose of W_2, (2, B_g, m, k_g) a group, float64: linear ones reduced, others padded."""
    rows, out, at = networks[0].rows, [], 0
    for group in grouped(networks):
        members = slice(at, at + group.size)
        at += group.size
        columns = max(columns_of(n) for n in networks[members])
        both = torch.zeros(2, group.size, rows, columns, dtype=torch.float64)
        for i, (network, (first, last)) in enumerate(zip(networks[members], layers[members], strict=True)):
            stack = torch.cat([first, last.mT])
            if columns_of(network) < network.width:
                stack = torch.linalg.qr(stack.mT).R.mT
            both[:, i, :, : stack.shape[1]] = stack.unflatten(0, (2, rows))
        out.append(both)
    return out


def columns_of(network: Network) -> int:
    """Hidden units that a network needs: a linear one 2 m at most."""
    return min(network.width, 2 * network.rows) if network.activation == "linear" else network.width


def order(network: Network) -> tuple[int, int]:
    """What networks are sorted by: columns within a factor of eight (a group), then the activation."""
    return int(math.log2(columns_of(network) / 4) // 3), ACTIVATION_NAMES.index(network.activation)


def grouped(networks: Sequence[Network]) -> list[Group]:
    """The groups of sorted networks."""
    if any(n.depth != 2 or n.rows != n.columns for n in networks):
        raise SettingError("descent: two_layers takes networks of depth 2 with square products")
    if sorted(networks, key=order) != list(networks):
        raise ValueError("descent: networks must be sorted by like widths, then by activation")
    groups = []
    for _, members in groupby(networks, key=lambda n: order(n)[0]):
        names = [n.activation for n in members]
        own = {a: slice(names.index(a), names.index(a) + names.count(a)) for a in set(names)}
        groups.append(Group(len(names), own.get("tanh"), own.get("leaky")))
    return groups


def _hidden(group: Group, first: Tensor) -> Tensor:
    """sigma(W_1) (B_g, m, k_g)."""
    out = first.clone()
    if group.tanh:
        out[group.tanh].tanh_()
    if group.leaky:
        leaky_relu_(out[group.leaky], LEAK)
    return out


def _products(hidden: Sequence[Tensor], last: Sequence[Tensor]) -> Tensor:
    """Y (B, m, m)."""
    return torch.cat([torch.bmm(h, w.mT) for h, w in zip(hidden, last, strict=True)])
