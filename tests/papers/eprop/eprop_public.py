"""What the public surface refuses, and what it does with several seeds: read by tests/contract/test_public.py."""

import numpy as np
import torch

from descent.papers.eprop import RateRNN, cka, dsa, noise_floor, procrustes, train

_generator = torch.Generator().manual_seed(0)
X = torch.randn(6, 14, 3, generator=_generator, dtype=torch.float32)
Y = X[..., :2].cumsum(1) / 4

REFUSED = {
    "RateRNN(3, 0, 2)": (lambda: RateRNN(3, 0, 2), "RateRNN: `hidden` must be a whole number of at least 1, got 0"),
    "RateRNN(3, 4, 2, rule='eporp')": (lambda: RateRNN(3, 4, 2, rule="eporp"), "got 'eporp'"),
    "RateRNN(3, 4, 2, alpha=0.0)": (lambda: RateRNN(3, 4, 2, alpha=0.0), "RateRNN: `alpha` must lie in"),
    "RateRNN(3, 4, 2, rule='modprop')": (
        lambda: RateRNN(3, 4, 2, rule="modprop"),
        "rule modprop needs `activation` relu",
    ),
    "RateRNN(3, 4, 2, seed=1.5)": (
        lambda: RateRNN(3, 4, 2, seed=1.5),
        "RateRNN: `seed` must be a whole number, got 1.5",
    ),
    "RateRNN(3, 4, 2)(X[..., :2])": (
        lambda: RateRNN(3, 4, 2)(X[..., :2]),
        "RateRNN: `x` must have the shape (batch, time, 3), got (6, 14, 2)",
    ),
    "RateRNN(3, 4, 2)(X.double())": (
        lambda: RateRNN(3, 4, 2)(X.double()),
        "RateRNN: `x` must be of the network's torch.float32, got torch.float64",
    ),
    "RateRNN(3, 4, 2)(X.clone().requires_grad_())": (
        lambda: RateRNN(3, 4, 2)(X.clone().requires_grad_()),
        "RateRNN: inputs get no gradient",
    ),
    "train(X, Y[:, :3], hidden=4)": (lambda: train(X, Y[:, :3], hidden=4), "train: `targets` must fit"),
    "train(X[0], Y, hidden=4)": (lambda: train(X[0], Y, hidden=4), "train: `inputs` must be a floating-point tensor"),
    "train(X, Y, mask=torch.zeros(6, 14), hidden=4)": (
        lambda: train(X, Y, mask=torch.zeros(6, 14), hidden=4),
        "not all 0",
    ),
    "train(X, Y, recordings=np.zeros((6, 3, 5)), hidden=4)": (
        lambda: train(X, Y, recordings=np.zeros((6, 3, 5)), hidden=4),
        "train: `recordings` must hold 6 conditions",
    ),
    "train(X, Y, hidden=4, steps=25, every=10)": (
        lambda: train(X, Y, hidden=4, steps=25, every=10),
        "train: `steps` must be a multiple of `every`, got 25 and 10",
    ),
    "train(X, Y, hidden=4, lr=0.0)": (lambda: train(X, Y, hidden=4, lr=0.0), "train: `lr` must lie in"),
    "train(X, Y, hidden=4, seed=())": (
        lambda: train(X, Y, hidden=4, seed=()),
        "train: `seed` must be a whole number or several, got none",
    ),
    "procrustes(X[0], Y[0, :5])": (
        lambda: procrustes(X[0], Y[0, :5]),
        "procrustes: `x` and `y` must pair at least 2 points in rows, got 14 and 5 rows",
    ),
    "cka(X, Y)": (lambda: cka(X, Y), "cka: `x` must be an array of 2 dimensions"),
    "procrustes(X[0] / 0, Y[0])": (
        lambda: procrustes(X[0] / 0, Y[0]),
        "procrustes: `x` holds values that are not finite",
    ),
    "dsa(X, Y, rank=40)": (lambda: dsa(X, Y, rank=40), "is too short for 5 delays and rank 40"),
    "noise_floor(X, half=2)": (
        lambda: noise_floor(X, half=2),
        "noise_floor: `half` must be at most half of the 3 units, got 2",
    ),
}


def _seeded(seed):
    found = train(
        X,
        Y,
        hidden=6,
        rule="eprop",
        steps=20,
        every=10,
        lr=1e-3,
        alpha=0.3,
        recordings=Y.numpy(),
        target_error=5.0,
        seed=seed,
    )
    return (
        found.parameters["W"],
        found.history["error"],
        found.history["distance"],
        found.matched_distance,
        found.steps_needed,
    )


SEEDED = {"train": _seeded}
