"""Two-point gradient estimates, and directions that are regenerated from a seed instead of stored.

For x in R^d, u ~ N(0, I_d) and smoothing l > 0, c = (f(x + l u) - f(x - l u)) / (2 l) makes c u an unbiased gradient of
the Gaussian-smoothed f_l(x) = E f(x + l u) (Nesterov and Spokoiny 2017). It is exact, c = <grad f, u>, on quadratics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Pair(NamedTuple):
    """What one step of ZO evaluates."""

    above: Tensor  # f(x + l u)
    below: Tensor  # f(x - l u)


def evaluate_pair_(shift: Callable[[float], object], loss: Callable[[], Tensor], smoothing: float) -> Pair:
    """Both losses of a step in place: shift(scale) adds scale * u to x. It leaves x at x - l u, so that the caller restores
    and updates in one pass, shift(l - eta c). Where `loss` raises, x is put back (up to rounding) first."""
    at = smoothing
    shift(smoothing)
    try:
        above = loss()
        shift(-2 * smoothing)
        at = -smoothing
        return Pair(above, loss())
    except BaseException:
        shift(-at)
        raise


def directions(seed: int, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Standard normals shaped like each tensor of `like` in turn, the same on every call with the same seed.

    They are drawn on the tensors' own devices, by a generator a device keyed by `seed` alone, so a direction in R^d needs
    memory for its largest tensor only. Devices differ in their numbers.
    """
    generators: dict[torch.device, torch.Generator] = {}
    for tensor in like:
        if tensor.device not in generators:
            generators[tensor.device] = torch.Generator(tensor.device).manual_seed(seed)
        yield torch.randn(tensor.shape, generator=generators[tensor.device], device=tensor.device, dtype=tensor.dtype)


def shift_(parameters: Sequence[Tensor], seed: int, scale: float | Tensor | Sequence[float | Tensor]) -> None:
    """x <- x + scale * u in place, u regenerated from `seed` tensor by tensor; `scale` may be a 0-d tensor, or a list with one
    for each tensor."""
    scales = scale if isinstance(scale, Sequence) else [scale] * len(parameters)
    for parameter, u, own in zip(parameters, directions(seed, parameters), scales, strict=True):
        parameter.add_(u.mul_(own))
