"""What tests/contract/test_public.py is given of this room: calls that must be refused, and calls of several seeds.

REFUSED: what is wrong -> (a call, what its one sentence must contain). At least five.
SEEDED: name -> call(seed) -> tensors whose leading axis is the seeds'; each row must be what its seed alone gives. May be empty.
"""

import torch

from descent.papers.mypaper import minimise


def bowl(x):
    return (x**2).sum()


def call(start=None, **changes):
    return minimise(bowl, torch.ones(3) if start is None else start, **{"lr": 0.1, **changes})


REFUSED = {
    "a step size of zero": (lambda: call(lr=0.0), "`step_size` must lie in"),
    "a momentum of one": (lambda: call(momentum=1.0), "`momentum` must lie in"),
    "no steps": (lambda: call(steps=0), "`steps` must lie in"),
    "an unknown method": (lambda: call(method="adam"), "must be heavy_ball or descend, got 'adam'"),
    "whole numbers": (lambda: call(start=torch.arange(3)), "`start` must be a vector of floating-point numbers"),
    "a matrix": (lambda: call(start=torch.ones(2, 2)), "`start` must be a vector"),
}


def _noisy(seed):
    run = call(noise=0.5, steps=20, seed=seed)
    return run.x, run.history["loss"], run.diverged


SEEDED = {"minimise": _noisy}
