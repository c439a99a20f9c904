"""DSA: invariance under rotation, symmetry, systems that differ, and the delay embedding written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.papers.eprop.alignment import (
    cayley,
    dynamical_distance,
    linear_dynamics,
    spectral_starts,
    spectrum_distance,
)  # fmt: skip


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(seed, n, sign):
    Q, R = torch.linalg.qr(normal(seed, n, n))
    Q = Q * R.diagonal().sign()
    if Q.det() * sign < 0:
        Q[:, 0] = -Q[:, 0]
    return Q


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [3, 6, 10])
def test_rotated_dynamics_are_the_same(n, sign):
    A = normal(n, 12, n, n) / math.sqrt(n)
    Q = torch.stack([orthogonal(100 + i, n, sign) for i in range(12)])
    assert dynamical_distance(A, Q @ A @ Q.mT).max() < 1e-2


def test_symmetric_and_zero_for_itself():
    A, B = normal(0, 8, 10, 10) / 3, normal(1, 8, 10, 10) / 3
    assert dynamical_distance(A, A).max() < 1e-6
    assert_close(dynamical_distance(A, B), dynamical_distance(B, A), atol=0.02, rtol=0)


def test_rotation_is_far_from_contraction():
    angle = torch.tensor(0.6, dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    shrink = 0.8 * torch.eye(2, dtype=torch.float64)
    got = dynamical_distance(turn[None], shrink[None])
    assert_close(got, angle[None], atol=1e-6, rtol=0)  # <turn, I> is unmoved by C: cos of the angle
    assert got > 0.3


def test_no_rotation_in_the_plane_does_better():
    A, B = normal(2, 2, 2), normal(3, 2, 2)
    best = math.inf
    for angle in np.linspace(0, 2 * np.pi, 4001):
        c, s = math.cos(angle), math.sin(angle)
        for C in ([[c, -s], [s, c]], [[c, s], [s, -c]]):
            C = torch.tensor(C, dtype=torch.float64)
            cosine = (A * (C @ B @ C.mT)).sum() / (A.norm() * B.norm())
            best = min(best, cosine.clamp(-1, 1).arccos().item())
    assert dynamical_distance(A[None], B[None]).item() == pytest.approx(best, abs=1e-4)


def test_cayley_and_starts_are_orthogonal():
    eye = torch.eye(5, dtype=torch.float64)
    C = cayley(normal(0, 4, 5, 5))
    assert_close(C @ C.mT, eye.expand(4, 5, 5))
    starts = spectral_starts(normal(1, 4, 5, 5), normal(2, 4, 5, 5))
    assert_close(starts @ starts.mT, eye.expand(4, 2, 5, 5))
    assert_close(starts.det().prod(1), -torch.ones(4, dtype=torch.float64))


def test_dynamics_of_a_known_system_have_its_eigenvalues():
    """x_{t+1} = A x_t in 4 dimensions, seen through 7 coordinates: rank 4 finds A's eigenvalues."""
    A = torch.zeros(4, 4, dtype=torch.float64)
    for i, (r, angle) in enumerate([(0.98, 0.3), (0.95, 0.7)]):
        c, s = r * math.cos(angle), r * math.sin(angle)
        A[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[c, -s], [s, c]])
    x = [normal(0, 6, 4)]
    for _ in range(39):
        x.append(x[-1] @ A.mT)
    seen = torch.stack(x, dim=1) @ normal(1, 4, 7)
    # The mean over all points, which the method takes off, is not a fixed point of the system: pairs x, -x have none.
    seen = torch.cat([seen, -seen])[None]
    got = linear_dynamics(seen, delays=3, rank=4)
    assert spectrum_distance(got, A[None]) < 5e-3  # the ridge


def test_dynamics_up_to_a_rotation_of_the_activity():
    x = normal(0, 1, 8, 21, 6).cumsum(2)
    Q = orthogonal(5, 6, 1)
    A, B = linear_dynamics(x, delays=3, rank=5), linear_dynamics(4 * x @ Q + 3, delays=3, rank=5)
    assert spectrum_distance(A, B) < 1e-8
    assert dynamical_distance(A, B) < 1e-2


def test_embedding_never_crosses_conditions():
    x = normal(0, 1, 3, 12, 2).cumsum(2)
    got = linear_dynamics(x, delays=4, rank=5)[0]
    z = x[0] - x[0].mean((0, 1))
    z = z / z.square().mean().sqrt()
    rows = [[torch.stack([z[d, t + j, i] for i in range(2) for j in range(4)]) for t in range(9)] for d in range(3)]
    H = torch.stack([row for part in rows for row in part])
    U = torch.linalg.svd(H, full_matrices=False)[0][:, :5].reshape(3, 9, 5)
    before, after = U[:, :-1].reshape(-1, 5), U[:, 1:].reshape(-1, 5)
    gram = before.T @ before
    want = torch.linalg.solve(gram + 1e-3 * gram.trace() / 5 * torch.eye(5, dtype=torch.float64), before.T @ after).T
    assert spectrum_distance(got[None], want[None]) < 1e-8
    assert_close(got.norm(), want.norm())


def test_spectrum_distance_matches_eigenvalues():
    A, B = torch.diag(torch.tensor([1.0, 2.0, 5.0])), torch.diag(torch.tensor([5.5, 1.0, 2.25]))
    assert_close(spectrum_distance(A[None], B[None]), torch.tensor([0.25]))
