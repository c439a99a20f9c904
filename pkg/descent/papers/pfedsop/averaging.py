"""Local training and federated averaging: the two ends between which personalised federated learning lies.

`local` shares nothing; `fedavg` (McMahan et al., AISTATS 2017) averages models; `fedprox` (Li et al., MLSys 2020) pulls local runs
towards the global model; `fedavg_ft` fine-tunes it for a client before predicting. Rules and weights as in PFLlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from descent.core.method import Method
from descent.papers.pfedsop.federation import Cost, Federation
from descent.papers.pfedsop.rounds import Round
from descent.papers.pfedsop.settings import check_all


class Alone(NamedTuple):
    """Clients that share nothing, overwritten in place."""

    personal: Tensor  # (F, K, d)
    cost: Cost


class Averaged(NamedTuple):
    """A global model."""

    shared: Tensor  # (F, d) g
    personal: Tensor  # (F, 1 or K, d) what clients predict with
    cost: Cost


class Info(NamedTuple):
    """A round's participants."""

    drift: Tensor  # (F, m) the way of the local run


def local(federation: Federation) -> Method:
    """Each client trains its own model when it takes part. Nothing is sent."""
    fed = federation

    def init() -> Alone:
        return Alone(fed.everyone(), fed.cost())

    def step(state: Alone, round: Round) -> tuple[Alone, Info]:
        rows = fed.rows(round)
        before = fed.take(state.personal, rows)
        trained = fed.train(before, round.index)
        cost = fed.charge(state.cost, 1, 0, round.index)
        return Alone(fed.put_(state.personal, rows, trained), cost), Info((trained - before).norm(dim=-1))

    return Method(init, step, fed.rounds.draw)


def _averaged(fed: Federation, pull: Tensor | None = None, tune_after: Sequence[int] = ()) -> Method:
    """g <- sum of w_i e_i, e_i the end of client i's local run from g, w_i its share of the participants' samples.

    pull (F, 1, 1): mu of FedProx. tune_after: numbers of the rounds after which every client fine-tunes a copy of g for T steps,
    on minibatches of its own, and predicts with that until the next such round.
    """
    tuned = bool(tune_after)

    def init() -> Averaged:
        return Averaged(fed.start.clone(), fed.everyone() if tuned else fed.start[:, None].clone(), fed.cost())

    def step(state: Averaged, round: Round) -> tuple[Averaged, Info]:
        received = state.shared[:, None].repeat(1, fed.members, 1)
        trained = fed.train(received, round.index, to=None if pull is None else received, pull=pull)
        shared = (fed.shares(round) * trained).sum(1)
        personal = state.personal if tuned else shared[:, None]
        if round.tuning is not None:
            personal = fed.train(shared[:, None].repeat(1, fed.clients, 1), round.tuning)
        cost = fed.charge(state.cost, 1, 2 * fed.network.size, round.index)
        return Averaged(shared, personal, cost), Info((trained - received).norm(dim=-1))

    return Method(init, step, partial(fed.rounds.draw, tuning=tuple(tune_after)))


def fedavg(federation: Federation) -> Method:
    """The global model is the mean of the local runs' ends, weighted by sample counts; every client predicts with it."""
    return _averaged(federation)


def fedprox(federation: Federation, *, proximal: float | Sequence[float] = 0.1) -> Method:
    """FedAvg whose local runs descend the loss plus (mu / 2) |x - g|^2. mu = 0 is FedAvg."""
    check_all("fedprox", proximal=proximal)
    return _averaged(federation, federation.column(proximal))


def fedavg_ft(federation: Federation, tune_after: Sequence[int]) -> Method:
    """FedAvg, fine-tuned for each client before it predicts. The global model never sees the fine-tuned copies.

    tune_after: numbers of the rounds after which clients fine-tune, because they are tested then.
    """
    return _averaged(federation, tune_after=tune_after)
