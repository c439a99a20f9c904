"""Gaussian policies around a network, with a fixed variance; that of the MuJoCo tasks has two tanh layers and no biases.

No gradient of a single trajectory is formed: the window's gradient is that of the scalar
(1 / N) sum W sum_t w_t log pi_theta(a_t | s_t) with W and the rewards to go w held fixed, one backward pass.
Axes as in linear.py; d counts all weights, A the action numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.rpg.linear import log_mean_exp
from descent.papers.rpg.problem import Controller, Trajectories, gradient
from descent.papers.rpg.settings import SETTINGS


class Past(NamedTuple):
    """Whole trajectories, leading axes R or (S, K, N)."""

    states: Tensor  # (..., T, d_s)
    actions: Tensor  # (..., T, A)
    to_go: Tensor  # (..., T)
    alive: Tensor  # (..., T)


class MeanGaussian:
    """A Gaussian policy of fixed variance around any differentiable mean: `mean` is all that a subclass adds. Raises SettingError."""

    def __init__(self, action_size: int, *, variance: float = 0.3):
        check("network", SETTINGS, variance=variance)
        self.action_size, self.variance, self.std = action_size, variance, variance**0.5

    def mean(self, theta: Tensor, states: Tensor) -> Tensor:
        """(B, M, A) mean actions. theta (B, d), states (B, M, d_s)."""
        raise NotImplementedError

    def controller(self, theta: Tensor) -> Controller:
        """The action (A, R) of each row's own policy, theta (R, d)."""

        def act(states: Tensor, normal: Tensor, out: Tensor | None = None) -> Tensor:
            return torch.add(self.mean(theta, states.T[:, None])[:, 0].T, normal, alpha=self.std, out=out)

        return act

    # -- the window ---------------------------------------------------------------------------------------------------

    def summarise(self, tr: Trajectories, to_go: Tensor) -> Past:
        """The trajectories themselves, rows first."""
        return Past(tr.states.permute(2, 0, 1), tr.actions.permute(2, 0, 1), to_go.T, tr.alive.T)

    def log_ratio_and_divergence(self, past: Past, theta: Tensor, past_theta: Tensor) -> tuple[Tensor, Tensor]:
        """log p_theta(tau) / p_i(tau) (S, K, N), and log D_i (S, K); see `LinearGaussian`."""
        past = Past(*past)
        behaviour = self._means(past_theta.flatten(0, 1), past.states.flatten(0, 1)).view_as(past.actions)
        shift = self._means(theta, past.states) - behaviour
        steps = (shift * (2 * (past.actions - behaviour) - shift)).sum(-1) * past.alive
        exponent = ((shift * shift).sum(-1) * past.alive).sum(-1) / self.variance
        return steps.sum(-1) / (2 * self.variance), log_mean_exp(exponent)

    def log_likelihoods(self, past: Past, past_theta: Tensor) -> Tensor:
        """(S, K, K, N): every trajectory under every policy of the window, up to a constant."""
        past = Past(*past)
        k = past_theta.shape[1]
        return torch.stack([self._log_likelihood(past_theta[:, i], past).sum(-1) for i in range(k)], 1)

    def gradient(self, past: Past, theta: Tensor, weights: Tensor) -> Tensor:
        """(S, d): (1 / N) sum of W g_theta over the window."""
        past = Past(*past)
        fixed = weights[..., None] * past.to_go / weights.shape[-1]
        return gradient(lambda x: (fixed * self._log_likelihood(x, past)).sum(), theta)

    def _log_likelihood(self, theta: Tensor, past: Past) -> Tensor:
        """(S, K, N, T) of every executed step, up to a constant. theta (S, d)."""
        residual = past.actions - self._means(theta, past.states)
        return (residual * residual).sum(-1) * past.alive / (-2 * self.variance)

    def _means(self, theta: Tensor, states: Tensor) -> Tensor:
        """(B, ..., A) for theta (B, d) and states (B, ..., d_s)."""
        return self.mean(theta, states.flatten(1, -2)).unflatten(1, states.shape[1:-1])

    # -- step by step -------------------------------------------------------------------------------------------------

    def means(self, theta: Tensor, tr: Trajectories) -> Tensor:
        """(G, N, T, A) mean actions of every step. theta (G, d); tr: rows G x N."""
        return self._means(theta, self._one_batch(theta, tr, tr.alive).states)

    def step_log_ratios(self, means: Tensor, reference: Tensor, tr: Trajectories) -> Tensor:
        """(T, G, N): log pi - log pi_reference of every executed step, 0 after the end; both given by their `means`."""
        past = self._one_batch(means, tr, tr.alive)
        shift = means - reference
        ratio = (shift * (2 * (past.actions - reference) - shift)).sum(-1) * past.alive / (2 * self.variance)
        return ratio.permute(2, 0, 1)

    def mean_score(self, tr: Trajectories, terms: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """(G, d): mean over the N trajectories of sum_t weight_t score_theta(s_t, a_t), summed over the terms
        (theta (G, d), its `means`, weights (T, G, N)); the means are not needed here."""
        return reduce(torch.add, (self._mean_score(theta, tr, weights) for theta, _, weights in terms))

    def _mean_score(self, theta: Tensor, tr: Trajectories, weights: Tensor) -> Tensor:
        past = self._one_batch(theta, tr, weights.flatten(1))
        fixed = past.to_go / weights.shape[-1]
        return gradient(lambda x: (fixed * self._log_likelihood(x, past)).sum(), theta)

    def _one_batch(self, theta: Tensor, tr: Trajectories, weights: Tensor) -> Past:
        """Rows G x N as (G, N)."""
        return Past(*(part.unflatten(0, (len(theta), -1)) for part in self.summarise(tr, weights)))


class NetworkGaussian(MeanGaussian):
    """mean = W3 tanh(W2 tanh(W1 s)). Raises SettingError."""

    def __init__(self, state_size: int, action_size: int, *, hidden: int = 32, variance: float = 0.3):
        check("network", SETTINGS, hidden=hidden)
        super().__init__(action_size, variance=variance)
        self.shapes = ((hidden, state_size), (hidden, hidden), (action_size, hidden))
        self.size = sum(rows * columns for rows, columns in self.shapes)

    def start(self, streams: Streams, seeds: Sequence[int]) -> Tensor:
        """(S, d) Xavier-uniform weights on the host, row s from seed s's own stream."""
        bound = [math.sqrt(6 / (rows + columns)) for rows, columns in self.shapes for _ in range(rows * columns)]
        uniform = [torch.from_numpy(streams.numpy("init", seed).uniform(-1, 1, self.size)) for seed in seeds]
        return torch.stack(uniform) * torch.tensor(bound, dtype=torch.float64)

    def mean(self, theta: Tensor, states: Tensor) -> Tensor:
        """(B, M, A) mean actions. theta (B, d), states (B, M, d_s)."""
        x, first = states, 0
        for layer, (rows, columns) in enumerate(self.shapes):
            weights = theta[:, first : first + rows * columns].unflatten(1, (rows, columns))
            x = x @ weights.transpose(1, 2)
            x = x if layer == len(self.shapes) - 1 else x.tanh()
            first += rows * columns
        return x
