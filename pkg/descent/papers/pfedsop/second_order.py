"""pFedSOP: personal models that meet only through their updates, and a damped step along a mixture of them.

Sen and Krishna Mohan, arXiv 2506.07159. A round: each participant mixes its own last update with the global one by their angle,
steps along the mixture, trains locally, and sends the sum of its gradients; the server averages these sums. No parameters travel.

The equations leave open what a client keeps. `anchor`: x_i stays where the step ended, and the local run is a probe that is
predicted with. `carry`: x_i moves on to the end of the local run, as an implementation with one mutable model would have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.pfedsop.federation import Cost, Federation
from descent.papers.pfedsop.personalisation import angle, damping, gompertz, mixture
from descent.papers.pfedsop.rounds import Round
from descent.papers.pfedsop.settings import check_all


class State(NamedTuple):
    """F federations, K clients, d parameters. The clients' rows are overwritten in place."""

    model: Tensor  # (F, K, d) x_i
    update: Tensor  # (F, K, d) D_i, the client's last local update: the SUM of its T gradients
    seen: Tensor  # (F, K) bool: has taken part
    shared: Tensor  # (F, d) D, the mean update of the previous round
    begun: Tensor  # (F,) bool: there is a D
    personal: Tensor  # (F, K, d) y_i, what client i predicts with
    cost: Cost


class Info(NamedTuple):
    """A round's participants, (F, m) each; meaningless where `warm` is false."""

    warm: Tensor  # bool: made a second-order step
    angle: Tensor  # phi, radians
    mix: Tensor  # beta
    update_norm: Tensor  # |D_i^p|
    step_length: Tensor  # |x_i - a_i|
    drift: Tensor  # |a_i - e_i|, the way of the local run


def pfedsop(
    federation: Federation,
    *,
    step_size: float | Sequence[float | None] | None = None,
    rho: float | Sequence[float] = 100.0,
    sharpness: float | Sequence[float] = 1.0,
    state_rule: str = "anchor",
    predict: str = "after_training",
    cold_start: str = "skip",
    order: str = "second",
    mix: float | None = None,
) -> Method:
    """The paper's method. step_size: eta1, None: 10 eta2 rho; rho: the FIM's regulariser; sharpness: lambda; sequences: one a grid
    value.

    state_rule: anchor or carry. predict: after_training (e_i) or after_step (a_i, a diagnostic of `anchor`).
    cold_start: what a client without an update of its own does when there is a global one: skip the step, or take the
    global update for its own. order: first leaves the curvature out, a_i = x_i - eta1 D_i^p. mix: a constant beta.
    Raises SettingError for a value outside its limits.
    """
    check_all(
        "pfedsop", step_size=step_size, rho=rho, sharpness=sharpness, state_rule=state_rule, predict=predict,
        cold_start=cold_start, order=order, mix=mix,
    )  # fmt: skip
    fed = federation
    sizes = [
        10 * lr * damp if eta is None else eta
        for eta, lr, damp in zip(fed.each(step_size), fed.each(fed.local_step_size), fed.each(rho), strict=True)
    ]
    eta1, regulariser, steepness = (fed.column(values)[..., 0] for values in (sizes, rho, sharpness))

    def init() -> State:
        return State(
            fed.everyone(),
            fed.zeros(fed.clients, fed.network.size),
            fed.zeros(fed.clients, dtype=torch.bool),
            fed.zeros(fed.network.size),
            fed.zeros(dtype=torch.bool),
            fed.everyone(),
            fed.cost(),
        )

    def step(state: State, round: Round) -> tuple[State, Info]:
        rows = fed.rows(round)
        model, own = fed.take(state.model, rows), fed.take(state.update, rows)
        seen = fed.take(state.seen, rows)
        shared = state.shared[:, None]
        if cold_start == "global":
            own = torch.where(seen[..., None], own, shared)
            seen = torch.ones_like(seen)
        warm = seen & state.begun[:, None]
        phi = angle(own, shared)
        beta = gompertz(phi, steepness) if mix is None else torch.full_like(phi, mix)
        update = mixture(own, shared.expand_as(own), beta)
        length = update.norm(dim=-1)
        size = eta1 * damping(length, regulariser) if order == "second" else eta1.expand_as(length)
        size = torch.where(warm, size, 0.0)
        stepped = torch.addcmul(model, update, size[..., None], value=-1)
        trained = fed.train(stepped, round.index)
        # From where the local run began: after the step, not before it.
        fresh = (stepped - trained).div_(fed.lr)
        drift = fresh.norm(dim=-1) * fed.lr[..., 0]
        info = Info(warm, phi, beta, length, size * length, drift)
        # Up: every participant's update; down: the global one, once there is one.
        numbers = fed.network.size * (1 + state.begun.to(torch.int64))
        kept = State(
            fed.put_(state.model, rows, stepped if state_rule == "anchor" else trained),
            fed.put_(state.update, rows, fresh),
            fed.put_(state.seen, rows, torch.ones_like(seen)),
            fresh.mean(1),
            torch.ones_like(state.begun),
            fed.put_(state.personal, rows, stepped if predict == "after_step" else trained),
            fed.charge(state.cost, 1, numbers, round.index),
        )
        return kept, info

    return Method(init, step, fed.rounds.draw)


def _with(about: str, **changed: Any):
    """`pfedsop` with something changed for good; it takes the three settings that all its variations share."""

    def variation(
        federation: Federation,
        *,
        step_size: float | Sequence[float | None] | None = None,
        rho: float | Sequence[float] = 100.0,
        sharpness: float | Sequence[float] = 1.0,
    ) -> Method:
        return pfedsop(federation, step_size=step_size, rho=rho, sharpness=sharpness, **changed)

    variation.__doc__ = about
    return variation


carry = _with("pFedSOP in the other reading: a client keeps the end of its local run.", state_rule="carry")
after_step = _with(
    "pFedSOP that predicts before the local run, by what the step alone has made of x_i.", predict="after_step"
)
first_order = _with("The same personalised update without the curvature.", order="first")
own_only = _with("pFedSOP that never uses the global update.", mix=0.0)
even = _with("pFedSOP that takes own and global update in equal parts.", mix=0.5)
shared_only = _with("pFedSOP that never uses the client's own update.", mix=1.0)
