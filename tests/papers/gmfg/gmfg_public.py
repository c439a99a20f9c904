"""What solve refuses, and its calls of several seeds: read by tests/contract/test_public.py."""

import torch

from descent.papers.gmfg import Game, kernel, solve


def own(graphon=lambda x, y: torch.exp(-3 * (x - y).abs()), game=None, **changes):
    given = {"players": 6, "start": lambda x: 1 + x, "steps": 2, "dtype": torch.float64}
    return solve(game or Game.scalar(intervals=5), graphon, **{**given, **changes})


REFUSED = {
    "a graphon that is not symmetric": (lambda: own(lambda x, y: x + 0 * y), "must be symmetric"),
    "a graphon that is not finite": (lambda: own(lambda x, y: 1 / (x - y).abs()), "must be finite"),
    "a matrix of another size": (lambda: own(torch.ones(5, 5)), "a matrix (6, 6)"),
    "an unknown graphon": (lambda: own("uniform"), "must be a function, a matrix or"),
    "an unknown graphon of the study": (lambda: kernel("mine", 10), "must be a function, a matrix or"),
    "means of another size": (lambda: own(start=torch.ones(5)), "`start` must give finite means"),
    "a start that is a number": (lambda: own(start=1.0), "`start` must be a function"),
    "a step of no size": (lambda: own(lr=0.0), "`lr` must lie in"),
    "an exact answer with a step": (lambda: own(method="picard", lr=0.1), "takes no `lr`"),
    "several seeds of nothing drawn": (lambda: own(seed=range(3)), "draws nothing"),
    "an unknown method": (lambda: own(method="ppo"), "`method` must be"),
    "no game": (
        lambda: solve({"A": 1.0}, "constant", players=3, start=torch.ones(3), steps=1),
        "`game` must be a Game",
    ),
    "a game in single precision": (lambda: Game(*[torch.ones(1, 1)] * 10), "must be a float64 tensor"),
    "a cost of another size": (
        lambda: Game(*[torch.ones(2, 2).double() if i != 4 else torch.ones(1, 1).double() for i in range(10)]),
        "`R` must be of shape (2, 2)",
    ),
    "half precision": (lambda: own(dtype=torch.float16), "`dtype` must be torch.float32 or torch.float64"),
}


def simulated(seed):
    """(K, Z, exploitability), the seeds leading."""
    found = own(method="sampled", particles=8, inner=2, seed=seed)
    return found.K, found.Z, found.exploitability.movedim(-1, 0) if not isinstance(seed, int) else found.exploitability


SEEDED = {"sampled": simulated}
