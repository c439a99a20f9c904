"""Every method's step against autograd and torch.optim, one seed at a time; heating, decay, divergence, refusals."""

import math

import kpgsivi_slow as slow
import pytest
import torch
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.kpgsivi.bound import sivi
from descent.papers.kpgsivi.critic import sivism
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.importance import kpgis
from descent.papers.kpgsivi.kernelised import asvgd, asvgd_released, kpg
from descent.papers.kpgsivi.posterior_score import aisivi, bsivi, posterior_energy, prior_score, uivi
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.stein import ksivi
from descent.papers.kpgsivi.targets import Banana, Diffusion, multimodal

F64 = torch.float64
B = 8
DESCENT = {"step_size": 0.01, "beta2": 0.99, "decay": 0.5, "decay_every": 2, "warm_up": 4}
METHODS = {
    "kpg": kpg, "asvgd": asvgd, "asvgd_released": asvgd_released, "ksivi": ksivi, "sivi": sivi, "bsivi": bsivi,
    "uivi": uivi, "sivism": sivism, "kpgis": kpgis, "aisivi": aisivi,
}  # fmt: skip


def problem(target=None, seeds=(500, 501, 502), **family):
    target = target or Banana(dtype=F64)
    shape = {"latent": 3, "hidden": 6, "dim": target.dim, **family}
    return Problem(target, Family(**shape), seeds, Streams("kpgsivi"), dtype=F64)


def run(method, on, steps, log_variance=-1.0):
    state, noises = method.init(on.start(log_variance)), method.draw(0, steps)
    for i in range(steps):
        state, info = method.step(state, slice_of(noises, i))
    return state, info


def slice_of(noise, i):
    return type(noise)(*(slice_of(x, i) if isinstance(x, tuple) else x[i] for x in noise))


LOSSES = {
    "kpg": slow.kpg_loss,
    "asvgd": slow.asvgd_loss,
    "ksivi": slow.ksivi_loss,
    "sivi": slow.sivi_loss,
    "bsivi": slow.bsivi_loss,
}


@pytest.mark.parametrize("target", [Banana(dtype=F64), multimodal(dtype=F64), Diffusion([-1.0, -0.8], dtype=F64)])
@pytest.mark.parametrize("name", LOSSES)
def test_four_steps_are_those_of_autograd_and_torch_adam(name, target):
    """Heated scores, a decayed step size and Adam included: losses and optimiser are torch's."""
    on = problem(target)
    method = METHODS[name](on, batch=B, **DESCENT)
    state, _ = run(method, on, 4)
    noises = method.draw(0, 4)
    for row in range(3):
        twin = slow.Twin(on.family, on.start(-1.0)[row])
        optimiser = torch.optim.Adam(twin.parameters(), lr=0.01, betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, 2, 0.5)
        for t in range(4):
            noise = slice_of(noises, t)
            if name in ("sivi", "bsivi"):
                numbers = (noise.points[row][:, :3], noise.points[row][:, 3:], noise.latents[row])
            else:
                eps, eta = noise.latents[row], noise.eta[row]
                numbers = eps[:B], eta[:B], eps[B:], eta[B:]
            loss = LOSSES[name](twin, target, *numbers, heat=min(1.0, 0.1 + (t + 1) / 4))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        assert_close(state.params[row], twin.flat(), atol=1e-7, rtol=1e-7)


def test_ksivi_with_the_imq_kernel_is_autograds():
    on = problem()
    method = ksivi(on, batch=B, kernel="imq", step_size=0.01)
    noise = slice_of(method.draw(0, 1), 0)
    from descent.papers.kpgsivi.stein import discrepancy

    value, gradient = discrepancy(on.family, on.target, on.start(-1.0), noise, 1.0, B, "imq")
    for row in range(3):
        twin = slow.Twin(on.family, on.start(-1.0)[row])
        eps, eta = noise.latents[row], noise.eta[row]
        loss = slow.ksivi_loss(twin, on.target, eps[:B], eta[:B], eps[B:], eta[B:], kernel="imq")
        assert_close(value[row], loss.detach(), atol=1e-10, rtol=1e-10)
        assert_close(gradient[row], twin.gradient(loss), atol=1e-8, rtol=1e-8)


def test_a_log_variance_at_its_floor_gets_no_gradient():
    on = problem(floor=-0.5)
    method = kpg(on, batch=B, step_size=0.01)
    state, _ = run(method, on, 1)
    assert torch.equal(state.params[:, -2:], torch.full((3, 2), -1.0, dtype=F64))


def test_score_matching_trains_the_critic_and_then_phi():
    on = problem()
    method = sivism(on, batch=B, critic_width=5, step_size=0.01, warm_up=4)  # heat .1 + 1 / 4
    first = method.init(on.start(-1.0))
    noise = slice_of(method.draw(0, 1), 0)
    state, _ = method.step(first, noise)
    for row in range(3):
        twin = slow.Twin(on.family, first.params[row])
        critic = slow.network((2, 5, 5, 2), first.critic[row])
        opt = torch.optim.Adam(critic.parameters(), lr=0.02)
        eps, eta = noise.latents[row], noise.eta[row]
        z = (twin.mu(eps[B:]) + twin.sigma * eta[B:]).detach()
        wanted = (0.35 * on.target.score(z[None])[0] + eta[B:] / twin.sigma).detach()
        loss = (critic(z).square().sum(-1) - 2 * (critic(z) * wanted).sum(-1)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        assert_close(state.critic[row], twin.flat(list(critic.parameters())), atol=1e-8, rtol=1e-8)
        outer = torch.optim.Adam(twin.parameters(), lr=0.01)
        z = twin.mu(eps[:B]) + twin.sigma * eta[:B]
        wanted = 0.35 * on.target.score(z[None])[0] + eta[:B] / twin.sigma
        loss = (2 * (critic(z) * wanted).sum(-1) - critic(z).square().sum(-1)).mean()
        outer.zero_grad()
        loss.backward()
        outer.step()
        assert_close(state.params[row], twin.flat(), atol=1e-8, rtol=1e-8)


def test_latent_posterior_energy_is_autograds():
    on = problem()
    params = on.start(-1.0)
    eps, z = torch.randn(3, B, 3, dtype=F64), torch.randn(3, B, 2, dtype=F64)
    value, slope = posterior_energy(on.family, params, z)(eps)
    for row in range(3):
        twin = slow.Twin(on.family, params[row])
        e = eps[row].clone().requires_grad_()
        off = (z[row] - twin.mu(e)) / twin.sigma
        energy = 0.5 * (off**2).sum(-1) + 0.5 * (e**2).sum(-1)
        assert_close(value[row], energy.detach())
        assert_close(slope[row], torch.autograd.grad(energy.sum(), e)[0])


def grid_score(on, params, z):
    """grad log q (d = 2) by a fine average over a million latents."""
    latents = torch.randn(1, 400_000, 3, generator=torch.Generator().manual_seed(4), dtype=F64)
    return prior_score(on.family, params, z, latents)


def test_uivi_and_aisivi_estimate_the_same_score_of_q():
    """D + score of the target = grad log q, on average over many chains and many proposals."""
    from descent.papers.kpgsivi.posterior_score import proposed_score
    from descent.papers.kpgsivi.proposal import Proposal

    on = problem(seeds=(500,))
    params, make = on.start(-1.0), torch.Generator().manual_seed(8)
    z = on.family.sample(
        params, torch.randn(1, 3, 3, generator=make, dtype=F64), torch.randn(1, 3, 2, dtype=F64, generator=make)
    )
    want = grid_score(on, params, z)
    proposal = Proposal(2, 3, 5, 0.3, 0.9)
    inner = proposal.network.start(torch.rand(1, proposal.network.size, generator=make, dtype=F64))
    K = 40_000
    got = proposed_score(
        on.family, params, z, proposal(inner, z), torch.rand(1, 3, K, generator=make, dtype=F64),
        torch.randn(1, 3, K, 3, generator=make, dtype=F64),
    )  # fmt: skip
    assert_close(got, want, atol=0.03, rtol=0)


def test_the_latent_chain_finds_the_posterior_mean_of_the_score():
    """UIVI with many kept transitions: its mean drift equals grad log q."""
    from descent.papers.kpgsivi.hmc import transition

    on = problem(seeds=(500,))
    params, make = on.start(-1.0), torch.Generator().manual_seed(9)
    z = torch.tensor([[[0.2, -0.3], [0.8, 0.1]]], dtype=F64)
    chains = 4000
    many = z.repeat_interleave(chains, dim=1)
    energy = posterior_energy(on.family, params, many)
    eps = torch.randn(1, 2 * chains, 3, generator=make, dtype=F64)
    for _ in range(60):
        momentum = torch.randn(eps.shape, generator=make, dtype=F64)
        eps, _ = transition(energy, eps, momentum, torch.rand(eps.shape[:2], generator=make, dtype=F64), 5, 0.4)
    drift = (on.family.mean(params, eps) - many) / on.family.scale(params) ** 2
    assert_close(drift.view(1, 2, chains, 2).mean(2), grid_score(on, params, z), atol=0.05, rtol=0)


def test_uivi_step_is_a_plain_loop_over_the_chain():
    on = problem(seeds=(500,))
    settings = {"burn_in": 2, "kept": 2, "leapfrog": 2, "leapfrog_step": 0.1}
    method = uivi(on, batch=B, step_size=0.01, warm_up=4, **settings)
    first = method.init(on.start(-1.0))
    noise = slice_of(method.draw(0, 1), 0)
    twin = slow.Twin(on.family, first.params[0])
    eps0, eta = noise.points[0][:, :3], noise.points[0][:, 3:]
    z = twin.mu(eps0) + twin.sigma * eta
    still = z.detach()

    def energy(e):
        return (0.5 * ((still - twin.mu(e)) / twin.sigma) ** 2).sum(-1) + 0.5 * (e**2).sum(-1)

    def pull(e):
        e = e.detach().requires_grad_()
        return torch.autograd.grad(energy(e).sum(), e)[0]

    eps, kept = eps0, []
    for t in range(4):
        p = noise.momenta[0, t]
        e, q = eps, p - 0.05 * pull(eps)
        for i in range(2):
            e = e + 0.1 * q
            q = q - (0.1 if i == 0 else 0.05) * pull(e)
        change = energy(eps) + 0.5 * (p**2).sum(-1) - energy(e) - 0.5 * (q**2).sum(-1)
        eps = torch.where((noise.coins[0, t].log() < change)[:, None], e, eps).detach()
        if t >= 2:
            kept.append((twin.mu(eps) - still) / twin.sigma**2)
    d = (sum(kept) / 2 - 0.35 * on.target.score(still[None])[0]).detach()
    optimiser = torch.optim.Adam(twin.parameters(), lr=0.01)
    (d * z).sum(-1).mean().backward()
    optimiser.step()
    assert_close(method.step(first, noise)[0].params[0], twin.flat(), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_does_not_notice_the_others(name):
    alone, together = problem(seeds=(501,)), problem(seeds=(500, 501))
    one = run(METHODS[name](alone, batch=B, **DESCENT), alone, 3)[0].params
    both = run(METHODS[name](together, batch=B, **DESCENT), together, 3)[0].params
    assert_close(both[1:], one, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_copies_of_a_seed_go_the_same_way(name):
    on = problem(seeds=(500, 501))
    on = Problem(on.target, on.family, on.seeds, on.streams, copies=2, dtype=F64)
    params = run(METHODS[name](on, batch=B, **DESCENT), on, 3)[0].params
    assert params.shape[0] == 4
    assert_close(params[:2], params[2:], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_a_lost_row_is_reported_and_stays_alone(name):
    on = problem(seeds=(500, 501))
    method = METHODS[name](on, batch=B, **DESCENT)
    bad = on.start(-1.0)
    bad[0] = torch.nan
    state, info = method.step(method.init(bad), slice_of(method.draw(0, 1), 0))
    assert info.diverged.tolist() == [True, False]
    assert state.params[1].isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_bad_settings_are_refused_in_one_sentence(name):
    with pytest.raises(SettingError, match=rf"{name}: `batch` must lie in .* got 0"):
        METHODS[name](problem(), batch=0)
    with pytest.raises(SettingError, match=rf"{name}: `step_size` must lie in"):
        METHODS[name](problem(), batch=B, step_size=-1.0)
    with pytest.raises(SettingError, match=r"wants a kpgsivi Problem, got Linear.*kpgsivi.fit"):
        METHODS[name](torch.nn.Linear(1, 1), batch=B)


@pytest.mark.parametrize("name", ["kpg", "asvgd"])
def test_a_thinned_median_changes_the_bandwidth_alone(name):
    on = problem()
    all_pairs, thinned = (METHODS[name](on, batch=B, median_every=every, **DESCENT) for every in (1, 3))
    noise = slice_of(all_pairs.draw(0, 1), 0)
    state = all_pairs.init(on.start(-1.0))
    (_, full), (_, part) = all_pairs.step(state, noise), thinned.step(state, noise)
    points = on.family.sample(state.params, noise.latents, noise.eta)
    squares = torch.cdist(points[:, :B], points[:, B:]).square().flatten(1)
    for info, every in ((full, 1), (part, 3)):
        assert_close(info.bandwidth**2, squares[:, ::every].median(-1).values * 0.5 / math.log(B + 1))
