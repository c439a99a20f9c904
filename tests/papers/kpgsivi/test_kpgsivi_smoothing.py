"""The smoothed score difference: closed forms in one dimension, a worked example, limits, the median rule."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.papers.kpgsivi.family import square_distances
from descent.papers.kpgsivi.order_statistics import lower_median
from descent.papers.kpgsivi.smoothing import asvgd_difference, bandwidth, gaussian, kpg_difference, released_difference

F64 = torch.float64


def single_draws(n, z, a, b, sigma, h, seed=0):
    """(KPG, amortised SVGD) estimates of one draw each at z for mu(eps) = a eps + b and p = N(0, 1); (n,)."""
    make = torch.Generator().manual_seed(seed)
    eps, eta = torch.randn(2, n, 1, 1, generator=make, dtype=F64)
    there = a * eps + b + sigma * eta
    h2 = torch.full((n,), h * h, dtype=F64)
    z = z.expand(n)[:, None, None]
    kernel = gaussian(square_distances(z, there), h2)
    ours = kpg_difference(kernel, -eta / sigma + there)
    return ours[:, 0, 0], asvgd_difference(kernel, z, there, -there, h2)[:, 0, 0]


def test_closed_form_in_one_dimension():
    """Delta_k(z) = C [mt (1 - 1 / s2) + b / s2]; docs/papers/kpgsivi.md derives it."""
    a, b, sigma, h, z = 1.2, 0.5, 0.8, 0.7, 1.0
    s2 = a * a + sigma * sigma
    c = h / math.sqrt(s2 + h * h) * math.exp(-((z - b) ** 2) / (2 * (s2 + h * h)))
    mt = (z / h**2 + b / s2) / (1 / h**2 + 1 / s2)
    want = c * (mt * (1 - 1 / s2) + b / s2)
    assert (c, mt, want) == pytest.approx((0.415918, 0.904669, 0.295351), abs=1e-6)
    n = 1_000_000
    for draws, variance in zip(
        single_draws(n, torch.tensor(z, dtype=F64), a, b, sigma, h), (0.428, 0.753), strict=True
    ):
        assert abs(float(draws.mean()) - want) < 4 * math.sqrt(variance / n)
        assert float(draws.var()) == pytest.approx(variance, rel=0.02)


def closed_variances(sigma, h):
    """Variances of one draw at the optimum q = p = N(0, 1), z ~ p: (KPG, amortised SVGD)."""
    scale, v = (1 + 4 / h**2) ** -0.5, 1 / (0.5 + 2 / h**2)
    return scale * (1 - sigma**2) / sigma**2, scale * (v * (1 / h**2 + 0.5) ** 2 + 0.5)


@pytest.mark.parametrize(("sigma", "ours", "theirs"), [(0.8, 0.1616, 0.653), (0.4, 1.509, 0.653)])
def test_variances_at_the_optimum(sigma, ours, theirs):
    want = closed_variances(sigma, 0.6)
    assert want == pytest.approx((ours, theirs), abs=6e-4)
    n, make = 1_000_000, torch.Generator().manual_seed(2)
    z = torch.randn(n, generator=make, dtype=F64)
    a = math.sqrt(1 - sigma**2)
    for draws, variance in zip(single_draws(n, z, a, 0.0, sigma, 0.6, seed=3), want, strict=True):
        assert float(draws.square().mean()) == pytest.approx(variance, rel=0.02)
        assert abs(float(draws.mean())) < 4 * math.sqrt(variance / n)


def test_kpg_has_no_variance_where_the_conditional_is_the_target():
    ours, theirs = single_draws(1000, torch.tensor(0.3, dtype=F64), 0.0, 0.0, 1.0, 0.6)
    assert float(ours.abs().max()) == 0
    assert float(theirs.std()) > 0.1 and abs(float(theirs.mean())) < 4 * float(theirs.std()) / 1000**0.5


def test_for_small_bandwidths_the_crossover_is_at_sigma_over_h_root_two():
    for h in (0.02, 0.005):
        sigma = h * math.sqrt(2)
        ours, theirs = closed_variances(sigma, h)
        assert ours / theirs == pytest.approx(1, rel=3 * h)


def example():
    z = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]], dtype=F64)
    there = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]], dtype=F64)
    noise = torch.tensor([[[0.5, -0.5], [1.0, 0.0]]], dtype=F64)  # eta / sigma
    h2 = torch.ones(1, dtype=F64)
    return z, there, noise, h2, gaussian(square_distances(z, there), h2)


def test_worked_example_in_two_dimensions():
    z, there, noise, h2, kernel = example()
    ours = kpg_difference(kernel, -noise + there)  # the target's score is -z
    theirs = asvgd_difference(kernel, z, there, -there, h2)
    assert_close(ours, torch.tensor([[[-0.0840, 0.4549], [0.2113, 0.2759]]], dtype=F64), atol=5e-5, rtol=0)
    assert_close(theirs, torch.tensor([[[0.2707, 0.6065], [0.7259, 0.3679]]], dtype=F64), atol=5e-5, rtol=0)


def test_the_kernels_gradient_is_autograds():
    z, there, _, h2, _ = example()
    there.requires_grad_()
    kernel = gaussian(square_distances(z, there), h2)
    for i in range(2):
        (gradient,) = torch.autograd.grad(kernel[0, i].sum(), there, retain_graph=True)
        want = (-gradient - kernel[0, i][:, None] * -there).mean(1).detach()
        assert_close(asvgd_difference(kernel, z, there, -there, h2)[0, i].detach(), want[0], atol=1e-12, rtol=0)


def test_the_released_form_estimates_something_else():
    """Row j of its repulsion is summed over the evaluation points, without the kernel."""
    z, there, _, h2, kernel = example()
    got = released_difference(kernel, z, there, -there, h2)
    rows = [
        sum((there[0, j] - z[0, i]) / h2 for i in range(2)) / 2
        - sum(kernel[0, j, i] * -there[0, i] for i in range(2)) / 2
        for j in range(2)
    ]
    assert_close(got[0], torch.stack(rows), atol=1e-12, rtol=0)
    assert (got - asvgd_difference(kernel, z, there, -there, h2)).abs().max() > 0.3


def test_median_rule():
    squares = torch.tensor([[[1.0, 4.0], [2.0, 1.0]]])
    assert float(lower_median(squares.flatten(1))) == 1
    assert float(bandwidth(squares, 2)) == pytest.approx(0.5 / math.log(3))
    assert float(bandwidth(torch.tensor([[[3.0, 1.0], [4.0, 1.0]]]), 2)) == pytest.approx(0.5 / math.log(3))


@given(st.integers(1, 40), st.integers(1, 3), st.integers(0, 99))
def test_lower_median_is_torchs(n, rows, seed):
    x = torch.rand(rows, n, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(lower_median(x), x.median(-1).values)
    assert torch.equal(lower_median(x), x.kthvalue((n + 1) // 2, -1).values)


@given(st.integers(0, 99))
def test_order_of_the_auxiliary_sample_does_not_matter(seed):
    make = torch.Generator().manual_seed(seed)
    z, there, force = torch.randn(3, 2, 6, 3, generator=make, dtype=F64)
    order = torch.randperm(6, generator=make)
    h2 = torch.rand(2, generator=make, dtype=F64) + 0.5
    for x in (slice(None), order):
        kernel = gaussian(square_distances(z, there[:, x]), h2)
        got = kpg_difference(kernel, force[:, x]), asvgd_difference(kernel, z, there[:, x], force[:, x], h2)
        if isinstance(x, slice):
            first = got
    assert_close(got, first, atol=1e-12, rtol=1e-12)


def test_an_endless_bandwidth_gives_every_point_the_mean():
    make = torch.Generator().manual_seed(0)
    z, there, force = torch.randn(3, 2, 6, 3, generator=make, dtype=F64)
    kernel = gaussian(square_distances(z, there), torch.full((2,), 1e18, dtype=F64))
    assert_close(kpg_difference(kernel, force), force.mean(1, keepdim=True).expand_as(z), atol=1e-12, rtol=0)


def test_bandwidths_are_a_row_of_its_own():
    make = torch.Generator().manual_seed(0)
    squares = torch.rand(3, 5, 5, generator=make)
    assert_close(bandwidth(squares, 5), torch.stack([bandwidth(row[None], 5)[0] for row in squares]))


def test_a_thinned_median_is_an_option_that_no_experiment_takes():
    from pathlib import Path

    squares = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(1))
    want = torch.stack([row.flatten()[::5].median() for row in squares]) * 0.5 / math.log(7)
    assert_close(bandwidth(squares, 6, 5), want)
    text = Path(__file__).parents[3].joinpath("config/papers/kpgsivi.yaml").read_text(encoding="utf-8")
    assert "median_every" not in text
