"""What the optimisers refuse, and several seeds of the trace: read by tests/contract/test_public.py."""

import torch
from torch import nn

from descent.papers import zoflat

X, Y = torch.linspace(-1, 1, 24).view(8, 3), torch.linspace(0, 2, 8).view(8, 1)


def network(frozen=False):
    net = nn.Linear(3, 1)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.linspace(-0.3, 0.4, p.numel()).view_as(p))
    return net.requires_grad_(not frozen)


def loss(net):
    return ((net(X) - Y).tanh() ** 2).mean()


NET, FROZEN = network(), network(frozen=True)
OPT = zoflat.ZO(NET.parameters(), lr=0.1)

REFUSED = {
    "a module": (lambda: zoflat.ZO(NET, lr=0.1), "`params` must be parameters, as in net.parameters()"),
    "nothing": (lambda: zoflat.DD([], lr=0.1), "`params` must hold tensors"),
    "only frozen parameters": (lambda: zoflat.SAM(FROZEN.parameters(), lr=0.1, radius=0.1), "every parameter is frozen"),
    "a step of no size": (lambda: zoflat.ZO(NET.parameters(), lr=0.0), "`lr` must lie in (0, 10]"),
    "no smoothing": (lambda: zoflat.ZO(NET.parameters(), lr=0.1, smoothing=0), "`smoothing` must lie in (0, 10]"),
    "a bad lr of a group": (lambda: zoflat.ZO([{"params": NET.parameters(), "lr": -1}], lr=0.1), "`lr` must lie in (0, 10]"),
    "smoothing of a group": (
        lambda: zoflat.ZO([{"params": NET.parameters(), "smoothing": 0.1}], lr=0.1), "only `lr` may differ"),
    "several seeds": (lambda: zoflat.ZO(NET.parameters(), lr=0.1, seed=range(3)), "`seed` must be a whole number"),
    "a step without a closure": (lambda: OPT.step(), "it needs a function that returns the loss"),
    "a loss of each row": (lambda: OPT.step(lambda: NET(X)), "the loss must be one number, got a tensor of shape (8, 1)"),
    "complex parameters": (
        lambda: zoflat.DD([nn.Parameter(torch.zeros(2, dtype=torch.complex64))], lr=0.1), "`params` must be real"),
    "a module where a problem belongs": (
        lambda: zoflat.zo(NET, step_size=0.1, smoothing=0.1), "to train an nn.Module use zoflat.ZO"),
    "parameters where a problem belongs": (
        lambda: zoflat.sam(NET.parameters(), step_size=0.1, radius=0.1), "to train an nn.Module use zoflat.SAM"),
    "a function where a problem belongs": (
        lambda: zoflat.dd(lambda x: x.sum(), step_size=0.1), "zoflat.Differentiable makes one of a function"),
    "one probe": (lambda: zoflat.hessian_trace(lambda: loss(NET), NET.parameters(), probes=1), "`probes` must lie in"),
}  # fmt: skip
SEEDED = {"hessian_trace": lambda seed: zoflat.hessian_trace(lambda: loss(NET), NET.parameters(), probes=70, seed=seed)}
