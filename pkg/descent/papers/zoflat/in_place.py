"""Two-point gradient estimates, and directions that are regenerated from a seed instead of stored.

For x in R^d, u ~ N(0, I_d) and smoothing l > 0, c = (f(x + l u) - f(x - l u)) / (2 l) makes c u an unbiased gradient of
the Gaussian-smoothed f_l(x) = E f(x + l u) (Nesterov and Spokoiny 2017). It is exact, c = <grad f, u>, on quadratics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def two_point_slope(f_plus: Tensor, f_minus: Tensor, smoothing: float | Tensor) -> Tensor:
    """(f(x + l u) - f(x - l u)) / (2 l), of the shape of the losses; `smoothing` is l > 0."""
    return (f_plus - f_minus) / (2 * smoothing)


def directions(seed: int, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Standard normals shaped like each tensor of `like` in turn, the same on every call with the same seed.

    They are drawn on the tensors' own device, by a generator keyed by `seed` alone, so a direction in R^d needs memory
    for its largest tensor only. Devices differ in their numbers.
    """
    generator = torch.Generator(like[0].device).manual_seed(seed)
    for tensor in like:
        yield torch.randn(tensor.shape, generator=generator, device=tensor.device, dtype=tensor.dtype)


def shift_(parameters: Sequence[Tensor], seed: int, scale: float | Tensor) -> None:
    """x <- x + scale * u in place, u regenerated from `seed` tensor by tensor; `scale` may be a 0-d tensor."""
    for parameter, u in zip(parameters, directions(seed, parameters), strict=True):
        parameter.add_(u.mul_(scale))
