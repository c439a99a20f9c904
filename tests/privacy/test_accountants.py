"""Accountants: known values, slow twins by quadrature, limits, and the noise for a budget."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis.strategies import floats, integers, sampled_from
from scipy import integrate, stats

from descent.core.errors import SettingError
from descent.privacy import (
    INTEGER_ORDERS,
    OPACUS_ORDERS,
    epsilon,
    gaussian_delta,
    gaussian_epsilon,
    noise_multiplier,
    prv_epsilon,
    rdp,
    rdp_epsilon,
)

DELTA = 1e-5


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "eps", "order", "numerical"),
    [
        (1.0, 0.01, 1000, 2.10137, 7.8, 1.83837),
        (1.1, 256 / 60000, 14062, 2.59656, 8.1, 2.39174),
        (2.0, 0.02, 200, 0.637893, 24, 0.583300),
    ],
)
def test_published_accountants_give_these_values(sigma, rate, steps, eps, order, numerical):
    got, best = rdp_epsilon(rdp(rate, sigma, steps, OPACUS_ORDERS), OPACUS_ORDERS, DELTA)
    assert got == pytest.approx(eps, abs=6e-6)
    assert best == pytest.approx(order)
    assert prv_epsilon(rate, sigma, steps, DELTA).upper == pytest.approx(numerical, abs=6e-6)


@pytest.mark.parametrize(
    ("budget", "accountant", "sigma", "tolerance"),
    [
        # Opacus stops its search once epsilon is within 0.01, hence above the smallest sigma.
        (1, "opacus", 2.0605, 0.01),
        (1, "rdp", 2.05096, 5e-6),
        (3, "opacus", 1.0547, 1e-4),
        (3, "rdp", 1.0549, 5e-5),
        (1, "prv", 1.9141, 2e-3),
        (3, "prv", 0.9912, 2e-3),
    ],
)
def test_the_noise_for_a_budget(budget, accountant, sigma, tolerance):
    got = noise_multiplier(budget, 256 / 8192, 200, DELTA, accountant)
    assert got == pytest.approx(sigma, abs=tolerance)
    assert epsilon(256 / 8192, got, 200, DELTA, accountant) <= budget
    assert epsilon(256 / 8192, got * (1 - 1e-4), 200, DELTA, accountant) > budget


def test_the_noise_of_the_study():
    sigmas = [noise_multiplier(eps, 128 / 6000, 100, DELTA) for eps in (1, 3)]
    assert sigmas == pytest.approx([1.3375, 0.8417], abs=5e-5)


@pytest.mark.parametrize("sigma, eps", [(1.0, 4.37718), (1.5, 2.75338), (2.0, 1.9931), (3.0, 1.27109), (0.6, 8.004)])
def test_exact_gaussian_known_values(sigma, eps):
    assert gaussian_epsilon(sigma, DELTA) == pytest.approx(eps, rel=4e-5)


def moment_by_quadrature(q, sigma, alpha):
    """E_{x ~ N(0, s^2)} of ((1-q) + q N(1, s^2) / N(0, s^2))^alpha, as the definition says it."""

    def integrand(x):
        log_ratio = np.logaddexp(math.log1p(-q), math.log(q) + (2 * x - 1) / (2 * sigma**2))
        return math.exp(alpha * log_ratio + stats.norm.logpdf(x, scale=sigma))

    far = alpha + 12 * sigma
    return integrate.quad(integrand, -far, far, limit=500, epsabs=0, epsrel=1e-11, points=[0.0, 1.0, alpha])[0]


@pytest.mark.parametrize("alpha", [1.1, 1.5, 2, 2.3, 3, 7.8, 10.9, 12])
@pytest.mark.parametrize(("q", "sigma"), [(0.01, 1.0), (0.2, 0.7), (0.6, 2.0), (0.02, 4.0)])
def test_moments_equal_the_definition(alpha, q, sigma):
    moment = moment_by_quadrature(q, sigma, alpha)
    [got] = rdp(q, sigma, 1, [alpha])
    assert got * (alpha - 1) == pytest.approx(math.log(moment), rel=1e-6, abs=1e-11)


@settings(deadline=None, max_examples=30)
@given(q=floats(0.001, 0.999), sigma=floats(0.4, 6), order=floats(1.05, 20))
def test_divergence_grows_with_the_order_and_the_rate(q, sigma, order):
    low, high = rdp(q, sigma, 1, [order, order + 0.5])
    assert low + 1e-12 >= 0 and low <= high + 1e-12
    assert rdp(1.0, sigma, 1, [order])[0] >= low - 1e-12


def test_limits_of_the_rate():
    orders = (1.5, 2, 8)
    assert (rdp(0, 1.0, 10, orders) == 0).all()
    np.testing.assert_allclose(rdp(1, 2.0, 7, orders), 7 * np.array(orders) / 8)
    np.testing.assert_allclose(rdp(1 - 1e-9, 2.0, 7, orders), rdp(1, 2.0, 7, orders), rtol=1e-6)
    assert np.isinf(rdp(0.1, 0, 1, orders)).all()


@settings(deadline=None, max_examples=25)
@example(sigma=0.75, q=0.5, steps=123)
@given(sigma=floats(0.7, 5), q=sampled_from([0.005, 0.02, 0.1, 0.5]), steps=integers(1, 300))
def test_tighter_accountants_stay_below_looser_ones(sigma, q, steps):
    integer = epsilon(q, sigma, steps, DELTA, "rdp")
    finer = min(integer, epsilon(q, sigma, steps, DELTA, "opacus"))
    numerical = prv_epsilon(q, sigma, steps, DELTA)
    assert numerical.lower <= numerical.estimate <= numerical.upper
    assert numerical.upper - numerical.estimate < 0.0101 + 0.002 * numerical.estimate
    assert numerical.estimate <= finer * (1 + 1e-6) <= integer * (1 + 1e-5)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 4])
def test_numerical_accountant_contains_the_exact_gaussian(sigma, steps):
    exact = gaussian_epsilon(sigma, DELTA, steps)
    bounds = prv_epsilon(1.0, sigma, steps, DELTA)
    assert bounds.lower <= exact <= bounds.upper
    assert bounds.estimate == pytest.approx(exact, abs=2e-3)


@pytest.mark.parametrize(("q", "sigma"), [(0.1, 1.0), (0.5, 0.8), (0.02, 0.6)])
def test_numerical_accountant_contains_one_sampled_step_by_quadrature(q, sigma):
    def delta_of(eps):  # E_{x ~ mixture} [1 - e^(eps - loss)]+
        def integrand(x):
            loss = np.logaddexp(math.log1p(-q), math.log(q) + (2 * x - 1) / (2 * sigma**2))
            density = (1 - q) * stats.norm.pdf(x, scale=sigma) + q * stats.norm.pdf(x, 1, sigma)
            return density * max(0.0, -math.expm1(eps - loss))

        return integrate.quad(integrand, -12 * sigma, 1 + 12 * sigma, limit=400, epsabs=1e-13)[0]

    bounds = prv_epsilon(q, sigma, 1, DELTA)
    assert delta_of(bounds.upper) <= DELTA <= delta_of(max(bounds.lower, 0))


@given(sigma=floats(0.3, 20), eps=floats(0, 30))
def test_exact_gaussian_inverts(sigma, eps):
    delta = gaussian_delta(eps, sigma)
    reference = stats.norm.cdf(1 / (2 * sigma) - eps * sigma) - math.exp(eps) * stats.norm.cdf(
        -1 / (2 * sigma) - eps * sigma
    )
    assert delta == pytest.approx(max(0, reference), rel=1e-6, abs=1e-12)
    if 1e-12 < delta < 0.999:
        assert gaussian_epsilon(sigma, delta) == pytest.approx(eps, abs=1e-6)


def test_no_noise_no_privacy():
    for accountant in ("rdp", "opacus", "prv"):
        assert epsilon(0.1, 0, 5, DELTA, accountant) == math.inf
        assert noise_multiplier(math.inf, 0.1, 5, DELTA, accountant) == 0
    assert gaussian_epsilon(0, DELTA) == math.inf
    assert epsilon(0.1, 0, 0, DELTA) == 0


def test_hardly_any_noise_is_answered_without_a_huge_mesh():
    assert prv_epsilon(0.5, 0.02, 100, DELTA).upper == pytest.approx(epsilon(0.5, 0.02, 100, DELTA, "opacus"), rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1.2}, r"privacy: `rate` must lie in \[0, 1\], got 1.2"),
        ({"delta": 0}, r"privacy: `delta` must lie in \(0, 1\), got 0"),
        ({"accountant": "moments"}, "privacy: `accountant` must be one of .*prv.*, got 'moments'"),
        ({"accountant": "gaussian"}, "privacy: accountant `gaussian` needs rate 1, got 0.1; use `rdp` or `prv`"),
    ],
)
def test_bad_values_are_refused_in_one_sentence(change, message):
    with pytest.raises(SettingError, match=message):
        epsilon(**{"rate": 0.1, "noise_multiplier": 1.0, "steps": 3, "delta": DELTA, **change})


def test_a_budget_out_of_reach_is_refused():
    with pytest.raises(SettingError, match=r"cannot prove epsilon 0\.001 at delta 1e-05 with any noise"):
        noise_multiplier(0.001, 1.0, 1, DELTA, "rdp")


def test_integer_orders_cost_less_than_two_percent_of_noise():
    assert tuple(range(2, 256)) == INTEGER_ORDERS
    for eps in (1, 3):
        for rate, steps in ((256 / 8192, 200), (128 / 6000, 100), (64 / 512, 4)):
            coarse, fine = (noise_multiplier(eps, rate, steps, DELTA, a) for a in ("rdp", "opacus"))
            assert fine <= coarse * (1 + 1e-6) and coarse <= 1.02 * fine


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(0.8, 0.02, 100), (1.3, 0.1, 50), (2.5, 0.5, 400)])
def test_opacus_agrees(sigma, rate, steps):
    accountants = pytest.importorskip("opacus.accountants", reason="opacus, a development package, is not installed")
    for name, tolerance in (("RDPAccountant", 1e-9), ("PRVAccountant", 1e-3)):
        theirs = getattr(accountants, name)()
        theirs.history = [(sigma, rate, steps)]
        ours = epsilon(rate, sigma, steps, DELTA, "opacus" if name == "RDPAccountant" else "prv")
        assert ours == pytest.approx(theirs.get_epsilon(DELTA), rel=tolerance)
