"""The continuous-time rate network of the paper, runs stacked along a leading axis.

    a_t = (1 - alpha) a_{t-1} + alpha (W h_{t-1} + U x_t + b),   h_t = phi(a_t),   y_t = V h_t + c,   t = 1..T

a_0 is learned, h_0 = phi(a_0), alpha = dt / tau. Liu, Yang and Cueva, arXiv 2506.06904; equations and initial values as in
the official code (class CTRNN).
Axes: K runs, B trials, T steps, N units, I inputs, O outputs; P = N + I + 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Parameters(NamedTuple):
    """What is learned; gradients and Adam's moments have the same shape."""

    W: Tensor  # (K, N, N) recurrent
    U: Tensor  # (K, N, I) input
    b: Tensor  # (K, N)
    V: Tensor  # (K, O, N) readout
    c: Tensor  # (K, O)
    start: Tensor  # (K, N) the paper's a_0


class Activation(NamedTuple):
    """A nonlinearity and its slope, given its value."""

    value: Callable[[Tensor, Tensor], Tensor]  # (a, out) -> phi(a), written into out
    slope: Callable[[Tensor], Tensor]  # h -> phi'(a)


def _retanh(a: Tensor, out: Tensor) -> Tensor:
    return torch.tanh(a, out=out).relu_()


def _tanh(a: Tensor, out: Tensor) -> Tensor:
    return torch.tanh(a, out=out)


def _relu(a: Tensor, out: Tensor) -> Tensor:
    return out.copy_(a).relu_()


ACTIVATIONS = {
    # h >= 0 here, so sign(h) is 1 where the unit is active; a silent unit has slope 0, at a = 0 too.
    "retanh": Activation(_retanh, lambda h: h.sign().addcmul_(h, h, value=-1)),
    "tanh": Activation(_tanh, lambda h: torch.ones_like(h).addcmul_(h, h, value=-1)),
    "relu": Activation(_relu, lambda h: h.sign()),
}


class Wiring(NamedTuple):
    """How the recurrent matrix is made of the learned one: W, or |W| with the signs of Dale's law, or W on a sparse mask.

    mask: (K or 1, N, N), 0 where there is no synapse; with Dale's law +1 and -1 by the sending unit's kind.
    """

    mask: Tensor | None = None
    dale: bool = False

    def effective(self, W: Tensor) -> Tensor:
        """The matrix that the network uses."""
        if self.mask is None:
            return W
        return (W.abs() if self.dale else W) * self.mask

    def learned(self, gradient: Tensor, W: Tensor) -> Tensor:
        """The gradient of the learned matrix, from that of the effective one."""
        if self.mask is None:
            return gradient
        return gradient * self.mask * W.sign() if self.dale else gradient * self.mask


EXCITATORY = 0.8
"""Share of excitatory units under Dale's law, the first columns (official code)."""


def dale_mask(units: int, like: Tensor) -> Tensor:
    """(1, N, N): +1 in the columns of excitatory units, -1 in those of inhibitory ones, 0 on the diagonal."""
    excitatory = round(EXCITATORY * units)
    column = torch.ones(units, dtype=like.dtype, device=like.device)
    column[excitatory:] = -1
    return (column.expand(units, units) * (1 - torch.eye(units, dtype=like.dtype, device=like.device)))[None]


class Seeds(NamedTuple):
    """The random numbers of a run's start, one row a run: standard normals, uniforms on [0, 1)."""

    W: Tensor  # (K, N, N) normal
    U: Tensor  # (K, N, I) normal
    V: Tensor  # (K, O, N) uniform
    feedback: Tensor  # (K, O, N) uniform
    keep: Tensor  # (K, N, N) uniform, the sparse mask


def wiring_of(seeds: Seeds, *, dale: bool = False, density: float = 1.0) -> Wiring:
    """Dale's law, a sparse mask that keeps each synapse with probability `density`, both or neither."""
    mask = dale_mask(seeds.W.shape[-1], seeds.W) if dale else None
    if density < 1:
        kept = (seeds.keep < density).to(seeds.W.dtype)
        mask = kept if mask is None else mask * kept
    return Wiring(mask, dale)


def initial(seeds: Seeds, *, gain: Tensor | float = 1.0, dale: bool = False, density: float = 1.0) -> Parameters:
    """The official start: U ~ N(0, 1 / I), W ~ N(0, (1.5 gain)^2 / N), V ~ U(-1, 1) / sqrt(N), all else 0.

    gain: a number, or one a run (K,). Under Dale's law excitatory columns are divided by N_E / N_I, so that excitation
    and inhibition balance; a sparse W is divided by sqrt(density).
    """
    N, I = seeds.U.shape[-2:]  # noqa: E741
    gain = torch.as_tensor(gain, dtype=seeds.W.dtype, device=seeds.W.device).reshape(-1, 1, 1)
    W = seeds.W * (1.5 * gain / math.sqrt(N))
    if dale:
        excitatory = round(EXCITATORY * N)
        W = torch.cat([W[..., :excitatory] * ((N - excitatory) / excitatory), W[..., excitatory:]], dim=-1)
    if density < 1:
        W = W / math.sqrt(density)
    zero = torch.zeros_like(seeds.U[..., 0])
    V = (2 * seeds.V - 1) / math.sqrt(N)
    return Parameters(W, seeds.U / math.sqrt(I), zero, V, torch.zeros_like(V[..., 0]), zero)


def random_feedback(seeds: Seeds) -> Tensor:
    """(K, O, N) the fixed matrix of feedback alignment, of the readout's law."""
    return (2 * seeds.feedback - 1) / math.sqrt(seeds.U.shape[-2])


class Activity(NamedTuple):
    """What a forward pass keeps.

    sent: z_1 .. z_T and h_T. Slot t holds z_{t+1} = (h_t, x_{t+1}, 1), all that reaches the units at step t + 1, so that one
    product with (W U b) drives a step and one product with errors gives the three gradients.
    """

    sent: Tensor  # (K, T + 1, B, P)
    hidden: Tensor  # (K, T, B, N) h_1 .. h_T, a view of `sent`
    output: Tensor  # (K, T, B, O) y_1 .. y_T


def forward(parameters: Parameters, W: Tensor, x: Tensor, *, alpha: float, activation: str = "retanh") -> Activity:
    """Run the network on x (K or 1, T, B, I). W: the effective recurrent matrix."""
    K, N = parameters.b.shape
    T, B, I = x.shape[1:]  # noqa: E741
    phi = ACTIVATIONS[activation].value
    sent = x.new_empty(K, T + 1, B, N + I + 1)
    sent[:, :T, :, N:-1] = x
    sent[:, T, :, N:-1] = 0
    sent[..., -1] = 1
    weights = torch.cat([W, parameters.U, parameters.b[..., None]], dim=-1).mT.contiguous()  # (K, P, N)
    a = parameters.start[:, None].repeat(1, B, 1)
    phi(a, sent[:, 0, :, :N])
    for t in range(T):
        a.baddbmm_(sent[:, t], weights, beta=1 - alpha, alpha=alpha)
        phi(a, sent[:, t + 1, :, :N])
    hidden = sent[:, 1:, :, :N]
    output = torch.baddbmm(parameters.c[:, None], hidden.flatten(1, 2), parameters.V.mT)
    return Activity(sent, hidden, output.unflatten(1, (T, B)))
