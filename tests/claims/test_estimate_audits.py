"""Audits by guesses against the formula and randomised response; exact quantities."""

import math

import numpy as np
import pytest
from scipy import stats

from descent.claims.estimate import kinds  # noqa: F401
from descent.claims.estimate.audits import Audit, Exact
from descent.claims.estimate.base import MISSING, UNDEFINED, Numbers, estimate
from descent.privacy.audit import clopper_pearson, one_run_bound, one_run_p_value


def audited(right, guesses=100, canaries=1000, planned=None, **options):
    parts = [np.atleast_2d(np.asarray(part, float)) for part in (right, guesses, canaries)]
    parts = [np.broadcast_to(part, parts[0].shape) for part in parts]
    return estimate(Audit(**options), *(Numbers.ok(part, planned, noun="run") for part in parts))


def test_bound_p_and_cap_are_the_formulas():
    got = audited([[90], [60]], delta=1e-5)
    for d, right in enumerate((90, 60)):
        assert got.low[d] == pytest.approx(one_run_bound(right, 100, 1000, 1e-5))
        assert got.p(1.0, "above")[d] == pytest.approx(one_run_p_value(1.0, right, 100, 1000, 1e-5))
    assert got.decidable.all() and (got.high == np.inf).all()
    assert got.cap == pytest.approx(one_run_bound(100, 100, 1000, 1e-5))


@pytest.mark.parametrize(("guesses", "cap"), [(100, 3.465), (500, 5.09)])
def test_the_cap_of_a_thousand_canaries(guesses, cap):
    """What perfect guessing would show, at the delta of the study: a nominal epsilon beyond it cannot be audited."""
    assert audited([[guesses]], guesses, delta=1e-5).cap[0] == pytest.approx(cap, abs=5e-3)


def test_the_p_value_agrees_with_the_bound():
    right = np.arange(40, 101)[:, None]
    got = audited(right)
    for nominal in (0.2, 1.0, 2.5):
        assert ((got.p(nominal, "above") < 0.05) == (got.low > nominal)).all()


def test_a_small_count_never_shows_that_epsilon_is_small():
    got = audited([[50], [0], [100]])
    assert (got.p(8.0, "below") == 1).all() and (got.p(0.0, "above")[:2] > 0.4).all()


def test_several_runs_share_the_level():
    got = audited([[90, 50, 52]])
    assert got.low[0] == pytest.approx(one_run_bound(90, 100, 1000, level=1 - 0.05 / 3))
    assert got.p(1.0, "above")[0] == pytest.approx(3 * one_run_p_value(1.0, 90, 100, 1000))


def test_randomised_response_is_accused_as_rarely_as_the_level_says():
    """Each guess right with probability e / (1 + e): epsilon is exactly 1. Over all counts, weighted, no simulation."""
    got = audited(np.arange(101)[:, None])
    weight = stats.binom.pmf(np.arange(101), 100, math.e / (1 + math.e))
    assert weight[got.p(1.0, "above") <= 0.05].sum() <= 0.05
    assert weight[got.low > 1.0].sum() <= 0.05


def test_counts_that_are_no_audit_and_runs_that_are_missing():
    for right, guesses, canaries in ((101, 100, 1000), (90.5, 100, 1000), (-1, 100, 1000), (9, 100, 50), (0, 0, 10)):
        got = audited([[right]], guesses, canaries)
        assert got.why_not() == "the counts are not those of an audit" and np.isnan(got.p(1.0, "above")[0])
    assert not audited([[90, np.nan]]).decidable[0]
    assert not audited([[90]], planned=2).decidable[0]


def test_many_counts_at_once_are_one_at_a_time():
    right = np.arange(0, 101, 7)
    assert one_run_bound(right, 100, 400, 1e-6) == pytest.approx([one_run_bound(int(v), 100, 400, 1e-6) for v in right])
    eps = np.linspace(0, 3, len(right))
    many = one_run_p_value(eps, right, 100, 400, 1e-6)
    assert many == pytest.approx([one_run_p_value(e, int(v), 100, 400, 1e-6) for e, v in zip(eps, right, strict=True)])
    low, high = clopper_pearson(np.arange(9), 8)
    assert np.allclose(list(zip(low, high, strict=True)), [clopper_pearson(k, 8) for k in range(9)])


# -- exact ------------------------------------------------------------------------------------------------------------


def test_an_exact_value_decides_with_one_seed_and_needs_agreement():
    one = estimate(Exact(), Numbers.ok([[3.0]]))
    assert one.decidable[0] and one.value[0] == one.low[0] == one.high[0] == 3
    assert not one.has_p
    with pytest.raises(TypeError, match="`exact` has no p-value"):
        one.p(1, "above")
    two = estimate(Exact(), Numbers.ok([[3.0, 3.0 + 1e-13], [3.0, 3.1]]))
    assert two.decidable.tolist() == [True, False]
    assert two.why_not(1) == "the seeds differ, so the quantity is not exact" and (two.low[1], two.high[1]) == (3, 3.1)


def test_an_exact_quantity_that_is_missing_or_undefined_is_undecided():
    got = estimate(Exact(), Numbers.ok([[np.nan, 2.0]]))
    assert got.value[0] == 2 and got.why_not() == "1 of 2 seeds has no number"
    numbers = Numbers(np.array([[np.nan, 2.0]]), np.array([[UNDEFINED, 0]], np.uint8), 2)
    assert not estimate(Exact(), numbers).decidable[0]
    assert not estimate(Exact(), Numbers.ok([[np.nan]])).decidable[0] and MISSING == 4


def test_exact_infinity_is_a_value():
    got = estimate(Exact(), Numbers.ok([[np.inf, np.inf]]))
    assert got.decidable[0] and got.low[0] == np.inf
