"""What simulate and flow refuse, and their calls of several seeds: read by tests/contract/test_public.py."""

import torch

from descent.papers.ssi import flow, simulate


def square(s, z):
    return (torch.tanh(s.sum(0)) - z.sum(0)) ** 2 / 2


def run(loss=square, **changes):
    given = {"tokens": 2, "dimension": 100, "lr": 0.2, "steps": 60, "start": 0.2, "level": 0.5, "dtype": torch.float64}
    return simulate(loss, **{**given, **changes})


def moving(**changes):
    return flow(square, **{"tokens": 2, "start": 0.2, "times": [1.0], **changes})


REFUSED = {
    "overlaps outside the sphere": (lambda: run(start=(0.9, 0.9)), "e^2 + m^2 at most 1"),
    "an overlap above 1": (lambda: run(start=1.2), "`start` must lie in [-1, 1]"),
    "an encoding of three tokens": (lambda: run(tokens=3, start=(0.1, 0.1)), "opposite encoding of 2 tokens"),
    "an encoding of the plain network": (lambda: run(method="plain", start=(0.1, 0.1)), "plain network"),
    "a loss that cannot be called": (lambda: run(3.0), "`loss` must be callable"),
    "a loss that is a mean": (lambda: run(lambda s, z: (s - z).square().mean()), "one number a row"),
    "a loss of the teacher alone": (lambda: run(lambda s, z: z.sum(0)), "does not depend on the student's fields"),
    "nothing to see": (lambda: run(level=None), "give `level` or `at`"),
    "a record after the end": (lambda: run(at=[61]), "`at` must be whole steps in [0, 60]"),
    "an unknown student": (lambda: run(method="untied"), "`method` must be"),
    "a small space": (lambda: run(dimension=3), "`dimension` must lie in"),
    "half precision": (lambda: run(dtype=torch.float16), "`dtype` must be torch.float32 or torch.float64"),
    "no seed": (lambda: run(seed=()), "`seed` must be"),
    "a flow of many tokens": (lambda: moving(tokens=5), "`tokens` must be 1 or 2"),
    "times that fall": (lambda: moving(times=[2.0, 1.0]), "`times` must ascend"),
}


def seen(seed):
    """(time, m at a step), the seeds leading."""
    own = run(seed=seed, at=[40])
    return own.time, own.history["m"].movedim(-1, 0) if own.history["m"].dim() == 2 else own.history["m"]


SEEDED = {
    "tied": seen,
    "plain": lambda seed: (run(seed=seed, method="plain").time,),
    "encoded": lambda seed: (run(seed=seed, start=(0.2, 0.1)).time,),
}
