"""Named parameters as one vector a row: what optimisers that see R^d and models that see tensors both want."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


class Layout:
    """Names and shapes of parameters, in the order in which they lie in the vector.

    Example: `layout = Layout.of(parameters)`; `layout.split(layout.join(parameters))` are the same tensors.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        self.shapes = dict(shapes)
        self.sizes = [math.prod(shape) for shape in self.shapes.values()]
        self.size = sum(self.sizes)

    @classmethod
    def of(cls, parameters: Mapping[str, Tensor]) -> Layout:
        return cls({name: tuple(tensor.shape) for name, tensor in parameters.items()})

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """(..., d) -> each parameter (..., *shape), views. Differentiating costs one concatenation, not one a name."""
        parts = torch.split(flat, self.sizes, dim=-1)
        lead = flat.shape[:-1]
        return {name: part.view(*lead, *shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def join(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Parameters (..., *shape), all with the same leading axes -> (..., d)."""
        parts = []
        for name, shape in self.shapes.items():
            lead = parameters[name].shape[: parameters[name].dim() - len(shape)]
            parts.append(parameters[name].reshape(*lead, -1))
        return torch.cat(parts, -1)
