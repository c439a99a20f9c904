"""Adam and its schedule on flat parameter vectors, and the state that every method here has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypedDict

import torch
from torch import Tensor

from descent.core.settings import check
from descent.papers.kpgsivi.settings import SETTINGS


class Moments(NamedTuple):
    """Adam's running means of the gradient and of its square, (R, P) each."""

    first: Tensor
    second: Tensor


class State(NamedTuple):
    """A run of a method without parts of its own."""

    params: Tensor  # (R, P) phi: the network, then log sigma^2
    moments: Moments
    steps: Tensor  # () steps done


class Moving(Protocol):
    """What Adam moves: any method's state."""

    @property
    def params(self) -> Tensor: ...
    @property
    def moments(self) -> Moments: ...
    @property
    def steps(self) -> Tensor: ...


class Descent(TypedDict, total=False):
    """The settings of the optimiser, which every method takes."""

    step_size: float
    beta2: float
    decay: float
    decay_every: int
    warm_up: int


@dataclass(frozen=True)
class Optimiser:
    """Adam (first beta .9); the step size is multiplied by `decay` every `decay_every` steps (0: never).

    warm_up: steps over which the target's score is heated, c_t = min(1, .1 + t / warm_up) with t from 1; 0: not at all.
    """

    step_size: float = 1e-3
    beta2: float = 0.999
    decay: float = 1.0
    decay_every: int = 0
    warm_up: int = 0

    @classmethod
    def of(cls, method: str, settings: Descent, **others: object) -> Optimiser:
        """From a builder's arguments; raises SettingError, naming the method."""
        check(method, SETTINGS, **settings, **others)
        return cls(**settings)

    def heat(self, state: Moving) -> Tensor | float:
        """c_t of the step that is about to be done."""
        return ((state.steps + 1) / self.warm_up + 0.1).clamp_max(1.0) if self.warm_up else 1.0

    def rate(self, count: Tensor, factor: float = 1.0) -> Tensor | float:
        """The step size of step number `count` (from 1)."""
        if self.decay == 1 or not self.decay_every:
            return self.step_size * factor
        return self.step_size * factor * self.decay ** torch.floor((count - 1) / self.decay_every)

    def move(self, state: Moving, gradient: Tensor) -> tuple[Tensor, Moments, Tensor]:
        """(params, moments, count) after Adam's step down `gradient` (R, P)."""
        count = state.steps + 1
        params, moments = adam(
            state.params, gradient, state.moments, count, step_size=self.rate(count), beta2=self.beta2
        )
        return params, moments, count


def at_rest(params: Tensor) -> Moments:
    """The moments before the first step."""
    return Moments(torch.zeros_like(params), torch.zeros_like(params))


def start(params: Tensor) -> State:
    """A run's state before the first step."""
    return State(params, at_rest(params), torch.zeros((), dtype=params.dtype, device=params.device))


def adam(
    params: Tensor, gradient: Tensor, moments: Moments, count: Tensor, *, step_size: Tensor | float, beta2: float,
    beta1: float = 0.9,
) -> tuple[Tensor, Moments]:  # fmt: skip
    """Kingma and Ba, ICLR 2015, as torch.optim.Adam: bias-corrected, epsilon 1e-8 outside the root."""
    first = torch.lerp(moments.first, gradient, 1 - beta1)
    second = (moments.second * beta2).addcmul_(gradient, gradient, value=1 - beta2)
    scale = second.sqrt().div_((1 - beta2**count).sqrt()).add_(1e-8)
    change = first * (step_size / (1 - beta1**count))
    return torch.addcdiv(params, change, scale, value=-1), Moments(first, second)


def lost(params: Tensor) -> Tensor:
    """(R,) whether a row's parameters are no longer finite; their sum tells, in one pass."""
    return ~params.sum(-1).isfinite()
