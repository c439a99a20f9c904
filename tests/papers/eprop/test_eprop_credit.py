"""The adjoint: against autograd with the recurrent input detached, against the case worked by hand, and its limits."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from descent.papers.eprop.credit import RULES, Errors, adjoint, cell_averaging, gradients, traced
from descent.papers.eprop.network import Parameters, Seeds, Wiring, forward, initial, random_feedback, wiring_of

PARTS = Parameters._fields


def numbers(K=2, N=7, I=3, O=2, seed=0, dtype=torch.float64) -> Seeds:  # noqa: E741
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(K, *shape, generator=g, dtype=dtype)  # noqa: E731
    uniform = lambda *shape: torch.rand(K, *shape, generator=g, dtype=dtype)  # noqa: E731
    return Seeds(normal(N, N), normal(N, I), uniform(O, N), uniform(O, N), uniform(N, N))


def case(T=13, B=4, dtype=torch.float64, **shape):
    """Parameters off their zeros, inputs, targets."""
    seeds = numbers(dtype=dtype, **shape)
    g = torch.Generator().manual_seed(1)
    p = initial(seeds, gain=1.2)
    p = Parameters(*(x + 0.1 * torch.randn(x.shape, generator=g, dtype=dtype) for x in p))
    K, _N, I = seeds.U.shape  # noqa: E741
    x = torch.randn(K, T, B, I, generator=g, dtype=dtype)
    target = torch.randn(K, T, B, seeds.V.shape[1], generator=g, dtype=dtype)
    return seeds, p, x, target


PHI = {"retanh": lambda a: torch.relu(torch.tanh(a)), "tanh": torch.tanh, "relu": torch.relu}


def loss_step_by_step(rule, p, W, x, target, r, alpha, activation, feedback, window=10):
    """The loss (K,), written out with detach, for autograd. Readout feedback is replaced by a straight-through detour."""
    _K, T, B, _ = x.shape
    phi = PHI[activation]
    a = p.start[:, None].expand(-1, B, -1)
    h = phi(a)
    main = energy = 0
    for t in range(T):
        cut = rule in ("eprop", "rflo") or (rule == "tbptt" and (T - t) % window == 0)
        sender = h.detach() if cut else h
        drive = sender @ W.mT + x[:, t] @ p.U.mT + p.b[:, None]
        a = a + alpha * (-a + drive)
        h = phi(a)
        y = h @ p.V.mT + p.c[:, None]
        if rule in ("fa", "rflo"):  # value V h + c, slope in h that of the fixed matrix
            detour = h @ feedback.mT
            y = (h.detach() @ p.V.mT + p.c[:, None]) + detour - detour.detach()
        main = main + (y - target[:, t]).square().sum((1, 2)) / (T * B * y.shape[-1])
        energy = energy + h.square().sum((1, 2)) / (T * B * h.shape[-1])
    return main + r * energy


def ours(rule, p, W, x, target, r, alpha, activation, feedback, wiring=None, cells=None):
    activity = forward(p, W, x, alpha=alpha, activation=activation)
    slope = 2 * (activity.output - target) / target[0].numel()
    return gradients(
        RULES[rule], p, W, activity, Errors(slope, r), feedback,
        alpha=alpha, activation=activation, wiring=wiring or Wiring(), cells=cells,
    )  # fmt: skip


@pytest.mark.parametrize("T", [13, 20])  # the truncation falls differently
@pytest.mark.parametrize("activation", ["retanh", "tanh", "relu"])
@pytest.mark.parametrize("rule", ["bptt", "eprop", "tbptt", "fa", "rflo"])
def test_adjoint_equals_autograd_with_detached_senders(rule, activation, T):
    seeds, p, x, target = case(T=T)
    r, feedback = torch.tensor([0.7, 3.0], dtype=torch.float64), random_feedback(seeds)
    leaves = Parameters(*(part.clone().requires_grad_() for part in p))
    loss = loss_step_by_step(rule, leaves, leaves.W, x, target, r, 0.3, activation, feedback)
    want = torch.autograd.grad(loss.sum(), leaves)
    got = ours(rule, p, p.W, x, target, r, 0.3, activation, feedback)
    for name, one, two in zip(PARTS, got, want, strict=True):
        assert_close(one, two, rtol=1e-10, atol=1e-13, msg=name)


@pytest.mark.parametrize("rule", ["bptt", "eprop", "tbptt", "fa", "rflo"])
def test_adjoint_in_float32_within_1e_5(rule):
    seeds, p, x, target = case(T=30, dtype=torch.float32, N=16)
    r, feedback = torch.tensor([1.0, 2.0]), random_feedback(seeds)
    leaves = Parameters(*(part.clone().requires_grad_() for part in p))
    want = torch.autograd.grad(
        loss_step_by_step(rule, leaves, leaves.W, x, target, r, 0.1, "retanh", feedback).sum(), leaves
    )
    for one, two in zip(ours(rule, p, p.W, x, target, r, 0.1, "retanh", feedback), want, strict=True):
        assert (one - two).norm() <= 1e-5 * two.norm()


def test_worked_example():
    """N = 2, T = 4, one trial, no penalty; numbers worked out in float64, to eight digits."""
    f = lambda *values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
    W, U, V = f([0.8, -0.3], [0.5, 0.4])[None], f([1.0], [0.5])[None], f([1.0, -1.0])[None]
    p = Parameters(W, U, f([0.0, 0.0]), V, f([0.0]), f([0.0, 0.0]))
    x, target = f(1, 0.5, 0, 0).reshape(1, 4, 1, 1), f(0, 0.1, 0.2, 0.3).reshape(1, 4, 1, 1)
    y = forward(p, W, x, alpha=0.5).output
    assert_close(
        (y - target).square().mean(), torch.tensor(0.0467411671115744, dtype=torch.float64), atol=1e-15, rtol=0
    )
    zero = torch.zeros(1, dtype=torch.float64)
    want = {
        "bptt": f([-0.08988632, -0.06622585], [0.1061375, 0.07562172]),
        "eprop": f([-0.08005556, -0.06019468], [0.07800305, 0.05881197]),
    }
    for rule, dW in want.items():
        got = ours(rule, p, W, x, target, zero, 0.5, "retanh", None)
        assert_close(got.W[0], dW, atol=5e-9, rtol=0)


@pytest.mark.parametrize("activation", ["retanh", "tanh"])
def test_forward_traces_equal_the_backward_recursion(activation):
    _, p, x, target = case(T=25)
    activity = forward(p, p.W, x, alpha=0.2, activation=activation)
    errors = Errors(activity.output - target, torch.ones(2, dtype=torch.float64))
    options = {"alpha": 0.2, "activation": activation}
    # Zero M: the adjoint's recursion with s_t = 0.
    back = adjoint(p.V, torch.zeros_like(p.W), activity, errors, **options)
    for one, two in zip(traced(p.V, activity, errors, **options), back, strict=True):
        assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_without_recurrent_weights_eprop_is_exact():
    _seeds, p, x, target = case()
    r, zero = torch.ones(2, dtype=torch.float64), torch.zeros_like(p.W)
    p = p._replace(W=zero)
    got, want = (ours(rule, p, zero, x, target, r, 0.3, "retanh", None) for rule in ("eprop", "bptt"))
    assert want.W.abs().max() > 1e-3
    for one, two in zip(got, want, strict=True):
        assert_close(one, two, rtol=1e-10, atol=1e-13)


def test_one_step_leaves_no_path_to_differ_in():
    _seeds, p, x, target = case(T=1)
    r = torch.ones(2, dtype=torch.float64)
    p = p._replace(start=-torch.ones_like(p.start))  # silent at the start: no path from h_0 either
    want = ours("bptt", p, p.W, x, target, r, 0.3, "retanh", None)
    for rule in ("eprop", "tbptt"):
        for one, two in zip(ours(rule, p, p.W, x, target, r, 0.3, "retanh", None), want, strict=True):
            assert_close(one, two, rtol=1e-10, atol=1e-13)


def test_leak_path_is_kept():
    """Detaching a_{t-1} as well would be another rule: its gradient differs, ours is the one with the leak."""
    _, p, x, target = case()
    leaves = Parameters(*(part.clone().requires_grad_() for part in p))
    B, a, loss = x.shape[2], p.start[:, None].expand(-1, x.shape[2], -1), 0
    for t in range(x.shape[1]):
        h = torch.tanh(a).clamp(min=0).detach()
        a = 0.7 * a.detach() + 0.3 * (h @ leaves.W.mT + x[:, t] @ leaves.U.mT + leaves.b[:, None])
        y = torch.tanh(a).clamp(min=0) @ leaves.V.mT + leaves.c[:, None]
        loss = loss + (y - target[:, t]).square().sum() / target[0].numel()
    (cut,) = torch.autograd.grad(loss, [leaves.W])
    got = ours("eprop", p, p.W, x, target, torch.zeros(2, dtype=torch.float64), 0.3, "retanh", None)
    assert B == 4 and (got.W - cut).norm() > 0.1 * cut.norm()


@pytest.mark.parametrize(("dale", "density"), [(True, 1.0), (False, 0.4), (True, 0.4)])
@pytest.mark.parametrize("rule", ["bptt", "eprop"])
def test_dale_and_sparsity_by_the_chain_rule(rule, dale, density):
    seeds, p, x, target = case(N=10)
    wiring = wiring_of(seeds, dale=dale, density=density)
    r = torch.ones(2, dtype=torch.float64)
    leaves = Parameters(*(part.clone().requires_grad_() for part in p))
    W = (leaves.W.abs() if dale else leaves.W) * wiring.mask
    want = torch.autograd.grad(loss_step_by_step(rule, leaves, W, x, target, r, 0.3, "tanh", None).sum(), leaves)
    got = ours(rule, p, wiring.effective(p.W), x, target, r, 0.3, "tanh", None, wiring)
    for one, two in zip(got, want, strict=True):
        assert_close(one, two, rtol=1e-10, atol=1e-13)


def test_modprop_step_by_step():
    seeds, p, x, target = case(N=20)
    wiring = wiring_of(seeds, dale=True)
    W, alpha, r = wiring.effective(p.W), 0.3, torch.tensor([0.5, 2.0], dtype=torch.float64)
    A = cell_averaging(20, W)
    got = ours("modprop", p, W, x, target, r, alpha, "relu", None, wiring, A)
    # Blocks of 16 excitatory units, two a type, then 4 inhibitory ones, one a type.
    blocks = [[2 * i, 2 * i + 1] for i in range(8)] + [[16 + i] for i in range(4)]
    M = torch.zeros_like(W)
    for rows in blocks:
        for columns in blocks:
            part = W[:, rows][:, :, columns].mean((1, 2))
            for i in rows:
                for j in columns:
                    M[:, i, j] = part
    activity = forward(p, W, x, alpha=alpha, activation="relu")
    K, T, B, N = activity.hidden.shape
    d = 2 * (activity.output - target) / target[0].numel()
    lam, dW = torch.zeros(K, B, N, dtype=torch.float64), 0
    h = torch.cat([torch.relu(p.start)[:, None, None].expand(-1, 1, B, -1), activity.hidden], dim=1)
    for t in range(T, 0, -1):
        g = (h[:, t] > 0) * (d[:, t - 1] @ p.V + 2 * r[:, None, None] * h[:, t] / (B * T * N))
        lam = g + (1 - alpha) * lam + alpha * 0.2 * lam @ M
        dW = dW + alpha * lam.mT @ h[:, t - 1]
    assert_close(got.W, dW * wiring.mask * p.W.sign(), rtol=1e-10, atol=1e-13)
    start = (1 - alpha) * lam + alpha * 0.2 * lam @ M
    assert_close(got.start, start.sum(1), rtol=1e-10, atol=1e-13)


def test_silent_start_gets_no_gradient_through_its_rate():
    """phi'(0) = 0: from a_0 = 0 the start learns through the leak alone."""
    _seeds, p, x, target = case()
    p = p._replace(start=torch.zeros_like(p.start))
    args = (p, p.W, x, target, torch.zeros(2, dtype=torch.float64), 0.3, "retanh", None)
    activity = forward(p, p.W, x, alpha=0.3)
    slope = 2 * (activity.output - target) / target[0].numel()
    back = adjoint(p.V, p.W, activity, Errors(slope, args[4]), alpha=0.3, activation="retanh")
    leaves = Parameters(*(part.clone().requires_grad_() for part in p))
    (want,) = torch.autograd.grad(
        loss_step_by_step("bptt", leaves, leaves.W, *args[2:5], 0.3, "retanh", None).sum(), [leaves.start]
    )
    assert_close(back[1], want, rtol=1e-10, atol=1e-13)
