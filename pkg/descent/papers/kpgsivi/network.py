"""A multilayer perceptron for many seeds at once, with its adjoint written out.

Axes: R rows (seeds, or settings x seeds), N points, P parameters. A row's parameters are one flat vector, so that the
optimiser is a handful of element-wise operations whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn

Activations = list[Tensor]
"""The input, every hidden layer after its ReLU, and the output, (R, N, width) each."""


LONG = 1024
"""Points from which a CPU evaluates row by row, so that a layer's output stays in its cache: a third less time, the same numbers."""


@dataclass(frozen=True)
class Network:
    """Linear - ReLU - ... - Linear. sizes: widths from the input to the output."""

    sizes: tuple[int, ...]

    @property
    def size(self) -> int:
        """P: the number of parameters."""
        return sum((n + 1) * m for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def layers(self, params: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Every layer's weight (R, out, in) and bias (R, 1, out), views of params (R, P)."""
        at, rows = 0, params.shape[0]
        for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            yield params[:, at : at + n * m].view(rows, m, n), params[:, None, at + n * m : at + n * m + m]
            at += n * m + m

    def start(self, uniforms: Tensor) -> Tensor:
        """PyTorch's default start of linear layers, U(-1, 1) / sqrt(in), from uniforms (R, P) in [0, 1)."""
        bounds = [torch.full(((n + 1) * m,), 1 / sqrt(n)) for n, m in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        return (2 * uniforms - 1) * torch.cat(bounds).to(uniforms)

    def __call__(self, params: Tensor, x: Tensor) -> Tensor:
        """The output (R, N, out) at x (R, N, in)."""
        if x.device.type == "cpu" and x.shape[0] > 1 and x.shape[1] >= LONG:
            return torch.cat([self._output(params[r : r + 1], x[r : r + 1]) for r in range(x.shape[0])])
        return self._output(params, x)

    def _output(self, params: Tensor, x: Tensor) -> Tensor:
        x, last = x.mT, len(self.sizes) - 2  # features lead: long rows, and biases added in place, take half the time
        for i, (weight, bias) in enumerate(self.layers(params)):
            x = torch.bmm(weight, x).add_(bias.mT)
            if i < last:
                x.relu_()
        return x.mT

    def activations(self, params: Tensor, x: Tensor) -> Activations:
        """As a call, every layer kept for `pull`."""
        kept, last = [x], len(self.sizes) - 2
        for i, (weight, bias) in enumerate(self.layers(params)):
            x = torch.bmm(x, weight.mT).add_(bias)
            kept.append(x.relu_() if i < last else x)
        return kept

    def pull(self, params: Tensor, kept: Activations, slope: Tensor) -> Tensor:
        """Gradient (R, P) of sum(slope * output) in the parameters; slope (R, N, out)."""
        parts: list[Tensor] = []
        for i, (weight, _) in reversed(list(enumerate(self.layers(params)))):
            parts += [slope.sum(1), torch.bmm(slope.transpose(1, 2), kept[i]).flatten(1)]
            if i:
                slope = torch.bmm(slope, weight) * (kept[i] > 0)
        return torch.cat(parts[::-1], dim=1)

    def module(self, params: Tensor) -> nn.Sequential:
        """The network as a module of its own, with the parameters (P,)."""
        made: list[nn.Module] = []
        for weight, bias in self.layers(params[None, : self.size]):
            linear = nn.Linear(weight.shape[2], weight.shape[1], device=params.device, dtype=params.dtype)
            linear.load_state_dict({"weight": weight[0], "bias": bias[0, 0]})
            made += [linear, nn.ReLU()]
        return nn.Sequential(*made[:-1])

    def pull_input(self, params: Tensor, kept: Activations, slope: Tensor) -> Tensor:
        """Gradient (R, N, in) of sum(slope * output) in the input."""
        for i, (weight, _) in reversed(list(enumerate(self.layers(params)))):
            slope = torch.bmm(slope, weight)
            if i:
                slope = slope * (kept[i] > 0)
        return slope
