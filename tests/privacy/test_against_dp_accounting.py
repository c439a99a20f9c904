"""epsilon against dp-accounting's privacy loss distributions, another implementation by other people, on a grid.

Optional: pip install dp-accounting (a development package; nothing else here needs it).
"""

import pytest

from descent.privacy import epsilon, noise_multiplier

accounting = pytest.importorskip(
    "dp_accounting", reason="the optional development package dp-accounting is not installed"
)
GRID = [
    (sigma, rate, steps)
    for sigma in (0.8, 1.5, 4.0)
    for rate, steps in ((0.005, 1000), (128 / 6000, 100), (0.32, 200), (0.5, 4), (1.0, 1))
]


def exact(sigma, rate, steps, delta, discretisation=1e-4):
    from dp_accounting import pld

    accountant = pld.PLDAccountant(value_discretization_interval=discretisation)
    event = accounting.GaussianDpEvent(sigma)
    if rate < 1:
        event = accounting.PoissonSampledDpEvent(rate, event)
    return accountant.compose(accounting.SelfComposedDpEvent(event, steps)).get_epsilon(delta)


@pytest.mark.parametrize(("sigma", "rate", "steps"), GRID)
def test_epsilon_on_a_grid(sigma, rate, steps):
    """The numerical accountant agrees; the Renyi ones are upper bounds, and not far above."""
    true = exact(sigma, rate, steps, 1e-5)
    if true > 60:
        pytest.skip("no budget is that large")
    assert epsilon(rate, sigma, steps, 1e-5, "prv") == pytest.approx(true, abs=0.025, rel=0.01)
    for accountant in ("rdp", "opacus"):
        above = epsilon(rate, sigma, steps, 1e-5, accountant)
        assert true - 1e-3 <= above <= 1.45 * true + 0.15


@pytest.mark.parametrize("budget", [0.5, 1.0, 3.0])
def test_the_noise_of_a_budget_keeps_it(budget):
    for rate, steps in ((128 / 6000, 100), (0.32, 200), (0.5, 4)):
        assert exact(noise_multiplier(budget, rate, steps, 1e-5), rate, steps, 1e-5) <= budget
