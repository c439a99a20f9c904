"""MuJoCo tasks through Gymnasium, the optional extra `mujoco`: the extended tier and the paper's scale.

The physics run on the host, one environment a row, so every time step waits for the policy's device; nothing else of the
study does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from torch import Tensor

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.papers.rpg.environments import SEEDS, Singles, rollout, spaces
from descent.papers.rpg.problem import Controller, Trajectories
from descent.papers.rpg.settings import SETTINGS

TASKS = {"pendulum": "InvertedPendulum", "swimmer": "Swimmer", "cheetah": "HalfCheetah"}
VERSIONS = ("v5", "v4")  # of Gymnasium 1.x and 0.29


class Gymnasium:
    """`environment`: pendulum, swimmer or cheetah; any name when `make` builds the task.

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
        own = {} if make else {"environment": environment}
        check(environment, SETTINGS, **own, horizon=horizon, discount=discount)
        self.horizon, self.discount = horizon, discount
        self._make = make or maker(environment)
        self._environments = [self._make()]
        (self.state_size,), (self.action_size,) = spaces(Singles(self._environments), environment)

    def rollout(self, controller: Controller, normals: Tensor, start: Tensor) -> Trajectories:
        """See `Problem`. The first row of `start` seeds each row's environment, so a rollout repeats to the bit."""
        seeds = (start[0] * SEEDS).long().tolist()
        while len(self._environments) < len(seeds):
            self._environments.append(self._make())
        row = Singles(self._environments[: len(seeds)])
        return rollout([row], [seeds], controller, normals, self.discount)


def maker(environment: str) -> Callable[[], Any]:
    """A function that builds the task, in the newest version that is installed."""
    if environment not in TASKS:
        raise SettingError(f"rpg: `environment` {environment} is no MuJoCo task; these are {', '.join(TASKS)}")
    try:
        import gymnasium  # pyright: ignore[reportMissingImports]: an optional extra
        import mujoco  # pyright: ignore[reportMissingImports]
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

    def make() -> Any:
        # Advice that a newer version exists, that rendering is not set up, or that a model file's attribute is old; none concerns a run.
        own = getattr(mujoco, "get_mju_user_warning", lambda: None)()
        hear = getattr(mujoco, "set_mju_user_warning", lambda function: None)
        hear(lambda text: None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return gymnasium.make(name, disable_env_checker=True).unwrapped
        finally:
            hear(own)

    return make
