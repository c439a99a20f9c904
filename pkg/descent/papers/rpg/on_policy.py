"""GPOMDP: the on-policy gradient of the fresh batch alone. It is RPG with a window of 1, to the bit."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Acting
from descent.core.settings import check
from descent.core.tree import tree_map
from descent.papers.rpg.ascent import ASCENTS, Moments, at_rest
from descent.papers.rpg.linear import reward_to_go
from descent.papers.rpg.method import Draw, Policy, steady
from descent.papers.rpg.problem import Trajectories
from descent.papers.rpg.settings import SETTINGS


class State(NamedTuple):
    theta: Tensor  # (S, d)
    moments: Moments


def gpomdp(
    policy: Policy, *, batch: int = 10, baseline: str = "zero", step_size: float = 0.01, ascent: str = "adam"
) -> Acting:
    """ghat = (1 / N) sum_j sum_t (gamma^t r_t - b_t) sum_{l <= t} score_l. baseline: b_t, see `centred`."""
    check("gpomdp", SETTINGS, batch=batch, baseline=baseline, step_size=step_size, ascent=ascent)
    ascend = ASCENTS[ascent](step_size)

    def init(theta: Tensor) -> State:
        return State(theta, at_rest(theta))

    def behaviour(state: State, draw: Draw) -> Tensor:
        return state.theta[:, None].expand(-1, draw.batch, -1)

    def learn(state: State, draw: Draw, tr: Trajectories, number: int) -> State:
        to_go = reward_to_go(centred(tr, len(state.theta), baseline)).flatten(1)
        kept = policy.summarise(tr, to_go)
        fresh = tree_map(lambda x: x.unflatten(0, (len(state.theta), 1, draw.batch)), kept)
        ones = torch.ones((len(state.theta), 1, draw.batch), dtype=to_go.dtype, device=to_go.device)
        return State(*ascend(state.theta, policy.gradient(fresh, state.theta, ones), state.moments, number))

    return Acting(steady(batch), init, behaviour, learn)


def centred(tr: Trajectories, seeds: int, baseline: str) -> Tensor:
    """(T, G, N): (gamma^t r_t - b_t) m_t with m the alive mask.

    zero: b = 0. avg: b_t is the batch's mean of gamma^t r_t, episodes that have ended counting 0; the mask then drops
    the baseline's terms after the end, which biases the gradient of an episodic task (as in `potion`).
    """
    rewards = tr.rewards.unflatten(1, (seeds, -1))
    if baseline == "zero":
        return rewards
    return (rewards - rewards.mean(-1, keepdim=True)) * tr.alive.unflatten(1, (seeds, -1))
