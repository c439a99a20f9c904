"""The public surface: the rule's gradient through autograd, training equal to the study's own step, refusals."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.core.streams import Streams
from descent.papers.eprop import RateRNN, cca, cka, dsa, noise_floor, procrustes, train
from descent.papers.eprop.credit import RULES, Errors, gradients
from descent.papers.eprop.network import Parameters, Wiring, forward, initial, random_feedback
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.tasks import Batch, Task, squared_error
from descent.papers.eprop.training import learner

F = torch.nn.functional


def trials(B=6, T=14, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(B, T, 3, generator=g, dtype=torch.float64)
    target = torch.stack([x[..., 0].cumsum(1), x[..., 1]], dim=-1) / 4
    return x.to(dtype), target.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bptt_through_the_module_is_autograd(dtype):
    """A loss of outputs and rates, backpropagated through the equations by autograd."""
    x, target = trials(dtype=dtype)
    net = RateRNN(3, 7, 2, rule="bptt", alpha=0.3, seed=4, dtype=dtype)
    output, hidden = net(x)
    assert output.shape == (6, 14, 2) and hidden.shape == (6, 14, 7) and output.dtype == dtype
    weight = torch.linspace(0, 1, 7, dtype=dtype)
    (F.mse_loss(output, target) + (hidden**3 * weight).mean()).backward()
    p = {name: part.detach().clone().requires_grad_() for name, part in net.named_parameters()}
    a = p["start"].expand(6, -1)
    h, outs, rates = torch.relu(torch.tanh(a)), [], []
    for t in range(14):
        a = a + 0.3 * (-a + h @ p["W"].T + x[:, t] @ p["U"].T + p["b"])
        h = torch.relu(torch.tanh(a))
        outs.append(h @ p["V"].T + p["c"])
        rates.append(h)
    (F.mse_loss(torch.stack(outs, 1), target) + (torch.stack(rates, 1) ** 3 * weight).mean()).backward()
    tight = {"rtol": 1e-10, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-6}
    for name, part in net.named_parameters():
        assert_close(part.grad, p[name].grad, msg=name, **tight)


def test_a_single_unit_learns_by_every_path():
    x, target = trials()
    found = {}
    for rule in ("bptt", "eprop"):
        net = RateRNN(3, 1, 2, rule=rule, alpha=0.3, activation="tanh", seed=2, dtype=torch.float64)
        F.mse_loss(net(x)[0], target).backward()
        found[rule] = [part.grad for part in net.parameters()]
        assert [g.shape for g in found[rule]] == [p.shape for p in net.parameters()]
    assert any(not torch.equal(a, b) for a, b in zip(*found.values(), strict=True))  # its own recurrence differs


def test_eprop_with_a_loss_of_the_rates_is_autograd_with_detached_senders():
    x, target = trials()
    net = RateRNN(3, 7, 2, rule="eprop", alpha=0.3, activation="tanh", seed=1, dtype=torch.float64)
    output, hidden = net(x)
    (F.mse_loss(output, target) + hidden.square().mean()).backward()
    p = {name: part.detach().clone().requires_grad_() for name, part in net.named_parameters()}
    a, outs, rates = p["start"].expand(6, -1), [], []
    h = torch.tanh(a)
    for t in range(14):
        a = a + 0.3 * (-a + h.detach() @ p["W"].T + x[:, t] @ p["U"].T + p["b"])
        h = torch.tanh(a)
        outs.append(h @ p["V"].T + p["c"])
        rates.append(h)
    (F.mse_loss(torch.stack(outs, 1), target) + torch.stack(rates, 1).square().mean()).backward()
    for name, part in net.named_parameters():
        assert_close(part.grad, p[name].grad, rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_no_twin(rule):
    """The module's gradient is the study's, bit for bit, for every rule."""
    x, target = trials(dtype=torch.float32)
    form = {"activation": "relu", "dale": True} if rule == "modprop" else {"activation": "retanh", "dale": False}
    net = RateRNN(3, 20, 2, rule=rule, seed=5, **form)
    output, _ = net(x)
    F.mse_loss(output, target).backward()
    numbers = start_numbers(Streams("eprop"), [5], 20, 3, 2)
    p = initial(numbers, dale=form["dale"])
    wiring = net._wiring if form["dale"] else Wiring()
    W = wiring.effective(p.W)
    activity = forward(p, W, x.transpose(0, 1)[None], alpha=0.1, activation=form["activation"])
    slope = 2 * (activity.output - target.transpose(0, 1)[None]) / target.numel()
    zero = torch.zeros(1)
    want = gradients(
        RULES[rule], p, W, activity, Errors(slope, zero, torch.zeros_like(activity.hidden)), random_feedback(numbers),
        alpha=0.1, activation=form["activation"], wiring=wiring, cells=net.cells,
    )  # fmt: skip
    for name, own in zip(Parameters._fields, want, strict=True):
        assert_close(
            net.get_parameter(name).grad, own[0], rtol=1e-6, atol=1e-9
        )  # mse_loss rounds its slope its own way


def test_train_is_the_studys_step():
    x, target = trials(dtype=torch.float32)
    got = train(x, target, hidden=12, rule="bptt", steps=20, every=10, lr=2e-3, alpha=0.3, seed=(3, 4))
    batch = Batch(x.transpose(0, 1)[None], target.transpose(0, 1)[None], torch.ones(1, 14, 6))
    method = learner(Task(3, 2, lambda noise: batch, squared_error), rule="bptt", lr=2e-3, alpha=0.3)
    state = method.init(initial(start_numbers(Streams("eprop"), (3, 4), 12, 3, 2)))
    with torch.no_grad():
        for _ in range(20):
            state, _ = method.step(state, None)
    for name, own in got.parameters.items():
        assert torch.equal(own, getattr(state.parameters, name))
    assert got.history["step"].tolist() == [0, 10, 20] and got.history["error"].shape == (2, 3)
    single = train(x, target, hidden=12, rule="bptt", steps=20, every=10, lr=2e-3, alpha=0.3, seed=4)
    assert single.history["error"].shape == (3,)
    assert_close(single.parameters["W"], got.parameters["W"][1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("rule", ["bptt", "eprop", "rflo"])
def test_train_learns_and_compares(rule):
    x, target = trials(B=8, T=20, dtype=torch.float32)
    rates = torch.stack([target[:, 5:15, 0], target[:, 5:15, 1], target[:, 5:15].sum(-1)], dim=-1).numpy()
    seen = []
    got = train(
        x, target, recordings=rates, hidden=24, rule=rule, window=slice(5, 15), steps=200, every=50, lr=5e-3, alpha=0.3,
        target_error=0.6, callback=lambda step, metrics: seen.append((step, float(metrics["error"]))),
    )  # fmt: skip
    assert got.history["error"][-1] < 0.6 * got.history["error"][0] and not got.diverged
    assert 0 < got.matched_distance < 1 and got.steps_needed in (50, 100, 150, 200)
    assert [step for step, _ in seen] == [50, 100, 150, 200]


def test_callback_stops_and_inputs_stay():
    x, target = trials(dtype=torch.float32)
    kept = x.clone(), target.clone()

    def stop(step, metrics):
        raise StopIteration

    state = torch.get_rng_state()
    got = train(x, target, hidden=5, steps=30, every=10, callback=stop)
    assert got.history["step"].tolist() == [0, 10]
    assert torch.equal(x, kept[0]) and torch.equal(target, kept[1]) and torch.equal(torch.get_rng_state(), state)
    assert got.matched_distance.isnan() and got.steps_needed.isinf()


def test_module_trains_saves_and_loads():
    x, target = trials(dtype=torch.float32)
    net, other = RateRNN(3, 16, 2, rule="fa", alpha=0.3), RateRNN(3, 16, 2, rule="fa", alpha=0.3, seed=9)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(net(x)[0], target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x)[0], net(x)[0]) and torch.equal(other.feedback, net.feedback)
    assert "rule=fa" in repr(net)


def test_measures_take_arrays():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((4, 30, 12)).cumsum(1)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    rows, turned = y.reshape(-1, 12), (3 * y @ Q + 1).reshape(-1, 12)
    assert procrustes(turned, rows) < 1e-4 and cka(turned, rows) > 0.999 and cca(turned, rows) > 0.999
    assert dsa(3 * y @ Q + 1, y, components=12, rank=6) < 1e-2
    floors = noise_floor(y, splits=5)
    assert floors.shape == (5,) and (floors > 0).all() and torch.equal(floors, noise_floor(torch.tensor(y), splits=5))
    assert torch.equal(floors, noise_floor(y, splits=5, seed=0))
    assert not torch.equal(floors, noise_floor(y, splits=5, seed=1))
    assert procrustes(torch.tensor(rows, dtype=torch.float32), rows.astype(np.float32)).dtype == torch.float32


def defaults(function):
    """What is left out of a call, by name."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def test_what_is_left_out_is_what_the_study_has():
    network = {
        "rule": "eprop",
        "alpha": 0.1,
        "activation": "retanh",
        "gain": 1.0,
        "dale": False,
        "density": 1.0,
        "seed": 0,
    }
    assert defaults(RateRNN) == {**network, "dtype": None, "device": None}
    assert defaults(train) == {
        **network, "mask": None, "recordings": None, "window": slice(None), "steps": 500, "every": 10, "lr": 5e-4, "penalty": 10.0,
        "target_error": 0.15, "callback": None,
    }  # fmt: skip
    assert defaults(noise_floor) == {"half": None, "splits": 100, "seed": 0}
    assert defaults(dsa) == {"components": 10, "delays": 5, "rank": 10, "alignment_steps": 200}
    assert defaults(cca) == {"components": 20}
