"""Random numbers that are a function of a key and a position, computed on whatever device the key lies.

SplitMix64 (Steele, Lea and Flood 2014) of key + position: no state, no generator, the same bits on every device. For
draws too large or too deep inside a loop to come from the host; keys come from `descent.core.streams`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Multipliers of SplitMix64 as signed 64-bit numbers: torch has no unsigned arithmetic, and int64 products wrap alike.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def _shifted_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's keeps the sign."""
    return (x >> bits).bitwise_and_(2 ** (64 - bits) - 1)


def mixed(x: Tensor) -> Tensor:
    """SplitMix64's output function of an int64 tensor, element by element."""
    x = x * _GOLDEN
    x = (x ^ _shifted_right(x, 30)).mul_(_FIRST)
    x = (x ^ _shifted_right(x, 27)).mul_(_SECOND)
    return x ^ _shifted_right(x, 31)


def subkey(key: Tensor, *labels: int | Tensor) -> Tensor:
    """A key (int64, any shape) for every key and label, as far from its siblings as hashing makes it."""
    for label in labels:
        key = mixed(mixed(key) + label)
    return key


def words(key: Tensor, size: int) -> Tensor:
    """64 random bits at each of `size` positions: int64 of shape (*key.shape, size)."""
    return mixed(mixed(key)[..., None] + torch.arange(size, device=key.device))


def signs(bits: Tensor, index: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rademacher variables, +1 or -1: bit `index` (0 to 63) of each word, so one hash serves 64 probes."""
    return ((bits >> index) & 1).to(dtype).mul_(-2).add_(1)


def normals(key: Tensor, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normals of shape (*key.shape, size), by Box and Muller from 32 + 32 bits a pair."""
    bits = words(key, (size + 1) // 2)
    # (0, 1]: the logarithm never sees zero. float32 has 24 bits, so its largest normal is sqrt(2 ln 2^25) = 5.9.
    fine = 24 if dtype == torch.float32 else 32
    radius = ((_shifted_right(bits, 64 - fine).to(dtype) + 0.5) * 2.0**-fine).log_().mul_(-2).sqrt_()
    angle = (bits & (2**fine - 1)).to(dtype) * (2 * math.pi * 2.0**-fine)
    return torch.cat([radius * angle.cos(), radius * angle.sin()], -1)[..., :size]
