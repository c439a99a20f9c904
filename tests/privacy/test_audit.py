"""Audits: known values, slow twins, and that a bound is a bound."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers
from scipy import stats

from descent.privacy import (
    clopper_pearson,
    gaussian_epsilon,
    one_run_bound,
    one_run_correct,
    one_run_p_value,
    tpr_fpr_bound,
)


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "bound"),
    [
        (1000, 100, 90, 1e-5, 1.6261),
        (1000, 200, 150, 1e-5, 0.8200),
        (500, 100, 60, 1e-5, 0.0507),
        (1000, 100, 100, 0, 3.4930),
        (2000, 200, 190, 1e-5, 2.3893),
        (1000, 100, 50, 1e-5, 0),
        (1000, 100, 0, 1e-5, 0),
    ],
)
def test_one_run_bound_known_values(canaries, guesses, correct, delta, bound):
    assert one_run_bound(correct, guesses, canaries, delta) == pytest.approx(bound, abs=6e-5)


@given(r=integers(1, 60), share=floats(0, 1), eps=floats(0, 5), delta=floats(0, 0.01))
def test_p_value_is_the_formula_term_by_term(r, share, eps, delta):
    v, m, s = round(share * r), 100, math.exp(eps) / (1 + math.exp(eps))
    tail = stats.binom.sf(v - 1, r, s)
    gaps = [sum(stats.binom.pmf(k, r, s) for k in range(v - i, v)) / i for i in range(1, v + 1)]
    expected = min(1.0, tail + 2 * m * delta * max(gaps, default=0.0))
    assert one_run_p_value(eps, v, r, m, delta) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_randomised_response_is_bounded_below_its_epsilon():
    """Guessing right with probability e^eps/(1+e^eps) is exactly eps-DP: at most 5 % of the bounds may exceed eps."""
    rng, eps = np.random.default_rng(0), 1.0
    correct = rng.binomial(100, math.exp(eps) / (1 + math.exp(eps)), 2000)
    bounds = np.array([one_run_bound(int(v), 100, 1000) for v in np.arange(101)])[correct]
    assert (bounds > eps).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert bounds.mean() > 0.4


def test_counting_right_guesses():
    scores = np.array([5.0, 1.0, 4.0, 2.0, 3.0, 0.0])
    included = np.array([True, False, False, True, True, False])
    assert one_run_correct(scores, included, 4) == 3  # "in": 5 right, 4 wrong; "out": 0 and 1 right
    assert one_run_correct(scores, ~included, 4) == 1
    assert one_run_correct(scores, included, 2) == 2
    with pytest.raises(ValueError, match="guesses must be even"):
        one_run_correct(scores, included, 3)
    with pytest.raises(ValueError, match=r"lie in \[2, 6\], got 8"):
        one_run_correct(scores, included, 8)


@given(n=integers(1, 400), share=floats(0, 1), level=floats(0.5, 0.999))
def test_clopper_pearson_equals_scipy(n, share, level):
    k = round(share * n)
    expected = stats.binomtest(k, n).proportion_ci(level, "exact")
    assert clopper_pearson(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-10)


def mask_game(rng, trials, honest):
    """Four blocks of dimension 100, one mean each on one coordinate; noise sigma 2; the three largest norms are kept.

    Gives how often block 0 is kept with the canary in it and without it.
    """
    kept = []
    for present in (1.0, 0.0):
        means = np.array([present, 5.0, 5.0, 0.5])
        if honest:
            blocks = 2 * rng.standard_normal((trials, 4, 100))
            blocks[:, :, 0] += means
            norms = np.linalg.norm(blocks, axis=2)
        else:
            norms = np.broadcast_to(means, (trials, 4))
        order = np.argsort(-norms, axis=1, kind="stable")[:, :3]
        kept.append(int((order == 0).any(1).sum()))
    return kept


def test_a_mask_chosen_before_the_noise_leaks_and_one_chosen_after_it_does_not():
    trials = 20_000
    exact = gaussian_epsilon(2.0, 1e-5)
    assert exact == pytest.approx(1.9931, abs=5e-5)
    hits, alarms = mask_game(np.random.default_rng(0), trials, honest=False)
    assert (hits, alarms) == (trials, 0)
    assert tpr_fpr_bound(hits, trials, alarms, trials) == pytest.approx(8.6, abs=0.005)
    assert tpr_fpr_bound(hits, trials, alarms, trials) > exact
    hits, alarms = mask_game(np.random.default_rng(0), trials, honest=True)
    assert hits / trials == pytest.approx(0.685, abs=0.02) and alarms / trials == pytest.approx(0.685, abs=0.02)
    assert tpr_fpr_bound(hits, trials, alarms, trials) < 0.05
