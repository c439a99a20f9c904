"""The client's half of pFedSOP: how much of the global update to take, and how far to step along the mixture.

Sen and Krishna Mohan, arXiv 2506.07159, read through a public summary of its equations (docs/papers/pfedsop.md). Leading axes
are free: clients, seeds, grid values. Updates are (..., d).
"""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-12
"""What a norm counts at least, so that a zero update has an angle."""


def angle(own: Tensor, shared: Tensor) -> Tensor:
    """phi (...,) in [0, pi] between the client's update D_i and the global one D."""
    own, shared = torch.broadcast_tensors(own, shared)
    dot = (own[..., None, :] @ shared[..., None])[..., 0, 0]
    # Rounding may carry a cosine past 1, whose arccos is no number.
    return (dot / (own.norm(dim=-1).clamp(min=TINY) * shared.norm(dim=-1).clamp(min=TINY))).clamp(-1, 1).arccos()


def gompertz(phi: Tensor, sharpness: float | Tensor) -> Tensor:
    """beta (...,) in (0, 1): 1 - exp(-exp(-lambda (phi - 1))). Near 1 for aligned updates, falling as the angle grows."""
    return -torch.expm1(-torch.exp(-sharpness * (phi - 1)))


def mixture(own: Tensor, shared: Tensor, weight: Tensor) -> Tensor:
    """D_i^p (..., d) = (1 - beta) D_i + beta D; weight (...,)."""
    return torch.lerp(own, shared, weight[..., None])


def damping(length: Tensor, rho: float | Tensor) -> Tensor:
    """1 / (rho + |u|^2) (...,): what the inverse of (u u^T + rho I), the regularised rank-one Fisher matrix, makes of u.

    u is an eigenvector of that matrix, so the second-order step keeps its direction and changes its length alone. The two
    terms of the Sherman-Morrison formula give the same number but cancel: in float32 they lose it once |u|^2 is far above
    rho. length (...,): |u|.
    """
    return 1 / (rho + length * length)


def damped(update: Tensor, rho: float | Tensor) -> Tensor:
    """s (..., d): the second-order direction of update u."""
    return update * damping(update.norm(dim=-1), rho)[..., None]
