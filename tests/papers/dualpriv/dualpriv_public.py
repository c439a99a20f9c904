"""What PrivateGradients refuses: read by tests/contract/test_public.py. It takes one seed, or better none."""

import torch
from torch import nn
from torch.nn import functional

from descent.papers.dualpriv import PrivateGradients

X, Y = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 2
# Made once: making a layer draws from the global random state, which a refusal must not touch.
MODEL = nn.Linear(3, 2)
MIXING = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
FROZEN = nn.Linear(3, 2).requires_grad_(False)


def private(model=MODEL, criterion=functional.cross_entropy, data=(X, Y), **changes):
    settings = {"target_epsilon": 4.0, "target_delta": 1e-5, "steps": 10, "batch": 10, "max_grad_norm": 1.0, "seed": 0}
    return PrivateGradients(model, criterion, data, **{**settings, **changes})


REFUSED = {
    "layers that mix records": (lambda: private(MIXING), "which mixes records"),
    "nothing to train": (lambda: private(FROZEN), "no trainable parameter"),
    "no module": (lambda: private(lambda x: x), "`model` must be a torch.nn.Module"),
    "one tensor of data": (lambda: private(data=X), "`data` must be two tensors"),
    "unequal numbers": (lambda: private(data=(X, Y[:-1])), "the same number of records"),
    "another dtype": (lambda: private(data=(X.double(), Y)), "x must have the model's dtype"),
    "a batch beyond the records": (lambda: private(batch=41), "`batch` must lie in (0, records = 40]"),
    "no budget": (lambda: private(target_epsilon=0.0), "`target_epsilon` must lie in"),
    "a certain failure": (lambda: private(target_delta=1.0), "`target_delta` must lie in"),
    "no block kept": (lambda: private(keep=0.1), "`keep` must keep at least one of the 2"),
    "no steps": (lambda: private(steps=0), "`steps` must lie in"),
    "losses that are not one number": (
        lambda: private(criterion=lambda p, t: functional.cross_entropy(p, t, reduction="none")),
        "the gradient of one record cannot be taken",
    ),
    "several seeds": (lambda: private(seed=(0, 1)), "`seed` must be a whole number or None"),
}  # fmt: skip
SEEDED = {}
