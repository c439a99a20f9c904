"""The linear Gaussian policy: mean theta s, one row of theta an action, a fixed variance.

Both log p_theta(tau) and the trajectory's GPOMDP gradient are polynomials in theta, so a trajectory is its coefficients
and is never touched again. With one action (several add up, and share C and Cw):

    b = sum a s,  C = sum s s^T,  bw = sum w a s,  Cw = sum w s s^T        (sums over executed steps, w the reward to go)
    log p_theta - log p_theta' = [2 b.(theta - theta') - theta^T C theta + theta'^T C theta'] / (2 sigma^2)
    g_theta = (bw - Cw theta) / sigma^2

Symmetric matrices are kept as their upper triangle: m = 28 numbers for four states and one action.

Axes: S seeds, K batches of the window (oldest first), N trajectories a batch, G of the seeds, R rows, A actions, d_s states,
d = A d_s parameters (action by action).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from descent.core.settings import check
from descent.papers.rpg.problem import Controller, Trajectories
from descent.papers.rpg.settings import SETTINGS


class LinearGaussian:
    """state_size: d_s; action_size: A; variance: sigma^2, of every action. Raises SettingError."""

    def __init__(
        self,
        state_size: int,
        action_size: int = 1,
        *,
        variance: float = 0.3,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ):
        check("linear", SETTINGS, variance=variance)
        self.state_size, self.action_size, self.size = state_size, action_size, action_size * state_size
        self.variance, self.std = variance, variance**0.5
        self.pairs = [(i, j) for i in range(state_size) for j in range(i, state_size)]
        place = {pair: at for at, pair in enumerate(self.pairs)}
        square = [place[min(i, j), max(i, j)] for i in range(state_size) for j in range(state_size)]
        index = lambda values: torch.tensor(values).to(device)  # noqa: E731
        self._left, self._right = index([i for i, _ in self.pairs]), index([j for _, j in self.pairs])
        self._square = index(square)
        self._twice = index([1.0 if i == j else 2.0 for i, j in self.pairs]).to(dtype)
        self.likelihood_size = self.size + len(self.pairs)  # the first half of a summary: b and C

    def controller(self, theta: Tensor) -> Controller:
        """The actions (A, R) of each row's own policy, theta (R, d)."""
        planes, std = theta.T.contiguous().unflatten(0, (self.action_size, -1)), self.std
        product = torch.empty_like(planes)

        def act(states: Tensor, normal: Tensor, out: Tensor | None = None) -> Tensor:
            torch.mul(planes, states, out=product)
            return torch.add(product.sum(1), normal, alpha=std, out=out)

        return act

    # -- a trajectory as its coefficients -----------------------------------------------------------------------------

    def summarise(self, tr: Trajectories, to_go: Tensor) -> Tensor:
        """(R, m): b, C, bw, Cw of each trajectory. to_go (T, R): the weight w of each step."""
        states = tr.states.unbind(1)
        factors = [(plane, action) for action in tr.actions.unbind(1) for plane in states]
        factors += [(states[i], states[j]) for i, j in self.pairs]
        product = torch.empty_like(to_go)  # one buffer: new memory for each product costs more than the sums
        plain, weighted = [], []
        for one, two in factors:
            torch.mul(one, two, out=product)
            plain.append(product.sum(0))
            weighted.append(product.mul_(to_go).sum(0))
        return torch.stack(plain + weighted, dim=-1)

    def log_ratio_and_divergence(self, past: Tensor, theta: Tensor, past_theta: Tensor) -> tuple[Tensor, Tensor]:
        """log p_theta(tau) / p_i(tau) (S, K, N), and log D_i (S, K).

        past (S, K, N, m); theta (S, d) the target, past_theta (S, K, d) the behaviour policies. D_i estimates the order-2
        Renyi divergence, exponentiated: the mean over batch i of exp(sum_t |mu_theta - mu_i|^2 / sigma^2). It is at least
        1, and exactly 1 where the policies agree.
        """
        seen = past[..., : self.likelihood_size]
        change = self._coefficients(theta)[:, None] - self._coefficients(past_theta)
        ratio = (seen @ change[..., None])[..., 0]
        gap = self._products(theta[:, None] - past_theta) * self._twice / self.variance
        exponent = (seen[..., self.size :] @ gap[..., None])[..., 0].clamp(min=0.0)
        return ratio, log_mean_exp(exponent)

    def log_likelihoods(self, past: Tensor, past_theta: Tensor) -> Tensor:
        """(S, K, K, N): log p of every trajectory (last two axes) under every policy of the window (the axis before),
        up to a constant of the trajectory that all policies share."""
        s, k, n, _ = past.shape
        seen = past[..., : self.likelihood_size].reshape(s, k * n, -1)
        return (self._coefficients(past_theta) @ seen.transpose(1, 2)).view(s, k, k, n)

    def gradient(self, past: Tensor, theta: Tensor, weights: Tensor) -> Tensor:
        """(S, d): (1 / N) sum of W g_theta over the window. weights (S, K, N)."""
        s, k, n, _ = past.shape
        total = (weights.reshape(s, 1, k * n) @ past[..., self.likelihood_size :].reshape(s, k * n, -1))[:, 0]
        linear, square = total[:, : self.size], total[:, self.size :].index_select(1, self._square)
        square = square.view(s, 1, self.state_size, self.state_size)
        curvature = (square * theta.view(s, self.action_size, 1, self.state_size)).sum(-1).flatten(1)
        return (linear - curvature) / (self.variance * n)

    def _products(self, theta: Tensor) -> Tensor:
        """theta_i theta_j for i <= j, summed over the actions, (..., pairs)."""
        rows = theta.unflatten(-1, (self.action_size, self.state_size))
        return (rows.index_select(-1, self._left) * rows.index_select(-1, self._right)).sum(-2)

    def _coefficients(self, theta: Tensor) -> Tensor:
        """(..., likelihood_size): log p_theta(tau) is their product with (b, C), up to a constant."""
        quadratic = self._products(theta) * self._twice
        return torch.cat((theta / self.variance, quadratic / (-2 * self.variance)), -1)

    # -- step by step, for the step-wise weights of the gradient-reuse methods ----------------------------------------

    def means(self, theta: Tensor, tr: Trajectories) -> list[Tensor]:
        """theta s of every step, A times (T, G, N). theta (G, d); tr: rows G x N."""
        found = []
        for row in theta.unflatten(1, (self.action_size, -1)).unbind(1):
            planes = [self._by_seed(plane, theta) for plane in tr.states.unbind(1)]
            total = planes[0] * row[:, :1]
            for i, plane in enumerate(planes[1:], start=1):
                total.addcmul_(plane, row[:, i : i + 1])
            found.append(total)
        return found

    def step_log_ratios(self, means: list[Tensor], reference: list[Tensor], tr: Trajectories) -> Tensor:
        """(T, G, N): log pi - log pi_reference of every executed step, 0 after the end; both given by their `means`."""

        def term(mean: Tensor, base: Tensor, action: Tensor) -> Tensor:
            shift = mean - base
            return (action.view_as(shift) - base).mul_(2).sub_(shift).mul_(shift)

        return reduce(Tensor.add_, map(term, means, reference, tr.actions.unbind(1))).div_(2 * self.variance)

    def mean_score(self, tr: Trajectories, terms: Sequence[tuple[Tensor, list[Tensor], Tensor]]) -> Tensor:
        """(G, d): mean over the N trajectories of sum_t weight_t score_theta(s_t, a_t), summed over the terms
        (theta (G, d), its `means`, weights (T, G, N))."""
        theta, found = terms[0][0], []
        for k, action in enumerate(tr.actions.unbind(1)):
            parts = ((action.view_as(weights) - means[k]).mul_(weights) for _, means, weights in terms)
            residual = reduce(Tensor.add_, parts)
            product = torch.empty_like(residual)
            for plane in tr.states.unbind(1):
                torch.mul(residual, self._by_seed(plane, theta), out=product)
                found.append(product.sum(0).mean(-1))
        return torch.stack(found, -1) / self.variance

    @staticmethod
    def _by_seed(plane: Tensor, theta: Tensor) -> Tensor:
        return plane.unflatten(-1, (len(theta), -1))


def log_mean_exp(x: Tensor) -> Tensor:
    """log of the mean of exp(x) over the last axis; exactly 0 for zeros, without overflow."""
    top = x.amax(-1, keepdim=True)
    return (x - top).exp().mean(-1).log() + top[..., 0]


def reward_to_go(rewards: Tensor) -> Tensor:
    """w_l = sum over t >= l of gamma^t r_t, along the leading (time) axis."""
    return rewards.flip(0).cumsum(0).flip(0)
