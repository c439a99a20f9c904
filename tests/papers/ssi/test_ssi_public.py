"""public.py: a user's loss gives the bits of the study's closed form on the same noise, its flow the study's, start values are checked."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers import ssi
from descent.papers.ssi import gradient_flow, links, quadrature, single
from descent.papers.ssi.chains import run_chains
from descent.papers.ssi.noise import Chain, Plan

CONTEXT = Context(torch.device("cpu"), Streams("ssi"), {})
ALPHA = 1 / (1 + math.exp(-2.0))


class Constants(NamedTuple):
    kappa: torch.Tensor
    signs: torch.Tensor


def attention(s, z):
    """Half the squared Frobenius distance of two attention matrices, the teacher half positional."""
    att = lambda x: torch.softmax(x[:, None] * x[None], 1)  # noqa: E731
    positional = torch.tensor([[ALPHA, 1 - ALPHA], [1 - ALPHA, ALPHA]], dtype=s.dtype)[..., None]
    return (0.5 * att(z) + 0.5 * positional - att(s)).square().sum((0, 1)) / 2


def test_simulate_is_the_study_s_step_on_the_same_streams():
    """The same loss through run_chains with its slope in closed form: same noise, the same path to rounding; with autograd's slope, the same bits."""
    seeds, d, rate, at = [3, 4, 9], 60, 0.5, (25, 100, 200)
    own = ssi.simulate(
        attention, tokens=2, dimension=d, lr=rate, steps=200, start=(0.3, 0.2), at=at, seed=seeds, dtype=torch.float64
    )
    ones = torch.ones(3, dtype=torch.float64)
    kappa = rate / d * ones
    chains = [Chain(s, ("own", d), 2, d) for s in seeds]

    def study(target, slope, autograd=False):
        model = single.single_vector(target, slope, 2, positional=True, autograd=autograd)
        constants = Constants(kappa, single.opposite(kappa))
        body = single.start(0.3 * ones, 0.2 * ones)
        return run_chains(
            CONTEXT, "x", model, chains, body, constants, Plan(200, 1000, 25), measure=single.overlaps, at=at
        ).trace.values

    mixed = links.Mixed(0.5 * ones, ALPHA * ones, ones > 2)
    closed = study(lambda z, c: links.teacher_diagonal(z, mixed), lambda s, goal, c: links.attention_slope(s, goal))

    def by_autograd(s, z, c):
        s = s.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(attention(s, z).sum(), s)[0]

    same = study(lambda z, c: z.clone(), by_autograd, autograd=True)
    for name in ("m", "e"):
        assert_close(own.history[name].numpy(), closed[name], atol=1e-11, rtol=1e-10)
        assert (own.history[name].numpy() == same[name]).all()


@pytest.mark.parametrize("method", ["tied", "plain"])
def test_one_step_is_gradient_descent_in_d_dimensions_in_the_mean(method):
    """Many first steps: the mean change of m is that of a plain loop over vectors in R^d."""
    d, rate, m0, rows, tokens = 24, 0.6, 0.3, 4000, 2
    loss = lambda s, z: (torch.tanh(s.sum(0)) - z[0] * z[1]) ** 2 / 2  # noqa: E731
    got = ssi.simulate(
        loss,
        tokens=tokens,
        dimension=d,
        lr=rate,
        steps=2,
        start=m0,
        at=[2],
        method=method,
        seed=range(rows),
        dtype=torch.float64,
    )
    rng, w0 = np.random.default_rng(1), np.zeros((tokens, d))
    w0[:, 0], w0[:, 1] = m0, math.sqrt(1 - m0**2)
    ends = []
    for _ in range(rows):
        w = w0.copy() * math.sqrt(d)
        for _ in range(2):
            x = rng.standard_normal((tokens, d)) / math.sqrt(d)
            s, z = (x * w).sum(1), x[:, 0] * math.sqrt(d)
            pull = (math.tanh(s.sum()) - z[0] * z[1]) * (1 - math.tanh(s.sum()) ** 2)
            step = rate * pull * x
            w = w - (step if method == "plain" else step.sum(0))
            w *= math.sqrt(d * tokens) / np.linalg.norm(w)
        ends.append(np.sqrt((w[:, 0] ** 2).mean() / d))
    ends, own = np.array(ends), np.abs(got.history["m"][0].numpy())
    assert abs(own.mean() - ends.mean()) < 4 * math.hypot(own.std(), ends.std()) / math.sqrt(rows)
    assert own.std() == pytest.approx(ends.std(), rel=0.1)


def test_what_is_recorded_does_not_change_the_run():
    given = {
        "tokens": 4,
        "dimension": 200,
        "lr": 0.3,
        "steps": 3001,
        "start": 0.1,
        "level": 0.6,
        "seed": range(4),
        "dtype": torch.float64,
    }
    loss = lambda s, z: (torch.tanh(s.sum(0) / 2) - z.sum(0) / 2) ** 2 / 2  # noqa: E731
    plainly, curved = ssi.simulate(loss, **given), ssi.simulate(loss, **given, at=[0, 7, 3001])
    assert torch.equal(plainly.time, curved.time) and plainly.time.isfinite().all()
    assert plainly.history == {} and curved.history["m"].shape == (3, 4) and not curved.diverged.any()
    assert curved.history["m"][0].tolist() == pytest.approx([0.1] * 4)
    short = ssi.simulate(loss, **{**given, "steps": int(plainly.time.min())})
    assert (short.time[plainly.time > plainly.time.min()] == math.inf).all() and short.time.min() == plainly.time.min()


def test_float32_follows_float64():
    loss = lambda s, z: (torch.tanh(s.sum(0) / 2) - z.sum(0) / 2) ** 2 / 2  # noqa: E731
    runs = [
        ssi.simulate(loss, tokens=4, dimension=300, lr=0.2, steps=500, start=0.06, at=[500], seed=2, dtype=t)
        for t in (torch.float32, torch.float64)
    ]
    assert runs[0].history["m"].dtype == torch.float32
    assert_close(runs[0].history["m"].double(), runs[1].history["m"], atol=1e-4, rtol=1e-3)


def test_divergence_is_said_and_never_raised():
    run = ssi.simulate(
        lambda s, z: (s**3).sum(0),
        tokens=2,
        dimension=50,
        lr=1e6,
        steps=200,
        start=0.5,
        level=0.999,
        dtype=torch.float32,
    )
    assert bool(run.diverged) or bool(run.time.isinf()) or run.time <= 200
    broken = ssi.simulate(
        lambda s, z: (s * float("nan")).sum(0), tokens=2, dimension=50, lr=1.0, steps=50, start=0.5, level=0.9
    )
    assert bool(broken.diverged) and broken.time == math.inf


def test_the_flow_of_a_user_s_loss_is_the_study_s():
    got = ssi.flow(attention, tokens=2, start=(0.15, 0.15), times=[2.0, 5.0], lr=0.25, nodes=9, dtype=torch.float64)
    want = gradient_flow.flow(quadrature.mixed(0.5, 1.0), (0.15, 0.15), [2.0, 5.0], rate=0.25, n=9, largest=0.1)
    np.testing.assert_allclose(torch.stack([got.history["m"], got.history["e"]], 1), want, atol=1e-10)


def test_the_flow_of_one_token_has_its_closed_form():
    """l = (s - z)^2 / 2: R = 1 - m, so dm/dtau = 1 - m^2 and m = tanh(tau + atanh m0); without an encoding e stays 0."""
    for tokens in (1, 2):
        loss = lambda s, z: (s - z).square().sum(0) / 2 / len(s)  # noqa: E731
        got = ssi.flow(loss, tokens=tokens, start=0.2, times=[0.5, 1.5], dtype=torch.float64)
        assert got.history["m"].tolist() == pytest.approx(
            [math.tanh(t + math.atanh(0.2)) for t in (0.5, 1.5)], abs=1e-3
        )
        assert (got.history["e"] == 0).all() and not got.diverged


@pytest.mark.parametrize(("m", "e", "worst"), [(0.9, 0.9, "1.62"), (0.0, 1.1, "1.21"), (-0.8, 0.7, "1.13")])
def test_a_start_outside_the_sphere_is_refused(m, e, worst):
    with pytest.raises(SettingError, match=rf"e\^2 \+ m\^2 at most 1, got {worst}$"):
        single.start(torch.tensor([0.1, m], dtype=torch.float64), torch.tensor([0.1, e], dtype=torch.float64))


def test_theory_refuses_what_has_no_value_in_a_sentence():
    with pytest.raises(SettingError, match=r"population: `m` must lie in \(-1, 1\), got 1"):
        ssi.population(ssi.mixed(0.5, 1.0), 0.0, 1, quadrature.nodes(5, 4))
    with pytest.raises(SettingError, match=r"loss: `m` must lie in \[-1, 1\], got 1.5"):
        ssi.loss(ssi.mixed(0.5, 1.0), 0.0, 1.5)
    assert float(ssi.loss(ssi.mixed(0.0, 1.0), 0.0, 1.0, 9)) == pytest.approx(0, abs=1e-12)
