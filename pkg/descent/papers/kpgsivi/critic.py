"""SIVI-SM: score matching against a trained critic (Yu and Zhang, ICLR 2023).

The Fisher divergence E ||grad log p - grad log q||^2 = max over F of E[2 <F(z), grad log p(z) - grad log q(z | eps)> - ||F(z)||^2].
A step trains the critic F on one sample, at twice the step size, and then phi on a fresh one with F's weights held.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

from torch import Tensor

from descent.core.method import Method
from descent.papers.kpgsivi.bound import Info
from descent.papers.kpgsivi.family import Points
from descent.papers.kpgsivi.kernelised import Noise, split, two_samples
from descent.papers.kpgsivi.network import Network
from descent.papers.kpgsivi.optimiser import Descent, Moments, Optimiser, adam, at_rest, lost
from descent.papers.kpgsivi.problem import Problem, expect_problem
from descent.papers.kpgsivi.stein import by_scale


class State(NamedTuple):
    params: Tensor  # (R, P) phi
    moments: Moments
    steps: Tensor  # ()
    critic: Tensor  # (R, P'')
    critic_moments: Moments


def sivism(problem: Problem, *, batch: int, critic_width: int = 50, **descent: Unpack[Descent]) -> Method:
    """critic_width: of the critic's two hidden layers. Raises SettingError."""
    expect_problem("sivism", problem)
    optimiser = Optimiser.of("sivism", descent, batch=batch, critic_width=critic_width)
    family, target = problem.family, problem.target
    network = Network((family.dim, critic_width, critic_width, family.dim))

    def init(params: Tensor) -> State:
        critic = network.start(problem.uniforms("critic", 0, 1, network.size)[0].to(params.device))
        return State(params, at_rest(params), params.new_zeros(()), critic, at_rest(critic))

    def step(state: State, noise: Noise) -> tuple[State, Info]:
        heat = optimiser.heat(state)
        fresh, first = split(family.points(state.params, noise.latents, noise.eta), batch)
        kept = network.activations(state.critic, first.z)
        wanted = target.score(first.z) * heat - first.score
        critic, moments = adam(
            state.critic, network.pull(state.critic, kept, (kept[-1] - wanted) * (2 / batch)), state.critic_moments,
            state.steps + 1, step_size=optimiser.rate(state.steps + 1, 2.0), beta2=optimiser.beta2,
        )  # fmt: skip
        gradient = _matching_gradient(family, target, network, critic, state.params, fresh, heat, batch)
        new = optimiser.move(state, gradient)
        return State(*new, critic, moments), Info(lost(new[0]))

    return Method(init, step, two_samples(problem, batch, batch))


def _matching_gradient(family, target, network: Network, critic, params, points: Points, heat, batch: int) -> Tensor:
    """Gradient (R, P) of mean_i [2 <F(z), c grad log p(z) + eta / sigma> - ||F(z)||^2], F held."""
    kept = network.activations(critic, points.z)
    guess = kept[-1]
    force = target.score(points.z) * heat - points.score
    by_force = guess * (2 / batch)
    by_points = network.pull_input(critic, kept, (force - guess) * (2 / batch))
    by_points = by_points + target.score_pull(points.z, by_force) * heat
    return family.pull(params, points, by_points, by_scale(points, by_force))
