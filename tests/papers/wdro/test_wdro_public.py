"""The public classes: the documented example, no twin of the study's method, refusals, precisions, scikit-learn."""

import inspect

import numpy as np
import pytest
import torch
from torch import nn

from conftest import small
from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.wdro import (
    Point,
    RobustLinearRegression,
    RobustLogisticRegression,
    RobustLoss,
    Schedule,
    psgd,
    sampled,
)
from descent.papers.wdro.regression import least_squares

F64 = torch.float64
squared = nn.MSELoss(reduction="none")


@pytest.mark.parametrize("sampler", ["plain", "library"])
@pytest.mark.parametrize("kind", ["squared", "logistic"])
def test_robust_loss_is_the_study_s_gradient_on_the_same_draws(kind, sampler):
    problem = small(kind, n=6, intercept=True)
    net = nn.Linear(3, 1, dtype=F64)
    loss = squared if kind == "squared" else lambda v, y: nn.functional.softplus(-y * v)
    robust = RobustLoss(loss, radius=0.1, epsilon=0.05, samples=5, sampler=sampler, deviation=0.3, seed=3).double()
    for k in range(2):
        value = robust(net, problem.features, problem.labels[:, None])
        net.zero_grad()
        robust.zero_grad()
        value.backward()
        u = Streams("wdro").normal("draws", [3], (6, 1, 5, 3), k)
        point = Point(net.weight.detach()[None], net.bias.detach()[None], robust.dual.reshape(1, 1))
        want, gradient = sampled(
            problem, point, problem.features[None], problem.labels[None], u, torch.tensor([0.05], dtype=F64), sampler
        )
        torch.testing.assert_close(value.detach(), want[0, 0], atol=1e-12, rtol=1e-12)
        torch.testing.assert_close(net.weight.grad, gradient.weight[0], atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(net.bias.grad, gradient.intercept[0], atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(robust.lam.grad, gradient.lam[0, 0], atol=1e-10, rtol=1e-10)


def test_shifted_draws_converge_to_the_study_s_when_the_centre_does():
    problem = small("mixed", n=6)
    net = nn.Linear(3, 1, dtype=F64)

    def loss(v, y):
        return nn.functional.softplus(-y * v)

    robust = RobustLoss(loss, radius=0.1, epsilon=0.05, samples=8, deviation=0.3, label_flip=0.1, ascents=60).double()
    value = robust(net, problem.features, problem.labels[:, None])
    u = Streams("wdro").normal("draws", [0], (6, 2, 4, 3), 0)
    point = Point(net.weight.detach()[None], net.bias.detach()[None], robust.dual.reshape(1, 1))
    want = sampled(
        problem, point, problem.features[None], problem.labels[None], u, torch.tensor([0.05], dtype=F64), "shifted"
    )
    torch.testing.assert_close(value.detach(), want.value[0, 0], atol=1e-6, rtol=1e-6)


def test_the_estimator_is_the_study_s_method_bit_for_bit():
    problem = small("squared", n=40)
    model = RobustLinearRegression(0.1, steps=30, fit_intercept=False, random_state=4)
    model.fit(problem.features.numpy(), problem.labels.numpy())
    ball = max(1.0, 1.1 * least_squares(problem).weight.norm().item())
    low = 1.1 * ball**2
    start = max(5.0, 2 * low)
    method = psgd(
        problem.__class__(problem.features, problem.labels, 0.1, 3 * 0.1), [Schedule(0.1, 1.0)], [4], Streams("wdro"),
        ball=ball, lam_low=low, lam_start=start, lam_high=10 * start,
    )  # fmt: skip
    state = method.init()
    for k, count in ((0, 25), (1, 5)):
        noise = method.draw(k, count)
        for i in range(count):
            state, _ = method.step(state, type(noise)(*(x[i] for x in noise)))
    assert np.array_equal(model.coef_, state.point.weight[0, 0].numpy()) and model.dual_ == state.point.lam.item()


def test_both_methods_of_both_estimators_agree_on_the_optimum():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = x @ [0.5, -0.3, 0.0] + 0.5 * rng.standard_normal(200)
    exact, run = (RobustLinearRegression(0.1, method=m, steps=3000).fit(x, y) for m in ("exact", "psgd"))
    assert 0 <= run.worst_case_risk_ - exact.worst_case_risk_ < 2e-3 and exact.score(x, y) > 0.3
    assert np.linalg.norm(exact.coef_) < np.linalg.norm(np.linalg.lstsq(x, y, rcond=None)[0])
    labels = np.where(y > 0, "yes", "no")
    exact, run = (
        RobustLogisticRegression(0.1, method=m, steps=2000, label_cost=0.25).fit(x, labels) for m in ("exact", "psgd")
    )
    assert -1e-6 <= run.worst_case_risk_ - exact.worst_case_risk_ < 0.02
    assert set(run.predict(x)) == {"yes", "no"} and run.score(x, labels) > 0.7
    np.testing.assert_allclose(run.predict_proba(x).sum(1), 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precisions_stay_what_they_are(dtype):
    problem = small("squared", n=30)
    x, y = problem.features.to(dtype), problem.labels.to(dtype)
    model = RobustLinearRegression(steps=20).fit(x.numpy(), y.numpy())
    assert model.coef_.dtype == x.numpy().dtype
    net = nn.Linear(3, 1, dtype=dtype)
    value = RobustLoss(squared, radius=0.1).to(dtype)(net, x, y[:, None])
    assert value.dtype == dtype and torch.isfinite(value)


def test_a_resumed_loss_draws_on_and_two_seeds_differ():
    problem, net = small("squared", n=6), nn.Linear(3, 1, dtype=F64)

    def make(seed=0):
        return RobustLoss(squared, radius=0.1, seed=seed).double()

    x, y = problem.features, problem.labels[:, None]
    first, second = make(), make()
    values = [first(net, x, y).item() for _ in range(3)]
    second(net, x, y)
    third = make()
    third.load_state_dict(second.state_dict())
    assert [third(net, x, y).item() for _ in range(2)] == values[1:]
    assert make(1)(net, x, y).item() != values[0] and len(set(values)) == 3
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"radius": 0}, "`radius` must be a number above 0"),
        ({"samples": 0}, "`samples` must lie in"),
        ({"epsilon": -1.0}, "`epsilon` must lie in"),
        ({"sampler": "shift"}, "`sampler` must be .*did you mean"),
        ({"dual": (5.0, 1.0, 10.0)}, "0 < low <= start <= high"),
        ({"label_flip": 1.5}, "`label_flip` must lie in"),
        ({"seed": 1.5}, "`seed` must be a whole number"),
        ({"loss": None}, "`loss` must be callable"),
    ],
)
def test_wrong_values_are_refused_at_construction_in_one_sentence(change, words):
    with pytest.raises(SettingError, match=words) as error:
        RobustLoss(**{"loss": squared, "radius": 0.1, **change})
    assert "\n" not in str(error.value)


def test_wrong_inputs_are_refused_in_one_sentence():
    robust, net = RobustLoss(nn.MSELoss(), radius=0.1), nn.Linear(3, 1)
    with pytest.raises(SettingError, match="one number a row"):
        robust(net, torch.zeros(4, 3), torch.zeros(4, 1))
    with pytest.raises(SettingError, match="floating-point"):
        robust(net, torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, 1))
    with pytest.raises(SettingError, match="0 and 1, or -1 and 1"):
        RobustLoss(squared, radius=0.1, label_flip=0.1)(net, torch.zeros(4, 3), torch.full((4, 1), 0.5))
    for model, x, y, words in [
        (RobustLinearRegression(radius=-1), np.zeros((4, 2)), np.zeros(4), "`radius` must lie in"),
        (RobustLinearRegression(method="newton"), np.zeros((4, 2)), np.zeros(4), "`method` must be"),
        (RobustLinearRegression(), np.zeros(4), np.zeros(4), r"X must be \(n, d\)"),
        (RobustLinearRegression(), np.full((4, 2), np.nan), np.zeros(4), "X must be finite"),
        (RobustLogisticRegression(), np.zeros((4, 2)), np.arange(4), "two classes, got 4"),
    ]:
        with pytest.raises(SettingError, match=words):
            model.fit(x, y)
    with pytest.raises(SettingError, match="call fit"):
        RobustLinearRegression().predict(np.zeros((1, 2)))
    with pytest.raises(SettingError, match="unknown parameter `radios`"):
        RobustLinearRegression().set_params(radios=1)


def test_scikit_learn_takes_them():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    y = x @ [0.5, -0.3, 0.0] + 0.3 * rng.standard_normal(60)
    model = make_pipeline(StandardScaler(), RobustLinearRegression(method="exact"))
    assert cross_val_score(model, x, y, cv=3).mean() > 0.5
    search = GridSearchCV(RobustLogisticRegression(method="exact"), {"radius": [0.05, 0.2]}, cv=3).fit(x, y > 0)
    assert search.best_params_["radius"] in (0.05, 0.2)
    assert sklearn.base.clone(RobustLinearRegression(0.3)).radius == 0.3


def defaults(function):
    """What is left out of a call, by name."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def test_what_is_left_out_is_what_the_study_has():
    common = {"radius": 0.1, "method": "psgd", "epsilon": 0.1, "decay": 1.0, "deviation": None, "steps": 4000, "samples": 16,
              "fit_intercept": True, "random_state": 0}  # fmt: skip
    square = defaults(RobustLinearRegression)
    assert square == {**square, **common, "batch": 16, "step_size": 0.05, "dual_step_size": 20.0}
    logistic = defaults(RobustLogisticRegression)
    assert logistic == {
        **logistic,
        **common,
        "batch": 32,
        "step_size": 0.3,
        "dual_step_size": 100.0,
        "label_cost": None,
        "label_flip": 0.1,
    }
    assert defaults(RobustLoss) == {
        "epsilon": 1e-2, "samples": 16, "sampler": "shifted", "deviation": None, "dual": (0.01, 5.0, 1000.0), "label_flip": 0.0,
        "label_cost": 0.25, "ascents": 3, "seed": 0,
    }  # fmt: skip
