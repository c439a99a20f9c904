"""KPG-IS: weights, proposal, every pair by hand, the closed form for any proposal, slots that run out."""

import math

import kpgsivi_slow as slow
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family, square_distances
from descent.papers.kpgsivi.importance import Pairs, importance_difference, kpgis
from descent.papers.kpgsivi.problem import Problem
from descent.papers.kpgsivi.proposal import Parts, Proposal, weights
from descent.papers.kpgsivi.smoothing import gaussian, kpg_difference
from descent.papers.kpgsivi.targets import Banana

F64 = torch.float64


class StandardNormal:
    dim = 1

    def score(self, z):
        return -z


def made(*shape, seed=0, kind=torch.randn):
    return kind(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def log_tau(eps, mean, scale, share):
    """log tau at eps (..., m), by torch.distributions."""
    broad = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(scale)).log_prob(eps).sum(-1)
    narrow = torch.distributions.Normal(mean, scale).log_prob(eps).sum(-1)
    return torch.logaddexp(share.log() + broad, torch.log1p(-share) + narrow), broad


@given(share=st.floats(0.01, 0.99), mean=st.floats(-2, 2), scale=st.floats(0.05, 3), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_weights_average_to_one_under_the_proposal(share, mean, scale, seed):
    n = 100_000
    broad, coin = made(n, seed=seed), made(n, seed=seed + 50, kind=torch.rand)
    eps = torch.where(coin < share, broad, mean + scale * broad)
    ratio = 0.5 * eps**2 - 0.5 * ((eps - mean) / scale) ** 2 - math.log(scale)
    w = weights(torch.full((n,), share, dtype=F64), ratio)
    assert float(w.max()) <= 1 / share + 1e-9
    assert abs(float(w.mean()) - 1) < 5 * float(w.std()) / n**0.5 + 1e-9


def test_weights_are_the_prior_over_the_proposal():
    eps, mean, scale = made(50, 3, seed=1), made(50, 3, seed=2), made(50, 3, seed=3).exp()
    share = torch.full((50,), 0.3, dtype=F64)
    total, broad = log_tau(eps, mean, scale, share)
    ratio = torch.distributions.Normal(mean, scale).log_prob(eps).sum(-1) - broad
    assert_close(weights(share, ratio), (broad - total).exp())
    assert torch.equal(weights(torch.ones(1), torch.tensor([900.0])), torch.ones(1))


def test_the_proposal_descends_its_forward_divergence():
    proposal = Proposal(2, 3, 5, 0.01, 0.9)
    params = proposal.network.start(made(2, proposal.network.size, kind=torch.rand))
    z, eps = made(2, 7, 2, seed=1), made(2, 7, 3, seed=2)
    parts = proposal(params, z)
    assert ((parts.share > 0.01) & (parts.share < 0.9) & (parts.scale > 0).all(-1)).all()
    for row in range(2):
        twin = slow.network((2, 5, 5, 5, 7), params[row])
        out = twin(z[row])
        share = 0.01 + 0.89 * torch.sigmoid(out[:, 6])
        total, _ = log_tau(eps[row], out[:, :3], torch.nn.functional.softplus(out[:, 3:6]), share)
        loss = -total.mean()
        want = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(twin.parameters()))])
        assert_close(proposal.loss(parts, eps)[row], loss.detach())
        assert_close(proposal.gradient(params, parts, eps)[row], want, atol=1e-9, rtol=1e-9)


def setting(B=4, K=5, M=None, rows=2, seed=0):
    family = Family(3, 6, 2)
    params = family.start(made(rows, family.network.size, seed=seed, kind=torch.rand), -1.0)
    here = family.points(params, made(rows, B, 3, seed=seed + 1), made(rows, B, 2, seed=seed + 2))
    proposal = Proposal(2, 3, 5, 0.2, 0.8)
    parts = proposal(proposal.network.start(made(rows, proposal.network.size, seed=seed + 3, kind=torch.rand)), here.z)
    pairs = Pairs(
        made(rows, K, 5, seed=seed + 4), made(rows, B, K, seed=seed + 5, kind=torch.rand),
        made(rows, B * K if M is None else M, 5, seed=seed + 6),
    )  # fmt: skip
    return family, params, Banana(dtype=F64), here, parts, pairs


def by_hand(family, params, target, here, parts, pairs, heat, keep=None):
    """Pair by pair; keep: {(row, i, k): (slot, factor)} of the pairs with latents of their own."""
    rows, B, K = pairs.coins.shape
    result, bandwidths = torch.zeros_like(here.z), []
    for r in range(rows):
        twin = slow.Twin(family, params[r])
        squares, terms = torch.zeros(B, K, dtype=F64), {}
        for i in range(B):
            mean, scale, share = parts.mean[r, i], parts.scale[r, i], parts.share[r, i]
            for k in range(K):
                alone = bool(pairs.coins[r, i, k] >= share)
                slot, factor = (keep or {}).get((r, i, k), (i * K + k, 1.0) if keep is None else (None, 0.0))
                with torch.no_grad():
                    if alone and slot is not None:
                        noise = pairs.own[r, slot]
                        eps = mean + scale * noise[:3]
                    else:
                        noise = pairs.shared[r, k]
                        eps = noise[:3]
                    z = twin.mu(eps[None])[0] + twin.sigma * noise[3:]
                    force = -noise[3:] / twin.sigma - heat * target.score(z[None, None])[0, 0]
                    total, broad = log_tau(eps, mean, scale, share)
                    w = (broad - total).exp()
                squares[i, k] = ((here.z[r, i] - z) ** 2).sum()
                terms[i, k] = w * force * (factor if alone else 1.0)
        h2 = slow.h_squared(squares, K)
        bandwidths.append(h2.sqrt())
        for (i, k), term in terms.items():
            result[r, i] += torch.exp(-squares[i, k] / (2 * h2)) * term / K
    return result, torch.stack(bandwidths)


def test_every_pair_by_hand():
    family, params, target, here, parts, pairs = setting()
    got, seen = importance_difference(family, params, target, 0.7, here, parts, pairs)
    want, bandwidths = by_hand(family, params, target, here, parts, pairs, 0.7)
    assert_close(got, want, atol=1e-10, rtol=1e-10)
    assert_close(seen[0], bandwidths)
    assert float(seen[3].max()) == 0


@pytest.mark.parametrize("M", [19, 3])
def test_slots_by_hand(M):
    """Enough slots: every pair with a latent of its own has one. Too few: a random part, weighted up, and said so."""
    family, params, target, here, parts, pairs = setting(M=M)
    got, seen = importance_difference(family, params, target, 1.0, here, parts, pairs)
    keep = {}
    for r in range(2):
        share = parts.share[r][:, None].expand(4, 5)
        chance = (pairs.coins[r] - share) / (1 - share)
        order = sorted(((float(chance[i, k]), i, k) for i in range(4) for k in range(5)), reverse=True)
        alone = [(i, k) for c, i, k in order if c >= 0]
        for slot, (i, k) in enumerate(alone[:M]):
            keep[r, i, k] = slot, max(1.0, len(alone) / M)
        assert float(seen[3][r]) == pytest.approx(max(0, len(alone) - M) / len(alone))
    want, _ = by_hand(family, params, target, here, parts, pairs, 1.0, keep)
    assert_close(got, want, atol=1e-10, rtol=1e-10)


def test_with_every_latent_shared_it_is_kpg():
    family, params, target, here, parts, pairs = setting()
    parts = parts._replace(share=torch.ones_like(parts.share))
    h2 = torch.tensor([0.5, 0.9], dtype=F64)
    got, _ = importance_difference(family, params, target, 1.0, here, parts, pairs, h2)
    there = family.sample(params, pairs.shared[..., :3], pairs.shared[..., 3:])
    force = -pairs.shared[..., 3:] / here.scale - target.score(there)
    want = kpg_difference(gaussian(square_distances(here.z, there), h2), force)
    assert_close(got, want, atol=1e-12, rtol=1e-12)


class Line:
    """mu(eps) = a eps + b in one dimension, in the place of a Family."""

    latent, dim = 1, 1

    def __init__(self, a, b):
        self.a, self.b = a, b

    def mean(self, params, eps):
        return self.a * eps + self.b


@pytest.mark.parametrize(("mean", "scale", "share", "M"), [(0.4, 0.6, 0.3, 4), (-0.5, 1.5, 0.6, 4), (0.4, 0.6, 0.3, 1)])
def test_closed_form_for_any_proposal_and_any_number_of_slots(mean, scale, share, M):
    """The same Delta_k(1) = .295351 as KPG's, whatever tau; with a single slot for four pairs too."""
    from descent.papers.kpgsivi.family import Points

    rows, K = 60_000, 4
    one = torch.ones(rows, 1, 1, dtype=F64)
    here = Points(one, torch.zeros_like(one), 0.8 * one, [])
    parts = Parts(mean * one, scale * one, share * one[..., 0], [])
    pairs = Pairs(made(rows, K, 2, seed=1), made(rows, 1, K, seed=2, kind=torch.rand), made(rows, M, 2, seed=3))
    got, _ = importance_difference(
        Line(1.2, 0.5), one, StandardNormal(), 1.0, here, parts, pairs, torch.full((rows,), 0.49, dtype=F64)
    )
    error = float(got.std()) / rows**0.5
    assert error < 0.01 and abs(float(got.mean()) - 0.295351) < 4 * error


def test_steps_train_the_proposal_first_and_then_phi():
    """One step: Adam on tau at the method's step size, then KPG-IS's estimate with the new tau."""
    family = Family(3, 6, 2)
    on = Problem(Banana(dtype=F64), family, (500,), Streams("kpgsivi"), dtype=F64)
    method = kpgis(on, batch=4, latents=5, proposal_width=5, step_size=0.01, decay=0.5, decay_every=1)
    state = method.init(on.start(-1.0))
    noise = method.draw(0, 2)
    for t in range(2):
        twin, tau = slow.Twin(family, state.params[0]), slow.network((2, 5, 5, 5, 7), state.proposal[0])
        eps, eta = noise.points[t, 0, :, :3], noise.points[t, 0, :, 3:]
        if t == 0:
            adam = torch.optim.Adam(tau.parameters(), lr=0.01)
            out = tau((twin.mu(eps) + twin.sigma * eta).detach())
            total, _ = log_tau(
                eps, out[:, :3], torch.nn.functional.softplus(out[:, 3:6]), 0.01 + 0.89 * out[:, 6].sigmoid()
            )
            (-total.mean()).backward()
            adam.step()
        pairs = Pairs(noise.pairs.shared[t], noise.pairs.coins[t], noise.pairs.own[t])
        from descent.papers.kpgsivi.importance import Noise

        new, info = method.step(state, Noise(noise.points[t], pairs))
        if t == 0:
            assert_close(new.proposal[0], twin.flat(list(tau.parameters())), atol=1e-8, rtol=1e-8)
        points = family.points(state.params, eps[None], eta[None])
        parts = Proposal(2, 3, 5, 0.01, 0.9)(new.proposal, points.z)
        d, bandwidths = by_hand(family, state.params, on.target, points, parts, pairs, 1.0)
        z = twin.mu(eps) + twin.sigma * eta
        gradient = twin.gradient((d[0] * z).sum(-1).mean())
        if t == 0:
            phi = torch.optim.Adam(twin.parameters(), lr=0.01)
            for p, g in zip(twin.parameters(), gradient.split([p.numel() for p in twin.parameters()]), strict=True):
                p.grad = g.view_as(p)
            phi.step()
            assert_close(new.params[0], twin.flat(), atol=1e-8, rtol=1e-8)
        assert_close(new.moments.first[0] - 0.9 * state.moments.first[0], 0.1 * gradient, atol=1e-9, rtol=1e-9)
        assert_close(info.bandwidth, bandwidths)
        assert_close(info.share, parts.share.mean(-1))
        state = new


def test_later_blocks_may_have_fewer_slots():
    on = Problem(Banana(dtype=F64), Family(3, 6, 2), (500, 501), Streams("kpgsivi"), dtype=F64)
    method = kpgis(on, batch=4, slots=1.0, later_slots=0.25)
    assert method.draw(0, 3).pairs.own.shape == (3, 2, 16, 5)
    assert method.draw(1, 3).pairs.own.shape == (3, 2, 4, 5)


def test_a_lower_share_above_the_upper_is_refused():
    on = Problem(Banana(dtype=F64), Family(3, 6, 2), (500,), Streams("kpgsivi"), dtype=F64)
    with pytest.raises(SettingError, match=r"kpgis: `share_low` must not exceed `share_high`, got 0.9 and 0.1"):
        kpgis(on, batch=4, share_low=0.9, share_high=0.1)
