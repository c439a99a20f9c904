"""The family, its network and the optimiser: starts, densities, schedules, Adam against torch's."""

import math

import kpgsivi_slow as slow
import pytest
import torch
from torch.testing import assert_close

from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.network import Network
from descent.papers.kpgsivi.optimiser import Optimiser, adam, at_rest, start
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.targets import Banana

F64 = torch.float64


def test_schedule_counts_steps():
    optimiser = Optimiser(0.1, decay=0.9, decay_every=3, warm_up=10)
    rates = [float(optimiser.rate(torch.tensor(float(t)))) for t in range(1, 8)]
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.09, 0.09, 0.09, 0.081])
    state = start(torch.zeros(1, 1))
    heats = [float(optimiser.heat(state._replace(steps=torch.tensor(float(t))))) for t in (0, 4, 8, 20)]
    assert heats == pytest.approx([0.2, 0.6, 1.0, 1.0])


def test_networks_start_as_torchs_linear_layers():
    network = Network((4, 50, 2))
    params = network.start(torch.rand(1, network.size, dtype=F64))
    first, second = params[:, : 5 * 50], params[:, 5 * 50 :]
    assert 0.49 < float(first.abs().max()) <= 0.5 and float(second.abs().max()) <= 1 / math.sqrt(50)
    x = torch.randn(1, 3, 4, dtype=F64)
    assert_close(network(params, x)[0], slow.network((4, 50, 2), params[0])(x[0]).detach())


def test_density_of_the_family_integrates_to_one():
    on = Problem(Banana(dtype=F64), Family(3, 6, 2), (500,), Streams("kpgsivi"), dtype=F64)
    params = on.start(-1.0)
    side = torch.linspace(-6, 6, 241, dtype=F64)
    z = torch.cartesian_prod(side, side)[None]
    latents = torch.randn(1, 300, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    density = on.family.log_density(params, z, latents, chunk=128).exp()
    assert float(density.sum()) * float(side[1] - side[0]) ** 2 == pytest.approx(1, abs=1e-6)


def test_density_of_the_family_is_the_mean_of_its_conditionals():
    """Blocks of latents, rows apart, points far from every component: against the sum written out."""
    family = Family(3, 6, 2)
    params = torch.randn(2, family.size, dtype=F64, generator=torch.Generator().manual_seed(4))
    params[:, -2:] = -4.0
    z = torch.tensor([[0.1, 0.2], [0.4, -0.3], [9.0, 0.0], [40.0, -30.0]], dtype=F64).expand(2, -1, -1)
    latents = torch.randn(2, 50, 3, generator=torch.Generator().manual_seed(1), dtype=F64)
    got = family.log_density(params, z, latents, chunk=16)
    for r in range(2):
        centres, scale = slow.network((3, 6, 6, 2), params[r])(latents[r]).detach(), math.exp(-2)
        normal = torch.distributions.Normal(centres[None], scale)
        terms = normal.log_prob(z[r][:, None]).sum(-1)
        assert_close(got[r], torch.logsumexp(terms, 1) - math.log(50), atol=1e-9, rtol=1e-9)
    assert_close(family.log_density(params[:1], z[:1], latents[:1])[0], got[0], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("factor", [1e-3, 64.0])
def test_scaling_the_loss_moves_adam_by_its_epsilon_alone(factor):
    """The official code sums over the auxiliary points where a mean is taken here: B times the gradient, the same path."""
    make = torch.Generator().manual_seed(3)
    gradients = torch.randn(20, 1, 9, generator=make, dtype=F64) * 0.1
    paths = []
    for scale in (1.0, factor):
        params, moments = torch.zeros(1, 9, dtype=F64), at_rest(torch.zeros(1, 9, dtype=F64))
        for t, gradient in enumerate(gradients, 1):
            params, moments = adam(
                params, scale * gradient, moments, torch.tensor(float(t)), step_size=0.01, beta2=0.99
            )
        paths.append(params)
    assert_close(paths[0], paths[1], atol=1e-4, rtol=0)
    assert not torch.equal(*paths)


def test_many_points_are_evaluated_row_by_row_with_the_same_result():
    from descent.papers.kpgsivi.network import LONG

    network = Network((3, 5, 2))
    params, x = network.start(torch.rand(2, network.size, dtype=F64)), torch.randn(2, LONG, 3, dtype=F64)
    want = torch.stack([slow.network((3, 5, 2), params[r])(x[r]).detach() for r in range(2)])
    assert_close(network(params, x), want)
    assert_close(network(params, x[:, 1:]), want[:, 1:])
