"""Environments of one's own: Gymnasium's vector protocol, or single environments side by side. Nothing here imports Gymnasium.

The environments run on the host, so every time step waits for the policy's device.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.papers.rpg.problem import Controller, Trajectories

SEEDS = 2**31


class Singles:
    """n single environments as one of the vector protocol; what has ended is not stepped again before the next reset."""

    def __init__(self, environments: Sequence[Any]):
        self.environments, self.num_envs = list(environments), len(environments)
        self.single_observation_space = getattr(environments[0], "observation_space", None)
        self.single_action_space = getattr(environments[0], "action_space", None)

    def reset(self, *, seed: int | Sequence[int]) -> tuple[np.ndarray, dict[str, Any]]:
        """The first observations (n, ...); one seed gives environment i seed + i."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        self._over = np.zeros(self.num_envs, bool)
        self._seen = np.stack([np.asarray(e.reset(seed=s)[0]) for e, s in zip(self.environments, seeds, strict=True)])
        return self._seen, {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """observations, rewards, terminated, truncated, {}."""
        seen, rewards = self._seen.copy(), np.zeros(self.num_envs)
        terminated, truncated = self._over.copy(), np.zeros(self.num_envs, bool)
        for i in np.flatnonzero(~self._over):
            seen[i], rewards[i], terminated[i], truncated[i], _ = self.environments[i].step(actions[i])
        self._seen, self._over = seen, terminated | truncated
        return seen, rewards, terminated, truncated, {}


def maker(make_env: Callable[..., Any], owner: str) -> Callable[[int], Any]:
    """count -> a vector environment. make_env(n) gives one; make_env() gives a single environment. Raises SettingError."""
    if not callable(make_env):
        raise SettingError(
            f"{owner}: `make_env` must be a function: make_env(n) -> a vector environment of n, or make_env() -> a single one, "
            f"got {type(make_env).__name__}"
        )
    try:
        inspect.signature(make_env).bind(1)
    except TypeError:
        return lambda count: Singles([make_env() for _ in range(count)])
    except ValueError:  # a function that does not say what it takes
        pass
    return make_env


def spaces(environment: Any, owner: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of one observation and of one action. Raises SettingError for what a Gaussian policy cannot serve."""
    found = []
    for name, what in (("single_observation_space", "observations"), ("single_action_space", "actions")):
        space = getattr(environment, name, None)
        if space is None:
            raise SettingError(
                f"{owner}: `make_env` must give an environment of Gymnasium's vector protocol, but {type(environment).__name__} has "
                f"no `{name}`"
            )
        shape = getattr(space, "shape", None)
        discrete = hasattr(space, "n") or hasattr(space, "nvec")
        if discrete or shape is None or (what == "actions" and len(shape) != 1):
            raise SettingError(
                f"{owner}: `make_env` has {what} {space}; RPG's policies are Gaussian, so they must be a Box"
                + (" of one axis" if what == "actions" and not discrete else "")
                + (" (a discrete action has no density to weigh by)" if what == "actions" and discrete else "")
            )
        found.append(tuple(int(n) for n in shape))
    return found[0], found[1]


def rollout(
    environments: Sequence[Any], seeds: Sequence[Any], controller: Controller, normals: Tensor, discount: float = 1.0
) -> Trajectories:
    """One episode in every environment, at most T steps; the rows are those of the first environment, then the second, ...

    seeds: what each environment is reset with. normals (T, A, R). An episode ends with the step that says `terminated` or
    `truncated`; nothing is added for what a truncated one might still have earned. Actions are passed on unclipped.
    """
    steps, action_size, rows = normals.shape
    groups = np.split(np.arange(rows), np.cumsum([e.num_envs for e in environments])[:-1])
    first = [_flat(e.reset(seed=s)[0]) for e, s in zip(environments, seeds, strict=True)]
    state = np.concatenate(first, axis=1)
    states, actions = np.zeros((steps, len(state), rows)), np.zeros((steps, action_size, rows))
    rewards, alive = np.zeros((steps, rows)), np.zeros((steps, rows))
    running = np.ones(rows, bool)
    for t in range(steps):
        if not running.any():
            break
        states[t], alive[t] = np.where(running, state, 0.0), running
        taken = controller(torch.from_numpy(states[t]).to(normals), normals[t]).cpu().numpy()
        actions[t] = np.where(running, taken, 0.0)
        for environment, at in zip(environments, groups, strict=True):
            if running[at].any():
                seen, reward, terminated, truncated, _ = environment.step(_as_asked(environment, actions[t][:, at].T))
                state[:, at] = _flat(seen)
                rewards[t, at] = discount**t * np.asarray(reward, float) * running[at]
                running[at] &= ~(np.asarray(terminated, bool) | np.asarray(truncated, bool))
    return Trajectories(*(torch.from_numpy(part).to(normals) for part in (states, actions, rewards, alive)))


def _flat(observations: Any) -> np.ndarray:
    """(n, ...) as (d, n) float64."""
    seen = np.asarray(observations, float)
    return seen.reshape(len(seen), -1).T


def _as_asked(environment: Any, actions: np.ndarray) -> np.ndarray:
    """The actions (n, A) in the precision that the space names; float64 where it names none."""
    return np.ascontiguousarray(actions, getattr(environment.single_action_space, "dtype", None) or float)
