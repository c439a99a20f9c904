"""public.py: the same bits as the study's own steps, and what users of torch optimisers expect."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers import zoflat
from descent.papers.zoflat.curvature import hutchinson
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import directions
from descent.papers.zoflat.mezo import Direction, regenerating
from descent.papers.zoflat.public import STREAMS

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


@pytest.fixture(autouse=True)
def own_randomness():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        yield


def network(dtype=torch.float64, dropout=0.0):
    return nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 1)).to(dtype)


def batch(dtype=torch.float64):
    x = torch.linspace(-1, 1, 36, dtype=dtype).view(12, 3)
    return x, x[:, :1].sin() + x[:, 1:2] ** 2


def mean_squared(net):
    x, y = batch(next(net.parameters()).dtype)
    return ((net(x) - y) ** 2).mean()


def flat(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


OPTIMISERS = {
    "ZO": lambda params, **more: zoflat.ZO(params, **{"lr": 0.05, "smoothing": 0.05, "seed": 4, **more}),
    "DD": lambda params, **more: zoflat.DD(params, **{"lr": 0.05, "seed": 4, **more}),
    "SAM": lambda params, **more: zoflat.SAM(params, **{"lr": 0.05, "radius": 0.1, **more}),
}
every = pytest.mark.parametrize("name", OPTIMISERS)
made = OPTIMISERS.__getitem__


# No twins: the research step on the same streams


@DTYPES
def test_zo_is_the_regenerating_form_bit_for_bit(dtype):
    net = network(dtype)
    other = copy.deepcopy(net)
    layout = Layout.of(dict(other.named_parameters()))
    x = layout.join(dict(other.named_parameters())).detach()[None].clone()

    def loss(x, _):
        return mean_squared(_loaded(other, layout, x[0]))[None]

    step = regenerating(loss, layout, step_size=0.05, smoothing=0.05)
    opt = made("ZO")(net.parameters())
    for t in range(5):
        back = opt.step(lambda: mean_squared(net))
        seed = STREAMS.entropy("direction", 4, t) % 2**63
        u = torch.cat([v.flatten() for v in directions(seed, list(net.parameters()))])
        pair = [loss(x + sign * 0.05 * u, None)[0] for sign in (1, -1)]
        assert_close(back, sum(pair) / 2, rtol=1e-5, atol=0)
        with torch.no_grad():
            step(x, Direction([seed]))
        assert torch.equal(flat(net), x[0]), t


def _loaded(net, layout, x):
    with torch.no_grad():
        for p, own in zip(net.parameters(), layout.split(x).values(), strict=True):
            p.copy_(own)
    return net


@DTYPES
@pytest.mark.parametrize("name", ["DD", "SAM"])
def test_dd_and_sam_take_the_steps_of_the_study_bit_for_bit(name, dtype):
    """On one tensor of parameters, against the builders on a Differentiable problem."""
    q = torch.linspace(-1, 1, 25, dtype=dtype).view(5, 5)
    problem = zoflat.Differentiable(lambda x: ((x @ q) ** 2).sum(-1).sin() + x.sum(-1) ** 2)
    x = torch.linspace(0, 1, 5, dtype=dtype)[None]
    parameter = nn.Parameter(x.clone())
    opt = made(name)([parameter])
    build = {
        "DD": lambda: zoflat.dd(problem, step_size=0.05),
        "SAM": lambda: zoflat.sam(problem, step_size=0.05, radius=0.1),
    }
    method = build[name]()
    for t in range(5):
        value = problem.loss(x)[0]
        u = next(directions(STREAMS.entropy("direction", 4, t) % 2**63, [parameter]))
        back = opt.step(lambda: problem.loss(parameter).sum())
        x = method.update(x, u)
        assert torch.equal(parameter.detach(), x) and torch.equal(back, value) and parameter.grad is None


def test_several_tensors_are_one_vector():
    """DD and SAM against the formulas on the concatenated parameters; ZO with a tiny smoothing is DD."""
    nets = {name: network() for name in OPTIMISERS}
    start = copy.deepcopy(nets["ZO"].state_dict())
    for name, net in nets.items():
        net.load_state_dict(start)
        opt = made(name)(net.parameters(), **({"smoothing": 1e-6} if name == "ZO" else {}))
        back = opt.step(lambda net=net: mean_squared(net))
        assert_close(back, mean_squared(_restored(start)).detach(), rtol=1e-9, atol=0)
    net = _restored(start)
    g = torch.cat([p.flatten() for p in torch.autograd.grad(mean_squared(net), list(net.parameters()))])
    u = torch.cat([v.flatten() for v in directions(STREAMS.entropy("direction", 4, 0) % 2**63, list(net.parameters()))])
    assert_close(flat(nets["DD"]), flat(net) - 0.05 * (g @ u) * u, rtol=1e-12, atol=1e-14)
    assert_close(flat(nets["ZO"]), flat(nets["DD"]), rtol=0, atol=1e-8)
    layout = Layout.of(dict(net.named_parameters()))
    ahead = _loaded(_restored(start), layout, flat(net) + 0.1 * g / (g.norm() + 1e-12))
    g2 = torch.cat([p.flatten() for p in torch.autograd.grad(mean_squared(ahead), list(ahead.parameters()))])
    assert_close(flat(nets["SAM"]), flat(net) - 0.05 * g2, rtol=1e-12, atol=1e-14)


def _restored(state):
    net = network()
    net.load_state_dict(state)
    return net


@DTYPES
def test_the_trace_is_the_study_s_estimate_and_near_the_hessian(dtype):
    net = network(dtype)
    layout = Layout.of(dict(net.named_parameters()))

    def value(flat):
        return torch.func.functional_call(net, layout.split(flat), batch(dtype)[0]).sub(batch(dtype)[1]).square().mean()

    point = flat(net)
    hessian = torch.func.hessian(value)(point)
    found = zoflat.hessian_trace(lambda: mean_squared(net), net.parameters(), probes=150, seed=2)
    assert found.mean.dtype == found.stderr.dtype == dtype and all(p.grad is None for p in net.parameters())
    assert 0 < found.stderr < 0.3 * hessian.trace()
    assert abs(found.mean - hessian.trace()) < 4 * found.stderr
    from descent.toolbox.counter import signs, subkey, words

    key = torch.tensor(STREAMS.entropy("probe", 2) % 2**63)
    bits = [words(subkey(key, 1, k), layout.size) for k in range(3)]
    own = hutchinson(lambda x: value(x[0])[None], point[None], lambda i: signs(bits[i // 64], i % 64, dtype)[None], 150)
    assert_close(
        found, zoflat.TraceEstimate(own.mean[0], own.stderr[0]), rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=0
    )


def test_the_trace_of_parameters_that_the_loss_is_linear_in_or_does_not_hold_is_0():
    a, b, c = (nn.Parameter(torch.ones(2)) for _ in range(3))
    assert zoflat.hessian_trace(lambda: a.sum(), [a]).mean == 0
    assert_close(zoflat.hessian_trace(lambda: a.sum() + (b**2).sum(), [a, b, c], probes=4).mean, torch.tensor(4.0))


# What users of torch optimisers expect


@every
def test_it_trains(name):
    net = network(torch.float32)
    opt = made(name)(net.parameters(), lr=0.02)
    losses = [opt.step(lambda: mean_squared(net)).item() for _ in range(300)]
    assert losses[-1] < 0.5 * losses[0]


@every
def test_both_evaluations_see_one_dropout_mask_and_leave_the_state_of_one(name):
    net, masks = network(dropout=0.5), []

    def closure():
        masks.append(torch.get_rng_state())
        return mean_squared(net)

    made(name)(net.parameters()).step(closure)
    after = torch.get_rng_state()
    assert all(torch.equal(mask, masks[0]) for mask in masks) and len(masks) == {"ZO": 2, "DD": 1, "SAM": 2}[name]
    torch.set_rng_state(masks[0])
    mean_squared(net)
    assert torch.equal(after, torch.get_rng_state())
    made(name)(net.parameters()).step(closure)
    assert not torch.equal(masks[-1], masks[0]), "the next step has a mask of its own"


@every
def test_frozen_parameters_are_left_as_they_are_and_others_move_as_if_alone(name):
    net, alone = network(), network()
    alone.load_state_dict(net.state_dict())
    net[0].requires_grad_(False)
    before = net[0].weight.clone()
    made(name)(net.parameters()).step(lambda: mean_squared(net))
    made(name)(alone[3].parameters()).step(lambda: mean_squared(alone))
    assert torch.equal(net[0].weight, before)
    assert torch.equal(flat(net), flat(alone)) and not torch.equal(
        net[3].weight, _restored(alone.state_dict())[0].weight
    )


@every
def test_a_resumed_run_goes_on_bit_for_bit(name):
    net = network()
    opt = made(name)(net.parameters())
    for _ in range(3):
        opt.step(lambda: mean_squared(net))
    again, saved = network(), copy.deepcopy(opt.state_dict())
    again.load_state_dict(net.state_dict())
    resumed = made(name)(again.parameters(), **({} if name == "SAM" else {"seed": 9}))
    resumed.load_state_dict(saved)
    for _ in range(3):
        opt.step(lambda: mean_squared(net))
        resumed.step(lambda: mean_squared(again))
    assert torch.equal(flat(net), flat(again))


@every
def test_schedulers_and_groups_set_the_step_size(name):
    """A group at lr 0 (as a schedule ends) stays; the others move as far as with one lr."""
    net, one = network(), network()
    one.load_state_dict(net.state_dict())
    opt = made(name)([{"params": net[0].parameters(), "lr": 0.1}, {"params": net[3].parameters()}])
    schedule = torch.optim.lr_scheduler.LambdaLR(opt, [lambda _: 0.0, lambda _: 1.0])
    before = net[0].weight.detach().clone()
    opt.step(lambda: mean_squared(net))
    schedule.step()
    made(name)(one.parameters()).step(lambda: mean_squared(one))
    assert_close(net[0].weight, before, rtol=0, atol=1e-15)
    assert_close(net[3].weight, one[3].weight, rtol=0, atol=1e-15)


@every
def test_a_closure_that_raises_leaves_the_parameters_as_they_were(name):
    net = network(torch.float32)
    before, calls = flat(net), []

    def closure(last):
        calls.append(last)
        if len(calls) == last:
            raise ZeroDivisionError
        return mean_squared(net)

    opt = made(name)(net.parameters())
    for last in (1,) if name == "DD" else (1, 2):
        calls.clear()
        with pytest.raises(ZeroDivisionError):
            opt.step(lambda last=last: closure(last))
        assert_close(flat(net), before, rtol=0, atol=1e-7 if name == "ZO" else 0)
    if name != "SAM":
        assert opt.param_groups[0]["taken"] == 0


@every
def test_a_closure_that_calls_backward_is_told_and_nothing_is_left_perturbed(name):
    """As the automatic mode of training frameworks does."""
    net = network()
    before = flat(net)

    def closure():
        loss = mean_squared(net)
        loss.backward()
        return loss

    with pytest.raises(RuntimeError):
        made(name)(net.parameters()).step(closure)
    assert_close(flat(net), before, rtol=0, atol=1e-15)


def test_zo_takes_losses_that_cannot_be_differentiated():
    net = network()
    before = flat(net)
    opt = zoflat.ZO(net.parameters(), lr=1e-3, smoothing=0.5)
    back = opt.step(lambda: float(mean_squared(net)))
    assert back.ndim == 0 and not torch.equal(flat(net), before) and net[0].weight.dtype == torch.float64
    with pytest.raises(SettingError, match="does not depend on the parameters"):
        zoflat.DD(net.parameters(), lr=0.1).step(lambda: 1.0)


def test_a_loss_that_overflows_is_seen_in_what_comes_back():
    p = nn.Parameter(torch.tensor([3.0]))
    opt = zoflat.ZO([p], lr=0.1)
    assert opt.step(lambda: (p * torch.inf).sum()).isinf()


def test_seeds_and_steps_have_directions_of_their_own():
    moves = []
    for seed in (0, 1):
        p = nn.Parameter(torch.zeros(4))
        opt = zoflat.DD([p], lr=0.1, seed=seed)
        for _ in range(2):
            before = p.detach().clone()
            opt.step(lambda p=p: p.sum())
            moves.append(tuple((p.detach() - before).tolist()))
    assert len(set(moves)) == 4


def test_named_parameters_and_later_groups_are_taken():
    net = network()
    opt = zoflat.ZO(net[0].named_parameters(), lr=0.05)
    opt.step(lambda: mean_squared(net))
    opt.add_param_group({"params": net[3].named_parameters(), "lr": 0.01})
    before = net[3].weight.detach().clone()
    opt.step(lambda: mean_squared(net))
    assert not torch.equal(net[3].weight, before) and opt.param_groups[0]["taken"] == 2
    with pytest.raises(SettingError, match="`seed` is the optimiser's"):
        opt.add_param_group({"params": [("p", nn.Parameter(torch.zeros(1)))], "seed": 1})


def test_the_other_block_of_the_page_runs():
    page = (Path(__file__).resolve().parents[3] / "docs/papers/zoflat.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)
    space = {}
    exec(block, space)
    assert (space["problem"].loss(space["x"]) < 1e-3).all()
