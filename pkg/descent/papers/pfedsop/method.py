"""Stand-in until core.method lands."""
from dataclasses import dataclass
from typing import Any, Callable
from descent import iterate as old
@dataclass(frozen=True)
class Method:
    init: Callable[..., Any]
    step: Callable[..., Any]
    draw: Callable[..., Any] | None = None

def iterate(context, name, state, method, *, steps, block, measure=None, at=()):
    last = [None]
    def step(s, noise):
        s, last[0] = method.step(s, noise)
        return s
    return old.iterate(context, name, state, step, steps=steps, block=block, draw=method.draw, measure=(lambda s: measure(s, last[0])) if measure else None, at=at)

def own_of(v):
    from descent.papers.pfedsop.room import ROOM
    return {n: v.params[n] for n in ROOM.methods[v.method].settings}
