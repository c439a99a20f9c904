"""Dynamical similarity (DSA): two systems are alike when a rotation turns the linear dynamics of one into the other's.

Ostrow et al., NeurIPS 2023. Activity is embedded with delays, reduced to its leading singular coordinates, and one step of them
regressed on the step before; A and B are compared by the smallest angle between A and C B C^T over orthogonal C. Sizes, the
ridge and the search are ours. Axes: M systems, D conditions, T steps, c coordinates, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

RIDGE = 1e-3
SEARCH_RATE = 0.05


def linear_dynamics(activity: Tensor, *, delays: int = 5, rank: int = 10) -> Tensor:
    """(M, r, r): x_{t+1} = A x_t in the leading coordinates of the delay embedding. activity: (M, D, T, c).

    Every system is centred and scaled to a standard deviation of 1 in all; delays never cross conditions. The coordinates are
    singular vectors over (condition, time), so A does not change, up to a rotation, with one of the activity.
    """
    x = activity - activity.mean((1, 2), keepdim=True)
    x = x / x.square().mean((1, 2, 3), keepdim=True).sqrt()
    embedded = x.unfold(2, delays, 1).flatten(3)  # (M, D, T - delays + 1, c delays)
    left, _, _ = torch.linalg.svd(embedded.flatten(1, 2), full_matrices=False)
    y = left[..., :rank].unflatten(1, embedded.shape[1:3])
    before, after = y[:, :, :-1].flatten(1, 2), y[:, :, 1:].flatten(1, 2)
    gram = before.mT @ before
    ridge = RIDGE * gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    eye = torch.eye(rank, dtype=x.dtype, device=x.device)
    return torch.linalg.solve(gram + ridge[:, None, None] * eye, before.mT @ after).mT


def cayley(lower: Tensor) -> Tensor:
    """The rotation (I - S) (I + S)^{-1} of the skew S that has `lower` below its diagonal; (..., r, r) -> (..., r, r)."""
    skew = lower.tril(-1)
    skew = skew - skew.mT
    eye = torch.eye(skew.shape[-1], dtype=skew.dtype, device=skew.device)
    return torch.linalg.solve(eye + skew, eye - skew, left=False)


def spectral_starts(A: Tensor, B: Tensor) -> Tensor:
    """(P, 2, r, r) rotations that line up the symmetric parts of A and B, of either determinant.

    The eigenvectors of the symmetric parts are matched in order; their signs are chosen to bring the skew parts together: those
    of a leading eigenvector, then better ones one after the other. Ours: exact where B is A rotated, which the search from the
    identity misses.
    """
    bases = [torch.linalg.eigh((X + X.mT) / 2)[1] for X in (A, B)]
    a, b = (V.mT @ ((X - X.mT) / 2) @ V for X, V in zip((A, B), bases, strict=True))
    agree = a * b  # <a, D b D> = sum_ij d_i d_j agree_ij
    signs = torch.where(torch.linalg.eigh(agree + agree.mT)[1][..., -1] < 0, -1.0, 1.0).to(A.dtype)
    for _ in range(3):
        for i in range(a.shape[-1]):
            pull = (agree[:, i] * signs).sum(-1) - agree[:, i, i] * signs[:, i]
            signs[:, i] = torch.where(pull < 0, -1.0, 1.0).to(signs.dtype)
    same = bases[0] @ (signs[..., None] * bases[1].mT)
    signs[:, 0] = -signs[:, 0]
    return torch.stack([same, bases[0] @ (signs[..., None] * bases[1].mT)], dim=1)


def dynamical_distance(A: Tensor, B: Tensor, *, steps: int = 200) -> Tensor:
    """(P,) the smallest angle found between A and C B C^T, radians; A, B: (P, r, r), pair by pair.

    Rotations are searched by Adam on a Cayley parameter around four starts: the identity, a swap of two rows (so that either
    determinant is reached), and the two spectral ones. The search is not global: what it returns is an upper bound.
    """
    P, r = A.shape[0], A.shape[-1]
    swap = torch.eye(r, dtype=A.dtype)
    if r > 1:
        swap[[0, 1]] = swap[[1, 0]]
    plain = torch.stack([torch.eye(r, dtype=A.dtype), swap]).expand(P, -1, -1, -1)
    starts = torch.cat([plain, spectral_starts(A, B)], dim=1)  # (P, 4, r, r)
    size = (A.flatten(1).norm(dim=1) * B.flatten(1).norm(dim=1))[:, None]
    rotated = starts @ B[:, None] @ starts.mT
    lower = torch.zeros_like(rotated)
    mean, square = torch.zeros_like(lower), torch.zeros_like(lower)
    best = torch.full_like(size.expand(P, starts.shape[1]), -math.inf)
    for n in range(1, steps + 1):
        with torch.enable_grad():
            lower.requires_grad_()
            C = cayley(lower)
            cosine = (A[:, None] * (C @ rotated @ C.mT)).sum((-2, -1)) / size
            (slope,) = torch.autograd.grad(-cosine.sum(), lower)
        best = torch.maximum(best, cosine.detach())
        mean, square = torch.lerp(mean, slope, 0.1), torch.lerp(square, slope * slope, 0.001)
        step = mean / (1 - 0.9**n) / ((square / (1 - 0.999**n)).sqrt() + 1e-8)
        lower = lower.detach() - SEARCH_RATE * step * (1 - (n - 1) / steps)  # falls to 0: ours
    return best.amax(1).clamp(-1, 1).arccos()


def spectrum_distance(A: Tensor, B: Tensor) -> Tensor:
    """(P,) mean distance of the eigenvalues of A and B, matched to be smallest in all. Needs SciPy."""
    from scipy.optimize import linear_sum_assignment

    one, two = torch.linalg.eigvals(A), torch.linalg.eigvals(B)
    cost = (one[:, :, None] - two[:, None, :]).abs()
    found = []
    for pair in cost:
        rows, columns = linear_sum_assignment(pair.numpy())
        found.append(pair[rows, columns].mean())
    return torch.stack(found)
