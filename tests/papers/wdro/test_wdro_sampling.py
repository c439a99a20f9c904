"""The sampled gradient, the projected method and the baselines against one draw and one step at a time."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wdro_plain import (
    logistic,
    logistic_slope,
    plain_cloud,
    project,
    sampled_dual,
    shifted_cloud,
    squared,
    squared_slope,
)

from conftest import small
from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.wdro import Point, Schedule, psgd, saa, sampled
from descent.papers.wdro.library_steps import defaults, first_phase, library, starting_lam
from descent.papers.wdro.point import Box
from descent.papers.wdro.regression import least_squares

F64 = torch.float64
KINDS = ("squared", "logistic", "mixed")
STREAMS = Streams("wdro")
LOSSES = {
    "squared": (squared, squared_slope),
    "logistic": (logistic, logistic_slope),
    "mixed": (logistic, logistic_slope),
}


def clouds(kind, sampler, w, b, lam, xs, ys, u, sigma, eps):
    """Every datum's list of draws; u (n, L, m, d)."""
    found = []
    for x, y, normals in zip(xs, ys, u, strict=True):
        own = []
        for stratum, label in enumerate([y, -y] if kind == "mixed" else [y]):
            base = "squared" if kind == "squared" else "logistic"
            if sampler == "plain":
                draws = plain_cloud(x, label, normals[stratum], sigma)
            else:
                draws = shifted_cloud(base, w, b, lam, x, label, normals[stratum], sigma, eps)
            weight = math.log([0.9, 0.1][stratum] / 0.5) if kind == "mixed" else 0.0
            own += [(x_, y_, c + 0.25 * stratum, corr + weight) for x_, y_, c, corr in draws]
        found.append(own)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sampler", ["plain", "shifted"])
def test_the_batched_gradient_is_one_draw_at_a_time(kind, sampler):
    problem = small(kind, n=4)
    rng = np.random.default_rng(3)
    u = rng.standard_normal((2, 4, problem.strata, 5, 3))
    weight, lam = 0.5 * rng.standard_normal((2, 3, 3)), 2 + rng.random((2, 3))
    intercept = 0.3 * rng.standard_normal((2, 3)) * problem.__dict__.get("intercept", False)
    eps = np.array([0.3, 0.05, 0.002])
    point = Point(torch.from_numpy(weight), torch.from_numpy(intercept), torch.from_numpy(lam))
    x, y = problem.features.expand(2, 4, 3), problem.labels.expand(2, 4)
    value, gradient = sampled(problem, point, x, y, torch.from_numpy(u), torch.from_numpy(eps), sampler)
    xs, ys = problem.features.numpy(), problem.labels.numpy()
    close = 1e-9 if kind == "squared" or sampler == "plain" else 1e-6  # a centre by 20 halvings
    for s in range(2):
        for c in range(3):
            w, b, price = weight[s, c], intercept[s, c], lam[s, c]
            own = clouds(kind, sampler, w, b, price, xs, ys, u[s], 0.3, eps[c])
            want = sampled_dual(*LOSSES[kind], w, b, price, xs, ys, own, eps[c], 0.1)
            assert value[s, c].item() == pytest.approx(want[0], abs=close)
            np.testing.assert_allclose(gradient.weight[s, c], want[1], atol=close)
            if problem.intercept:
                assert gradient.intercept[s, c].item() == pytest.approx(want[2], abs=close)
            assert gradient.lam[s, c].item() == pytest.approx(want[3], abs=close)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_the_slope_of_the_sampled_value_when_the_draws_stay(kind):
    problem = small(kind, n=4)
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(1, 4, problem.strata, 6, 3, dtype=F64, generator=generator)
    x, y, eps = problem.features[None], problem.labels[None], torch.tensor([0.1], dtype=F64)
    flat = torch.tensor([[[0.4, -0.2, 0.1, 0.05 * problem.intercept, 2.0]]], dtype=F64)

    def at(f):
        return sampled(problem, Point.of(f, True), x, y, u, eps, "plain")

    gradient = at(flat).gradient.flat(True)[0, 0]
    for j in range(5):
        if j == 3 and not problem.intercept:
            continue
        move = torch.zeros_like(flat)
        move[..., j] = 1e-6
        slope = (at(flat + move).value - at(flat - move).value) / 2e-6
        assert slope.item() == pytest.approx(gradient[j].item(), abs=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_has_the_expectation_of_the_reference(kind):
    """E exp((f - lam c)/eps) from 40,000 draws a datum within 4 standard errors of the exact one, in two dimensions."""
    problem = small(kind, n=1, d=2)
    flat = torch.tensor([[[0.5, 0.3, 0.0, 2.0]]], dtype=F64)
    point, eps, m = Point.of(flat, True), 0.3, 200
    exact = math.exp((problem.smoothed(Point.of(flat[0], True), eps).value.item() - 2.0 * 0.01) / eps)
    for sampler in ("plain", "shifted", "library"):
        u = torch.randn(200, 1, problem.strata, m, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
        many = Point(*(v.expand(200, *v.shape[1:]) for v in point))
        x, y = problem.features.expand(200, 1, 2), problem.labels.expand(200, 1)
        value = sampled(problem, many, x, y, u, torch.tensor([eps], dtype=F64), sampler).value[:, 0]
        each = ((value - 2.0 * 0.01) / eps).exp()  # the mean of exp over this group's draws: unbiased
        error = each.std().item() / math.sqrt(200)
        assert abs(each.mean().item() - exact) < 4 * error, sampler


def test_the_sampled_value_is_biased_low_and_a_million_draws_come_close():
    problem = small("squared", n=1, d=2)
    point = Point.of(torch.tensor([[[0.5, 0.3, 3.0]]], dtype=F64), False)
    exact = problem.smoothed(Point(*(v[0] for v in point)), 0.1).value.item()
    eps, generator = torch.tensor([0.1], dtype=F64), torch.Generator().manual_seed(2)
    x, y = problem.features[None], problem.labels[None]
    u = torch.randn(1, 1, 1, 1_000_000, 2, dtype=F64, generator=generator)
    assert sampled(problem, point, x, y, u, eps, "plain").value.item() == pytest.approx(exact, abs=5e-3)
    few = [sampled(problem, point, x, y, u[:, :, :, i : i + 8], eps, "plain").value.item() for i in range(0, 4000, 8)]
    assert np.mean(few) < exact - 4 * np.std(few) / math.sqrt(len(few))  # Jensen
    assert max(few) <= problem.exact(Point(*(v[0] for v in point))).value.item()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(scale=st.floats(0, 100), lam=st.floats(-10, 1000), b=st.floats(-50, 50))
def test_projection_lands_in_k_and_leaves_k_alone(scale, lam, b):
    point = Point(
        torch.tensor([[scale, -scale / 2]], dtype=F64), torch.tensor([b], dtype=F64), torch.tensor([lam], dtype=F64)
    )
    box = Box(1.5, 1.0, 50.0)
    new = box.project(point)
    size = math.hypot(*new.weight[0].tolist(), new.intercept.item())
    assert size <= 1.5 + 1e-12 and 1.0 <= new.lam.item() <= 50.0
    torch.testing.assert_close(box.project(new).flat(True), new.flat(True))
    if math.hypot(scale, scale / 2, b) < 1.5 and 1 <= lam <= 50:
        assert torch.equal(new.flat(True), point.flat(True))


@pytest.mark.parametrize("kind", ["squared", "mixed"])
def test_five_steps_are_the_plain_loop(kind):
    """Schedules, step sizes, minibatches, projection and the weighted mean, one number at a time."""
    problem = small(kind, n=9)
    settings_ = {
        "batch": 3,
        "samples": 4,
        "ball": 0.4,
        "lam_low": 1.0,
        "lam_high": 6.0,
        "step_size": 0.3,
        "lam_step_size": 8.0,
    }
    method = psgd(
        problem, [Schedule(0.05), Schedule(0.1, 1.0)], [7, 8], STREAMS, weight_start=0.01, block=3, **settings_
    )
    state, blocks = method.init(), [method.draw(0, 3), method.draw(1, 2)]
    for noise in blocks:
        for i in range(len(noise.rate)):
            state, info = method.step(state, type(noise)(*(x[i] for x in noise)))
    assert not info.diverged.any()
    L, xs, ys = problem.strata, problem.features.numpy(), problem.labels.numpy()
    for s, seed in enumerate((7, 8)):
        for c, decay in enumerate((0.0, 1.0)):
            w, b, lam = np.full(3, 0.01), 0.0, 5.0
            total, mw, ml = 0.0, np.zeros(3), 0.0
            for k in range(5):
                block, i = divmod(k, 3)
                count = (3, 2)[block]
                rows = STREAMS.numpy("rows", seed, block).integers(0, 9, (count, 3))[i]
                u = STREAMS.normal("draws", [seed], (count, 3, L, 4 // L, 3), block)[0, i].numpy()
                eps = (0.05, 0.1)[c] * (k + 1.0) ** -decay
                own = clouds(kind, "shifted", w, b, lam, xs[rows], ys[rows], u, 0.3, eps)
                _, gw, gb, gl = sampled_dual(*LOSSES[kind], w, b, lam, xs[rows], ys[rows], own, eps, 0.1)
                step = 0.3 / math.sqrt(k + 1)
                total, mw, ml = total + step, mw + step * w, ml + step * lam
                b_new = b - step * gb if kind == "mixed" else 0.0
                w, b, lam = project(w - step * gw, b_new, lam - 8.0 / math.sqrt(k + 1) * gl, 0.4, 1.0, 6.0)
            np.testing.assert_allclose(state.point.weight[s, c], w, atol=1e-8)
            assert state.point.lam[s, c].item() == pytest.approx(lam, abs=1e-7)
            assert state.point.intercept[s, c].item() == pytest.approx(b, abs=1e-8)
            np.testing.assert_allclose(state.mean.weight[s, c], mw / total, atol=1e-8)
            assert state.mean.lam[s, c].item() == pytest.approx(ml / total, abs=1e-7)


def test_a_seed_does_not_notice_the_others_nor_a_schedule_its_companions():
    problem = small("squared", n=9)

    def run(seeds, schedules):
        return _steps(psgd(problem, schedules, seeds, STREAMS, batch=3, samples=4, block=4), 4)

    both = run([7, 8], [Schedule(0.05), Schedule(0.1, 1.0)])
    torch.testing.assert_close(run([8], [Schedule(0.1, 1.0)]).weight[0, 0], both.weight[1, 1], atol=1e-12, rtol=1e-12)


def _steps(method, count):
    state, noise = method.init(), method.draw(0, count)
    for i in range(count):
        state, _ = method.step(state, type(noise)(*(x[i] for x in noise)))
    return state.point


def test_draws_grow_and_blocks_are_their_own():
    problem = small("mixed", n=9)
    method = psgd(
        problem, [Schedule(0.1)], [7], STREAMS, samples=4, samples_growth=0.5, samples_max=12, batch=2, block=10
    )
    assert [method.draw(k, 10).draws.shape for k in (0, 1, 3)] == [(10, 1, 2, 2, m, 3) for m in (2, 6, 6)]
    a, b = method.draw(1, 10).draws, method.draw(2, 10).draws
    assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.2
    assert torch.equal(a, method.draw(1, 10).draws)


def test_schedules():
    k = np.arange(4)
    np.testing.assert_allclose(Schedule(0.1, 0.5).at(k), 0.1 / np.sqrt(k + 1))
    np.testing.assert_allclose(Schedule(0.1, 1.0, 0.03).at(k), [0.1, 0.05, 0.1 / 3, 0.03])
    np.testing.assert_allclose(Schedule(0.1).at(k), 0.1)


@pytest.mark.parametrize(
    ("name", "value"), [("batch", 0), ("sampler", "shift"), ("ball", 0), ("lam_low", -1.0), ("samples", 2.5)]
)
def test_a_bad_setting_is_refused_in_one_sentence(name, value):
    with pytest.raises(SettingError, match=f"psgd: `{name}` must .*got"):
        psgd(small("squared"), [Schedule(0.1)], [0], STREAMS, **{name: value})


def test_saa_finds_the_minimiser_of_its_sampled_objective():
    problem = small("squared", n=30, d=2, deviation=0.1)
    method, point_of = saa(problem, [0.05, 0.01], [3, 4], STREAMS, samples=64)
    state = method.init()
    values = [state.value]
    for _ in range(120):
        state, info = method.step(state, None)
        values.append(state.value)
    assert (torch.stack(values).diff(dim=0) <= 0).all()  # the kept value never rises
    assert state.gradient.norm(dim=-1).max() < 1e-5 and info.value.shape == (2, 2)
    point = point_of(state.x)
    u = STREAMS.normal("pool", [3, 4], (30, 1, 64, 2))
    x, y = problem.features.expand(2, 30, 2), problem.labels.expand(2, 30)
    gradient = sampled(problem, point, x, y, u, torch.tensor([0.05, 0.01], dtype=F64), "plain").gradient
    inside = (point.lam > 1.1 + 1e-3) & (point.lam < 50 - 1e-1)
    assert gradient.weight.norm(dim=-1).max() < 1e-5 and gradient.lam[inside].abs().max() < 1e-4


@pytest.mark.parametrize("scale", [20.0, 0.05])
def test_saa_s_first_trial_goes_down_the_gradient_by_one_at_most(scale):
    problem = small("squared", n=30, d=2, deviation=0.1)
    method, _ = saa(replace(problem, labels=scale * problem.labels), [0.05], [3], STREAMS, samples=4)
    state = method.init()
    norm = state.gradient.norm().item()
    assert (norm > 1) == (scale > 1)
    torch.testing.assert_close(state.move, -state.gradient)
    assert state.size.item() == pytest.approx(
        min(1.0, 1 / norm)
    )  # the gradient, or its direction where that is shorter


def test_adam_is_torch_s_and_the_first_phase_arrives_at_least_squares():
    problem = small("squared", n=30)
    method = first_phase(problem, [3], adam_step_size=0.05)
    state = method.init()
    w, lam = torch.zeros(3, dtype=F64, requires_grad=True), torch.zeros((), dtype=F64, requires_grad=True)
    optimiser = torch.optim.AdamW([w, lam], lr=0.05, betas=(0.99, 0.999), weight_decay=0.0, amsgrad=True)
    for _ in range(40):
        state, _ = method.step(state, None)
        optimiser.zero_grad()
        ((problem.features @ w - problem.labels) ** 2).mean().backward()
        optimiser.step()
    torch.testing.assert_close(state.x[0, 0, :3], w.detach(), atol=1e-10, rtol=1e-10)
    for _ in range(2000):
        state, _ = method.step(state, None)
    torch.testing.assert_close(state.x[0, 0, :3], least_squares(problem).weight, atol=1e-5, rtol=1e-5)


def test_the_library_s_second_phase_steps_as_written():
    problem = small("squared", n=6)
    sigma, eps = defaults(0.1)
    assert (sigma, eps) == (0.05, 2.5e-4)
    own = small("squared", n=6, deviation=sigma)
    point = Point(
        torch.tensor([[[0.4, -0.2, 0.1]]], dtype=F64), torch.zeros(1, 1, dtype=F64), torch.zeros(1, 1, dtype=F64)
    )
    w, x, y = point.weight[0, 0], problem.features, problem.labels
    norms = (2 * (x @ w - y)[:, None] * w).square().sum(1)  # |grad_x f|^2
    want = math.sqrt((norms * 6 * 0.01).sum()) / (2 * 6 * 0.01)
    assert starting_lam(own, point).item() == pytest.approx(want)
    method = library(own, [3], STREAMS, epsilon=eps, samples=4, block=2)
    phase = first_phase(own, [3], adam_step_size=0.05)
    state = method.init(phase.init()._replace(x=point.flat(False)))
    assert state.x[0, 0, -1].item() == pytest.approx(want) and state.count == 0
    noise = method.draw(0, 2)
    after, _ = method.step(state, noise[0])
    u, lam = noise[0][0, :, 0].numpy(), want
    draws = []
    for i in range(6):
        shift = (2 * (x[i] @ w - y[i]) * w / (2 * lam)).numpy()
        moves = shift + sigma * u[i]
        corr = [(-(a @ a) / (2 * sigma**2)) + (v @ v) / 2 for a, v in zip(moves, u[i], strict=True)]
        draws.append([(x[i].numpy() + a, y[i].item(), a @ a, c) for a, c in zip(moves, corr, strict=True)])
    _, gw, _, gl = sampled_dual(squared, squared_slope, w.numpy(), 0.0, lam, x.numpy(), y.numpy(), draws, eps, 0.1)
    want_move = -0.05 * np.sign(np.append(gw, gl))  # AdamW's first step
    np.testing.assert_allclose((after.x - state.x)[0, 0].numpy(), want_move, atol=1e-6)


def test_what_is_left_out_of_a_call_is_what_the_study_says():
    """docs/papers/wdro.md and the settings of the squared loss; the library's own draws and rate."""
    left = lambda f: {n: p.default for n, p in inspect.signature(f).parameters.items() if p.default is not p.empty}  # noqa: E731
    assert left(psgd) == {
        "sampler": "shifted", "batch": 16, "samples": 16, "samples_growth": 0.0, "samples_max": 4096, "step_size": 0.05,
        "lam_step_size": 20.0, "ball": 1.0, "lam_low": 1.1, "lam_start": 5.0, "lam_high": 50.0, "weight_start": 0.0, "block": 25,
    }  # fmt: skip
    assert left(library) == {"epsilon": None, "samples": 10, "adam_step_size": 0.05, "block": 10}
