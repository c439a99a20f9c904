"""The linear models (docs/papers/zoflat.md): worked values, the official code's numbers, the reduction against all D weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.papers.zoflat.explicit import ExplicitModel
from descent.papers.zoflat.features import features, standardiser
from descent.papers.zoflat.gradient_descent import gd
from descent.papers.zoflat.lifted import LiftedModel, lift
from descent.papers.zoflat.losses import LOSSES
from descent.papers.zoflat.sharpness_aware import sam
from descent.papers.zoflat.two_point import dd, zo

METHODS = {
    "gd": lambda problem: gd(problem, step_size=1e-2),
    "zo": lambda problem: zo(problem, step_size=1e-3, smoothing=0.05),
    "dd": lambda problem: dd(problem, step_size=1e-3),
    "sam": lambda problem: sam(problem, step_size=1e-2, radius=0.1),
}


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def normals(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def standardised(raw: np.ndarray) -> torch.Tensor:
    mean, scale = standardiser(raw)
    return torch.from_numpy((raw - mean) / scale)


def reduced(data, loss: str, draws, *, cholesky: bool = False, layout: str = "auto") -> LiftedModel:
    raw, labels = data
    lifted = lift(standardised(raw[0]), draws, cholesky=cholesky)
    return LiftedModel(raw, labels, LOSSES[loss], lifted, layout=layout)


def image(model: LiftedModel, w: torch.Tensor):
    """The vector of weights (S, D + 1) under the model's A."""
    b, z = model.images(w[None])
    return model.vector(b[0], z[0])


# The official code's law in plain numpy: one seed, all D weights, dense, the four preprocessing steps in their order.


def plain_features(raw, w):
    train, test = raw
    sd = train.std(0)
    sd[sd == 0] = 1
    test, train = (test - train.mean(0)) / sd @ w, (train - train.mean(0)) / sd @ w
    mean, sd = train.mean(0), train.std(0)
    return [np.hstack([np.ones((len(x), 1)), (x - mean) / sd]) for x in (train, test)]


def plain_loss(x, y, w, loss):
    m = y * (x @ w)
    return np.mean(np.maximum(0, 1 - m) ** 2) if loss == "svm" else np.mean(np.logaddexp(0, -m))


def plain_gradient(x, y, w, loss):
    m = y * (x @ w)
    r = -2 * y * np.maximum(0, 1 - m) if loss == "svm" else 1 / (1 + np.exp(-(x @ w))) - (y > 0)
    return x.T @ r / len(y)


def plain_trace(x, y, w, loss):
    squares = (x**2).sum(1)
    if loss == "svm":
        return 2 / len(y) * squares[y * (x @ w) < 1].sum()
    p = 1 / (1 + np.exp(-(x @ w)))
    return np.mean(p * (1 - p) * squares)


def plain_step(method, x, y, w, loss, u):
    """One step of METHODS[method] as docs/papers/zoflat.md writes it."""
    if method == "gd":
        return w - 1e-2 * plain_gradient(x, y, w, loss)
    if method == "sam":
        g = plain_gradient(x, y, w, loss)
        return w - 1e-2 * plain_gradient(x, y, w + 0.1 * g / (np.linalg.norm(g) + 1e-12), loss)
    if method == "dd":
        return w - 1e-3 * (plain_gradient(x, y, w, loss) @ u) * u
    c = (plain_loss(x, y, w + 0.05 * u, loss) - plain_loss(x, y, w - 0.05 * u, loss)) / (2 * 0.05)
    return w - 1e-3 * c * u


def test_worked_example():
    """The numbers of docs/papers/zoflat.md, by the losses and by the plain twin of this file."""
    x, y, w = np.array([[1.0, 2], [1, -1]]), np.array([1.0, -1]), np.array([0.25, 0.25])
    m = f64([[0.75], [0.0]])
    assert_close(torch.from_numpy(y * (x @ w))[:, None], m)
    expected = {
        "svm": (0.53125, [0.75, -1.5], 7.0),
        "logistic": (0.5400090933374226, [0.08958934958769649, -0.570821300824607], 0.7947374844045351),
    }
    for name, (value, gradient, trace) in expected.items():
        loss = LOSSES[name]
        assert_close(loss.value(m), f64([value]), rtol=1e-14, atol=0)
        assert_close(torch.from_numpy(x.T * y) @ loss.pull(m)[:, 0], f64(gradient), rtol=1e-14, atol=0)
        assert_close(loss.curvature(m)[:, 0] @ torch.from_numpy((x**2).sum(1)), f64(trace), rtol=1e-14, atol=0)
        assert_close(plain_gradient(x, y, w, name), np.array(gradient), rtol=1e-14, atol=0)
        assert plain_trace(x, y, w, name) == pytest.approx(trace, rel=1e-14)


@settings(deadline=None)
@given(
    loss=st.sampled_from(sorted(LOSSES)),
    n=st.integers(1, 30),
    seeds=st.integers(1, 4),
    spread=st.floats(0.1, 200),
    smoothing=st.floats(1e-4, 1),
    seed=st.integers(0, 99),
)
def test_slopes_are_differences_of_values_and_pulls_are_derivatives(loss, n, seeds, spread, smoothing, seed):
    loss, m, dm = LOSSES[loss], spread * normals(seed, n, seeds), normals(seed + 1, n, seeds)
    two = (loss.value(m + smoothing * dm) - loss.value(m - smoothing * dm)) / (2 * smoothing)
    assert_close(loss.slope(m, dm, smoothing), two, rtol=1e-9, atol=1e-13 * spread**2 / smoothing)
    by_autograd = torch.func.grad(lambda m: loss.value(m).sum())(m)
    assert_close(loss.pull(m), by_autograd, rtol=1e-9, atol=1e-15)


def test_logistic_curvature_is_the_second_derivative():
    m = 5 * normals(0, 7, 2)
    second = torch.func.grad(lambda m: torch.func.grad(lambda m: LOSSES["logistic"].value(m).sum())(m).sum())(m)
    assert_close(LOSSES["logistic"].curvature(m), second, rtol=1e-9, atol=0)


def test_a_margin_of_exactly_1_adds_no_curvature():
    assert LOSSES["svm"].curvature(f64([[1.0], [0.0], [2.0]])).flatten().tolist() == [0, 2 / 3, 0]


def test_the_two_point_slope_of_a_quadratic_is_its_derivative_at_any_smoothing():
    """Squared hinge with every margin well below 1 is a quadratic."""
    m, dm = -10 + normals(1, 9, 3), normals(2, 9, 3)
    for smoothing in (1e-3, 0.1, 1.0):
        assert_close(LOSSES["svm"].slope(m, dm, smoothing), (LOSSES["svm"].pull(m) * dm).sum(0), rtol=1e-10, atol=1e-10)


def test_zo_and_dd_walk_together_on_a_quadratic(toy_data):
    """As trajectories: with every margin below 1 the squared hinge is a quadratic."""
    model = reduced(toy_data, "svm", [0.01 * normals(0, 6, 9)])
    walks = {name: model.vector(torch.zeros(1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64))
             for name in ("dd", 0.01, 0.02)}  # fmt: skip
    for u in 0.01 * normals(3, 20, 1, 10):
        for name, w in walks.items():
            method = dd(model, step_size=1e-2) if name == "dd" else zo(model, step_size=1e-2, smoothing=name)
            walks[name] = method.update(w, image(model, u))
            assert (walks[name].margins < 0.9).all()
    assert_close(walks[0.01], walks["dd"], rtol=1e-9, atol=1e-12)
    assert_close(walks[0.02], walks["dd"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_features_are_standardised_products(layout, toy_data):
    """Both layouts against plain matrices: this is how the sparse one is tested, for no simulated device has it."""
    (train, test), (_, y) = toy_data
    mean, scale = standardiser(train)
    b, z, r = normals(0, 3), normals(1, 6, 3), normals(2, 23, 3)
    operator = features(test, y, mean, scale, layout=layout, device="cpu")
    xs, labels = torch.from_numpy((test - mean) / scale), torch.from_numpy(y)[:, None]
    assert scale[3] == 1  # constant in the training set, and yet not in the test set
    assert_close(operator.margins(b, z), labels * (xs @ z + b), rtol=1e-12, atol=1e-12)
    pulled_b, pulled_z = operator.pull(r)
    assert_close(pulled_b, (labels * r).sum(0), rtol=1e-12, atol=1e-12)
    assert_close(pulled_z, xs.T @ (labels * r), rtol=1e-12, atol=1e-12)


def test_a_score_of_zero_predicts_plus(toy_data):
    _, labels = toy_data
    model = reduced(toy_data, "svm", [normals(0, 6, 9)])
    at_zero = model.measure(model.vector(torch.zeros(1, dtype=torch.float64), torch.zeros(6, 1, dtype=torch.float64)))
    assert at_zero["train_accuracy"] == (labels[0] > 0).mean()
    assert at_zero["test_accuracy"] == (labels[1] > 0).mean()


@pytest.mark.parametrize("loss", ["svm", "logistic"])
@pytest.mark.parametrize("name", METHODS)
def test_reduction_equals_all_weights_one_seed_at_a_time(name, loss, toy_data):
    """40 steps of every method, with the same draws: (b, z) of S seeds, D weights of S seeds, and the plain twin."""
    (raw, labels), dim, seeds = toy_data, 11, 3
    draws = [normals(20 + s, 6, dim) for s in range(seeds)]
    start, noise = 0.3 * normals(1, seeds, dim + 1), normals(2, 40, seeds, dim + 1)
    small, full = reduced(toy_data, loss, draws), ExplicitModel(raw, labels, LOSSES[loss], draws)
    v, w = image(small, start), full.vector(start)
    method, method_full = METHODS[name](small), METHODS[name](full)
    for u in noise:
        v, w = method.update(v, image(small, u)), method_full.update(w, full.vector(u))
    got, got_full = small.measure(v), full.measure(w)
    assert_close(v.margins, w.margins, rtol=1e-9, atol=1e-10)
    for s in range(seeds):
        x, x_test = plain_features(raw, draws[s].numpy())
        plain = start[s].numpy()
        for u in noise[:, s].numpy():
            plain = plain_step(name, x, labels[0], plain, loss, u)
        assert_close(w.w[s], torch.from_numpy(plain), rtol=1e-8, atol=1e-9)
        expected = {
            "train_loss": plain_loss(x, labels[0], plain, loss),
            "trace": plain_trace(x, labels[0], plain, loss),
            "train_accuracy": np.mean((x @ plain >= 0) == (labels[0] > 0)),
            "test_loss": plain_loss(x_test, labels[1], plain, loss),
            "test_accuracy": np.mean((x_test @ plain >= 0) == (labels[1] > 0)),
        }
        for metric, value in expected.items():
            assert_close(got[metric][s], f64(value), rtol=1e-8, atol=1e-10)
            assert_close(got_full[metric][s], f64(value), rtol=1e-8, atol=1e-10)


@settings(deadline=None, max_examples=25)
@given(
    dim=st.integers(2, 12), p=st.integers(1, 6), seeds=st.integers(1, 4), seed=st.integers(0, 99),
    name=st.sampled_from(sorted(METHODS)), loss=st.sampled_from(sorted(LOSSES)),
)  # fmt: skip
def test_a_seed_does_not_notice_the_others_of_its_batch(dim, p, seeds, seed, name, loss):
    rng = np.random.default_rng(seed)
    data = ((rng.random((15, p)), rng.random((4, p))), (np.where(rng.random(15) < 0.5, 1.0, -1.0), np.ones(4)))
    draws = [normals(seed + s, p, dim) for s in range(seeds)]
    start, noise = normals(seed, seeds, dim + 1), normals(seed + 7, 5, seeds, dim + 1)
    together, alone = reduced(data, loss, draws), reduced(data, loss, draws[-1:])
    v, w = image(together, start), image(alone, start[-1:])
    for u in noise:
        v = METHODS[name](together).update(v, image(together, u))
        w = METHODS[name](alone).update(w, image(alone, u[-1:]))
    assert_close(v.z[:, -1:], w.z, rtol=1e-9, atol=1e-9)
    for metric, value in together.measure(v).items():
        assert_close(value[-1:], alone.measure(w)[metric], rtol=1e-9, atol=1e-9)


def test_cholesky_images_have_the_law_of_lifted_directions(toy_data):
    """L g and A u have the same covariance, so the two paths agree in law; starts and intercepts too."""
    raw, _ = toy_data
    draws = [normals(s, 6, 30) for s in (1, 2)]
    by_l, by_a = (lift(standardised(raw[0]), draws, cholesky=c) for c in (True, False))
    assert_close(by_l.metric, by_a.metric)
    assert by_l.factor.shape == (2, 6, 6) and by_a.factor.shape == (2, 6, 30)
    for lifted in (by_l, by_a):
        assert_close(lifted.factor @ lifted.factor.mT, lifted.metric)


def test_fewer_features_than_inputs_have_no_cholesky_factor(toy_data):
    """D < p: M is singular, A itself is kept, and images work."""
    raw, _ = toy_data
    draws = [normals(1, 6, 4)]
    with pytest.raises(torch.linalg.LinAlgError):
        torch.linalg.cholesky(lift(standardised(raw[0]), draws, cholesky=False).metric - 1e-9 * torch.eye(6))
    model = reduced(toy_data, "svm", draws)
    assert image(model, normals(2, 1, 5)).z.shape == (6, 1)


def test_margins_that_move_along_do_not_drift(toy_data):
    """10,000 ZO steps without recomputing the margins from z; the study recomputes them every block besides."""
    model = reduced(toy_data, "svm", [normals(1, 6, 30)], cholesky=True)
    method = zo(model, step_size=1e-3, smoothing=0.05)
    w = image(model, 0.1 * normals(2, 1, 7))
    for u in zip(*model.images(normals(3, 10_000, 1, 7)), strict=True):
        w = method.update(w, model.vector(*u))
    assert_close(w.margins, model.vector(w.b, w.z).margins, rtol=0, atol=1e-11)


def test_squared_lengths_average_to_the_number_of_weights(a5a):
    """Mean |x_i|^2 = D + 1, and with every margin below 1 the SVM's trace is 2 (D + 1)."""
    model = reduced(a5a, "svm", [normals(s, 123, 150) for s in range(2)], cholesky=True)
    assert_close(model.sq_norms.mean(0), f64([151.0, 151.0]), rtol=1e-12, atol=0)
    at_zero = model.vector(torch.zeros(2, dtype=torch.float64), torch.zeros(123, 2, dtype=torch.float64))
    assert_close(model.measure(at_zero)["trace"], f64([302.0, 302.0]), rtol=1e-12, atol=0)


SEED_29 = {
    ("svm", "a5a"): (60.517407, 11512.5318, 0.508395),
    ("svm", "w5a"): (33.141647, 8237.2859, 0.446477),
    ("logistic", "a5a"): (3.684075, 329.9551, None),
    ("logistic", "w5a"): (2.794813, 319.7049, None),
}


@pytest.mark.parametrize("data", ["a5a", "w5a"])
def test_seed_29_starts_where_the_published_curves_do(data, request):
    """W = randn(p, 10000), w = .1 randn(10001) of numpy's legacy seed 29."""
    real = request.getfixturevalue(data)
    rng = np.random.RandomState(29)
    draws = [torch.from_numpy(rng.randn(real[0][0].shape[1], 10000))]
    w = torch.from_numpy(0.1 * rng.randn(10001))[None]
    svm = reduced(real, "svm", draws)
    start = image(svm, w)
    for loss in ("svm", "logistic"):
        svm.loss = LOSSES[loss]
        got = svm.measure(start)
        value, trace, accuracy = SEED_29[loss, data]
        assert got["train_loss"].item() == pytest.approx(value, abs=5e-7)
        assert got["trace"].item() == pytest.approx(trace, abs=5e-5)
        if accuracy is not None:
            assert got["test_accuracy"].item() == pytest.approx(accuracy, abs=5e-7)


TRAJECTORY = {
    "svm": (1e-3, 0.05, {
        0: (3.4855606743, 316.571409, 0.445979),
        1: (3.4824513613, 316.187695, 0.445749),
        10: (3.0656340870, 316.752775, 0.475733),
        100: (1.5020313954, 296.778105, 0.601637),
    }),
    "logistic": (0.01, 0.1, {
        0: (1.0136407523, 30.107404, 0.445979),
        1: (1.0119677686, 30.041348, 0.446590),
        10: (0.9267558064, 30.921738, 0.494512),
        100: (0.6355058154, 29.755102, 0.680307),
    }),
}  # fmt: skip


@pytest.mark.parametrize("loss", TRAJECTORY)
@pytest.mark.parametrize("path", ["explicit", "reduced"])
def test_seed_29_trajectory_of_200_features(loss, path, a5a):
    """W = randn(123, 200), w = .1 randn(201), u = randn(201) a step."""
    step_size, smoothing, expected = TRAJECTORY[loss]
    rng = np.random.RandomState(29)
    draws = [torch.from_numpy(rng.randn(123, 200))]
    if path == "explicit":
        model = ExplicitModel(*a5a, LOSSES[loss], draws)
        vector = model.vector
    else:
        model = reduced(a5a, loss, draws)
        vector = lambda w: image(model, w)  # noqa: E731
    method = zo(model, step_size=step_size, smoothing=smoothing)
    w = vector(torch.from_numpy(0.1 * rng.randn(1, 201)))
    for t in range(101):
        if t in expected:
            got = model.measure(w)
            assert got["train_loss"].item() == pytest.approx(expected[t][0], abs=6e-11)
            assert got["trace"].item() == pytest.approx(expected[t][1], abs=6e-7)
            assert got["test_accuracy"].item() == pytest.approx(expected[t][2], abs=6e-7)
        w = method.update(w, vector(torch.from_numpy(rng.randn(1, 201))))
