"""The client's half of a round: numbers worked by hand, limits, and the length of the step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, integers

from descent.papers.pfedsop.personalisation import angle, damped, gompertz, mixture


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


OWN, SHARED = f64([3.0, 4.0, 0.0]), f64([0.0, 5.0, 0.0])


def test_worked_example():
    phi = angle(OWN, SHARED)
    assert phi.item() == pytest.approx(0.6435011088, abs=1e-10)
    weight = gompertz(phi, 1.0)
    assert weight.item() == pytest.approx(0.7602886881, abs=1e-10)
    update = mixture(OWN, SHARED, weight)
    torch.testing.assert_close(update, f64([0.7191339357, 4.7602886881, 0.0]), atol=1e-9, rtol=0)
    torch.testing.assert_close(damped(update, 0.1), f64([0.0308939480, 0.2045016981, 0.0]), atol=1e-9, rtol=0)
    assert gompertz(phi, 2.0).item() == pytest.approx(0.8699840145, abs=1e-10)
    assert gompertz(phi, 0.5).item() == pytest.approx(0.6973333979, abs=1e-10)


@pytest.mark.parametrize(
    ("sharpness", "phi", "weight"),
    [
        (0.2, 1, 1 - math.exp(-1)),
        (7, 1, 1 - math.exp(-1)),
        (1, 0, 0.9340119642),
        (1, math.pi / 2, 0.4316826349),
        (1, math.pi, 0.1108306874),
        (5, math.pi / 2, 0.0559861713),
    ],
)
def test_gompertz_weight(sharpness, phi, weight):
    assert gompertz(f64(phi), sharpness).item() == pytest.approx(weight, abs=1e-9)


@given(low=floats(0, 3.1), gap=floats(0.01, 3.1), sharpness=floats(0.05, 5))
def test_the_weight_falls_as_the_angle_grows(low, gap, sharpness):
    """Aligned updates use the global one, opposed updates the client's own."""
    near, far = gompertz(f64([low, min(low + gap, math.pi)]), sharpness).tolist()
    assert 0 < far <= near <= 1
    if near < 1 - 1e-9 and low + gap < math.pi:
        assert far < near


def test_a_short_step_worked_by_hand():
    torch.testing.assert_close(damped(f64([1.0, 2.0, 2.0]), 0.5), f64([1.0, 2.0, 2.0]) / 9.5)


@given(seed=integers(0, 10_000), rho=floats(1e-3, 1e3), size=integers(1, 12))
def test_the_closed_form_solves_the_regularised_system(seed, rho, size):
    update = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fisher = update[:, :, None] * update[:, None] + rho * torch.eye(size, dtype=torch.float64)
    solved = torch.linalg.solve(fisher, update)
    torch.testing.assert_close(damped(update, rho), solved, atol=1e-10, rtol=1e-8)


@given(length=floats(0, 1e4), rho=floats(1e-4, 1e4))
def test_the_step_is_parallel_and_never_longer_than_its_bound(length, rho):
    update = length * f64([0.6, -0.8])
    step = damped(update, rho)
    assert abs(step[0] * update[1] - step[1] * update[0]) <= 1e-12 * (1 + length)
    assert step.norm().item() <= (1 + 1e-12) / (2 * math.sqrt(rho))
    longest = damped(math.sqrt(rho) * f64([0.6, -0.8]), rho).norm().item()
    assert longest == pytest.approx(1 / (2 * math.sqrt(rho)), rel=1e-12)


def test_two_terms_lose_in_float32_what_the_closed_form_keeps():
    """The literal Sherman-Morrison formula subtracts two nearly equal vectors."""
    update = 10 * torch.randn(5000, generator=torch.Generator().manual_seed(3))
    for rho in (1.0, 1e-4):
        square = (update * update).sum()
        literal = update / rho - update * square / (rho**2 + rho * square)
        exact = damped(update.double(), rho)
        apart = lambda step, exact=exact: ((step.double() - exact).norm() / exact.norm()).item()  # noqa: E731
        assert apart(damped(update, rho)) < 1e-6
        assert apart(literal) > 1e-3


def test_degenerate_updates_have_finite_angles_and_steps():
    zero, one = torch.zeros(2, 3), torch.tensor([[1e-3, 0.0, 0.0], [-1e9, 1e-20, 1.0]])
    for own, shared in ((zero, one), (one, zero), (zero, zero), (one, one), (one, -one)):
        phi = angle(own, shared)
        assert phi.isfinite().all() and (phi >= 0).all() and (phi <= math.pi + 1e-6).all()
        assert damped(mixture(own, shared, gompertz(phi, 1.0)), 100.0).isfinite().all()
    parallel = torch.randn(500, 40, generator=torch.Generator().manual_seed(0))
    assert angle(parallel, 3 * parallel).isfinite().all()  # rounding carries some cosines past 1


def test_leading_axes_are_free():
    own, shared = torch.randn(2, 4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).unbind(0)
    weight = gompertz(angle(own, shared), f64([[1.0], [2.0], [3.0], [0.5]]))
    steps = damped(mixture(own, shared, weight), f64([[1.0], [2.0], [3.0], [4.0]]))
    for i in range(4):
        for j in range(3):
            own_weight = gompertz(angle(own[i, j], shared[i, j]), (1.0, 2.0, 3.0, 0.5)[i])
            torch.testing.assert_close(steps[i, j], damped(mixture(own[i, j], shared[i, j], own_weight), float(i + 1)))
