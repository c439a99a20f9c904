"""public.py: PrivateGradients against Opacus, against the study's own step, against one record at a time; what it leaves alone."""

import copy
import math

import numpy as np
import pytest
import torch
from dualpriv_public import X, Y, private
from dualpriv_world import make_problem, one
from torch import nn
from torch.nn import functional
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.dualpriv import dpsgd
from descent.papers.dualpriv.sampling import poisson_batches
from descent.privacy import epsilon, noise_multiplier

STREAMS = Streams("dualpriv")


def net(dtype=torch.float64):
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).to(dtype)


def drawn(step, seed=0, size=32, dtype=torch.float64, records=40, batch=10):
    """The batch and the standard normals of a step."""
    found = poisson_batches(STREAMS, (seed,), records, batch / records, step, 1, 1)
    index = found.index[0, 0][found.present[0, 0] > 0]
    return index, STREAMS.normal("noise", (seed,), (1, size), step, dtype=dtype)[0, 0]


def flat(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_the_gradient_is_that_of_opacus_on_the_same_batch_and_noise(monkeypatch):
    opacus = pytest.importorskip("opacus", reason="the development package opacus is not installed")
    from opacus.optimizers import DPOptimizer, optimizer

    model = net()
    grads = private(model, data=(X.double(), Y), max_grad_norm=0.3)
    twin = copy.deepcopy(model)
    sampled = opacus.GradSampleModule(twin)
    dp = DPOptimizer(
        torch.optim.SGD(twin.parameters(), lr=1.0),
        noise_multiplier=grads.noise_multiplier, max_grad_norm=0.3, expected_batch_size=10,
    )  # fmt: skip
    for step in grads:
        index, normal = drawn(step)
        assert len(index) > 1
        sigma = 0.3 * grads.noise_multiplier
        pieces = iter((sigma * normal).split([p.numel() for p in twin.parameters()]))
        monkeypatch.setattr(optimizer, "_generate_noise", lambda std, reference, **_: next(pieces).view_as(reference))  # noqa: B023
        dp.zero_grad()
        functional.cross_entropy(sampled(X.double()[index]), Y[index], reduction="sum").backward()
        for p in twin.parameters():  # Opacus takes losses for means over the batch
            p.grad_sample = p.grad_sample / len(index)
        dp.pre_step()
        assert_close(flat(model), flat(twin), atol=1e-12, rtol=1e-10)
        with torch.no_grad():
            for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
                mine -= 0.1 * mine.grad
                theirs.copy_(mine)


@pytest.mark.parametrize("keep", [1.0, 0.5])
@pytest.mark.parametrize("microbatch", [None, 1, 4])
def test_the_gradient_equals_one_record_at_a_time(keep, microbatch):
    model = net()
    grads = private(model, data=(X.double(), Y), keep=keep, microbatch=microbatch, max_grad_norm=0.4, steps=3)
    for step in grads:
        got = flat(model)
        index, normal = drawn(step)
        total = torch.zeros(32, dtype=torch.float64)
        for i in index:
            model.zero_grad()
            functional.cross_entropy(model(X[i : i + 1].double()), Y[i : i + 1]).backward()
            g = flat(model)
            total += g * min(1.0, 0.4 / (g.norm().item() + 1e-6))
        update = (total + 0.4 * grads.noise_multiplier * normal) / 10
        parts = update.split([p.numel() for p in model.parameters()])
        order = sorted(range(4), key=lambda m: -parts[m].norm().item() / math.sqrt(parts[m].numel()))
        for m in order[round(keep * 4) :]:
            parts[m].zero_()
        assert_close(got, update, atol=1e-12, rtol=1e-10)
        assert sum(bool(part.any()) for part in parts) == round(keep * 4)


def test_it_is_the_step_of_the_study_bit_for_bit(monkeypatch):
    """On the same streams, given the same per-record gradients, the released gradient is dpsgd's move over its rate."""
    problem = make_problem(records=40, dtype=torch.float32)
    theta = 0.3 * torch.randn(1, problem.layout.size, generator=torch.Generator().manual_seed(1))
    from descent.papers.dualpriv import public
    from descent.papers.dualpriv.problem import sample_gradients

    blocks = [b.size for b in problem.layout.blocks]
    model = nn.ParameterList(part.clone() for part in theta[0].split(blocks))
    monkeypatch.setattr(public.PrivateGradients, "_try_one_record", lambda self: None)
    grads = private(model, data=(torch.zeros(40, 1), torch.zeros(40)), keep=0.8, steps=5)

    def batch_gradients(self, index, step):
        present = torch.ones(1, len(index))
        return public.clipped_sum(sample_gradients(problem, theta, index[None], present), 1.0)

    monkeypatch.setattr(public.PrivateGradients, "_clipped_sum", batch_gradients)
    method = dpsgd(problem, grads.ledger, step_size=1.0, keep=0.8)
    draw = method.drawing(STREAMS, (0,), 1)
    for step in grads:
        moved = method.update(method.init(theta)._replace(step=step), one(draw(step, 1), 0)).theta
        expected = theta - 1.0 * torch.cat([p.grad for p in model])[None]
        assert torch.equal(moved, expected)


def test_epsilon_is_what_has_been_spent_and_ends_within_the_budget():
    grads = private(steps=12)
    sigma = noise_multiplier(4.0, 0.25, 12, 1e-5)
    assert grads.noise_multiplier == sigma and grads.epsilon == 0
    spent = [0.0]
    for step in grads:
        assert grads.epsilon == epsilon(0.25, sigma, step + 1, 1e-5) > spent[-1]
        spent.append(grads.epsilon)
    assert len(spent) == 13 and 3.99 < spent[-1] <= 4.0
    assert list(grads) == []  # the budget is spent: no further step
    assert private(target_epsilon=math.inf).noise_multiplier == 0


def test_without_a_seed_no_two_runs_are_alike():
    models = [net(), net()]
    for model in models:
        next(private(model, data=(X.double(), Y), seed=None))
    assert not torch.equal(flat(models[0]), flat(models[1]))
    for model in models:
        next(private(model, data=(X.double(), Y), seed=4))
    assert torch.equal(flat(models[0]), flat(models[1]))


def test_noise_is_fresh_at_every_step():
    model = net()
    seen = []
    for _ in private(model, data=(X.double(), Y), steps=10, max_grad_norm=1e-9):  # noise alone
        seen.append(flat(model).clone())
    seen = torch.stack(seen)
    alike = torch.corrcoef(seen).fill_diagonal_(0).abs()
    assert alike.max() < 0.75 and len({tuple(row.tolist()) for row in seen}) == 10


def test_frozen_parameters_dropout_and_random_states_are_left_alone():
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(5)
    np.random.seed(5)
    state, other = torch.get_rng_state(), np.random.get_state()[1].copy()
    grads = private(model)
    next(grads)
    next(grads)
    assert torch.equal(state, torch.get_rng_state()) and np.array_equal(other, np.random.get_state()[1])
    assert model[0].weight.grad is None and model[2].weight.grad is not None
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_record_that_is_not_finite_counts_as_nothing():
    model = net()
    x = X.double().clone()
    x[drawn(0)[0][0]] = float("nan")
    next(private(model, data=(x, Y)))
    assert flat(model).isfinite().all()


def test_an_empty_batch_is_noise():
    model = net()
    grads = private(model, data=(X.double(), Y), batch=1, steps=30)
    sizes = [len(drawn(step, batch=1)[0]) for step in range(30)]
    assert 0 in sizes
    for step in grads:
        if sizes[step] == 0:
            assert_close(flat(model), grads.noise_multiplier * drawn(step, batch=1)[1], atol=1e-12, rtol=1e-10)


class Odd(nn.Module):
    """A scalar parameter and one that is never used."""

    def __init__(self):
        super().__init__()
        self.map, self.scale, self.idle = nn.Linear(3, 2), nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.ones(3))

    def forward(self, x):
        return self.scale * self.map(x)


def test_scalar_and_unused_parameters_are_blocks_too():
    model = Odd().double()
    next(private(model, data=(X.double(), Y)))
    assert model.scale.grad.shape == () and model.idle.grad.shape == (3,)
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.parameters())  # noise at least


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ValueError("a first line\nand a second"), "a first line"),
        (TypeError("one line"), "one line"),
        (KeyError, "KeyError"),
    ],
)
def test_a_network_that_fails_is_refused_with_the_first_line_of_its_reason(fault, reason):
    class Failing(nn.Linear):
        def forward(self, x):
            raise fault

    with pytest.raises(SettingError) as refused:
        private(Failing(3, 2))
    assert f"cannot be taken: {reason}; `criterion` must" in str(refused.value)
