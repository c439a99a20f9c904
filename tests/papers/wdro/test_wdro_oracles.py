"""The exact objectives: worked numbers, closed forms against brute force, limits, convexity, order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wdro_plain import logistic, smoothed_datum, squared, supremum

from conftest import small
from descent.papers.wdro import Classification, Point, Regression, limit
from descent.papers.wdro.classification import worst_shift
from descent.papers.wdro.newton import smoothed_minimum, starting_point
from descent.papers.wdro.regression import least_squares

F64 = torch.float64
KINDS = ("squared", "logistic", "mixed")


def at(weight, intercept=0.0, lam=1.0):
    return Point(
        torch.tensor([weight], dtype=F64), torch.tensor([intercept], dtype=F64), torch.tensor([lam], dtype=F64)
    )


def point(problem, seed=1, norm=0.6, lam=2.0):
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(problem.dimension)
    return at((norm * w / np.linalg.norm(w)).tolist(), 0.2 if problem.intercept else 0.0, lam)


def test_worked_by_hand():
    tiny = Regression(torch.tensor([[1.0]], dtype=F64), torch.tensor([0.0], dtype=F64), 0.1, 0.3)
    assert tiny.exact(at([0.5])).value.item() == pytest.approx(0.01 + 0.25 / 0.75, abs=1e-15)


def test_infinite_where_lam_does_not_pay_for_the_square():
    value, gradient = small("squared").exact(at([0.6, 0.6, 0.6], lam=1.0))
    assert value.item() == math.inf and gradient.weight.isnan().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_exact_value_is_the_mean_of_brute_force_suprema(kind):
    problem = small(kind)
    p = point(problem)
    w, b, lam = p.weight[0].numpy(), p.intercept.item(), p.lam.item()
    total = 0.0
    for x, y in zip(problem.features.numpy(), problem.labels.numpy(), strict=True):
        loss = squared if kind == "squared" else logistic
        best = supremum(loss, w, b, lam, x, y, reach=5.0)
        if kind == "mixed":
            best = max(best, supremum(loss, w, b, lam, x, -y, reach=5.0) - lam * 0.25)
        total += best / len(problem.labels)
    assert problem.exact(p).value.item() == pytest.approx(lam * 0.01 + total, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [1.0, 0.1, 0.003])
def test_the_smoothed_value_is_the_integral(kind, eps):
    problem = small(kind)
    p = point(problem)
    w, b, lam = p.weight[0].numpy(), p.intercept.item(), p.lam.item()
    total = 0.0
    for x, y in zip(problem.features.numpy(), problem.labels.numpy(), strict=True):
        if kind == "squared":
            each = smoothed_datum(squared, w, b, lam, x, y, 0.3, eps, 3)
        else:
            each = smoothed_datum(logistic, w, b, lam, x, y, 0.3, eps, 3)
            if kind == "mixed":
                other = smoothed_datum(logistic, w, b, lam, x, -y, 0.3, eps, 3) - lam * 0.25
                each = eps * np.logaddexp(each / eps + math.log(0.9), other / eps + math.log(0.1))
        total += each / len(problem.labels)
    assert problem.smoothed(p, eps).value.item() == pytest.approx(lam * 0.01 + total, abs=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_quadrature_holds_up_to_half_the_curvature_at_which_it_would_fail(kind):
    if kind == "squared":
        pytest.skip("a closed form")
    problem = small(kind, deviation=3.0)
    p = point(problem, norm=2.8, lam=2.0)  # |w|^2 / (8 lam) = 0.49
    w, b = p.weight[0].numpy(), p.intercept.item()
    for eps in (0.3, 0.01):
        total = 0.0
        for x, y in zip(problem.features.numpy(), problem.labels.numpy(), strict=True):
            each = smoothed_datum(logistic, w, b, 2.0, x, y, 3.0, eps, 3)
            if kind == "mixed":
                other = smoothed_datum(logistic, w, b, 2.0, x, -y, 3.0, eps, 3) - 0.5
                each = eps * np.logaddexp(each / eps + math.log(0.9), other / eps + math.log(0.1))
            total += each / len(problem.labels)
        assert problem.smoothed(p, eps).value.item() == pytest.approx(0.02 + total, abs=2e-8)


def test_the_worst_shift_is_the_global_maximum_also_where_there_are_two():
    z = torch.linspace(-6, 12, 181, dtype=F64)[:, None]
    for s, lam in ((0.5, 1.0), (3.0, 1.1), (6.0, 1.0), (9.0, 1.5), (9.0, 0.4)):
        s_, lam_ = torch.tensor(s, dtype=F64), torch.tensor(lam, dtype=F64)
        a, q = worst_shift(z, s_, lam_)
        grid = torch.linspace(0, s / (2 * lam), 40_001, dtype=F64)
        brute = (torch.nn.functional.softplus(-z + s * grid) - lam * grid**2).amax(1, keepdim=True)
        ours = torch.nn.functional.softplus(-z + s * a) - lam * a**2
        assert (ours - brute).min() > -1e-12 and (ours - brute).max() < 1e-5
        torch.testing.assert_close(q, torch.sigmoid(-z + s * a))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eps", [None, 0.5, 0.01])
def test_gradients_and_hessians_are_the_slopes_of_values(kind, eps):
    problem = small(kind, intercept=True)
    here = point(problem).flat(True)
    evaluate = problem.exact if eps is None else lambda p: problem.smoothed(p, eps)
    gradient = evaluate(Point.of(here, True)).gradient.flat(True)[0]
    moves = 1e-6 * torch.eye(here.shape[1], dtype=F64)
    up, down = (evaluate(Point.of(here + sign * moves, True)) for sign in (1, -1))
    torch.testing.assert_close((up.value - down.value) / 2e-6, gradient, atol=2e-8, rtol=1e-6)
    if eps is not None or kind == "squared":
        p = Point.of(here, True)
        hessian = problem.exact_hessian(p)[0] if eps is None else problem.smoothed_hessian(p, eps)[0]
        slopes = (up.gradient.flat(True) - down.gradient.flat(True)) / 2e-6
        torch.testing.assert_close(slopes, hessian, atol=1e-6, rtol=1e-5)


def test_as_epsilon_grows_the_smoothed_value_becomes_the_mean_over_the_reference():
    problem = small("squared")
    p = point(problem)
    s2, lam, var, d = 0.36, 2.0, 0.09, 3
    want = lam * 0.01 + problem.risk(p).item() + var * s2 - lam * d * var
    assert problem.smoothed(p, 1e7).value.item() == pytest.approx(want, abs=1e-6)
    problem = small("mixed", deviation=1e-4)  # nearly no noise: the mean over labels alone
    p = point(problem)
    z = problem.margins(p)[0]
    want = 0.9 * torch.nn.functional.softplus(-z) + 0.1 * (torch.nn.functional.softplus(z) - 2.0 * 0.25)
    assert problem.smoothed(p, 1e7).value.item() == pytest.approx(0.02 + want.mean().item(), abs=1e-5)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 99), norm=st.floats(0.05, 0.9), lam=st.floats(1.0, 20.0))
def test_smoothed_lies_below_exact_and_rises_to_it(kind, seed, norm, lam):
    problem, eps = small(kind, seed=seed), (1.0, 0.1, 0.01, 1e-3, 1e-5)
    p = point(problem, seed, norm, lam)
    exact = problem.exact(p).value.item()
    values = [problem.smoothed(p, e).value.item() for e in eps]
    assert all(
        a <= b + 1e-12 for a, b in zip(values, [*values[1:], exact], strict=True)
    )  # E exp(./eps)^eps grows as eps falls
    assert exact - values[-1] < 1e-3
    assert exact >= problem.risk(p).item() + lam * 0.01 - 1e-12


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(KINDS), a=st.integers(0, 99), b=st.integers(100, 199), eps=st.sampled_from([None, 0.3, 0.01])
)
def test_jointly_convex_in_theta_and_lam(kind, a, b, eps):
    problem = small(kind)
    evaluate = problem.exact if eps is None else lambda p: problem.smoothed(p, eps)
    first, second = point(problem, a, 0.3, 1.2).flat(True), point(problem, b, 0.9, 6.0).flat(True)

    def value(flat):
        return evaluate(Point.of(flat, True)).value.item()

    assert value((first + second) / 2) <= (value(first) + value(second)) / 2 + 1e-12


def test_the_best_lam_is_in_closed_form_for_the_square_and_found_for_the_logistic_loss():
    for kind in KINDS:
        problem = small(kind)
        p = point(problem)
        value, lam = problem.worst_case(p)
        for factor in (0.99, 1.01):
            assert problem.exact(p._replace(lam=lam * factor)).value >= value - 1e-12
        assert problem.exact(p._replace(lam=lam)).value.item() == pytest.approx(value.item(), abs=1e-10)
        assert value.item() >= problem.risk(p).item()
    p = point(small("squared"))
    values = [small("squared", radius=r).worst_case(p)[0].item() for r in (0.0, 0.1, 0.3)]
    assert values[0] == pytest.approx(small("squared").risk(p).item(), abs=1e-14) and values == sorted(values)


def test_mixed_lies_above_fixed_labels_and_equals_them_at_a_prohibitive_cost():
    fixed, mixed, dear = small("logistic"), small("mixed", kappa=0.05), small("mixed", kappa=1e6)
    p = point(fixed)
    p = p._replace(weight=-p.weight)  # some data are on the right side, so that flipping them hurts
    assert mixed.exact(p).value > fixed.exact(p).value
    torch.testing.assert_close(dear.exact(p), fixed.exact(p))
    assert dear.smoothed(p, 0.01).value.item() == pytest.approx(
        fixed.smoothed(p, 0.01).value.item() + 0.01 * math.log(0.9), abs=1e-12
    )


def test_at_a_tie_smoothed_gradients_tend_into_the_segment_of_both_branches():
    """Two subgradients at a kink: the limit lies between them, at neither end."""
    x, y = torch.tensor([[1.0, 0.0]], dtype=F64), torch.tensor([1.0], dtype=F64)
    problem = Classification(x, y, 0.1, 0.3, kappa=0.25, flip=0.1, intercept=False)
    w = torch.tensor([[1.0, 0.0]], dtype=F64)
    low, high = torch.tensor([0.1], dtype=F64), torch.tensor([50.0], dtype=F64)
    for _ in range(200):  # the lam at which flipping costs what it gains
        lam = (low + high) / 2
        gain = problem.branches(Point(w, torch.zeros(1, dtype=F64), lam))[0].diff(dim=-1)[0]
        low, high = torch.where(gain > 0, lam, low), torch.where(gain > 0, high, lam)
    tie = Point(w, torch.zeros(1, dtype=F64), lam)
    either = [problem.exact(tie._replace(lam=lam * f)).gradient.flat(False)[0] for f in (1 - 1e-9, 1 + 1e-9)]
    assert (either[0] - either[1]).norm() > 0.1
    limits = problem.smoothed(tie, 1e-6).gradient.flat(False)[0]
    span = either[1] - either[0]
    share = ((limits - either[0]) @ span / (span @ span)).item()
    assert 0.02 < share < 0.98
    assert (either[0] + share * span - limits).norm() < 1e-4


def test_diabetes_optimum_and_plateaus(study):
    problem = study("diabetes")
    ols = least_squares(problem)
    assert ols.weight.norm().item() == pytest.approx(0.8511, abs=1e-4)
    assert problem.risk(ols).item() == pytest.approx(0.4823, abs=1e-4)
    assert problem.worst_case(ols)[0].item() == pytest.approx(0.6076986, abs=1e-7)
    found = limit(problem, [0.1, 0.01, 0.001, 1e-4])
    assert found.value.item() == pytest.approx(0.5584457871192358, abs=1e-13)
    assert found.point.weight.norm().item() == pytest.approx(0.4762972, abs=1e-7)
    assert found.point.lam.item() == pytest.approx(3.5593325, abs=1e-6)
    plateaus = [(problem.exact(p).value - found.value).item() for p in found.path.values()]
    np.testing.assert_allclose(plateaus, [0.42693, 0.01565, 1.786e-4, 1.797e-6], rtol=1e-3)
    assert problem.smoothed(found.path[0.001], 0.001).gradient.flat(False).norm() < 1e-10


def test_breast_cancer_optima(study):
    found = limit(study("cancer"), [1e-3])
    assert found.value.item() == pytest.approx(0.10447921, abs=2e-8)
    assert found.point.weight.norm().item() == pytest.approx(2.984, abs=1e-3)
    assert (found.path[1e-3].weight - found.point.weight).norm().item() == pytest.approx(0.466, abs=2e-3)


def test_radius_zero_is_least_squares():
    problem = small("squared", n=40, radius=0.0)
    ols = least_squares(problem)
    assert problem.worst_case(ols._replace(weight=ols.weight[None], intercept=ols.intercept[None], lam=ols.lam[None]))[
        0
    ].item() == pytest.approx(problem.risk(ols).item())
    start = starting_point(small("squared", n=40, radius=0.05))
    ends = [smoothed_minimum(small("squared", n=40, radius=r), 1e-8, start).point.weight for r in (0.05, 0.005, 0.0005)]
    away = [(end[0] - ols.weight).norm().item() for end in ends]
    assert away[0] > away[1] > away[2] and away[2] < 1e-3
