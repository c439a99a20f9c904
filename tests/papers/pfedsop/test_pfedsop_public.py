"""`train` and `personalise` as their users call them."""

import copy
import inspect
import random

import numpy as np
import pytest
import torch
from pfedsop_small import play
from torch import nn
from torch.nn import functional

from descent.core.errors import SettingError
from descent.papers import pfedsop
from descent.papers.pfedsop.methods import METHODS
from descent.papers.pfedsop.module import ModuleNetwork
from descent.papers.pfedsop.personalisation import damped
from descent.papers.pfedsop.public import OFFERED, federation_of


def net(dtype=torch.float32):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)


def data(sizes=(20, 14, 26), dtype=torch.float32, seed=0):
    rng = np.random.default_rng(seed)
    found = []
    for i, size in enumerate(sizes):
        y = rng.choice([i, (i + 1) % 3], size)
        x = np.eye(4)[y] * 2 + 0.5 * rng.standard_normal((size, 4))
        found.append((torch.from_numpy(x).to(dtype), torch.from_numpy(y)))
    return found


SMALL = {"rounds": 6, "participants": 2, "local_steps": 5, "batch": 5, "local_lr": 0.1}


def test_it_learns_and_gives_a_module_a_client():
    model, held = net(), data(seed=9)
    fed = pfedsop.train(model, data(), functional.cross_entropy, **(SMALL | {"rounds": 30}), test=held)
    assert fed.history["accuracy"].shape == (30,) and fed.history["accuracy"][-1] > 0.85
    assert fed.parameters["0.weight"].shape == (3, 8, 4) and not fed.diverged
    right = sum((fed.module(i)(x).argmax(1) == y).sum() for i, (x, y) in enumerate(held))
    assert right / 60 == pytest.approx(fed.history["accuracy"][-1].item(), abs=1e-6)
    assert fed.history["mix"].isnan()[0] and fed.history["mix"].isfinite().sum() > 20


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("method", OFFERED)
def test_no_twin_the_research_step_gives_the_same_bits(method, dtype):
    model, clients = net(dtype), data(dtype=dtype)
    fed = pfedsop.train(model, clients, functional.cross_entropy, **SMALL, method=method, seed=[3, 4])
    network = ModuleNetwork(model, functional.cross_entropy)
    core = METHODS[method](federation_of(network, clients, (3, 4), 6, 2, 5, 5, 0.1))
    want = network.named(play(core, 6)[0].personal.expand(-1, 3, -1))
    for name, values in fed.parameters.items():
        assert values.dtype == dtype and torch.equal(values, want[name])


def test_a_sequence_of_seeds_is_single_runs():
    many = pfedsop.train(net(), data(), functional.cross_entropy, **SMALL, seed=range(3), test=data(seed=9))
    for s in range(3):
        one = pfedsop.train(net(), data(), functional.cross_entropy, **SMALL, seed=s, test=data(seed=9))
        for name in one.parameters:
            torch.testing.assert_close(many.parameters[name][s], one.parameters[name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(many.history["accuracy"][:, s], one.history["accuracy"], atol=0.02, rtol=0)
        torch.testing.assert_close(many.module(1, seed=s)[0].weight, one.module(1)[0].weight, atol=1e-5, rtol=1e-4)


def test_gradients_of_a_module_are_those_of_its_copies():
    model = net(torch.float64)
    network = ModuleNetwork(model, functional.cross_entropy)
    params = torch.randn(3, network.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (x, y), *_ = data((5,), torch.float64)
    got = network.gradient(params, x.expand(3, -1, -1), y.expand(3, -1))
    for row in range(3):
        own = copy.deepcopy(model)
        nn.utils.vector_to_parameters(params[row], own.parameters())
        functional.cross_entropy(own(x), y).backward()
        torch.testing.assert_close(got[row], torch.cat([p.grad.flatten() for p in own.parameters()]))


def test_the_user_s_objects_and_all_random_states_stay_as_they_were():
    model, clients = net(), data()
    before = copy.deepcopy(model.state_dict()), copy.deepcopy(clients)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    runs = [pfedsop.train(model, clients, functional.cross_entropy, **SMALL) for _ in range(2)]
    assert torch.equal(states[0], torch.get_rng_state()) and random.getstate() == states[2]
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert all(torch.equal(a, b) for a, b in zip(before[0].values(), model.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for p, q in zip(before[1], clients, strict=True) for a, b in zip(p, q, strict=True))
    assert all(torch.equal(runs[0].parameters[n], runs[1].parameters[n]) for n in runs[0].parameters)
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_stay_and_regression_works():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    model[0].requires_grad_(False)
    clients = [(x, x.sum(1, keepdim=True)) for x, _ in data()]
    fed = pfedsop.train(model, clients, functional.mse_loss, **(SMALL | {"rounds": 20}), test=clients)
    assert set(fed.parameters) == {"2.weight", "2.bias"} and "accuracy" not in fed.history
    assert fed.history["loss"][-1] < 0.5 * fed.history["loss"][0]
    assert torch.equal(fed.module(0)[0].weight, model[0].weight)


def test_a_callback_sees_every_round_and_may_stop():
    seen = []

    def callback(step, metrics):
        seen.append((step, metrics["loss"].shape))
        if step == 3:
            raise StopIteration

    fed = pfedsop.train(net(), data(), functional.cross_entropy, **SMALL, test=data(), callback=callback)
    assert seen == [(1, ()), (2, ()), (3, ())] and len(fed.history["loss"]) == 3


def test_divergence_is_reported_not_raised():
    fed = pfedsop.train(
        net(), data(), functional.cross_entropy, **(SMALL | {"local_lr": 100.0, "lr": 1e9, "rounds": 30}), rho=1e-9
    )
    assert fed.diverged.dtype == torch.bool
    clients = [(1e30 * x, y) for x, y in data()]
    assert pfedsop.train(net(), clients, functional.cross_entropy, **SMALL).diverged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"participants": 4}, r"train: `participants` must lie in \[1, 3\] \(the clients\), got 4"),
        ({"rounds": 0}, r"train: `rounds` must lie in \[1, 1e\+06\], got 0"),
        ({"rho": 0.0}, r"train: `rho` must lie in \(0, 1e\+12\], got 0.0"),
        ({"method": "fedsgd"}, "train: `method` must be one of pfedsop, carry, .* got 'fedsgd'"),
        ({"clients": []}, "train: `clients` is empty"),
        (
            {"clients": [(torch.zeros(3, 4), torch.zeros(2))]},
            "train: entry 0 of `clients` must have one target a sample",
        ),
        ({"clients": [torch.zeros(3, 4)]}, r"train: entry 0 of `clients` must be a pair of tensors \(x, y\)"),
        (
            {"clients": data(dtype=torch.float64)},
            "train: entry 0 of `clients` is torch.float64, the model's parameters are torch.float32",
        ),
        ({"test": data((5, 5))}, "train: `test` must have an entry for each of 3 clients, got 2"),
        ({"seed": 1.5}, "train: `seed` must be a whole number or a sequence of them, got 1.5"),
        ({"seed": []}, "train: `seed` must be a whole number or a sequence of them"),
        ({"model": "net"}, "train: `model` must be an nn.Module, got str"),
        (
            {"model": nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))},
            "train: the module `1` keeps running statistics",
        ),
        (
            {"model": nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))},
            "train: the module `1` draws from the global random state",
        ),
        ({"model": nn.ReLU()}, "train: the model has no trainable parameters"),
    ],
)
def test_wrong_input_is_refused_in_one_sentence(change, message):
    given = {"model": net(), "clients": data(), **SMALL} | change
    with pytest.raises(SettingError, match=message):
        pfedsop.train(given.pop("model"), given.pop("clients"), functional.cross_entropy, **given)


def test_personalise_is_the_client_s_half():
    x, own, shared = torch.randn(3, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind(0)
    got = pfedsop.personalise(x, own, shared, lr=10.0, rho=100.0, sharpness=1.0)
    for row in range(2):
        phi = torch.arccos(own[row] @ shared[row] / own[row].norm() / shared[row].norm())
        weight = 1 - torch.exp(-torch.exp(-(phi - 1)))
        mixed = (1 - weight) * own[row] + weight * shared[row]
        torch.testing.assert_close(got[row], x[row] - 10 * damped(mixed, 100.0))
    assert pfedsop.personalise(x, None, shared, lr=1.0) is x and pfedsop.personalise(x, own, None, lr=1.0) is x
    named = [{"w": v[0, :3].view(3, 1), "b": v[0, 3:]} for v in (x, own, shared)]
    apart = pfedsop.personalise(*named, lr=10.0)
    torch.testing.assert_close(torch.cat([apart["w"].flatten(), apart["b"]]), got[0])
    for bad in ({"lr": -1.0}, {"lr": None}, {"lr": 1.0, "rho": -1.0}):
        with pytest.raises(SettingError, match="personalise: "):
            pfedsop.personalise(x, own, shared, **bad)
    with pytest.raises(SettingError, match="must be tensors of one shape"):
        pfedsop.personalise(x, own, shared[0], lr=1.0)
    with pytest.raises(SettingError, match="must name the same tensors"):
        pfedsop.personalise(named[0], {"w": named[1]["w"]}, named[2], lr=1.0)


def defaults(function):
    """What is left out of a call, by name."""
    return {n: p.default for n, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def test_what_is_left_out_is_what_the_study_has():
    assert defaults(pfedsop.train) == {
        "local_steps": 20, "batch": 10, "local_lr": 0.01, "lr": None, "rho": 100.0, "sharpness": 1.0, "method": "pfedsop",
        "test": None, "seed": 0, "callback": None,
    }  # fmt: skip
    assert defaults(pfedsop.personalise) == {"rho": 100.0, "sharpness": 1.0}


def test_tensors_that_do_not_go_with_named_ones_are_refused():
    named = {"w": torch.zeros(2)}
    for own, shared in ((torch.zeros(2), named), (named, torch.zeros(2)), ({"v": torch.zeros(2)}, named)):
        with pytest.raises(SettingError, match="personalise: `x`, `own` and `shared` must name the same tensors"):
            pfedsop.personalise(named, own, shared, lr=1.0)
