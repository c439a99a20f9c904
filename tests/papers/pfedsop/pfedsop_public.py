"""What `train` and `personalise` must refuse, and a call that takes several seeds."""

import torch
from torch import nn
from torch.nn import functional

from descent.papers import pfedsop


def net(*layers):
    """A float64 network with fixed weights: nothing is drawn."""
    model = nn.utils.skip_init(nn.Linear, 4, 3).to(torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-0.5, 0.5, 12, dtype=torch.float64).view(3, 4))
        model.bias.zero_()
    return nn.Sequential(model, *layers)


def clients(sizes=(8, 6, 10), dtype=torch.float64):
    """Samples on a grid, their class the largest of their first three numbers."""
    found = []
    for i, size in enumerate(sizes):
        x = torch.sin(torch.arange(4 * size, dtype=dtype) * (1.3 + i)).view(size, 4)
        found.append((x, x[:, :3].argmax(1)))
    return found


def train(**changes):
    given = {
        "model": net(),
        "clients": clients(),
        "rounds": 4,
        "participants": 2,
        "local_steps": 3,
        "batch": 4,
    } | changes
    return pfedsop.train(given.pop("model"), given.pop("clients"), functional.cross_entropy, **given)


VECTOR = torch.ones(3)

REFUSED = {
    "more participants than clients": (lambda: train(participants=4), "`participants` must lie in [1, 3]"),
    "no rounds": (lambda: train(rounds=0), "`rounds` must lie in [1, 1e+06], got 0"),
    "rho of zero": (lambda: train(rho=0.0), "`rho` must lie in (0, 1e+12], got 0.0"),
    "an unknown method": (lambda: train(method="fedsgd"), "`method` must be one of pfedsop, carry"),
    "another dtype": (lambda: train(clients=clients(dtype=torch.float32)), "the model's parameters are torch.float64"),
    "no clients": (lambda: train(clients=[]), "`clients` is empty"),
    "a target too few": (lambda: train(clients=[(torch.zeros(3, 4), torch.zeros(2))]), "one target a sample"),
    "running statistics": (lambda: train(model=net(nn.BatchNorm1d(3))), "keeps running statistics"),
    "dropout": (lambda: train(model=net(nn.Dropout(0.5))), "draws from the global random state"),
    "a test set too few": (lambda: train(test=clients()[:2]), "`test` must have an entry for each of 3 clients, got 2"),
    "a seed that is no whole number": (lambda: train(seed=1.5), "`seed` must be a whole number or a sequence of them"),
    "a negative step": (lambda: pfedsop.personalise(VECTOR, VECTOR, VECTOR, lr=-1.0), "`step_size` must lie in"),
    "vectors of two lengths": (lambda: pfedsop.personalise(VECTOR, VECTOR, torch.ones(4), lr=1.0), "of one shape"),
}
SEEDED = {"train": lambda seed: list(train(seed=seed).parameters.values())}
