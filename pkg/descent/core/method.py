"""What a method is: the one shape that every room's methods have.

A builder closes over a problem and its settings and returns a `Method`: how a run starts, what random numbers a block
of its steps takes from the host, and what one step does. Steps run on the device and wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

State = TypeVar("State")
Noise = TypeVar("Noise")
Info = TypeVar("Info")


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
