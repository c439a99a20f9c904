"""links.py: every closed-form slope against autograd on the model written out, batched against single, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers.ssi import links


def normals(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def attention(s: torch.Tensor) -> torch.Tensor:
    """softmax_rows(s s^T) of s (L, R), written out with a maximum a row: (R, L, L)."""
    logits = torch.einsum("lr,kr->rlk", s, s)
    exponential = (logits - logits.amax(-1, keepdim=True)).exp()
    return exponential / exponential.sum(-1, keepdim=True)


def by_autograd(loss, s: torch.Tensor) -> torch.Tensor:
    s = s.clone().requires_grad_()
    return torch.autograd.grad(loss(s).sum(), s)[0]


def teacher_matrix(zstar, omega, width):
    a = width * width
    positional = torch.softmax(torch.tensor([[a, -a], [-a, a]], dtype=torch.float64), -1)
    return (1 - omega)[:, None, None] * attention(zstar) + omega[:, None, None] * positional


@given(seed=st.integers(0, 999), width=st.floats(0, 2), rows=st.integers(1, 5), frobenius=st.booleans())
@settings(max_examples=40, deadline=None)
def test_attention_slope_is_the_gradient_of_the_matrix_loss(seed, width, rows, frobenius):
    s, zstar = normals(seed, 2, rows), normals(seed + 1, 2, rows)
    omega = torch.from_numpy(np.random.default_rng(seed).random(rows))
    level = torch.sigmoid(torch.tensor(2 * width * width, dtype=torch.float64)).expand(rows)
    flag = torch.full((rows,), frobenius)
    target = links.teacher_diagonal(zstar, links.Mixed(omega, level, flag))
    whole = teacher_matrix(zstar, omega, width)

    def loss(s):
        square = (whole - attention(s)).square().sum((-2, -1))
        return square.sqrt() if frobenius else square / 2

    assert_close(links.attention_loss(s, target, flag), loss(s), atol=1e-12, rtol=1e-9)
    assert_close(links.attention_slope(s, target, flag), by_autograd(loss, s), atol=1e-10, rtol=1e-8)
    if not frobenius:
        assert_close(links.attention_slope(s, target), links.attention_slope(s, target, flag), atol=0, rtol=0)


def test_slopes_against_one_teacher_are_those_of_its_diagonal_call_after_call():
    rng = np.random.default_rng(3)
    omega, level = torch.from_numpy(rng.random((2, 5)))
    teacher = links.Mixed(omega, level, torch.zeros(5, dtype=torch.bool))
    slope = links.attention_against(teacher)
    for _ in range(3):
        s, zstar = torch.from_numpy(rng.standard_normal((2, 2, 5)))
        want = links.attention_slope(s, links.teacher_diagonal(zstar, teacher))
        assert_close(slope(s, zstar), want, atol=1e-14, rtol=1e-12)


@given(seed=st.integers(0, 999), length=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_trace_slopes_are_the_gradient_of_the_trace_loss(seed, length):
    s, y = normals(seed, length, 4), normals(seed + 1, 4)

    def loss(s):
        trace = torch.diagonal(attention(s), dim1=-2, dim2=-1).sum(-1)
        return (trace * length**-0.5 - y) ** 2 / 2

    want = by_autograd(loss, s)
    assert_close(links.long_trace_slope(s, y), want, atol=1e-11, rtol=1e-8)
    if length == 2:
        assert_close(links.trace_slope(s, y), want, atol=1e-11, rtol=1e-8)
        assert_close(links.trace_loss(s, y), loss(s), atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_product_slope(order):
    used = torch.tensor([[1.0], [order > 1], [order > 2]], dtype=torch.float64).expand(3, 6)
    s, zstar = normals(1, 3, 6), normals(2, 3, 6)
    y = links.product(zstar, used)[1]
    assert_close(y, zstar[:order].prod(0))
    got = links.product_slope(s, y, used)
    assert_close(got, by_autograd(lambda s: (s[:order].prod(0) - y) ** 2 / 2, s))
    assert got[order:].eq(0).all()


@pytest.mark.parametrize("activation", ["relu", "square"])
@pytest.mark.parametrize("target", ["linear", "single", "quadratic"])
@pytest.mark.parametrize("length", [1, 3, 4])
def test_network_slope_and_its_padding(activation, target, length):
    c, link = links.coefficients(target, length)
    tokens, rows = links.padded(length), 5
    pad = lambda x: torch.cat([x, x.new_zeros(tokens - length, rows)])  # noqa: E731
    s, zstar = normals(3, length, rows), normals(4, length, rows)
    weight = torch.tensor(c, dtype=torch.float64)[:, None].expand(length, rows)
    on = links.Sequence(
        pad(weight), torch.full((rows,), length**-0.5, dtype=torch.float64), pad(torch.ones(length, rows))
    )
    y = links.target_value(pad(zstar), on.weight, link)
    h = zstar if link == "linear" else (zstar**2 - 1) / math.sqrt(2)
    assert_close(y, (weight * h).sum(0))
    sigma = torch.relu if activation == "relu" else torch.square
    want = by_autograd(lambda s: (sigma(s.sum(0) * length**-0.5) - y) ** 2 / 2, s)
    got = links.network_slope(pad(s), y, on, activation)
    assert_close(got.expand(length, rows), want, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("target", ["difference", "square_difference"])
def test_null_targets_have_coefficients_that_cancel(target):
    assert sum(links.coefficients(target, 2)[0]) == 0
    with pytest.raises(SettingError, match=r"ssi: `length` must be 2 .* got 3"):
        links.coefficients(target, 3)


@given(length=st.integers(1, 40), rows=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_padding_changes_no_bit_of_a_sum_over_tokens(length, rows, seed):
    x = torch.cat([normals(seed, length, rows), torch.zeros(links.padded(length) - length, rows)])
    longer = torch.cat([x, torch.zeros(3 * len(x), rows)])
    assert torch.equal(links.fold(x), links.fold(longer))
    assert torch.equal(links.fold(x)[:1], links.fold(x[:, :1].contiguous()))
    assert_close(links.fold(x), x.sum(0))
