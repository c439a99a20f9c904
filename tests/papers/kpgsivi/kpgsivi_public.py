"""What `fit` refuses, and its calls with several seeds: read by the contract test of public surfaces."""

import torch

from descent.papers import kpgsivi


def bent(z):
    return -0.5 * (z[:, 0] ** 2 / 4 + (z[:, 1] - z[:, 0] ** 2 / 4) ** 2 / 0.25)


def fit(**changes):
    given = {"log_prob": bent, "dim": 2, "steps": 6, "batch": 8, "hidden": 6, **changes}
    return kpgsivi.fit(given.pop("log_prob"), given.pop("dim"), **given)


WIDE = torch.nn.Linear(5, 2)
REFUSED = {
    "no dimension": (lambda: fit(dim=0), "`dim` must be a whole number of at least 1, got 0"),
    "a stranger": (lambda: fit(method="kgp"), "did you mean `kpg`"),
    "a step size of 0": (lambda: fit(lr=0.0), "`lr` must lie in (0, 10], got 0"),
    "no steps": (lambda: fit(steps=0), "`steps` must lie in"),
    "a single point": (lambda: fit(batch=1), "`batch` must lie in"),
    "no seed": (lambda: fit(seed=()), "`seed` must be a whole number or several of them"),
    "no function": (lambda: fit(log_prob=3), "`log_prob` must be a function of points (n, 2), got int"),
    "a density a coordinate": (lambda: fit(log_prob=lambda z: z), "`log_prob` of points (2, 2) must be a tensor (2,)"),
    "no gradient": (lambda: fit(log_prob=lambda z: bent(z).detach()), "give `score` as well"),
    "a network of other latents": (lambda: fit(network=WIDE, hidden=None), "`network` does not take latents (2, 3)"),
    "two networks": (lambda: fit(network=WIDE), "give `hidden` or `network`, not both"),
    "a score of the wrong shape": (lambda: fit(score=lambda z: z[:, 0]), "`score` of points (2, 2) must be a tensor"),
}


def seeded(method):
    def call(seed):
        found = fit(method=method, seed=seed, dtype=torch.float64)
        several = not isinstance(seed, int)
        divergence = found.history["divergence"].mT if several else found.history["divergence"]
        return found.posterior.parameters, found.posterior.sample((5,)), divergence

    return call


SEEDED = {method: seeded(method) for method in ("kpg", "kpgis", "ksivi", "uivi")}
