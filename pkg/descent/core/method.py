"""What a method is: the one shape that every room's methods have.

A builder closes over a problem and its settings and returns a `Method`: how a run starts, what random numbers a block
of its steps takes from the host, and what one step does. Steps run on the device and wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, NamedTuple, TypeVar

State = TypeVar("State")
Noise = TypeVar("Noise")
Info = TypeVar("Info")


class Nothing(NamedTuple):
    """The Info of a step that has nothing to report."""


@dataclass(frozen=True)
class Method(Generic[State, Noise, Info]):
    """A method on one problem, all seeds at once.

    init(...) -> State: the start of a run, a NamedTuple of tensors whose leading axis is the seeds.
    step(state, noise) -> (State, Info): one update; Info is a NamedTuple of what the step can report.
    draw(k, count) -> Noise: the random numbers of the `count` steps of block k, on the host, leading axis `count`; None
    for a method that draws nothing.
    """

    init: Callable[..., State]
    step: Callable[[State, Noise], tuple[State, Info]]
    draw: Callable[[int, int], Noise] | None = None

    def update(self, state: State, noise: Any = None) -> State:
        """The state after one step, its Info dropped."""
        return self.step(state, noise)[0]


@dataclass(frozen=True)
class Unseeded(Method[State, Noise, Info]):
    """A method that says how it draws before it knows whose numbers it draws.

    drawing(streams, seeds, block, ...) -> draw; `seeded` takes the same and gives the `Method` that `iterate` runs.
    """

    drawing: Callable[..., Callable[[int, int], Noise]] | None = None

    def seeded(self, *arguments: Any, **options: Any) -> Unseeded[State, Noise, Info]:
        """The method with its `draw`."""
        if self.drawing is None:
            raise TypeError("this method draws nothing")
        return replace(self, draw=self.drawing(*arguments, **options))


@dataclass(frozen=True)
class Acting(Generic[State]):
    """A method that makes its own data: a step is behaviour, the world's answer to it, learning.

    schedule(budget, seeds, coin) -> how much each seed draws at each update, settled before the first one.
    init(...) -> State, as of a `Method`.
    behaviour(state, draw) -> what acts in the world. learn(state, draw, answer, number) -> State; number: from 1.
    """

    schedule: Callable[..., Any]
    init: Callable[..., State]
    behaviour: Callable[[State, Any], Any]
    learn: Callable[[State, Any, Any, int], State]
