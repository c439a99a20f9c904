"""The theory of docs/papers/ssi.md: worked values, converged values, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from descent.papers.ssi import phase
from descent.papers.ssi.gradient_flow import escape_time, flow, single_direction_gain, velocity
from descent.papers.ssi.quadrature import (
    curvature,
    loss,
    mixed,
    nodes,
    omega_dynamics,
    omega_global,
    population,
    tables,
    traced,
)  # fmt: skip

POINTS = ((0, 0), (0, 1), (1, 0), (0.3, 0.4))  # (e, m)


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("omega", "values"),
    [
        (0.5, (0.12047677, 0.04606343, 0.11224256, 0.11098612)),
        (0.1, (0.13578655, 0.00184254, 0.17969994, 0.12568828)),
        (0.9, (0.16412818, 0.14924552, 0.10374637, 0.15524514)),
    ],
)
def test_population_loss_on_the_plain_grid(omega, values):
    got = [loss(mixed(omega, 1.0), e, m, 17) for e, m in POINTS]
    np.testing.assert_allclose(got, values, atol=1e-8)


def test_the_tables_give_the_converged_values():
    table = tables(f64([[0.0], [0.3]]), f64([0.0, 0.4]), 31)
    assert float(table.loss(0.5, 1.0)[0, 0]) == pytest.approx(0.12040, abs=2e-5)
    assert float(table.loss(0.5, 1.0)[1, 1]) == pytest.approx(0.11097, abs=2e-5)


@pytest.mark.parametrize("omega", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("width", [0.76, 1.0])
def test_the_tables_agree_with_the_plain_grid_within_the_quadrature_error(omega, width):
    e, m = f64([0, 0.3, 0.8]), f64([0, 0.4, 0.95])
    got = tables(e[:, None], m, 21).loss(omega, width)
    want = [[loss(mixed(omega, width), float(x), float(y), 21) for y in m] for x in e]
    np.testing.assert_allclose(got, want, atol=2e-4)


@pytest.mark.parametrize(("n", "value"), [(17, 0.110909), (21, 0.110948), (31, 0.110970)])
def test_the_table_form_errs_by_its_own_amount_at_every_n(n, value):
    """The values are of a form that conditions on the teacher's fields; ours conditions on the student's: within 1.5e-4."""
    assert float(tables(f64([[0.3]]), f64([0.4]), n).loss(0.5, 1.0)) == pytest.approx(value, abs=1.5e-4)


def test_gradient_of_the_population_loss():
    p = population(mixed(0.5, 1.0), 0.3, 0.4, nodes(17, 4))
    assert float(p.by_e) == pytest.approx(-0.0012315843, abs=1e-9)
    assert float(p.by_m) == pytest.approx(-0.0417856865, abs=1e-9)


@pytest.mark.parametrize("student", [mixed(0.3, 0.85), traced()])
@pytest.mark.parametrize(("e", "m"), [(0.2, 0.5), (-0.4, 0.1), (0.0, 0.9)])
def test_gradient_agrees_with_finite_differences(student, e, m):
    p, h = population(student, e, m, nodes(9, 4)), 1e-5
    by_e = (loss(student, e + h, m, 9) - loss(student, e - h, m, 9)) / (2 * h)
    by_m = (loss(student, e, m + h, 9) - loss(student, e, m - h, 9)) / (2 * h)
    np.testing.assert_allclose([p.by_e, p.by_m], [by_e, by_m], atol=1e-8)


def test_hessian_at_the_origin():
    for width, ee in ((1.0, -0.1982), (0.85, -0.0970), (0.76, -0.0280)):
        c = curvature(width)
        assert c.mm == pytest.approx(-0.2205, abs=5e-5)  # for every a
        assert (c.ee_at_0, c.ee_at_1) == pytest.approx((0.1333, ee), abs=1e-4)


def test_hessian_at_the_origin_agrees_with_finite_differences_of_the_plain_grid():
    h, n = 0.02, 21  # the plain grid's own values: .1308 and -.2004 at n = 21
    for omega, want in ((0.0, 0.1308), (1.0, -0.2004)):
        at = lambda e, m, omega=omega: loss(mixed(omega, 1.0), e, m, n)  # noqa: E731
        second = lambda f: (-f(2 * h) + 16 * f(h) - 30 * f(0) + 16 * f(-h) - f(-2 * h)) / (12 * h * h)  # noqa: E731
        assert second(lambda x, at=at: at(x, 0.0)) == pytest.approx(want, abs=2e-4)
        assert second(lambda x, at=at: at(0.0, x)) == pytest.approx(-0.2205 * (1 - omega), abs=2.5e-3)  # n = 21: -.2223
        mixed_second = (at(h, h) - at(h, -h) - at(-h, h) + at(-h, -h)) / (4 * h * h)
        assert mixed_second == pytest.approx(0, abs=1e-9)  # R_em


@pytest.mark.parametrize(
    ("omega", "times", "points"),
    [
        (0.5, (10, 20, 30), ((0.4136, 0.1675), (0.8766, 0.0525), (0.9968, 0.0012))),
        (0.75, (10, 20, 40), ((0.2257, 0.3975), (0.2370, 0.7105), (0.1097, 0.9622))),
    ],
)
def test_flow_from_a_given_start(omega, times, points):
    got = flow(mixed(omega, 1.0), (0.15, 0.15), times, n=21, largest=1.0)
    np.testing.assert_allclose(got, points, atol=1.1e-4)  # four digits are given


def test_a_finer_step_of_the_integrator_changes_nothing_that_is_seen():
    student = mixed(0.5, 1.0)
    coarse, fine = (flow(student, (0.15, 0.15), [8.0], n=9, largest=h, rate=0.25) for h in (1.0, 0.25))
    np.testing.assert_allclose(coarse, fine, atol=2e-6)


def test_the_flow_stays_in_the_disc_and_keeps_the_saddle():
    speed = velocity(mixed(0.5, 1.0), nodes(11, 4))
    np.testing.assert_allclose(speed(np.zeros(2)), 0, atol=1e-12)
    m, e = 0.6, 0.8
    drift = speed(np.array([m, e]))
    assert m * drift[0] + e * drift[1] == pytest.approx(0, abs=1e-12)  # tangent to the sphere at its edge


@pytest.mark.parametrize(
    ("order", "rate", "dimensions", "times"),
    [
        (1, lambda d: 0.2, (64, 128, 256, 512, 1024), (94, 237, 542, 1179, 2492)),
        (2, lambda d: 0.4 / math.log(d), (64, 128, 256, 512, 1024), (268, 907, 2701, 7477, 19708)),
        (3, lambda d: 0.1 / math.sqrt(d), (32, 64, 128, 256), (608, 3915, 19442, 87704)),
    ],
)
def test_escape_times_of_the_flow_and_their_slopes(order, rate, dimensions, times):
    got = [escape_time(order, 2 / math.sqrt(d), 0.5, rate=rate(d), dimension=d) for d in dimensions]
    np.testing.assert_allclose(got, times, atol=1)
    slope = np.polyfit(np.log(dimensions), np.log(got), 1)[0]
    assert slope == pytest.approx({1: 1.177, 2: 1.545, 3: 2.383}[order], abs=2e-3)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_escape_time_integrates_its_own_ode(order):
    m, h, steps = 0.2, 2e-4, 0
    while m < 0.5:
        slope = lambda x: order * x ** (order - 1) * (1 - x * x)  # noqa: E731
        m += h * slope(m + h / 2 * slope(m))
        steps += 1
    assert escape_time(order, 0.2, 0.5, rate=0.1, dimension=10) == pytest.approx(100 * h * steps, rel=1e-3)


def test_relu_with_a_linear_target_has_half_the_correlation():
    """E[y f] = m / 2; the quadratic coefficient of relu, 1 / (2 sqrt pi) = .2821, gives m^2 / (2 sqrt pi)."""
    grid, weight = nodes(41, 2)
    m = 0.6
    s = m * grid[0] + math.sqrt(1 - m * m) * grid[1]
    f = s.clamp(min=0)
    # The kink of relu leaves an error of 1 / n: the identity E relu(s) z = m E 1{s > 0} = m / 2 is exact in law.
    assert float((grid[0] * f) @ weight) == pytest.approx(m / 2, abs=2e-3)
    quadratic = (grid[0] ** 2 - 1) / math.sqrt(2)
    assert float((quadratic * f) @ weight) == pytest.approx(m * m / (2 * math.sqrt(math.pi)), abs=5e-3)


def test_landscape_of_trace_attention_with_positional_encoding():
    h, n, student = 0.02, 31, traced()
    at = lambda e, m: loss(student, e, m, n)  # noqa: E731
    assert at(0, 0) == pytest.approx(0.9388, abs=1e-4)
    assert at(0.4, 0.9) == pytest.approx(0.861, abs=1e-3)
    r_em = (at(h, h) - at(h, -h) - at(-h, h) + at(-h, -h)) / (4 * h * h)
    r_ee = (at(h, 0) - 2 * at(0, 0) + at(-h, 0)) / h**2
    r_mm = (at(0, h) - 2 * at(0, 0) + at(0, -h)) / h**2
    assert (r_em, r_ee, r_mm) == pytest.approx((-0.3536, 0.5190, 0.0), abs=2e-3)
    assert np.linalg.eigvalsh([[r_ee, r_em], [r_em, r_mm]])[0] == pytest.approx(-0.1791, abs=2e-3)


def test_without_omega_the_teacher_is_a_student():
    assert loss(mixed(0.0, 1.0), 0.0, 1.0, 17) == pytest.approx(0, abs=1e-15)


def test_transitions_of_the_dynamics_and_of_the_global_minimum():
    for width, dynamic, lowest in ((1.0, 0.6408, 0.7376), (0.85, 0.7847, 0.8604), (0.76, 0.9264, 0.9704)):
        assert omega_dynamics(width) == pytest.approx(dynamic, abs=4e-4)
        assert omega_global(width) == pytest.approx(lowest, abs=1e-4)


def test_the_global_minimum_passes_through_mixed_points_at_small_width():
    """On a square grid with the disc cut out, a = .76; the values were computed with 41 nodes."""
    grid = torch.linspace(0, 1, 41, dtype=torch.float64)
    table = tables(grid[:, None], grid, 21)
    outside = table.e**2 + table.m**2 > 1 + 1e-12
    for omega, want in ((0.97, (0.925, 0.375)), (0.98, (0.975, 0.2)), (0.99, (1.0, 0.0))):
        e, m = phase.argmin(table, table.loss(omega, 0.76).masked_fill(outside, torch.inf))
        assert (float(e), float(m)) == pytest.approx(want, abs=0.051)


def test_the_disc_grid_finds_the_minima_of_known_landscapes():
    table = phase.disc(21, 5)
    e, m = table.e, table.m.expand_as(table.e)
    count = lambda r: int(phase.minima(r[None])[0])  # noqa: E731
    assert count((e - 0.5) ** 2 + (m - 0.5) ** 2) == 1  # inside
    assert count(-m) == 1  # the corner m = 1
    assert count(-e) == 1  # the corner e = 1
    assert count(e**2 + m**2) == 1  # the origin
    assert count(-(e**4) - m**4) == 2  # both corners
    assert count(-((e * m) ** 2)) == 1  # on the arc, between the corners
    wells = ((e - 0.3) ** 2 + (m - 0.2) ** 2) * ((e - 0.2) ** 2 + (m - 0.8) ** 2)
    assert count(wells) == 2


def test_regions_follow_their_definitions():
    one, two = torch.tensor(1), torch.tensor(2)
    yes, no = torch.tensor(True), torch.tensor(False)
    high, low = f64(1.0), f64(0.0)
    cases = [
        (low, high, one, no),
        (low, high, one, yes),
        (high, low, one, yes),
        (low, high, two, no),
        (low, high, two, yes),
        (high, low, two, yes),
    ]
    assert [int(phase.regions(*case)) for case in cases] == [0, 1, 2, 3, 4, 5]
    assert len(phase.REGIONS) == 6


def test_single_direction_gain_between_its_limits():
    assert single_direction_gain(1) == 1
    assert single_direction_gain(np.array([10**6])) == pytest.approx(math.sqrt(3e6), rel=1e-3)
