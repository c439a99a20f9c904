"""counter.py, curvature.py, zeroth_order.py, flatten.py: known outputs, exact cases, moments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.papers.zoflat.curvature import difference_traces, hutchinson
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import directions, shift_
from descent.papers.zoflat.problem import two_point_slope
from descent.toolbox.counter import mixed, normals, signs, subkey, words


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gaussian(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def quadratic(q: torch.Tensor):
    return lambda x: torch.einsum("ri,ij,rj->r", x, q, x) / 2


def test_splitmix64_known_outputs():
    """The first three outputs of the published generator started at 0."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert [x % 2**64 for x in mixed(torch.tensor([1, 2, 3])).tolist()] == expected


@settings(deadline=None)
@given(key=st.integers(-(2**63), 2**63 - 1), size=st.integers(1, 300), other=st.integers(0, 99))
def test_a_row_s_numbers_depend_on_its_key_and_place_alone(key, size, other):
    keys = torch.tensor([other, key])
    assert torch.equal(words(keys, size + 7)[1, :size], words(torch.tensor(key), size))
    assert torch.equal(subkey(keys, 5)[1], subkey(torch.tensor(key), torch.tensor(5)))
    for dtype in (torch.float32, torch.float64):
        row = normals(torch.tensor(key), size, dtype)
        assert row.isfinite().all() and torch.equal(normals(keys, size, dtype)[1], row)


def test_moments_of_signs_and_normals():
    """Means and pair products within 4.5 standard errors, over keys, bits and places."""
    key = subkey(torch.arange(20), 3)
    bits = words(key, 5000)
    v = torch.stack([signs(bits, i, torch.float64) for i in (0, 1, 31, 63)])  # (4, 20, 5000)
    assert set(v.unique().tolist()) == {-1.0, 1.0}
    for product in (v, v[0] * v[1], v[2] * v[3], v[..., 1:] * v[..., :-1], v[:, 1:] * v[:, :-1]):
        assert abs(product.mean()) < 4.5 / product.numel() ** 0.5
    x = normals(key, 5000, torch.float64)
    n = x.numel()
    for k, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**k).mean() - moment) < 4.5 * (variance / n) ** 0.5
    half = x.shape[1] // 2  # the two halves of a pair, and neighbours
    for product in (x[:, :half] * x[:, half:], x[:, 1:] * x[:, :-1], x[1:] * x[:-1]):
        assert abs(product.mean()) < 4.5 / product.numel() ** 0.5
    single = normals(key, 5000).double()
    assert abs(single.mean()) < 4.5 / n**0.5 and abs(single.square().mean() - 1) < 4.5 * (2 / n) ** 0.5


def test_hutchinson_of_a_diagonal_hessian_needs_one_probe():
    """v^T Q v is the trace for every v of signs."""
    q = torch.diag(f64([3.0, -1.0, 0.5]))
    for probe in itertools.product((-1.0, 1.0), repeat=3):
        v = f64(probe)[None]
        estimate = hutchinson(quadratic(q), gaussian(0, 1, 3), lambda i, v=v: v, 1)
        assert_close(estimate.mean, f64([2.5]))
        assert estimate.stderr.isnan()


def test_hutchinson_over_all_signs_is_the_trace_and_its_spread_is_that_of_the_off_diagonal():
    q = gaussian(1, 4, 4)
    q = q + q.T
    probes = [f64(p)[None] for p in itertools.product((-1.0, 1.0), repeat=4)]
    estimate = hutchinson(quadratic(q), gaussian(0, 1, 4), probes.__getitem__, 16)
    assert_close(estimate.mean, q.trace()[None])
    variance = 2 * (q.square().sum() - q.diagonal().square().sum())
    assert_close(estimate.stderr, (variance / 15)[None].sqrt())  # 16 samples: their variance over n - 1


def test_hutchinson_rows_and_parts_do_not_mix():
    def cubic(x):
        return (x**3).sum(-1) + (x[:, :1] * x[:, 1:2] ** 2).sum(-1)

    x, v = gaussian(2, 3, 5), torch.sign(gaussian(3, 4, 3, 5))
    together = hutchinson(cubic, x, v.__getitem__, 4)
    for row in range(3):
        hessian = torch.func.hessian(lambda y: cubic(y[None])[0])(x[row])
        samples = torch.einsum("ni,ij,nj->n", v[:, row], hessian, v[:, row])
        assert_close(together.mean[row], samples.mean())
    halves = [lambda x: 0.25 * cubic(x), lambda x: 0.75 * cubic(x)]
    assert_close(hutchinson(halves, x, v.__getitem__, 4), together)


def test_official_estimator_on_a_quadratic():
    """At x = 0 its mean is Tr Q and its variance 2 |Q|_F^2 / n; both estimators agree there."""
    q = gaussian(1, 6, 6)
    q = q + q.T
    n = 8_000
    u = gaussian(5, n, 1, 6)
    one_sided, symmetric = difference_traces(quadratic(q), torch.zeros(1, 6, dtype=torch.float64), u, 0.01)
    spread = (2 * q.square().sum() / n).sqrt()
    assert abs(one_sided.mean[0] - q.trace()) < 4 * spread
    assert_close(one_sided.stderr[0], spread, rtol=0.1, atol=0)
    assert_close(symmetric.mean, one_sided.mean)


def test_the_gradient_drowns_the_official_estimator_and_not_the_symmetric_one():
    """Away from a minimum its deviation is 2 |grad f| / delta for one direction; the symmetric one's is unchanged."""
    q, x, delta, n = torch.eye(6, dtype=torch.float64), 10 * torch.ones(1, 6, dtype=torch.float64), 1e-3, 5000
    one_sided, symmetric = difference_traces(quadratic(q), x, gaussian(5, n, 1, 6), delta)
    assert_close(one_sided.stderr[0], 2 * x.norm() / delta / n**0.5, rtol=0.05, atol=0)
    assert abs(symmetric.mean[0] - 6) < 4 * (12 / n) ** 0.5


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(-2, 2))
def test_a_regenerated_direction_is_the_same_and_can_be_taken_back(seed, scale):
    start = [gaussian(0, 3, 2), gaussian(1, 5)]
    x = [t.clone() for t in start]
    shift_(x, seed, scale)
    expected = [t + scale * u for t, u in zip(start, directions(seed, start), strict=True)]
    assert_close(x, expected)
    shift_(x, seed, torch.tensor(-scale))
    assert_close(x, start, rtol=0, atol=1e-6)


def test_two_point_slope_is_exact_on_quadratics():
    """For any smoothing and without any room's help."""
    q = gaussian(1, 5, 5)
    q = q + q.T
    x, u = gaussian(2, 2, 1, 5)
    for smoothing in (1e-2, 1.0, 7.0):
        f = quadratic(q)
        slope = two_point_slope(f(x + smoothing * u), f(x - smoothing * u), smoothing)
        assert_close(slope, ((x @ q) * u).sum(-1), rtol=1e-9, atol=1e-9)


def test_layout_splits_what_it_joins():
    parameters = {"a": gaussian(0, 3, 2, 4), "b": gaussian(1, 3), "c": gaussian(2, 3, 5)}  # a row each
    layout = Layout({"a": (2, 4), "b": (), "c": (5,)})
    flat = layout.join(parameters)
    assert flat.shape == (3, layout.size) == (3, 14)
    assert_close(layout.split(flat), parameters)
    layout.split(flat)["c"][0, 0] = 9.0
    assert flat[0, 9] == 9.0, "views, not copies"
    with pytest.raises(RuntimeError):
        layout.split(flat[:, :-1])
