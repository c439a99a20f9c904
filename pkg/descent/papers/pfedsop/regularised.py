"""Personal models tied to a global one by a quadratic pull: Ditto (Li et al., ICML 2021) and pFedMe (Dinh et al., NeurIPS 2020).

Rules as in PFLlib, without what silently changes them there: defaults of 0 for Ditto's mu and pFedMe's beta, a decay that the
paper does not have, and personal models that are stored as views of a model that moves on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.pfedsop.federation import Cost, Federation
from descent.papers.pfedsop.rounds import Round
from descent.papers.pfedsop.settings import check_all


class State(NamedTuple):
    """A global model and a personal one a client, the latter overwritten in place."""

    shared: Tensor  # (F, d) g
    personal: Tensor  # (F, K, d) v_i, theta_i
    cost: Cost


class Info(NamedTuple):
    """A round's participants."""

    drift: Tensor  # (F, m) the way of the run that is averaged
    distance: Tensor  # (F, m) from the personal model to the global one that was received


def ditto(federation: Federation, *, proximal: float | Sequence[float] = 1.0) -> Method:
    """v_i: T steps on the loss plus (mu / 2) |v - g|^2, from where it was. g: federated averaging, on the same minibatches.

    mu = 0 leaves v_i to itself: local training.
    """
    check_all("ditto", proximal=proximal)
    fed, pull = federation, federation.column(proximal)

    def init() -> State:
        return State(fed.start.clone(), fed.everyone(), fed.cost())

    def step(state: State, round: Round) -> tuple[State, Info]:
        rows = fed.rows(round)
        received = state.shared[:, None].repeat(1, fed.members, 1)
        personal = fed.train(fed.take(state.personal, rows), round.index, to=received, pull=pull)
        trained = fed.train(received, round.index)
        info = Info((trained - received).norm(dim=-1), (personal - received).norm(dim=-1))
        shared = (fed.shares(round) * trained).sum(1)
        cost = fed.charge(state.cost, 2, 2 * fed.network.size, round.index)
        return State(shared, fed.put_(state.personal, rows, personal), cost), info

    return Method(init, step, fed.rounds.draw)


def pfedme(
    federation: Federation,
    *,
    attraction: float | Sequence[float] = 15.0,
    inner_steps: int = 5,
    inner_step_size: float | Sequence[float] = 0.01,
) -> Method:
    """For each of T minibatches: `inner_steps` steps of theta on the loss plus (lambda / 2) |theta - w|^2, all on that
    minibatch; then w <- w - eta2 lambda (w - theta). g averages the w's; clients predict with theta.

    attraction: lambda; inner_steps: K; inner_step_size: eta of theta.
    """
    check_all("pfedme", attraction=attraction, inner_steps=inner_steps, inner_step_size=inner_step_size)
    fed = federation
    pull, inner = fed.column(attraction), fed.column(inner_step_size)

    def train(start: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """(w, theta) (F, m, d) after the minibatches of index (S, T, m, B)."""
        flat = fed.spread(index.transpose(1, 2)).flatten(0, 1)
        columns = [fed.per_model(c, fed.members) for c in (fed.lr, pull, inner)]
        ends = []
        for own in fed.chunks(len(flat)):
            lr, weight, eta = (c[own] for c in columns)
            w, theta = (fed.network.opened(start.flatten(0, 1)[own]) for _ in range(2))
            for t in range(flat.shape[1]):
                x, y = fed.batch(flat[own, t])
                for _ in range(inner_steps):
                    fed.network.descend_(theta, x, y, eta, to=w, pull=weight)
                for mine, other in zip(w, theta, strict=True):
                    mine.lerp_(other, (lr * weight).view(-1, *[1] * (mine.dim() - 1)))
            ends.append((fed.network.closed(w), fed.network.closed(theta)))
        w, theta = (torch.cat(parts).unflatten(0, start.shape[:2]) for parts in zip(*ends, strict=True))
        return w, theta

    def init() -> State:
        return State(fed.start.clone(), fed.everyone(), fed.cost())

    def step(state: State, round: Round) -> tuple[State, Info]:
        rows = fed.rows(round)
        received = state.shared[:, None].repeat(1, fed.members, 1)
        trained, personal = train(received, round.index)
        info = Info((trained - received).norm(dim=-1), (personal - received).norm(dim=-1))
        shared = (fed.shares(round) * trained).sum(1)
        cost = fed.charge(state.cost, inner_steps, 2 * fed.network.size, round.index)
        return State(shared, fed.put_(state.personal, rows, personal), cost), info

    return Method(init, step, fed.rounds.draw)
