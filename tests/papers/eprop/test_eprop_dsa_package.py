"""Our search against the package of DSA's authors (dsa-metric 2.0.2), where it is installed: a development dependency."""

from __future__ import annotations

import math

import pytest
import torch

from descent.papers.eprop.alignment import dynamical_distance

simdist = pytest.importorskip("DSA.simdist", reason="dsa-metric is not installed", exc_type=ImportError)


def theirs(A, B):
    """The package's angle: the better of its start and of one with two rows swapped, which it leaves to its user."""
    found = []
    A, B = A.float(), B.float()
    swap = torch.eye(len(B))[[1, 0, *range(2, len(B))]]
    for other in (B, swap @ B @ swap.T):
        fitted = simdist.SimilarityTransformDist(iters=300, lr=0.03, score_method="angular", device="cpu")
        torch.manual_seed(0)
        fitted.fit(A, other)
        found.append(float(fitted.score(A, other, score_method="angular")))
    return min(found)


@pytest.mark.parametrize("n", [2, 3])
def test_never_worse_than_the_package_and_close_to_it(n):
    generator = torch.Generator().manual_seed(n)
    A, B = torch.randn(3, n, n, generator=generator).double(), torch.randn(3, n, n, generator=generator).double()
    ours = dynamical_distance(A, B)
    package = torch.tensor([theirs(a, b) for a, b in zip(A, B, strict=True)], dtype=torch.float64)
    assert (ours <= package + 0.01).all()  # both are upper bounds of the smallest angle
    assert ours.median() >= package.median() - (0.02 if n == 2 else 0.3)  # and of the same thing


def test_the_package_agrees_on_a_rotation_and_a_contraction():
    c, s = math.cos(0.6), math.sin(0.6)
    turn, shrink = torch.tensor([[c, -s], [s, c]]), 0.8 * torch.eye(2)
    assert theirs(turn, shrink) == pytest.approx(0.6, abs=0.01)
