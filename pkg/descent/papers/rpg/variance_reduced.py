"""The gradient-reuse baselines: SVRPG, SRVRPG, STORM-PG, PAGE-PG and DEF-PG, step-wise GPOMDP throughout [potion].

On fresh trajectories of theta they correct an earlier direction v by the gradient's change since then:

    G_on      = mean_j sum_t f_t sum_{l <= t} score_theta(l),                       f_t = (gamma^t r_t - b_t) m_t
    G_off(o)  = mean_j sum_t c_t f_t sum_{l <= t} score_o(l),   c_t = prod_{l <= t} pi_o(l) / pi_theta(l)

They differ in which earlier parameters o and direction v they keep, and in when they start afresh from a large batch.
Axes: S seeds, G of them in one draw, N trajectories a seed, T time steps, d parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.method import Acting
from descent.core.settings import check
from descent.papers.rpg.ascent import ASCENTS, Ascent, Moments, at_rest
from descent.papers.rpg.linear import reward_to_go
from descent.papers.rpg.method import Draw, Policy, Schedule, first_only, periodic, tossed
from descent.papers.rpg.on_policy import centred
from descent.papers.rpg.problem import Trajectories
from descent.papers.rpg.settings import SETTINGS


class State(NamedTuple):
    theta: Tensor  # (S, d)
    moments: Moments
    anchor: Tensor  # (S, d) the earlier parameters: of the last snapshot (SVRPG), else of the last update
    direction: Tensor  # (S, d) v at the anchor


Correct = Callable[[Tensor, Tensor, Tensor, Trajectories], Tensor]
"""(theta (G, d), anchor (G, d), direction (G, d), trajectories) -> the new direction (G, d)."""


def svrpg(
    policy: Policy, *, snapshot_batch: int = 55, mini_batch: int = 5, epoch: int = 10, baseline: str = "zero",
    step_size: float = 0.01, ascent: str = "adam",
) -> Acting:  # fmt: skip
    """SVRPG: v = v~ + G_on - G_off(theta~), with theta~ and v~ of the snapshot at every `epoch`-th update."""
    check("svrpg", SETTINGS, snapshot_batch=snapshot_batch, mini_batch=mini_batch, epoch=epoch, baseline=baseline,
          step_size=step_size, ascent=ascent)  # fmt: skip
    schedule = periodic(snapshot_batch, mini_batch, epoch)
    return corrected(
        policy, schedule, telescoped(policy, baseline), baseline, ASCENTS[ascent](step_size), recursive=False
    )


def srvrpg(
    policy: Policy, *, snapshot_batch: int = 55, mini_batch: int = 5, epoch: int = 10, baseline: str = "zero",
    step_size: float = 0.01, ascent: str = "adam",
) -> Acting:  # fmt: skip
    """SRVRPG: v = v_prev + G_on - G_off(theta_prev), from the previous update on; snapshots as SVRPG."""
    check("srvrpg", SETTINGS, snapshot_batch=snapshot_batch, mini_batch=mini_batch, epoch=epoch, baseline=baseline,
          step_size=step_size, ascent=ascent)  # fmt: skip
    schedule = periodic(snapshot_batch, mini_batch, epoch)
    return corrected(policy, schedule, telescoped(policy, baseline), baseline, ASCENTS[ascent](step_size))


def storm(
    policy: Policy, *, snapshot_batch: int = 25, mini_batch: int = 10, decay: float = 0.9, baseline: str = "zero",
    step_size: float = 0.01, ascent: str = "adam",
) -> Acting:  # fmt: skip
    """STORM-PG: v = G_on + (1 - eta) (v_prev - G_off(theta_prev)); only the first batch is large. decay: eta."""
    check("storm", SETTINGS, snapshot_batch=snapshot_batch, mini_batch=mini_batch, decay=decay, baseline=baseline,
          step_size=step_size, ascent=ascent)  # fmt: skip
    schedule = first_only(snapshot_batch, mini_batch)
    return corrected(policy, schedule, telescoped(policy, baseline, 1 - decay), baseline, ASCENTS[ascent](step_size))


def page(
    policy: Policy, *, snapshot_batch: int = 55, mini_batch: int = 5, probability: float = 0.1, baseline: str = "zero",
    step_size: float = 0.01, ascent: str = "adam",
) -> Acting:  # fmt: skip
    """PAGE-PG: SRVRPG's recursion; each update is a snapshot with a probability, each seed tossing its own coin."""
    check("page", SETTINGS, snapshot_batch=snapshot_batch, mini_batch=mini_batch, probability=probability,
          baseline=baseline, step_size=step_size, ascent=ascent)  # fmt: skip
    schedule = tossed(snapshot_batch, mini_batch, probability)
    return corrected(policy, schedule, telescoped(policy, baseline), baseline, ASCENTS[ascent](step_size))


def defensive(
    policy: Policy, *, snapshot_batch: int = 55, mini_batch: int = 5, probability: float = 0.1, baseline: str = "zero",
    step_size: float = 0.01, ascent: str = "adam",
) -> Acting:  # fmt: skip
    """DEF-PG (Paczolay et al., Machine Learning 2024): PAGE's schedule; between snapshots the batch comes half from the
    current and half from the previous policy, and both gradients are weighed against that mixture, weights <= 2.

    The form is derived from the paper's idea (docs/papers/rpg.md). potion's public DEF-PG weighs whole trajectories and draws each
    one's policy by a coin; here the weights are step-wise, as those of the other baselines, and the halves are exact.
    """
    check("def", SETTINGS, snapshot_batch=snapshot_batch, mini_batch=mini_batch, probability=probability,
          baseline=baseline, step_size=step_size, ascent=ascent)  # fmt: skip
    schedule = tossed(snapshot_batch, mini_batch, probability)
    method = corrected(policy, schedule, mixed(policy, baseline), baseline, ASCENTS[ascent](step_size))

    def behaviour(state: State, draw: Draw) -> Tensor:
        theta, previous = draw.of(state.theta)[:, None], draw.of(state.anchor)[:, None]
        if draw.snapshot:
            return theta.expand(-1, draw.batch, -1)
        own = (draw.batch + 1) // 2
        return torch.cat((theta.expand(-1, own, -1), previous.expand(-1, draw.batch - own, -1)), 1)

    return replace(method, behaviour=behaviour)


def corrected(
    policy: Policy,
    schedule: Callable[..., Schedule],
    correct: Correct,
    baseline: str,
    ascend: Ascent,
    *,
    recursive: bool = True,
) -> Acting:
    """The loop that all share. recursive: the anchor moves at every update, not at snapshots alone."""

    def init(theta: Tensor) -> State:
        return State(theta, at_rest(theta), theta, torch.zeros_like(theta))

    def behaviour(state: State, draw: Draw) -> Tensor:
        return draw.of(state.theta)[:, None].expand(-1, draw.batch, -1)

    def learn(state: State, draw: Draw, tr: Trajectories, number: int) -> State:
        theta = draw.of(state.theta)
        if draw.snapshot:
            v = on_policy(policy, theta, tr, baseline)
        else:
            v = correct(theta, draw.of(state.anchor), draw.of(state.direction), tr)
        moments = Moments(*map(draw.of, state.moments))
        moved, moments = ascend(theta, v, moments, number)
        anchor, direction = state.anchor, state.direction
        if recursive or draw.snapshot:
            anchor, direction = draw.put(anchor, theta), draw.put(direction, v)
        new = Moments(*(draw.put(old, one) for old, one in zip(state.moments, moments, strict=True)))
        return State(draw.put(state.theta, moved), new, anchor, direction)

    return Acting(schedule, init, behaviour, learn)


def on_policy(policy: Policy, theta: Tensor, tr: Trajectories, baseline: str) -> Tensor:
    """G_on (G, d)."""
    to_go = reward_to_go(centred(tr, len(theta), baseline))
    return policy.mean_score(tr, [(theta, policy.means(theta, tr), to_go)])


def telescoped(policy: Policy, baseline: str, keep: float = 1.0) -> Correct:
    """v = G_on + keep (v_anchor - G_off(anchor)), both estimates in one pass over the trajectories."""

    def correct(theta: Tensor, anchor: Tensor, direction: Tensor, tr: Trajectories) -> Tensor:
        now, before = policy.means(theta, tr), policy.means(anchor, tr)
        rewards = centred(tr, len(theta), baseline)
        weights = policy.step_log_ratios(before, now, tr).cumsum(0).exp()
        on, off = reward_to_go(rewards), reward_to_go(weights * rewards)
        return policy.mean_score(tr, [(theta, now, on), (anchor, before, -keep * off)]) + keep * direction

    return correct


def mixed(policy: Policy, baseline: str) -> Correct:
    """v = v_prev + mean_j [sum_t c_t f_t sum score_theta - sum_t c'_t f_t sum score_prev] on trajectories of the even
    mixture of both policies, c and c' the cumulative weights against it."""

    def correct(theta: Tensor, anchor: Tensor, direction: Tensor, tr: Trajectories) -> Tensor:
        now, before = policy.means(theta, tr), policy.means(anchor, tr)
        own, previous = mixture_weights(policy.step_log_ratios(before, now, tr).cumsum(0))
        rewards = centred(tr, len(theta), baseline)
        terms = (theta, now, reward_to_go(own * rewards)), (anchor, before, -reward_to_go(previous * rewards))
        return direction + policy.mean_score(tr, terms)

    return correct


def mixture_weights(log_ratio: Tensor) -> tuple[Tensor, Tensor]:
    """c = p_theta / q and c' = p_prev / q with q = (p_theta + p_prev) / 2, from l = log p_prev / p_theta; both <= 2."""
    log_half = math.log(0.5)
    log_own = -torch.logaddexp(torch.full_like(log_ratio, log_half), log_half + log_ratio)
    return log_own.exp(), (log_own + log_ratio).exp()
