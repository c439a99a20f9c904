"""Training by any rule: Adam, and the paper's penalty on activity, whose weight shrinks as the error does.

Loss: main + r mean(h^2). r starts at `penalty`; whenever r mean(h^2) is at least half of main, r becomes 2 r / 3, for good, from
the next update on (official code). Each run has its own r and learning rate.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.errors import SettingError
from descent.core.method import Method
from descent.core.settings import check
from descent.papers.eprop.credit import RULES, Errors, cell_averaging, gradients
from descent.papers.eprop.network import Parameters, Wiring, forward
from descent.papers.eprop.settings import RULE, SETTINGS
from descent.papers.eprop.tasks import Task

BETAS, EPSILON = (0.9, 0.999), 1e-8
SHRINK, SHARE = 2 / 3, 0.5


class State(NamedTuple):
    parameters: Parameters  # (K, ...)
    mean: Parameters  # Adam's first moments
    square: Parameters  # Adam's second moments
    penalty: Tensor  # (K,) r
    updates: Tensor  # () updates so far, float64


class Info(NamedTuple):
    """One update's report, of the parameters before it."""

    loss: Tensor  # (K,) main
    activity: Tensor  # (K,) mean of h^2 over steps, trials and units
    diverged: Tensor  # (K,) bool


def learner(
    task: Task,
    *,
    rule: str = "eprop",
    lr: float | Tensor = 3e-4,
    penalty: float = 10.0,
    alpha: float = 0.1,
    activation: str = "retanh",
    wiring: Wiring | None = None,
    feedback: Tensor | None = None,
) -> Method:
    """Runs that learn `task` by one rule.

    lr: one learning rate, or one a run (K,). penalty: r at the start. alpha: dt / tau. wiring: signs and sparsity, none by
    default. feedback: (K, O, N), for fa and rflo. `init` takes the parameters. Raises SettingError.
    """
    rates = lr.tolist() if isinstance(lr, Tensor) else [lr]
    for rate in rates:
        check(
            "learner",
            {"rule": RULE, **SETTINGS},
            rule=rule,
            lr=rate,
            penalty=penalty,
            alpha=alpha,
            activation=activation,
        )
    wiring, kept, cells = wiring or Wiring(), RULES[rule], None
    if kept.random_feedback and feedback is None:
        raise SettingError(f"learner: rule {rule} needs `feedback`, a fixed matrix (K, O, N); see `random_feedback`")
    if kept.path == "cells":
        if not wiring.dale or activation != "relu":
            raise SettingError(
                f"learner: rule {rule} is defined for `activation` relu and a `wiring` under Dale's law, got {activation}"
                f"{'' if wiring.dale else ' without Dale'}"
            )
        cells = cell_averaging(wiring.mask.shape[-1], wiring.mask)  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]: Dale's law has one

    def init(parameters: Parameters) -> State:
        zero = Parameters(*(torch.zeros_like(p) for p in parameters))
        r = torch.full_like(parameters.b[:, 0], penalty)
        return State(parameters, zero, zero, r, torch.zeros((), dtype=torch.float64, device=r.device))

    def step(state: State, noise) -> tuple[State, Info]:
        parameters, r = state.parameters, state.penalty
        W = wiring.effective(parameters.W)
        batch = task.make(noise)
        activity = forward(parameters, W, batch.x, alpha=alpha, activation=activation)
        main, slope = task.loss(activity.output, batch)
        energy = activity.hidden.square().mean((1, 2, 3))
        gradient = gradients(
            kept, parameters, W, activity, Errors(slope, r), feedback,
            alpha=alpha, activation=activation, wiring=wiring, cells=cells,
        )  # fmt: skip
        new = adam(state, gradient, lr)
        r = torch.where(r * energy >= SHARE * main, r * SHRINK, r)
        return State(*new, r, state.updates + 1), Info(main, energy, ~(main + energy).isfinite())

    return Method(init, step, task.draw)


def adam(state: State, gradient: Parameters, lr: float | Tensor) -> tuple[Parameters, Parameters, Parameters]:
    """One update: the new parameters and moments."""
    first, second = BETAS
    count = state.updates + 1
    correction = ((1 - second**count).sqrt() / (1 - first**count)).to(gradient.b.dtype)
    rate = correction * lr  # () or (K,)
    slack = (1 - second**count).sqrt().to(gradient.b.dtype) * EPSILON
    out = []
    for p, g, m, v in zip(state.parameters, gradient, state.mean, state.square, strict=True):
        m = torch.lerp(m, g, 1 - first)
        v = torch.lerp(v, g * g, 1 - second)
        size = rate.reshape(-1, *(1 for _ in p.shape[1:]))
        out.append((p - size * m / (v.sqrt() + slack), m, v))
    return tuple(Parameters(*part) for part in zip(*out, strict=True))  # pyright: ignore[reportReturnType]: three of them
