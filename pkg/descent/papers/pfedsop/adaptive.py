"""FedALA (Zhang et al., AAAI 2023): each client learns, coordinate by coordinate, how much of the global head to take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.method import Method
from descent.papers.pfedsop.federation import Cost, Federation
from descent.papers.pfedsop.rounds import Round
from descent.papers.pfedsop.settings import check_all


class State(NamedTuple):
    """The clients' rows are overwritten in place."""

    shared: Tensor  # (F, d) g
    personal: Tensor  # (F, K, d) x_i
    weights: Tensor  # (F, K, h) W_i in [0, 1], of the head's coordinates
    cost: Cost


class Info(NamedTuple):
    """A round's participants."""

    drift: Tensor  # (F, m) the way of the local run
    weight: Tensor  # (F, m) mean of W_i


class Plan(NamedTuple):
    """A round, and how long each participant learns its weights in it: settled on the host, so that nothing asks the device.

    Rows of participants (F m) in order of their steps, longest first: those who still learn are always the first ones.
    """

    round: Round
    order: Tensor  # (F m,) int64
    length: Tensor  # (F m,) int64, in that order: minibatches of a pass
    spent: Tensor  # (F,) int64: sample-gradients of all participants and passes
    active: tuple[int, ...]  # how many rows learn at each step


def fedala(
    federation: Federation,
    *,
    head_step_size: float | Sequence[float] = 1.0,
    first_passes: int = 10,
    sample_share: float = 0.8,
) -> Method:
    """Before its local run a client takes the global body, and the head h + (h_g - h) W between its own h and the global h_g.

    W <- clip(W - eta grad (h_g - h), 0, 1) over the minibatches of `sample_share` of its data, at most T of them,
    `first_passes` times at its first call and once later; the first round has nothing to learn. head_step_size: eta.
    The official code learns "until the losses' spread is small" at the first call; a fixed count is our batched equivalent.
    """
    check_all("fedala", head_step_size=head_step_size, first_passes=first_passes, sample_share=sample_share)
    fed, eta = federation, federation.column(head_step_size)
    cut = fed.network.size - fed.network.head
    batch, cap = fed.rounds.batch, fed.rounds.local_steps
    sizes = np.array([[len(own) for own in seed] for seed in fed.rounds.train])
    lengths = np.clip(np.ceil(sample_share * sizes / batch - 1e-9).astype(int), 1, cap)

    def draw(k: int, count: int) -> Plan:
        clients = fed.rounds.clients[k]  # (S, m)
        called = np.zeros(sizes.shape, bool)
        for past in fed.rounds.clients[1:k]:
            np.put_along_axis(called, past, True, axis=1)
        length = np.take_along_axis(lengths, clients, 1)
        passes = np.where(np.take_along_axis(called, clients, 1), 1, first_passes) * (k > 0)
        steps = np.tile(length * passes, (fed.grid, 1))  # (F, m)
        order = np.argsort(-steps.ravel(), kind="stable")
        tables = (order, np.tile(length, (fed.grid, 1)).ravel()[order], steps.sum(1) * batch)
        ordered, own_lengths, spent = (torch.from_numpy(table)[None] for table in tables)
        active = tuple(int((steps > t).sum()) for t in range(steps.max()))
        return Plan(fed.rounds.draw(k, count, extra=True), ordered, own_lengths, spent, active)

    def learned(plan: Plan, received: Tensor, own: Tensor, weights: Tensor) -> Tensor:
        """(F m, h): W after this round's minibatches; received, own (F m, d), weights (F m, h)."""
        assert plan.round.extra is not None, "draw asks for it"
        samples = fed.spread(plan.round.extra.transpose(1, 2)).flatten(0, 1)  # (F m, T, B)
        seen = [fed.batch(samples[:, t]) for t in range(samples.shape[1])]
        # The body stays as received, so what the head sees is computed once.
        features = torch.stack([fed.network.features(received, x) for x, _ in seen], 1).flatten(0, 1)
        targets = torch.stack([y for _, y in seen], 1).flatten(0, 1)
        head = own[:, cut:].index_select(0, plan.order)
        way = received[:, cut:].index_select(0, plan.order) - head
        size = fed.per_model(eta, fed.members).index_select(0, plan.order)
        learned = weights.index_select(0, plan.order)
        base = plan.order * samples.shape[1]
        for t, n in enumerate(plan.active):
            which = base[:n] + torch.remainder(torch.full_like(base[:n], t), plan.length[:n])
            gradient = fed.network.head_gradient(
                torch.addcmul(head[:n], way[:n], learned[:n]),
                features.index_select(0, which),
                targets.index_select(0, which),
            )
            learned[:n] = (learned[:n] - size[:n] * gradient * way[:n]).clamp_(0, 1)
        return torch.empty_like(weights).index_copy_(0, plan.order, learned)

    def init() -> State:
        ones = torch.ones_like(fed.everyone()[..., cut:])
        return State(fed.start.clone(), fed.everyone(), ones, fed.cost())

    def step(state: State, plan: Plan) -> tuple[State, Info]:
        round = plan.round
        rows = fed.rows(round)
        received = state.shared[:, None].repeat(1, fed.members, 1)
        own, weights = fed.take(state.personal, rows), fed.take(state.weights, rows)
        if plan.active:
            flat = learned(plan, received.flatten(0, 1), own.flatten(0, 1), weights.flatten(0, 1))
            weights = flat.unflatten(0, (fed.size, fed.members))
        head = torch.addcmul(own[..., cut:], received[..., cut:] - own[..., cut:], weights)
        before = torch.cat([received[..., :cut], head], -1)
        trained = fed.train(before, round.index)
        info = Info((trained - before).norm(dim=-1), weights.mean(-1))
        cost = fed.charge(state.cost, 1, 2 * fed.network.size, round.index, plan.spent)
        kept = State(
            (fed.shares(round) * trained).sum(1),
            fed.put_(state.personal, rows, trained),
            fed.put_(state.weights, rows, weights),
            cost,
        )
        return kept, info

    return Method(init, step, draw)
