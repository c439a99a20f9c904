"""Networks whose parameters are rows: R models of one shape are one tensor (R, d), stepped together without autograd.

A row never sees another row, so the rows may be clients, seeds and grid values at once. The last linear layer (the head) is
the tail of a row: weights (h, C), then biases (C,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Network:
    """What the federated methods ask of a model. `size`: d; `head`: how many coordinates, the last ones, are the head's.

    Subclasses give `gradient` and `logits`, and `features` where a method treats the head apart.
    """

    size: int
    head: int

    def gradient(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """(R, d): gradient of each row's mean loss on its own batch; params (R, d), x (R, B, ...), y (R, B, ...)."""
        raise NotImplementedError

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        """(R, B, C)."""
        raise NotImplementedError

    def features(self, params: Tensor, x: Tensor) -> Tensor:
        """(R, B, h): what the head sees."""
        raise NotImplementedError

    def opened(self, params: Tensor) -> tuple[Tensor, ...]:
        """A copy of params (R, d) in the form that `descend_` steps in place: here as it is."""
        return (params.clone(),)

    def closed(self, leaves: tuple[Tensor, ...]) -> Tensor:
        """(R, d) of what `opened` gave."""
        return leaves[0]

    def descend_(
        self,
        leaves: tuple[Tensor, ...],
        x: Tensor,
        y: Tensor,
        lr: Tensor,
        *,
        to: tuple[Tensor, ...] | None = None,
        pull: Tensor | None = None,
        part: str = "all",
    ) -> None:
        """One step of gradient descent, in place: params -= lr (gradient + pull (params - to)).

        leaves, to: opened parameters; lr, pull: (R, 1). part: all, head or body; what is not named stays as it is.
        """
        (params,), where = leaves, self.part(part)
        step = self.gradient(params, x, y)
        if to is not None:
            assert pull is not None, "it comes with `to`"
            step = step + pull * (params - to[0])
        params[:, where] -= lr * step[:, where]

    def part(self, name: str) -> slice:
        """The coordinates of all, head or body."""
        body = self.size - self.head
        return {"all": slice(None), "head": slice(body, None), "body": slice(0, body)}[name]

    def head_gradient(self, head: Tensor, features: Tensor, y: Tensor) -> Tensor:
        """(R, head): gradient of the mean cross-entropy in the head's coordinates; y (R, B, C) one-hot."""
        error = (head_logits(head, features).softmax(-1) - y) / y.shape[1]
        return torch.cat([(features.mT @ error).flatten(1), error.sum(1)], 1)


def head_logits(head: Tensor, features: Tensor) -> Tensor:
    """(R, B, C) of heads (R, h C + C) on features (R, B, h)."""
    rows, width = head.shape[0], features.shape[-1]
    classes = head.shape[1] // (width + 1)
    weights = head[:, : width * classes].view(rows, width, classes)
    return torch.baddbmm(head[:, None, width * classes :], features, weights)


def uniform_bounds(layers: Sequence[tuple[int, int]], dtype: torch.dtype = torch.float32) -> Tensor:
    """(d,): 1 / sqrt(fan-in) of every coordinate; layers: (fan-in, fan-out), weights then biases of each.

    PyTorch's default start is uniform within these bounds, for weights and biases alike.
    """
    return torch.cat([torch.full((n * m + m,), 1 / math.sqrt(n), dtype=dtype) for n, m in layers])


class Mlp(Network):
    """inputs - hidden - classes with a ReLU, mean cross-entropy; targets one-hot. Gradients by hand: no graph is recorded.

    Weights lie input first, (inputs, hidden), so that forward and update are plain batched products.
    """

    def __init__(self, inputs: int, hidden: int, classes: int):
        self.inputs, self.hidden, self.classes = inputs, hidden, classes
        self.layers = ((inputs, hidden), (hidden, classes))
        self.sizes = [inputs * hidden, hidden, hidden * classes, classes]
        self.size, self.head = sum(self.sizes), sum(self.sizes[2:])

    def bounds(self) -> Tensor:
        return uniform_bounds(self.layers)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """W (R, inputs, hidden), b (R, 1, hidden), V (R, hidden, classes), c (R, 1, classes): views."""
        W, b, V, c = params.split(self.sizes, 1)
        rows = params.shape[0]
        return (
            W.view(rows, self.inputs, self.hidden),
            b[:, None],
            V.view(rows, self.hidden, self.classes),
            c[:, None],
        )

    def features(self, params: Tensor, x: Tensor) -> Tensor:
        W, b, _, _ = self.split(params)
        return torch.baddbmm(b, x, W).relu_()

    def logits(self, params: Tensor, x: Tensor) -> Tensor:
        W, b, V, c = self.split(params)
        return torch.baddbmm(c, torch.baddbmm(b, x, W).relu_(), V)

    def gradient(self, params: Tensor, x: Tensor, y: Tensor) -> Tensor:
        _, _, V, _ = self.split(params)
        h = self.features(params, x)
        error = softmax_(head_logits(params[:, -self.head :], h)).sub_(y).div_(y.shape[1])
        back = torch.bmm(error, V.mT).mul_(h > 0)
        return torch.cat([(x.mT @ back).flatten(1), back.sum(1), (h.mT @ error).flatten(1), error.sum(1)], 1)

    def opened(self, params: Tensor) -> tuple[Tensor, ...]:
        """W, b, V, c, each contiguous: a product that is added to a view of a row goes model by model."""
        return tuple(leaf.clone(memory_format=torch.contiguous_format) for leaf in self.split(params))

    def closed(self, leaves: tuple[Tensor, ...]) -> Tensor:
        return torch.cat([leaf.flatten(1) for leaf in leaves], 1)

    def descend_(self, leaves, x, y, lr, *, to=None, pull=None, part="all") -> None:
        W, b, V, c = leaves
        h = torch.baddbmm(b, x, W).relu_()
        # The step size is in the error already: what follows only adds products to the parameters, in place.
        error = softmax_(torch.baddbmm(c, h, V)).sub_(y).mul_((lr / y.shape[1])[:, None])
        back = None if part == "head" else threshold_backward(torch.bmm(error, V.mT), h, 0)
        if to is not None:
            assert pull is not None, "it comes with `to`"
            for i in {"all": (0, 1, 2, 3), "head": (2, 3), "body": (0, 1)}[part]:
                leaves[i].lerp_(to[i], (lr * pull)[:, None])
        if back is not None:
            W.baddbmm_(x.mT, back, alpha=-1)
            b.sub_(back.sum(1, keepdim=True))
        if part != "body":
            V.baddbmm_(h.mT, error, alpha=-1)
            c.sub_(error.sum(1, keepdim=True))


threshold_backward = torch.ops.aten.threshold_backward
"""(gradient, h, 0): the gradient where h > 0, else 0, in one pass."""


def softmax_(z: Tensor) -> Tensor:
    """Softmax over the last axis, in place; over ten classes three times as fast as the library's on a CPU."""
    z.sub_(z.amax(-1, keepdim=True)).exp_()
    return z.div_(z.sum(-1, keepdim=True))
