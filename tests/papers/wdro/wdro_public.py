"""What RobustLoss refuses: read by tests/contract/test_public.py. It takes one seed, as modules do."""

from torch import nn

from descent.papers.wdro import RobustLoss


def robust(**changes):
    return RobustLoss(nn.MSELoss(reduction="none"), **{"radius": 0.1, **changes})


REFUSED = {
    "a ball of no size": (lambda: robust(radius=0.0), "`radius` must be a number above 0"),
    "a loss that cannot be called": (lambda: RobustLoss("mse", radius=0.1), "`loss` must be callable"),
    "an unknown sampler": (lambda: robust(sampler="shift"), "`sampler` must be"),
    "a dual that starts outside": (lambda: robust(dual=(1.0, 0.5, 2.0)), "`dual` must have 0 < low <= start <= high"),
    "a dual of two numbers": (lambda: robust(dual=(1.0, 2.0)), "`dual` must be three numbers"),
    "no regularisation": (lambda: robust(epsilon=0.0), "`epsilon` must lie in"),
    "several seeds": (lambda: robust(seed=range(3)), "`seed` must be a whole number"),
    "one draw for two labels": (lambda: robust(label_flip=0.1, samples=1), "`samples` must be at least 2"),
}
SEEDED = {}
