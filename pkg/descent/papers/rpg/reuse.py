"""RPG: policy gradient that reuses the trajectories of its last policies; MIS and BH, the same with other weights.

Montenegro et al., arXiv 2506.06178 (RT-PG in its second version). Each update samples N trajectories with the current
policy, weighs those of the whole window again for it, and ascends

    ghat = (1 / N) sum over batches i and trajectories j of W(tau_ij) g_theta(tau_ij).

It divides by N, not by the window's K N: the weights of a window of equal policies are 1 / K.
Axes: S seeds, K batches (oldest first), N trajectories a batch, d parameters. S leads and rows never mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.method import Acting
from descent.core.settings import check
from descent.core.tree import tree_map
from descent.papers.rpg.ascent import ASCENTS, Ascent, Moments, at_rest
from descent.papers.rpg.estimators import balance, plain, power_mean
from descent.papers.rpg.linear import reward_to_go
from descent.papers.rpg.method import Draw, Policy, steady
from descent.papers.rpg.problem import Trajectories
from descent.papers.rpg.settings import SETTINGS


class State(NamedTuple):
    theta: Tensor  # (S, d) current policy
    moments: Moments
    past_theta: Tensor  # (S, K, d) behaviour policies, K <= window
    past: Any  # (S, K, N, ...) what the policy keeps of their trajectories; None before the first update


def rpg(
    policy: Policy,
    *,
    window: int = 8,
    batch: int = 10,
    confidence: float = 0.2,
    step_size: float = 0.01,
    ascent: str = "adam",
) -> Acting:
    """The paper's method. window: its omega; batch: N; confidence: delta. Raises SettingError."""
    check("rpg", SETTINGS, window=window, batch=batch, confidence=confidence, step_size=step_size, ascent=ascent)

    def weigh(past: Any, theta: Tensor, past_theta: Tensor) -> Tensor:
        return power_mean(*policy.log_ratio_and_divergence(past, theta, past_theta), confidence)

    return reuse(policy, weigh, window, batch, ASCENTS[ascent](step_size))


def mis(policy: Policy, *, window: int = 8, batch: int = 10, step_size: float = 0.01, ascent: str = "adam") -> Acting:
    """Multiple importance weighting without the correction: W = rho / K."""
    check("mis", SETTINGS, window=window, batch=batch, step_size=step_size, ascent=ascent)

    def weigh(past: Any, theta: Tensor, past_theta: Tensor) -> Tensor:
        return plain(policy.log_ratio_and_divergence(past, theta, past_theta)[0])

    return reuse(policy, weigh, window, batch, ASCENTS[ascent](step_size))


def bh(policy: Policy, *, window: int = 8, batch: int = 10, step_size: float = 0.01, ascent: str = "adam") -> Acting:
    """The balance heuristic: W = p_theta / sum_i p_i, bounded by 1."""
    check("bh", SETTINGS, window=window, batch=batch, step_size=step_size, ascent=ascent)

    def weigh(past: Any, theta: Tensor, past_theta: Tensor) -> Tensor:
        return balance(policy.log_likelihoods(past, past_theta))

    return reuse(policy, weigh, window, batch, ASCENTS[ascent](step_size))


def reuse(
    policy: Policy, weigh: Callable[[Any, Tensor, Tensor], Tensor], window: int, batch: int, ascend: Ascent
) -> Acting:
    """The loop that the three share. weigh(past, theta, past_theta) -> log W (S, K, N)."""

    def init(theta: Tensor) -> State:
        return State(theta, at_rest(theta), theta[:, None][:, :0], None)

    def behaviour(state: State, draw: Draw) -> Tensor:
        return state.theta[:, None].expand(-1, draw.batch, -1)

    def learn(state: State, draw: Draw, tr: Trajectories, number: int) -> State:
        theta = state.theta
        kept = policy.summarise(tr, reward_to_go(tr.rewards))
        fresh = tree_map(lambda x: x.unflatten(0, (len(theta), 1, draw.batch)), kept)
        past_theta = torch.cat((state.past_theta, theta[:, None]), 1)[:, -window:]
        past = fresh if state.past is None else _joined(state.past, fresh, window)
        # The whole window is weighed again at the current policy: weights from collection time would be wrong.
        weights = weigh(past, theta, past_theta).exp()
        theta, moments = ascend(theta, policy.gradient(past, theta, weights), state.moments, number)
        return State(theta, moments, past_theta, past)

    return Acting(steady(batch), init, behaviour, learn)


def _joined(past: Any, fresh: Any, window: int) -> Any:
    """The window moved on by one batch."""
    if isinstance(past, Tensor):
        return torch.cat((past, fresh), 1)[:, -window:]
    return tuple(_joined(old, new, window) for old, new in zip(past, fresh, strict=True))
