"""Small problems with closed answers, and the study's own where the data sets are fetched."""

import numpy as np
import pytest
import torch

from descent.papers.wdro import Classification, Regression


def small(kind, n=7, d=3, seed=0, **changes):
    """A problem with n data in d dimensions; kind: squared, logistic or mixed."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.standard_normal((n, d)))
    if kind == "squared":
        return Regression(x, torch.from_numpy(rng.standard_normal(n)), **{"radius": 0.1, "deviation": 0.3, **changes})
    y = torch.from_numpy(rng.choice([-1.0, 1.0], n))
    extra = {"kappa": 0.25, "flip": 0.1} if kind == "mixed" else {}
    return Classification(x, y, **{"radius": 0.1, "deviation": 0.3, **extra, **changes})


@pytest.fixture(scope="session")
def data():
    from descent.data import load
    from descent.data.presence import present

    for name in ("diabetes", "breast_cancer"):
        if not present(name).on_disk:
            pytest.skip(f"dataset {name} is not fetched: make data")
    return {name: load(name) for name in ("diabetes", "breast_cancer")}


@pytest.fixture(scope="session")
def study(data):
    """The study's problems by name."""
    from descent.papers.wdro.instances import problem_of

    settings = {"rows": 0, "radius": 0.1, "deviation": 0.3, "kappa": 0.25, "flip": 0.1}
    return lambda name, **changes: problem_of({**settings, "problem": name, **changes}, data)
