"""MuJoCo tasks through Gymnasium, the optional extra `mujoco`: the paper's scale only.

The physics run on the host, one environment a row, so every time step waits for the policy's device; nothing else in
this room does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.papers.rpg.problem import Controller, Trajectories
from descent.papers.rpg.settings import SETTINGS

TASKS = {"pendulum": "InvertedPendulum", "swimmer": "Swimmer", "cheetah": "HalfCheetah"}
VERSIONS = ("v5", "v4")  # of Gymnasium 1.x and 0.29
SEEDS = 2**31


class Gymnasium:
    """`environment`: pendulum, swimmer or cheetah, or any task when `make` builds it.

    make() -> a Gymnasium environment with box observations and actions; by default the MuJoCo task. Actions are passed on
    unclipped. Raises SettingError, also where the packages are absent.
    """

    def __init__(
        self,
        environment: str,
        *,
        horizon: int = 200,
        discount: float = 1.0,
        make: Callable[[], Any] | None = None,
    ):
        check(environment, SETTINGS, environment=environment, horizon=horizon, discount=discount)
        self.horizon, self.discount = horizon, discount
        self._make = make or maker(environment)
        self._environments = [self._make()]
        self.state_size = self._environments[0].observation_space.shape[0]
        self.action_size = self._environments[0].action_space.shape[0]

    def rollout(self, controller: Controller, normals: Tensor, start: Tensor) -> Trajectories:
        """See `Problem`. The first row of `start` seeds each row's environment, so a rollout repeats to the bit."""
        steps, action_size, rows = normals.shape
        device = normals.device
        environments = self._of(rows)
        seeds = (start[0] * SEEDS).to(torch.int64).tolist()
        state = np.stack([env.reset(seed=seed)[0] for env, seed in zip(environments, seeds, strict=True)], axis=1)
        states = np.zeros((steps, self.state_size, rows))
        actions = np.zeros((steps, action_size, rows))
        rewards, alive = np.zeros((steps, rows)), np.zeros((steps, rows))
        running = np.ones(rows, bool)
        for t in range(steps):
            if not running.any():
                break
            states[t], alive[t] = state * running, running
            actions[t] = controller(torch.from_numpy(states[t]).to(device), normals[t]).cpu().numpy() * running
            for row in np.flatnonzero(running):
                seen, reward, terminated, _, _ = environments[row].step(actions[t, :, row])
                state[:, row], rewards[t, row] = seen, self.discount**t * reward
                running[row] = not terminated
        return Trajectories(*(torch.from_numpy(part).to(device) for part in (states, actions, rewards, alive)))

    def _of(self, rows: int) -> list[Any]:
        while len(self._environments) < rows:
            self._environments.append(self._make())
        return self._environments[:rows]


def maker(environment: str) -> Callable[[], Any]:
    """A function that builds the task, in the newest version that is installed."""
    if environment not in TASKS:
        raise SettingError(f"rpg: `environment` {environment} is no MuJoCo task; these are {', '.join(TASKS)}")
    try:
        import gymnasium
        import mujoco  # noqa: F401
    except ImportError as error:
        raise SettingError(
            f"rpg: `environment` {environment} needs the packages gymnasium and mujoco ({str(error).splitlines()[0]}); "
            "install them with `pip install 'descent[mujoco]'`"
        ) from None
    known = [f"{TASKS[environment]}-{version}" for version in VERSIONS]
    name = next((name for name in known if name in gymnasium.registry), None)
    if name is None:
        raise SettingError(
            f"rpg: Gymnasium {gymnasium.__version__} has no {' or '.join(known)}; install gymnasium 0.29 or 1.x"
        )
    return lambda: gymnasium.make(name, disable_env_checker=True).unwrapped
