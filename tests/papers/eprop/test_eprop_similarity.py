"""Similarity measures: cases worked by hand, invariances, metric axioms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import floats, integers
from torch.testing import assert_close

from descent.papers.eprop.similarity import (
    cca,
    cka,
    cka_angle,
    condition_average,
    floor,
    nuclear,
    participation_ratio,
    procrustes,
)  # fmt: skip

X = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
Y = X * torch.tensor([2.0, 1.0], dtype=torch.float64)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed, n):
    return torch.linalg.qr(normal(seed, n, n))[0]


def near(got, want, atol=1e-12):
    assert_close(got, torch.tensor(want, dtype=torch.float64), atol=atol, rtol=0)


def test_worked_examples():
    near(procrustes(X, Y), 0.20483276469913353)
    near((procrustes(X, Y) * math.pi / 2).cos(), 0.9486832980505138)
    near(procrustes(X, Y[:, :1]), 0.5)
    near(cka(X, Y), 0.8574929257125443)
    near(cka(X, Y[:, :1]), 0.7071067811865475)


@given(seed=integers(0, 99), p=integers(2, 6), scale=floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_rotation_scale_and_shift_change_nothing(seed, p, scale):
    x, y = normal(seed, 30, p), normal(seed + 100, 30, 4)
    moved = scale * x @ rotation(seed, p) + normal(seed + 1, 1, p)
    assert_close(procrustes(moved, y), procrustes(x, y), atol=1e-10, rtol=0)
    assert_close(cka(moved, y), cka(x, y), atol=1e-10, rtol=0)
    assert procrustes(x, moved) < 1e-4  # arccos near 1
    near(cka(x, moved), 1.0, 1e-10)
    near(cca(x, moved), 1.0, 1e-8)


@given(seed=integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_metric(seed):
    x, y, z = normal(seed, 20, 3), normal(seed + 1, 20, 5), normal(seed + 2, 20, 4)
    assert_close(procrustes(x, y), procrustes(y, x))
    assert_close(cka_angle(x, y), cka_angle(y, x))
    assert procrustes(x, z) <= procrustes(x, y) + procrustes(y, z) + 1e-12
    assert 0 <= procrustes(x, y) <= 1


def test_padding_with_zero_columns_changes_nothing():
    x, y = normal(0, 20, 3), normal(1, 20, 5)
    padded = torch.cat([x, torch.zeros(20, 2, dtype=x.dtype)], dim=1)
    assert_close(procrustes(padded, y), procrustes(x, y), atol=1e-12, rtol=0)


def test_angle_of_cka_and_cca_of_a_shared_direction():
    near(cka_angle(X, Y), math.acos(0.8574929257125443) / (math.pi / 2))
    a, b, c = (normal(s, 40, 1) for s in (0, 1, 2))
    a, b, c = torch.linalg.qr(torch.cat([a, b, c], 1) - torch.cat([a, b, c], 1).mean(0))[0].split(1, dim=1)
    near(cca(torch.cat([a, b], 1), torch.cat([a, 3 * c], 1)), 0.5, 1e-10)  # one of two directions shared


def test_participation_ratio_counts_dimensions():
    near(participation_ratio(X), 2.0)
    near(participation_ratio(X[:, :1]), 1.0)
    near(participation_ratio(Y), (4 + 1) ** 2 / (16 + 1))


def test_a_run_that_is_not_finite_leaves_the_others_alone():
    x = normal(0, 3, 20, 4)
    y = normal(1, 20, 5)
    broken = x.clone()
    broken[1, 3, 2] = torch.nan
    got = procrustes(broken, y)
    assert got[1].isnan() and torch.equal(got[[0, 2]], procrustes(x, y)[[0, 2]])
    assert nuclear(broken)[1].isnan()


def test_condition_average():
    y = normal(0, 6, 2)  # 3 conditions, 2 times
    got = condition_average(y, 3)
    for row in range(6):
        assert_close(got[row], y[[row % 2, row % 2 + 2, row % 2 + 4]].mean(0))


def test_floor_split_by_split():
    x, y = normal(0, 12, 9), normal(1, 12, 10)
    rng = np.random.default_rng(0)
    order = np.stack([rng.permutation(10) for _ in range(4)])
    halves, chosen = (
        torch.as_tensor(order.reshape(4, 2, 5)),
        torch.as_tensor(np.stack([rng.permutation(9)[:5] for _ in range(4)])),
    )
    got = floor(x, y, halves, chosen, conditions=3)
    for i in range(4):
        one, two = y[:, halves[i, 0]], y[:, halves[i, 1]]
        d1, d2 = procrustes(two, one), procrustes(x[:, chosen[i]], one)
        d3 = procrustes(condition_average(two, 3), one)
        assert_close(got.normalised[i], (d2 - d1) / (1 - d1))
        assert_close(got.normalised_average[i], (d3 - d1) / (1 - d1))


@pytest.mark.parametrize("measure", [procrustes, cka, cca])
def test_leading_axes_are_batches(measure):
    x, y = normal(0, 3, 25, 4), normal(1, 25, 5)
    for i, got in enumerate(measure(x, y.expand(3, -1, -1))):
        assert_close(got, measure(x[i], y))
