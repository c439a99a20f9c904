"""What guess_and_check and descend refuse, and their calls with several seeds: read by tests/contract/test_public.py."""

import math

import torch
import torch.nn.functional as F

from descent.papers.guesscheck import descend, guess_and_check


def own_problem():
    g = torch.Generator().manual_seed(4)
    A = F.normalize(torch.randn(5, 8, generator=g)).view(5, 2, 4)
    W = torch.outer(torch.randn(2, generator=g), torch.randn(4, generator=g))
    W = W / W.norm()
    return A, (A * W).sum((1, 2)), W


def guess(**changes):
    A, y, W = own_problem()
    given = {"A": A, "y": y, "truth": W, "depth": 2, "width": 3, "tolerance": 0.05} | changes
    return guess_and_check(given.pop("A"), given.pop("y"), **given)


REFUSED = {
    "more measurements than entries": (lambda: guess(A=torch.ones(8, 2, 4)), "`A` must be of shape"),
    "dependent measurements": (lambda: guess(A=torch.ones(5, 2, 4)), "linearly independent"),
    "not a number": (lambda: guess(A=torch.full((5, 2, 4), math.nan)), "`A` must hold finite numbers"),
    "whole numbers": (lambda: guess(A=torch.ones(5, 2, 4, dtype=torch.long)), "`A` must be a floating-point tensor"),
    "a label missing": (lambda: guess(y=torch.ones(4)), "`y` must be of shape"),
    "another dtype": (lambda: guess(y=torch.ones(5, dtype=torch.float64)), "`y` must have the dtype and device of `A`"),
    "a target turned round": (lambda: guess(truth=torch.ones(4, 2)), "`truth` must be of shape"),
    "one layer": (lambda: guess(depth=1), "`depth` must lie in"),
    "no width": (lambda: guess(width=0), "`width` must lie in"),
    "another activation": (lambda: guess(activation="relu"), "`activation` must be linear, tanh or leaky"),
    "another prior": (lambda: guess(prior="normal"), "`prior` must be gauss or uniform"),
    "no tolerance": (lambda: guess(tolerance=0.0), "`tolerance` must lie in"),
    "another method": (lambda: guess(method="mcmc"), "`method` must be auto, literal"),
    "importance too deep": (lambda: guess(method="importance", depth=3), "importance needs depth 2"),
    "no guesses": (lambda: guess(guesses=0), "`guesses` must lie in"),
    "no seed": (lambda: guess(seed=None), "`seed` must be a whole number"),
    "uphill": (lambda: descend(*own_problem()[:2], depth=2, width=3, lr=-1.0), "descend: `lr` must lie in"),
    "no steps": (lambda: descend(*own_problem()[:2], depth=2, width=3, steps=0), "descend: `steps` must lie in"),
}


def _descended(seed):
    run = descend(*own_problem()[:2], depth=2, width=3, lr=0.01, steps=100, seed=seed)
    return run.product, run.diverged


SEEDED = {
    "literal guesses": lambda seed: guess(method="literal", guesses=3000, seed=seed),
    "importance": lambda seed: guess(method="importance", guesses=3000, seed=seed),
    "subset": lambda seed: guess(method="subset", depth=3, seed=seed),
    "descend": _descended,
}
