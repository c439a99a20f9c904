"""The CNN of the image sets, R models at once: convolutions unfolded to batched products, gradients by autograd.

conv 5x5 (32) - ReLU - max pool 2 - conv 5x5 (64) - ReLU - max pool 2 - dense 512 - ReLU - dense C, no padding (PFLlib's FedAvgCNN).
Every row's loss depends on that row alone, so one backward pass of their sum gives all gradients: no vmap, which would turn the
convolutions into grouped ones.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from descent.papers.pfedsop.network import Network, head_logits, uniform_bounds

KERNEL, FIRST, SECOND, DENSE = 5, 32, 64, 512


class Cnn(Network):
    """shape: (height, width) or (height, width, channels) of an image; targets one-hot."""

    def __init__(self, shape: tuple[int, ...], classes: int, *, widths: tuple[int, int, int] = (FIRST, SECOND, DENSE)):
        height, width, channels = (*shape, 1)[:3]
        self.shape, self.widths = (channels, height, width), widths
        first, second, dense = widths
        sides = [((side - KERNEL + 1) // 2 - KERNEL + 1) // 2 for side in (height, width)]
        square = KERNEL * KERNEL
        flat = second * sides[0] * sides[1]
        self.layers = ((channels * square, first), (first * square, second), (flat, dense), (dense, classes))
        self.sizes = [n for fan_in, out in self.layers for n in (fan_in * out, out)]
        self.size, self.head = sum(self.sizes), sum(self.sizes[-2:])

    def bounds(self) -> Tensor:
        return uniform_bounds(self.layers)

    def features(self, params: Tensor, x: Tensor) -> Tensor:
        parts = params.split(self.sizes, 1)
        rows, samples = x.shape[:2]
        x = x.reshape(rows, samples, *self.shape[1:], self.shape[0]).movedim(-1, 2)
        for i in (0, 1):
            x = self._convolved(x, parts[2 * i], parts[2 * i + 1], *self.layers[i])
            x = functional.max_pool2d(x.relu().flatten(0, 1), 2).unflatten(0, (rows, samples))
        fan_in, out = self.layers[2]
        return torch.baddbmm(parts[5][:, None], x.flatten(2), parts[4].view(rows, fan_in, out)).relu()

    def _convolved(self, x: Tensor, weights: Tensor, biases: Tensor, fan_in: int, out: int) -> Tensor:
        """(R, B, out, h, w) of x (R, B, channels, H, W): patches times weights, one product a row."""
        rows, samples, _, height, width = x.shape
        h, w = height - KERNEL + 1, width - KERNEL + 1
        patches = functional.unfold(x.flatten(0, 1), KERNEL)  # (R B, fan_in, h w)
        patches = patches.unflatten(0, (rows, samples)).transpose(2, 3).reshape(rows, -1, fan_in)
        y = torch.baddbmm(biases[:, None], patches, weights.view(rows, fan_in, out))
        return y.view(rows, samples, h * w, out).transpose(2, 3).unflatten(-1, (h, w))

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        return head_logits(params[:, -self.head :], self.features(params, x))

    def gradient(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = params.detach().requires_grad_()
            loss = -(y * self.logits(leaf, x).log_softmax(-1)).sum() / y.shape[1]
            return torch.autograd.grad(loss, leaf)[0]
