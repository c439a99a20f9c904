"""The reduced simulators against the d-dimensional chain: the same path on the same tokens, the same law on their own.

Pathwise: tokens are drawn in R^d, their projections on (w*, p, residual) and the length of what is left are read off,
and one reduced step on these numbers must give the direct step's overlaps to rounding. This pins every formula of
docs/papers/ssi.md; that what is left is chi-square is the only thing then left to a test of laws.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.testing import assert_close

from descent.core.context import Context
from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers.ssi import links, plain, single
from descent.papers.ssi.chains import Model, run_chains
from descent.papers.ssi.direct import Direct, Vectors
from descent.papers.ssi.law import run as law
from descent.papers.ssi.noise import Chain, DeviceNoise, HostNoise, Noise, Plan
from descent.papers.ssi.transition import Constants

CONTEXT = Context(torch.device("cpu"), Streams("ssi"), {})
SIGNS = torch.tensor(links.SIGNS, dtype=torch.float64)


def f64(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def teacher(rows: int, omega: float = 0.5, frobenius: bool = False) -> links.Mixed:
    one = torch.ones(rows, dtype=torch.float64)
    return links.Mixed(omega * one, torch.sigmoid(2 * one), torch.full((rows,), frobenius))


def pe_model() -> Model:
    return single.single_vector(
        lambda z, c: links.teacher_diagonal(z, c.teacher),
        lambda s, goal, c: links.attention_slope(s, goal, c.teacher.frobenius),
        2, positional=True,
    )  # fmt: skip


def one_step(model, body, z, chi, constants):
    """A single step on z (columns, L, R) and chi (T, R)."""
    work = model.work(body, 1)
    work.w.copy_(body.w)
    work.noise.z[0] = z
    work.noise.chi[0] = chi
    model.prepare(work, constants)
    model.step(work, 0, constants)
    return type(body)(work.w)


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


@given(
    seed=st.integers(0, 9999),
    d=st.integers(5, 40),
    m=st.floats(-0.6, 0.6),
    e=st.floats(-0.6, 0.6),
    frobenius=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_one_reduced_step_is_the_direct_step_on_the_same_tokens(seed, d, m, e, frobenius):
    rng, rows, rate = np.random.default_rng(seed), 3, 3.0
    x = torch.from_numpy(rng.standard_normal((rows, 2, d))) / math.sqrt(d)
    mixed = teacher(rows, 0.4, frobenius)
    direct = Direct(
        lambda s, z: links.attention_slope(s, links.teacher_diagonal(z, mixed), mixed.frobenius),
        SIGNS,
        rate=rate,
        dimension=d,
    )
    start = direct.start(f64([m] * rows), f64([e] * rows))
    w = start.w.clone()  # turn the residual into a random direction: the basis must not matter
    residual = torch.from_numpy(rng.standard_normal((rows, d)))
    residual[:, :2] = 0
    w[:, 2:] = 0
    w += unit(residual) * start.w[:, 2:3]
    tokens = math.sqrt(d) * x
    after = direct.overlaps(direct.step(Vectors(w), tokens))

    z = math.sqrt(d) * torch.stack([x[..., 0], x[..., 1], torch.einsum("rld,rd->rl", x, unit(residual))])  # (3, R, L)
    z = z.transpose(1, 2)
    shifted = x.clone()
    shifted[..., 1] += SIGNS / math.sqrt(d)
    s = torch.einsum("rld,rd->lr", shifted, w)
    assert_close(direct.fields(w, tokens), s)
    a = direct.slope(s, math.sqrt(d) * x[..., 0].T)
    rest = torch.einsum("lr,rld->rd", a, x) * math.sqrt(d)
    rest = rest - torch.einsum("rd,rd->r", rest, unit(residual))[:, None] * unit(residual)
    rest[:, :2] = 0
    chi = rest.square().sum(-1) / a.square().sum(0)
    kappa = torch.full((rows,), rate / d, dtype=torch.float64)
    body = single.start(f64([m] * rows), f64([e] * rows))
    got = single.overlaps(one_step(pe_model(), body, z, chi[None], Constants(kappa, single.opposite(kappa), mixed)))
    assert_close(got["m"], after["m"], atol=1e-11, rtol=1e-9)
    assert_close(got["e"], after["e"], atol=1e-11, rtol=1e-9)


def plain_model(tokens: int, link: str = "linear", activation: str = "relu") -> Model:
    return plain.plain_network(
        lambda z, c: links.target_value(z, c.on.weight, link),
        lambda s, y, c: links.network_slope(s, y, c.on, activation),
        tokens,
    )


class Net(NamedTuple):
    kappa: torch.Tensor
    root: torch.Tensor
    on: links.Sequence


def net(length: int, tokens: int, rows: int, rate: float, d: int, target: str = "quadratic") -> tuple[Net, str]:
    c, link = links.coefficients(target, length)
    column = lambda x: f64(list(x) + [0.0] * (tokens - length))[:, None].expand(tokens, rows).contiguous()  # noqa: E731
    on = links.Sequence(column(c), torch.full((rows,), length**-0.5, dtype=torch.float64), column([1.0] * length))
    return Net(torch.full((rows,), rate / d, dtype=torch.float64), 1 / on.inverse, on), link


@given(
    seed=st.integers(0, 9999),
    d=st.integers(4, 30),
    length=st.integers(1, 5),
    activation=st.sampled_from(["relu", "square"]),
)
@settings(max_examples=40, deadline=None)
def test_one_step_of_the_plain_network_is_autograd_s_in_d_dimensions(seed, d, length, activation):
    rng, rows, rate = np.random.default_rng(seed), 3, 2.0
    tokens = links.padded(length)
    constants, link = net(length, tokens, rows, rate, d)
    x = torch.from_numpy(rng.standard_normal((rows, length, d))) / math.sqrt(d)
    w = torch.from_numpy(rng.standard_normal((rows, length, d)))
    w = w * (math.sqrt(length * d) / w.flatten(1).norm(dim=1))[:, None, None]
    m, left = w[..., 0] / math.sqrt(d), w.clone()
    left[..., 0] = 0
    r = left.norm(dim=-1) / math.sqrt(d)

    v = w.clone().requires_grad_()
    u = torch.einsum("rld,rld->r", x, v) * length**-0.5
    zstar = math.sqrt(d) * x[..., 0]
    h = zstar if link == "linear" else (zstar**2 - 1) / math.sqrt(2)
    y = h.sum(1) * length**-0.5
    f = torch.relu(u) if activation == "relu" else u * u
    (gradient,) = torch.autograd.grad(((f - y) ** 2 / 2).sum(), v)
    moved = w - rate * gradient
    moved = moved * (w.flatten(1).norm(dim=1) / moved.flatten(1).norm(dim=1))[:, None, None]

    z1 = math.sqrt(d) * torch.einsum("rld,rld->rl", x, unit(left))
    rest = math.sqrt(d) * x - z1[..., None] * unit(left)
    rest[..., 0] = 0
    pad = lambda t: torch.cat([t.T, t.new_zeros(tokens - length, rows)])  # noqa: E731
    model = plain_model(tokens, link, activation)
    body = plain.Plain(torch.stack([pad(m), pad(r)]))
    after = one_step(model, body, torch.stack([pad(zstar), pad(z1)]), pad(rest.square().sum(-1)), constants)
    assert_close(after.w[0, :length].T, moved[..., 0] / math.sqrt(d), atol=1e-10, rtol=1e-8)
    assert_close(after.w[1, :length].T, moved[..., 1:].norm(dim=-1) / math.sqrt(d), atol=1e-10, rtol=1e-8)
    assert after.w[:, length:].eq(0).all()
    overlap = (moved[..., 0].square().sum(1) / d / length).sqrt()
    assert_close(model.overlap(after), overlap, atol=1e-10, rtol=1e-8)


def test_autograd_and_closed_form_direct_steps_agree():
    d, rows = 12, 4
    mixed = teacher(rows)
    target = lambda z: links.teacher_diagonal(z, mixed)  # noqa: E731
    direct = Direct(lambda s, z: links.attention_slope(s, target(z)), SIGNS, rate=0.7, dimension=d)
    state = direct.start(f64([0.1, 0.2, 0.3, 0.4]), f64([0.4, -0.3, 0.2, 0.1]))
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((rows, 2, d)))
    by_autograd = direct.autograd_step(state, x, lambda s, z: links.attention_loss(s, target(z)))
    assert_close(direct.step(state, x).w, by_autograd.w, atol=1e-12, rtol=1e-10)
    assert_close(by_autograd.w.square().sum(-1), torch.full((rows,), float(d), dtype=torch.float64))


@pytest.mark.parametrize("positional", [True, False])
def test_overlaps_stay_on_the_sphere_and_hardly_move_at_small_rates(positional):
    d, rows = 100, 8
    kappa = torch.full((rows,), 1e-6 / d, dtype=torch.float64)
    mixed = teacher(rows)
    if positional:
        model, body = pe_model(), single.start(f64([0.3] * rows), f64([0.4] * rows))
    else:
        model = single.single_vector(lambda z, c: z[:, 0, 0], lambda s, y, c: s - y, 1, positional=False)
        body = single.start(f64([0.3] * rows))
    rng = np.random.default_rng(0)
    z = torch.from_numpy(rng.standard_normal((model.columns, model.tokens, rows)))
    chi = torch.from_numpy(rng.chisquare(d - model.columns, (1, rows)))
    after = one_step(model, body, z, chi, Constants(kappa, single.opposite(kappa), mixed))
    assert_close(after.w.square().sum(0), torch.ones(rows, dtype=torch.float64), atol=1e-14, rtol=0)
    assert (after.w - body.w).abs().max() < 30 * 1e-6 / d  # O(lr / d): the limit of lr -> 0, and of one step


def chunk_of(source, drawn) -> Noise:
    model, rows, steps = source.model, len(source.chains), source.plan.chunk
    out = Noise(
        torch.full((steps, model.columns, model.tokens, rows), np.nan, dtype=torch.float64),
        torch.full((steps, model.tokens if model.per_token else 1, rows), np.nan, dtype=torch.float64),
    )
    source.unpack(drawn, out)
    return out


@pytest.mark.parametrize("noise", ["host", "device"])
def test_noise_has_the_laws_of_its_definition(noise):
    model = plain_model(2)
    chains = [Chain(seed, ("x",), 2, dimension) for seed, dimension in ((500, 40), (501, 300))]
    plan = Plan(4000, 4000, 2000, noise)
    source = {"host": HostNoise, "device": DeviceNoise}[noise](CONTEXT, model, chains, plan, 0)
    drawn = source.draw(0, 2)
    parts = [chunk_of(source, tree_map(lambda x, i=i: x[i], drawn)) for i in range(2)]
    z, chi = (torch.cat(x).numpy() for x in zip(*parts, strict=True))
    assert z.shape == (4000, 2, 2, 2) and chi.shape == (4000, 2, 2)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    assert abs(np.corrcoef(z.reshape(4000, -1).T) - np.eye(8)).max() < 0.08
    for row, dof in enumerate((38, 298)):
        assert stats.kstest(chi[..., row].ravel(), "chi2", args=(dof,)).pvalue > 1e-3


@pytest.mark.parametrize("noise", ["host", "device"])
def test_a_shorter_sequence_has_no_noise_at_its_padding_and_a_block_is_keyed(noise):
    model = plain_model(4)
    chains = [Chain(500, (), 3, 40), Chain(501, (), 4, 40)]
    kind, plan = {"host": HostNoise, "device": DeviceNoise}[noise], Plan(200, 100, 50, noise)
    first, later = kind(CONTEXT, model, chains, plan, 0), kind(CONTEXT, model, chains, plan, 1)

    def take(source, k, i):
        return chunk_of(source, tree_map(lambda x: x[i], source.draw(k, 2)))

    a = take(first, 0, 0)
    assert a.z[:, :, 3, 0].eq(0).all() and a.chi[:, 3, 0].eq(0).all() and a.z[:, :, 3, 1].ne(0).all()
    assert torch.equal(take(first, 1, 1).z, take(later, 0, 1).z)
    assert not torch.equal(take(first, 0, 0).z, take(first, 0, 1).z)
    alone = kind(CONTEXT, model, chains[1:], plan, 0)
    assert torch.equal(take(alone, 0, 0).z[..., 0], a.z[..., 1])


def test_laws_agree_after_many_steps_in_a_small_dimension():
    """1500 chains in d = 12, where a wrong number of degrees of freedom (9 of 12) would show."""
    from descent.core.job import Job, Variant

    base = {"dimension": 12, "rate": 0.8, "omega": 0.5, "width": 1.0, "loss": "sq", "start_m": 0.3, "start_e": 0.2,
            "steps": 100, "at": 50, "block": 100, "chunk": 50, "noise": "host"}  # fmt: skip
    variants = tuple(
        Variant(method, {}, base, tuple(range(500, 2000)), takes=("dimension", "rate")) for method in ("direct", "sgd")
    )
    job = Job("ssi", "law", "all", "smoke", "train", "descent.papers.ssi.law", (), variants)
    frame = law(job, CONTEXT).frame(job)
    for (step, metric), rows in frame.groupby(["step", "metric"]):
        a, b = (rows[rows["method"] == m]["value"] for m in ("direct", "sgd"))
        assert stats.ks_2samp(a, b).pvalue > 1e-3, (step, metric)
        assert abs(a.mean() - b.mean()) < 4 * math.sqrt(a.var() / len(a) + b.var() / len(b))


def test_the_tied_network_doubles_its_overlap_in_the_time_of_theory():
    """E1: T = 2 sqrt d / lr, whatever L; here d = 400, lr = .05: 800 steps, with the mean's standard error."""
    rows, d, rate = 48, 400, 0.05
    constants, link = net(2, 2, rows, rate, d, "linear")
    model = single.single_vector(
        lambda z, c: links.target_value(z, c.on.weight, link),
        lambda s, y, c: links.network_slope(s, y, c.on) * c.on.mask, 2, positional=False,
    )  # fmt: skip
    start = torch.full((rows,), d**-0.5, dtype=torch.float64)
    chains = [Chain(seed, ("theory",), 2, d) for seed in range(500, 500 + rows)]
    time = run_chains(
        CONTEXT, "t", model, chains, single.start(start), constants, Plan(20000), threshold=2 * start
    ).time
    assert abs(time.mean() - 2 * math.sqrt(d) / rate) < 4 * time.std() / math.sqrt(rows) + 0.03 * 800
