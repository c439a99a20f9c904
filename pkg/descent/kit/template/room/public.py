"""The method on your own problem: `minimise`, over the same `init` and `step` as the study's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import grad, vmap

from descent.core.errors import SettingError
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.mypaper.descending import descend
from descent.papers.mypaper.momentum import heavy_ball
from descent.papers.mypaper.settings import SETTINGS


class Result(NamedTuple):
    """What `minimise` returns; with several seeds every tensor has a leading axis of them."""

    x: Tensor  # (d,) or (S, d)
    history: dict[str, Tensor]  # "loss": (steps,) or (S, steps)
    diverged: Tensor  # () or (S,) bool: x is not finite


@dataclass(frozen=True)
class _Yours:
    """The user's loss as a problem of this room."""

    gradient: Callable[[Tensor], Tensor]
    draw: Any = None


def minimise(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    *,
    lr: float,
    momentum: float = 0.9,
    noise: float = 0.0,
    steps: int = 100,
    method: str = "heavy_ball",
    seed: int | Sequence[int] = 0,
) -> Result:
    """Minimise `loss`: (d,) -> () from `start` (d,), whose dtype and device are kept.

    lr: the step size; noise: standard deviation of Gaussian noise added to every gradient; method: `heavy_ball` or
    `descend`. Several seeds run side by side, each as it would alone. A run that diverges says so in `diverged`.
    Raises SettingError before anything is computed.
    """
    check("minimise", SETTINGS, step_size=lr, momentum=momentum, noise=noise, steps=steps)
    if method not in ("heavy_ball", "descend"):
        raise SettingError(f"minimise: `method` must be heavy_ball or descend, got {method!r}")
    if not isinstance(start, Tensor) or start.dim() != 1 or not start.is_floating_point():
        raise SettingError("minimise: `start` must be a vector of floating-point numbers")
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if not seeds:
        raise SettingError("minimise: `seed` must be a whole number or several, got none")
    problem: Any = _Yours(vmap(grad(lambda x: loss(x))))
    chosen = (
        heavy_ball(problem, step_size=lr, momentum=momentum)
        if method == "heavy_ball"
        else descend(problem, step_size=lr)
    )
    state = chosen.init(start.detach().repeat(len(seeds), 1))
    values, streams = [], Streams("mypaper")
    with torch.no_grad():
        for k in range(steps):
            drawn = noise * streams.normal("minimise", seeds, start.shape, k, dtype=start.dtype) if noise else 0.0
            state = chosen.update(state, drawn.to(start.device) if isinstance(drawn, Tensor) else drawn)
            values.append(vmap(loss)(state.x))
    history = torch.stack(values, dim=1)
    diverged = ~state.x.isfinite().all(-1)
    if isinstance(seed, int):
        return Result(state.x[0], {"loss": history[0]}, diverged[0])
    return Result(state.x, {"loss": history}, diverged)
