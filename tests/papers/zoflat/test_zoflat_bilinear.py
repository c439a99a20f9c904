"""The test function (docs/papers/zoflat.md): worked values, the official script's trajectory, a slow twin, properties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.zoflat.bilinear import Bilinear, direction, swap
from descent.papers.zoflat.bilinear_reduced import Draw, ReducedBilinear, draws, reduced
from descent.papers.zoflat.gradient_descent import gd
from descent.papers.zoflat.problem import Differentiable
from descent.papers.zoflat.sharpness_aware import sam
from descent.papers.zoflat.two_point import dd, walks, zo

F = Bilinear()
SQUARE = Differentiable(lambda x: (x**2).sum(-1))


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normals(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def plain_loss(x: np.ndarray) -> float:
    """f as the paper writes it, one point."""
    y, z = np.split(x, 2)
    return (y @ z - 1) ** 2 / 2


def plain_zo(x: np.ndarray, directions: np.ndarray, step_size: float, smoothing: float) -> np.ndarray:
    """Algorithm 1, a step and a trajectory at a time, by two losses."""
    for u in directions:
        c = (plain_loss(x + smoothing * u) - plain_loss(x - smoothing * u)) / (2 * smoothing)
        x = x - step_size * c * u
    return x


def test_worked_example():
    """The numbers of docs/papers/zoflat.md, by hand."""
    x, u, lam = f64([1, 2, 3, -1]), f64([1, -1, 2, 0]), 0.5
    assert (F.loss(x), F.trace(x)) == (0, 15)
    assert (F.loss(x + lam * u), F.loss(x - lam * u)) == (6.125, 3.125)
    assert F.slope(x, direction(u), lam) == 3.0


def test_smoothing_adds_half_the_squared_lambda_times_the_trace():
    """The smoothed value and gradient, by Gauss-Hermite quadrature, which is exact for this polynomial."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    x, lam = normals(1, 4), 0.7  # n = 2: a product grid of 4^4 directions
    grid = f64(np.stack(np.meshgrid(*[nodes] * 4, indexing="ij"), -1).reshape(-1, 4))
    weight = f64(np.prod(np.stack(np.meshgrid(*[weights] * 4, indexing="ij"), -1), -1).ravel())
    weight = weight / weight.sum()
    residual = F.residual(x)
    smoothed = (residual**2 + lam**2 * F.trace(x) + lam**4 * 2) / 2
    assert_close((weight * F.loss(x + lam * grid)).sum(), smoothed, rtol=1e-12, atol=0)
    slopes = F.slope(x.expand(len(grid), 4), direction(grid), lam)
    estimate = (weight[:, None] * slopes[:, None] * grid).sum(0)
    assert_close(estimate, residual * swap(x) + lam**2 * x, rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 999), smoothing=st.floats(1e-3, 2))
def test_the_closed_slope_is_the_two_losses(n, seed, smoothing):
    x, u = normals(seed, 2, 2 * n)
    two = (F.loss(x + smoothing * u) - F.loss(x - smoothing * u)) / (2 * smoothing)
    # The two losses cancel: their difference is exact to about 1e-16 f / l.
    assert_close(F.slope(x, direction(u), smoothing), two, rtol=1e-9, atol=1e-12 * (1 + n**2) / smoothing)


@settings(deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 99))
def test_gradient_and_trace_are_autograd_s(n, seed):
    x = normals(seed, 2 * n)
    assert_close(F.gradient(x).u, torch.func.grad(F.loss)(x))
    assert_close(F.trace(x), torch.func.hessian(F.loss)(x).trace())


def test_official_script_zo():
    """NumPy's legacy seed 17, one u_x = randn(100) and u_y = randn(100) a step."""
    rng = np.random.RandomState(17)
    x = f64(rng.randn(200))
    method = zo(F, step_size=1e-3, smoothing=0.1)
    expected = {
        0: (7.549868350853609, 216.88931449392683),
        1: (0.2642170799308352, 219.09206186442344),
        10: (0.000822105379234163, 219.53264283620763),
        1000: (0.0001649315908764722, 215.20797808608808),
    }
    for t in range(1001):
        if t in expected:
            # The digits that the chaos of 1000 steps leaves of a loss near zero.
            assert_close(F.loss(x), f64(expected[t][0]), rtol=1e-7, atol=1e-12)
            assert_close(F.trace(x), f64(expected[t][1]), rtol=1e-10, atol=0)
        x = method.update(x, direction(f64(rng.randn(200))))


def test_official_script_zo_to_its_last_step():
    """t = 19999."""
    rng = np.random.RandomState(17)
    x = f64(rng.randn(200))
    method = zo(F, step_size=1e-3, smoothing=0.1)
    for u in f64(rng.randn(19999, 200)):
        x = method.update(x, direction(u))
    assert_close(F.trace(x), f64(164.1632654717634), rtol=1e-7, atol=0)


def test_official_script_gd():
    """The step size starts beyond stability, so the trace falls before it freezes."""
    x = f64(np.random.RandomState(17).randn(200))
    method = gd(F, step_size=0.01)
    x = method.update(x)
    assert_close(F.loss(x), f64(10.281987282423225), rtol=1e-12, atol=0)
    assert_close(F.trace(x), f64(216.4573886614267), rtol=1e-12, atol=0)
    for _ in range(99):
        x = method.update(x)
    assert_close(F.trace(x), f64(180.14205515116726), rtol=1e-12, atol=0)


def test_dd_is_the_limit_of_zo():
    """With the same u, at lambda = 1e-5."""
    x, u = normals(3, 2, 30)
    limit = dd(F, step_size=1e-3).update(x, direction(u))
    assert_close(zo(F, step_size=1e-3, smoothing=1e-5).update(x, direction(u)), limit, rtol=0, atol=1e-8)


def test_variants_in_one_program_equal_one_trajectory_at_a_time():
    """The rows of the study's toy job (DD and every smoothing, sharing u) against Algorithm 1 by two losses."""
    seeds, n, steps, smoothings = 3, 5, 40, [0.0, 0.5, 0.2]
    start, draws = normals(4, seeds, 2 * n), normals(5, steps, seeds, 2 * n)
    x = start.expand(len(smoothings), seeds, 2 * n).clone()
    method = walks(F, step_size=1e-2, smoothings=[smoothing or None for smoothing in smoothings])
    for u in draws:
        x = method.update(x, direction(u))
    for v, smoothing in enumerate(smoothings):
        for s in range(seeds):
            slow = plain_zo(start[s].numpy(), draws[:, s].numpy(), 1e-2, smoothing or 1e-6)
            assert_close(x[v, s], torch.from_numpy(slow), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["zo", "dd", "gd", "sam"])
def test_a_function_of_one_s_own_takes_the_steps_of_the_built_in_problem(name):
    """Differentiable, on the test function, rows and all; none of them gives NaN."""
    own = Differentiable(lambda x: (torch.linalg.vecdot(*x.chunk(2, -1)) - 1) ** 2 / 2)
    x, u = normals(6, 3, 12), normals(7, 3, 12)
    build = {
        "zo": lambda f: zo(f, step_size=0.01, smoothing=0.2), "dd": lambda f: dd(f, step_size=0.01),
        "gd": lambda f: gd(f, step_size=0.01), "sam": lambda f: sam(f, step_size=0.01, radius=0.1),
    }[name]  # fmt: skip
    assert_close(build(own).update(x, u), build(F).update(x, direction(u)), rtol=1e-9, atol=1e-12)


def test_sam_at_a_minimum_stays():
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert torch.equal(sam(SQUARE, step_size=0.1, radius=0.1).update(x), x)


# The walks in three numbers


def test_three_numbers_move_as_the_vectors_do():
    """Any direction, its six products in the rotated frame worked out by hand: slope, derivative and step."""
    x, u, smoothing = normals(9, 1, 1, 12), normals(10, 1, 12), 0.3
    (y, z), (u_y, u_z) = x[0, 0].chunk(2), u[0].chunk(2)
    along = y / y.norm()
    across = z - (z @ along) * along
    across = across / across.norm()
    mix = [[2 * u_y @ along, 0, 0], [0, 2 * u_z @ along, 2 * u_z @ across], [u_z @ along, u_y @ along, u_y @ across]]
    draw = Draw(f64(mix)[..., None, None], torch.stack([u_y @ u_y, u_z @ u_z, u_y @ u_z])[:, None, None])
    problem, small = ReducedBilinear(), reduced(x)
    seen = problem.seen(small, draw)
    assert_close(problem.loss(small), F.loss(x)), assert_close(problem.trace(small), F.trace(x))
    slope = problem.slope(small, seen, smoothing)
    assert_close(slope, F.slope(x, direction(u), smoothing))
    assert_close(problem.derivative(small, seen), F.derivative(x, direction(u)))
    assert_close(problem.move(small, seen, -0.1 * slope), reduced(F.move(x, direction(u), -0.1 * slope)))


def test_seven_numbers_have_the_law_of_a_gaussian_direction():
    """Means and second moments of what a step needs, against 2n normals, within five standard errors."""
    n, count = 6, 40_000
    x = normals(11, 1, 1, 2 * n)
    (y, z), small = x[0, 0].chunk(2), reduced(x)
    drawn = draws(Streams("zoflat"), (500,), n, 0, count)
    problem = ReducedBilinear()
    frame = torch.stack([y.norm(), y @ z / y.norm(), (z @ z - (y @ z) ** 2 / (y @ y)).sqrt()])
    linear = drawn.mix[:, :, :, 0, 0] @ frame
    assert_close(problem.seen(small, Draw(drawn.mix[0], drawn.lengths[0])).linear[:, 0, 0], linear[0])
    ours = torch.cat([linear, drawn.lengths[:, :, 0, 0]], 1)
    u_y, u_z = normals(12, 2, count, n)
    products = [2 * u_y @ y, 2 * u_z @ z, u_y @ z + u_z @ y, (u_y**2).sum(1), (u_z**2).sum(1), (u_y * u_z).sum(1)]
    plain = torch.stack(products, 1)

    def moments(a):
        return torch.cat([a, (a[:, :, None] * a[:, None]).flatten(1)], 1)

    ours, plain = moments(ours), moments(plain)
    error = (ours.var(0) / count + plain.var(0) / count).sqrt()
    assert ((ours.mean(0) - plain.mean(0)).abs() < 5 * error).all()


def test_a_seed_s_draws_are_its_own():
    one, both = (draws(Streams("zoflat"), seeds, 5, 3, 4) for seeds in ((501,), (500, 501)))
    assert torch.equal(one.mix[..., 0], both.mix[..., 1]) and torch.equal(one.lengths[..., 0], both.lengths[..., 1])


@settings(deadline=None)
@given(seeds=st.integers(1, 5), n=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_seed_does_not_notice_the_others_of_its_batch(seeds, n, seed):
    start, draws = normals(seed, seeds, 2 * n), normals(seed + 1, 6, seeds, 2 * n)
    method = zo(F, step_size=1e-2, smoothing=0.3)
    together, alone = start, start[-1:]
    for u in draws:
        together, alone = method.update(together, direction(u)), method.update(alone, direction(u[-1:]))
    assert_close(together[-1:], alone, rtol=1e-12, atol=1e-12)


def test_sam_is_the_gradient_uphill():
    x = normals(8, 20).requires_grad_()
    g = torch.autograd.grad(F.loss(x), x)[0]
    ahead = (x + 0.3 * g / (g.norm() + 1e-12)).detach().requires_grad_()
    expected = x - 0.01 * torch.autograd.grad(F.loss(ahead), ahead)[0]
    got = sam(F, step_size=0.01, radius=0.3).update(x.detach()[None])
    assert_close(got[0], expected.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: zo(F, step_size=-1, smoothing=0.1), r"zo: `step_size` must lie in \(0, 10\], got -1"),
        (lambda: zo(F, step_size=0.1, smoothing=0), r"zo: `smoothing` must lie in \(0, 10\], got 0"),
        (lambda: gd(F, step_size=0), r"gd: `step_size` must lie in \(0, 10\], got 0"),
        (lambda: dd(F, step_size=float("nan")), r"dd: `step_size` must be a number, got nan"),
        (lambda: sam(F, step_size=0.1, radius=-0.5), r"sam: `radius` must lie in \(0, 10\], got -0.5"),
        (lambda: walks(F, step_size=0.1, smoothings=[0.1, 0.0]), r"zo: `smoothing` must lie in \(0, 10\], got 0"),
        (lambda: walks(F, step_size=11, smoothings=[None]), r"dd: `step_size` must lie in \(0, 10\], got 11"),
        (
            lambda: walks(SQUARE, step_size=0.1, smoothings=[None]),
            "a slope that is exact at 0, and Differentiable's is not",
        ),
        (lambda: gd(object(), step_size=0.1), "gd: the problem must have `gradient` and `move` .* use torch.optim.SGD"),
        (lambda: Differentiable(3), "Differentiable: `loss` must be callable"),
    ],
)
def test_a_bad_setting_is_refused_in_one_sentence(build, message):
    with pytest.raises(SettingError, match=message):
        build()
