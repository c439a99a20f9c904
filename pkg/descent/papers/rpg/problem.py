"""The problems: continuous Cart Pole, and a linear-quadratic regulator whose return and gradient are known exactly.

Axes: R rows (trajectories of any method and seed), T time steps, d state numbers, A action numbers. Time leads, rows
come last and never mix. A rollout always takes T steps, so the host waits for nothing; what follows an episode's end is
masked afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from descent.core.settings import check
from descent.papers.rpg.settings import SETTINGS

Controller = Callable[..., Tensor]
"""(states (d, R), standard normals (A, R), out=None) -> actions (A, R), written to `out` where it is given."""


class Trajectories(NamedTuple):
    """R trajectories of T steps. Whatever follows the end of an episode is 0."""

    states: Tensor  # (T, d, R) in which the actions were taken
    actions: Tensor  # (T, A, R) as drawn: what clips them is part of the problem
    rewards: Tensor  # (T, R) discounted, gamma^t r_t
    alive: Tensor  # (T, R) 1 for an executed step, the one that ends the episode included

    def columns(self, start: int, stop: int) -> Trajectories:
        """The rows start .. stop - 1."""
        return Trajectories(*(part[..., start:stop] for part in self))

    def returns(self) -> Tensor:
        """(R,) sum of the discounted rewards."""
        return self.rewards.sum(0)


class Problem(Protocol):
    """A Markov decision process that many policies act in at once."""

    state_size: int
    action_size: int
    horizon: int

    def rollout(self, controller: Controller, normals: Tensor, start: Tensor) -> Trajectories:
        """normals (T, A, R) standard, for the actions; start (d, R) uniform on [0, 1), for the initial states."""
        ...


def discounts(horizon: int, discount: float, device: torch.device | str) -> Tensor:
    """(T, 1) gamma^t."""
    powers = [discount**t for t in range(horizon)]
    return torch.tensor(powers, dtype=torch.float64)[:, None].to(device)


class CartPole:
    """Continuous Cart Pole of the official code: state (x, x', angle, angle'), one force, reward 1 a step.

    An episode ends when |x| > 2.4 or |angle| > 12 degrees, with the step that leads there, or after `horizon` steps.
    Explicit Euler with the old velocities, 0.02 s a step; the force is the action clipped to 10 N.
    """

    state_size, action_size = 4, 1
    spread = 0.05  # half-width of the initial states
    limits = (2.4, 12 * math.pi / 180)
    gravity, total_mass, half_length, pole_moment, tau, max_force = 9.8, 1.1, 0.5, 0.05, 0.02, 10.0

    def __init__(self, *, horizon: int = 200, discount: float = 1.0, device: torch.device | str = "cpu"):
        check("cartpole", SETTINGS, horizon=horizon, discount=discount)
        self.horizon = horizon
        self.discounts = None if discount == 1 else discounts(horizon, discount, device)
        # The pole's effective length, 0.5 (4/3 - 0.1 cos^2 / 1.1), written in sin^2 = 1 - cos^2: one operation less.
        still = self.half_length * 4 / 3 - self.pole_moment / self.total_mass
        self._still = torch.tensor(still, dtype=torch.float64).to(device)
        self._limits = torch.tensor(self.limits, dtype=torch.float64)[:, None].to(device)
        rates = [[self.tau], [self.tau / self.total_mass], [self.tau], [self.tau * self.gravity]]
        self._rates = torch.tensor(rates, dtype=torch.float64).to(device)

    def rollout(self, controller: Controller, normals: Tensor, start: Tensor) -> Trajectories:
        """See `Problem`; float64, no synchronisation. A policy that is not finite gives states that are not."""
        steps, _, rows = normals.shape
        states = normals.new_empty((steps + 1, self.state_size, rows))
        actions, alive = torch.empty_like(normals), normals.new_empty((steps, rows))
        states[0] = (2 * start - 1) * self.spread
        step, look = self.stepper(rows, normals), self._watcher(rows, normals)
        rows_of = zip(states[:-1], states[1:], actions, normals, alive, strict=True)
        for t, (state, after, action, normal, inside) in enumerate(rows_of):
            if t:
                look(state, inside)
                state.mul_(inside)  # after its end an episode goes on from 0, finite but without meaning
            else:
                inside.fill_(1.0)  # the first step is always executed
            step(state, controller(state, normal, action).mul_(inside), after)
        return Trajectories(states[:-1], actions, alive if self.discounts is None else alive * self.discounts, alive)

    def _watcher(self, rows: int, like: Tensor) -> Callable[[Tensor, Tensor], None]:
        """look(state (4, R), inside (R,)): 1 where neither this state nor any before was out of bounds, else 0."""
        beyond, most = like.new_empty((2, rows)), like.new_empty(rows)
        worst = like.new_full((rows,), -math.inf)

        def look(state: Tensor, inside: Tensor) -> None:
            torch.abs(state[::2], out=beyond)  # position and angle
            torch.amax(beyond.sub_(self._limits), 0, out=most)
            torch.maximum(worst, most, out=worst)
            inside.copy_(worst <= 0)

        return look

    def after(self, state: Tensor, action: Tensor) -> Tensor:
        """The state (4, R) that follows `action` (1, R)."""
        return self.stepper(state.shape[1], state)(state, action, torch.empty_like(state))

    def stepper(self, rows: int, like: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
        """step(state (4, R), action (1, R), out (4, R)) -> out.

        It runs 200 times an update, so it saves operations and memory: everything is written in place, forces are kept in units of
        the mass (`push`) and accelerations in units of gravity (`torque`, `angular`), and `_rates` puts both back in the Euler step.
        """
        change = like.new_empty((self.state_size, rows))
        _, linear, _, angular = change.unbind(0)
        speeds = change[::2]  # of position and angle
        sin, cos, push, part = like.new_empty((4, rows)).unbind(0)

        def step(state: Tensor, action: Tensor, out: Tensor) -> Tensor:
            angle, spin = state[2], state[3]
            torch.sin(angle, out=sin)
            torch.cos(angle, out=cos)
            torch.mul(spin, spin, out=part)
            torch.clamp(action[0], -self.max_force, self.max_force, out=push)
            push.addcmul_(part, sin, value=self.pole_moment)
            torch.addcmul(self._still, sin, sin, value=self.pole_moment / self.total_mass, out=part)
            sin.addcmul_(cos, push, value=-1 / (self.total_mass * self.gravity))  # the torque
            torch.div(sin, part, out=angular)
            torch.addcmul(push, angular, cos, value=-self.pole_moment * self.gravity, out=linear)
            speeds.copy_(state[1::2])
            return torch.addcmul(state, change, self._rates, out=out)

        return step


class LQR:
    """The linear-quadratic regulator of our exact oracle: x' = A x + B u, reward -(x^T Q x + 0.1 u^2), no end but T.

    x_0 ~ U(-3, 3)^2; the policy is u = theta . x + sigma e.
    """

    state_size, action_size = 2, 1
    spread = 3.0
    A = ((0.9, 0.1), (0.0, 0.9))
    B = (0.1, 0.9)
    Q = (0.9, 0.1)  # diagonal
    cost = 0.1  # of u^2

    def __init__(self, *, horizon: int = 20, discount: float = 1.0, device: torch.device | str = "cpu"):
        check("lqr", SETTINGS, horizon=horizon, discount=discount)
        self.horizon, self.discount = horizon, discount
        self.discounts = None if discount == 1 else discounts(horizon, discount, device)

    def rollout(self, controller: Controller, normals: Tensor, start: Tensor) -> Trajectories:
        """See `Problem`."""
        (a, b), (c, d) = self.A
        state = (2 * start - 1) * self.spread
        states, actions = [], []
        for normal in normals.unbind(0):
            action = controller(state, normal)
            states.append(state)
            actions.append(action)
            x, y = state.unbind(0)
            u = action[0]
            state = torch.stack((a * x + b * y + self.B[0] * u, c * x + d * y + self.B[1] * u))
        visited, taken = torch.stack(states), torch.stack(actions)
        rewards = -(self.Q[0] * visited[:, 0] ** 2 + self.Q[1] * visited[:, 1] ** 2 + self.cost * taken[:, 0] ** 2)
        if self.discounts is not None:
            rewards = rewards * self.discounts
        return Trajectories(visited, taken, rewards, torch.ones_like(rewards))

    def value(self, theta: Tensor, variance: float) -> Tensor:
        """J (...,) of the policies theta (..., 2), exact: the second moments of the state, S' = F S F^T + sigma^2 B B^T
        with F = A + B theta^T and S_0 = 3 I."""
        (a, b), (c, d) = self.A
        p, q = theta.unbind(-1)
        f, g, h, i = a + self.B[0] * p, b + self.B[0] * q, c + self.B[1] * p, d + self.B[1] * q
        xx = torch.full_like(p, self.spread**2 / 3)
        yy, xy, total = xx, torch.zeros_like(p), torch.zeros_like(p)
        for t in range(self.horizon):
            effort = p * p * xx + 2 * p * q * xy + q * q * yy + variance
            total = total - self.discount**t * (self.Q[0] * xx + self.Q[1] * yy + self.cost * effort)
            xx, xy, yy = (
                f * f * xx + 2 * f * g * xy + g * g * yy + variance * self.B[0] ** 2,
                f * h * xx + (f * i + g * h) * xy + g * i * yy + variance * self.B[0] * self.B[1],
                h * h * xx + 2 * h * i * xy + i * i * yy + variance * self.B[1] ** 2,
            )
        return total

    def gradient(self, theta: Tensor, variance: float) -> Tensor:
        """grad J (..., 2), by differentiating `value`."""
        return gradient(lambda x: self.value(x, variance).sum(), theta)

    def optimum(self, variance: float) -> Tensor:
        """The best theta (2,), by Newton's method on the host from a point near it."""
        theta = torch.tensor([-1.0, -0.6], dtype=torch.float64)
        for _ in range(10):
            with torch.enable_grad():
                theta.requires_grad_()
                slope = torch.autograd.grad(self.value(theta, variance), theta, create_graph=True)[0]
                hessian = torch.stack([torch.autograd.grad(s, theta, retain_graph=True)[0] for s in slope])
            theta = (theta - torch.linalg.solve(hessian, slope)).detach()
        return theta


def gradient(function: Callable[[Tensor], Tensor], theta: Tensor) -> Tensor:
    """The gradient of a scalar function, also where gradients are not being recorded.

    Plain autograd: importing torch.func costs a second, more than most of this room's smoke jobs.
    """
    with torch.enable_grad():
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(function(theta), theta)[0]
