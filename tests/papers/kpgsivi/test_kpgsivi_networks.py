"""The Bayesian neural network: its density against torch.nn, scores and Hessian products against autograd, the experiment against a plain loop."""

import math

import kpgsivi_slow as slow
import numpy as np
import pytest
import torch
from kpgsivi_plain import BASE, F64, SEEDS, STREAMS, draw, expect, job_of, sample, train, twin_of
from torch.testing import assert_close

from descent.papers.kpgsivi.neural_target import NeuralRegression
from descent.runner.run import perform


def target(rows=2, n=7, p=3, hidden=4):
    make = torch.Generator().manual_seed(2)
    x, y = torch.randn(rows, n, p, generator=make, dtype=F64), torch.randn(rows, n, generator=make, dtype=F64)
    precision = torch.tensor([0.7, 2.0][:rows], dtype=F64)
    return NeuralRegression(x, y, precision, 0.4, hidden)


def predict(w, x, hidden):
    """The network with weights w (d,) at x (n, p), by torch.nn."""
    return slow.network((x.shape[-1], hidden, 1), w)(x)[:, 0]


def test_density_and_predictions_are_those_of_torch_nn():
    on = target()
    assert on.dim == 4 * 3 + 4 + 4 + 1
    z = torch.randn(2, 5, on.dim, generator=torch.Generator().manual_seed(3), dtype=F64)
    for row, precision in enumerate((0.7, 2.0)):
        densities = []
        for point in range(5):
            w = z[row, point]
            f = predict(w, on.features[row], 4).detach()
            assert_close(on.predicted(z)[row, point], f)
            want = -0.5 * precision * ((on.labels[row] - f) ** 2).sum() - 0.2 * (w**2).sum()
            assert_close(on.log_prob(z)[row, point], want)
            densities.append(torch.distributions.Normal(f, precision**-0.5).log_prob(on.labels[row]).exp())
        want = torch.stack(densities).mean(0).log().mean()
        assert_close(on.log_predictive(z, on.features, on.labels)[row], want)


def test_score_and_hessian_product_are_autograds():
    on, make = target(), torch.Generator().manual_seed(4)
    z = torch.randn(2, 5, on.dim, generator=make, dtype=F64, requires_grad=True)
    v = torch.randn(2, 5, on.dim, generator=make, dtype=F64)
    (score,) = torch.autograd.grad(on.log_prob(z).sum(), z, create_graph=True)
    assert_close(on.score(z), score, atol=1e-9, rtol=1e-9)
    (product,) = torch.autograd.grad((score * v).sum(), z)
    assert_close(on.score_pull(z.detach(), v), product, atol=1e-9, rtol=1e-9)


def regression(seed=1, n=40):
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3)) * [1.0, 5.0, 0.2] + [0.0, 3.0, 0.0]
    x[:, 2] = 1.0  # a column that does not vary
    return {"boston": {"features": x, "target": 10 + 4 * x[:, 0] + random.normal(size=n)}}


@pytest.mark.parametrize("method", ["kpg", "ksivi"])
def test_the_experiment_is_a_plain_loop(method):
    p = {
        "data": "boston", "hidden": 4, "width": 4, "log_noise_precision": -0.5, "log_prior_precision": -1.0, "start_steps": 12,
        "log_variance": -3.0, "evaluated": 30, "step_size": 0.005, "batch": 6,
    }  # fmt: skip
    data = regression()
    job = job_of("networks", (method, p), axes=("data",))
    records, p = perform(job, data=data), BASE | p
    x, y = data["boston"]["features"], data["boston"]["target"]
    wanted = {name: {3: [], 6: []} for name in ("test_error", "log_likelihood", "log_scale")}
    for seed in SEEDS:
        order = STREAMS.numpy("split", seed).permutation(40)
        test, first, rest = order[:4], order[4:7], order[7:]
        middle, spread = x[rest].mean(0), x[rest].std(0)
        spread[spread == 0] = 1
        level, scale = y[rest].mean(), y[rest].std()

        def rows(index, middle=middle, spread=spread, level=level, scale=scale):
            return torch.tensor((x[index] - middle) / spread), torch.tensor((y[index] - level) / scale)

        on = NeuralRegression(
            *(part[None] for part in rows(rest)), torch.tensor([math.exp(-0.5) * scale**2]), math.exp(-1.0), 4
        )
        twin = twin_of(p, on.dim, seed)
        adam, (fx, fy) = torch.optim.Adam(twin.parameters(), lr=0.01), rows(first)
        for t in range(12):
            k, i = divmod(t, 10)
            noise = draw("start of the network", seed, min(10, 12 - 10 * k), 6, 3 + on.dim, k=k)[i]
            z = twin.mu(noise[:, :3]) + twin.sigma * noise[:, 3:]
            h = torch.relu(z[:, :12].view(6, 4, 3) @ fx.T + z[:, 12:16, None])
            f = (z[:, 16:20, None] * h).sum(1) + z[:, 20:]
            loss = ((f - fy) ** 2).mean(1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        latents, eta = draw("evaluated latents", seed, 30, 3), draw("evaluated", seed, 30, on.dim)
        tx, ty = rows(test)
        for step, now in train(method, on, p, seed, copy_of=twin):
            if step not in (3, 6):
                continue
            f = torch.stack([predict(w, tx, 4).detach() for w in sample(now, latents, eta)])
            wanted["test_error"][step].append(float(((f.mean(0) - ty) * scale).square().mean().sqrt()))
            sd = math.exp(0.25)
            density = torch.distributions.Normal(f * scale, sd).log_prob(ty * scale).exp().mean(0)
            wanted["log_likelihood"][step].append(float(density.log().mean()))
            wanted["log_scale"][step].append(float(now.sigma.detach().log().mean()))
    for name, steps in wanted.items():
        for step, values in steps.items():
            expect(records, job, name, values, step)
