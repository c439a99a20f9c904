"""FedRep (Collins et al., ICML 2021): a shared body, a head of one's own."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.pfedsop.federation import Cost, Federation
from descent.papers.pfedsop.rounds import Round


class State(NamedTuple):
    """The body of the network is shared, the heads are the clients' (overwritten in place)."""

    body: Tensor  # (F, d - h)
    heads: Tensor  # (F, K, h)
    cost: Cost

    @property
    def personal(self) -> Tensor:
        """(F, K, d): the shared body under each client's head."""
        return torch.cat([self.body[:, None].expand(-1, self.heads.shape[1], -1), self.heads], -1)


class Info(NamedTuple):
    """A round's participants."""

    drift: Tensor  # (F, m) the way of body and head together


def fedrep(federation: Federation) -> Method:
    """T steps on the head with the received body frozen, then T steps on the body, on other minibatches, with the head frozen.

    Only bodies are sent and averaged.
    """
    fed, cut = federation, federation.network.size - federation.network.head

    def init() -> State:
        return State(fed.start[:, :cut].clone(), fed.everyone()[..., cut:].contiguous(), fed.cost())

    def step(state: State, round: Round) -> tuple[State, Info]:
        rows = fed.rows(round)
        received = state.body[:, None].expand(-1, fed.members, -1)
        before = torch.cat([received, fed.take(state.heads, rows)], -1)
        assert round.extra is not None, "draw asks for it"
        trained = fed.train(before, round.index, part="head")
        trained = fed.train(trained, round.extra, part="body")
        body = (fed.shares(round) * trained[..., :cut]).sum(1)
        cost = fed.charge(state.cost, 2, 2 * cut, round.index)
        info = Info((trained - before).norm(dim=-1))
        return State(body, fed.put_(state.heads, rows, trained[..., cut:]), cost), info

    return Method(init, step, partial(fed.rounds.draw, extra=True))
