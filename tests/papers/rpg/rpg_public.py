"""What `train` refuses, and a call of several seeds: read by tests/contract/test_public.py."""

from types import SimpleNamespace

import numpy as np
from torch import nn

from descent.papers.rpg import train


class Springs:
    """n springs to be held at 0 by two forces, with a start of its own for each; ends early where one is far off."""

    single_observation_space = SimpleNamespace(shape=(2,))
    single_action_space = SimpleNamespace(shape=(2,))

    def __init__(self, num_envs):
        self.num_envs = num_envs

    def reset(self, *, seed):
        self.x = np.random.default_rng(seed).normal(size=(self.num_envs, 2))
        return self.x.copy(), {}

    def step(self, actions):
        self.x = 0.9 * self.x + 0.2 * actions
        far = np.abs(self.x).max(1) > 1.2
        return self.x.copy(), 1 - (self.x**2).sum(1), far, np.zeros(self.num_envs, bool), {}


class Buttons(Springs):
    single_action_space = SimpleNamespace(shape=(), n=2)


class Liar(Springs):
    def __init__(self, num_envs):
        super().__init__(num_envs + 1)


def run(make_env=Springs, **changes):
    return train(make_env, **{"horizon": 12, "budget": 40, "batch": 4, "window": 3, "lr": 0.05, **changes})


WIDE, ONE, NET = nn.Linear(3, 2), nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double()

REFUSED = {
    "discrete actions": (lambda: run(Buttons), "they must be a Box (a discrete action has no density to weigh by)"),
    "no environment": (lambda: run(None), "`make_env` must be a function"),
    "an environment of another size": (lambda: run(Liar), "`num_envs` 4 when asked for 4, got 5"),
    "no vector protocol": (lambda: run(lambda n: SimpleNamespace(num_envs=n)), "has no `single_observation_space`"),
    "a policy of another size": (lambda: run(policy=WIDE), "`policy` does not take observations (2, 2)"),
    "a policy with one action": (lambda: run(policy=ONE), "must give the mean actions (n, 2)"),
    "a policy without parameters": (lambda: run(policy=nn.Identity()), "has no parameter to train"),
    "a function as a policy": (lambda: run(policy=lambda x: x), "`policy` must be an nn.Module or empty"),
    "no window": (lambda: run(window=0), "`window` must lie in"),
    "no spread": (lambda: run(std=0.0), "`std` must lie in (0, 10], got 0.0"),
    "no steps": (lambda: run(lr=-1.0), "`lr` must lie in"),
    "an unknown method": (lambda: run(method="rgp"), "`method` must be"),
    "half a seed": (lambda: run(seed=0.5), "`seed` must be a whole number"),
}


def values(trained):
    return [trained.parameters, *(trained.history[m].movedim(-1, 0) for m in ("mean_return", "mean_length"))]


def single(trained):
    return [trained.parameters, *(trained.history[m] for m in ("mean_return", "mean_length"))]


def seeded(**changes):
    return lambda seed: (single if isinstance(seed, int) else values)(run(seed=seed, **changes))


SEEDED = {
    "train": seeded(),
    "train, a network": seeded(policy=NET),
    "train, coins of each seed": lambda seed: [run(seed=seed, method="page", budget=150).parameters],
}
