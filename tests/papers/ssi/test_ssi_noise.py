"""noise.py and chi_square.py: a chain's numbers are those of its place in its tile, whoever shares the batch; the laws are exact."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from descent.core.context import Context
from descent.core.streams import Streams
from descent.papers.ssi.chi_square import ChiSquare, points
from descent.papers.ssi.noise import TILE, Chain, HostNoise, Noise, Plan, Run, Tile, runs

CONTEXT = Context(torch.device("cpu"), Streams("ssi"), {})
PLAN = Plan(90, 30, 10)


def kind(tokens: int = 2, columns: int = 3, per_token: bool = False):
    return SimpleNamespace(columns=columns, tokens=tokens, per_token=per_token)


def block(chains, model=None, plan=PLAN, k: int = 0, first: int = 0) -> Noise:
    """Block k of the chains, all chunks joined: z (steps, columns, L, R), chi (steps, L or 1, R)."""
    source = HostNoise(CONTEXT, model or kind(), chains, plan, first)
    drawn = source.draw(k, plan.block // plan.chunk)
    rows = len(chains)
    out = Noise(*(x.new_full((plan.block, *x.shape[3:-1], rows), np.nan) for x in drawn))
    for i, part in enumerate(torch.arange(plan.block).split(plan.chunk)):
        here = slice(int(part[0]), int(part[-1]) + 1)
        source.unpack(Noise(drawn.z[i], drawn.chi[i]), Noise(out.z[here], out.chi[here]))
    return out


def same(a: Noise, rows: int, b: Noise, row: int) -> bool:
    return torch.equal(a.z[..., rows], b.z[..., row]) and torch.equal(a.chi[..., rows], b.chi[..., row])


def test_a_tile_is_one_stream_drawn_in_the_order_in_which_it_lies():
    chains = [Chain(500, ("x",), 2, 40), Chain(501, ("y", 3), 2, 60), Chain(-3, ("x",), 2, 40)]
    for k in (0, 2, 0):
        got = block(chains, k=k, first=1)
        for row, chain in enumerate(chains):
            generator = CONTEXT.streams.torch("noise", chain.seed // TILE, *chain.key, 1 + k)
            z = torch.randn((30, 3, 2, TILE), generator=generator, dtype=torch.float32)
            x = torch.randn((30, 1, TILE), generator=generator, dtype=torch.float32).double()
            assert torch.equal(got.z[..., row], z[..., chain.seed % TILE])
            d = (chain.dimension - 3) / 2 - 1 / 3
            chi = (2 * d * (1 + x / math.sqrt(9 * d)) ** 3)[..., chain.seed % TILE]
            kept = torch.isclose(got.chi[..., row].double(), chi, rtol=1e-5)
            assert kept.double().mean() > 0.9  # one in five hundred is drawn anew


def test_tied_and_plain_chains_of_a_seed_see_the_same_sequences():
    chains = [Chain(502, ("x",), 2, 40)]
    tied, plain = (block(chains, kind(columns=2, per_token=p)) for p in (False, True))
    assert torch.equal(tied.z, plain.z) and plain.chi.shape == (30, 2, 1)


@given(seeds=st.lists(st.integers(-40, 40), min_size=1, max_size=30), far=st.integers(-(2**70), 2**70))
@settings(max_examples=40, deadline=None)
def test_a_chain_has_its_numbers_alone_in_any_batch_and_at_any_place(seeds, far):
    """Whole tiles, parts of them, in any order, twice, with other keys, lengths and dimensions between."""
    of = lambda seed: Chain(seed, ("x", seed % 3), 2 - seed % 2, 40 + seed % 5)  # noqa: E731
    chains = [of(seed) for seed in [*seeds, far, far + 1]]
    model = kind(per_token=True)
    whole = block(chains, model)
    for row in {0, len(chains) // 2, len(chains) - 2, len(chains) - 1}:
        assert same(whole, row, block([chains[row]], model), 0)


def test_all_places_of_a_tile_and_all_keys_are_independent():
    chains = [Chain(seed, (key,), 2, 40) for key in ("x", "y") for seed in range(-TILE, TILE)]
    z, chi = block(chains, plan=Plan(2000, 2000, 500))
    for x in (z.flatten(0, 2), chi.flatten(0, 1)):
        correlation = np.corrcoef(x.numpy().T)
        assert abs(correlation - np.eye(len(chains))).max() < 5 / math.sqrt(len(x))
    both = np.corrcoef(z[:, 2, 1].numpy().T, chi[:, 0].numpy().T)[: len(chains), len(chains) :]
    assert abs(both).max() < 5 / math.sqrt(2000)


def test_a_shared_tile_is_drawn_once_and_neighbours_are_copied_together():
    chains = [Chain(seed, ("x",), 2, 40) for loss in range(2) for seed in range(2000, 2000 + 3 * TILE)]
    source = HostNoise(CONTEXT, kind(), chains, PLAN, 0)
    assert len(source.tiles) == 3
    assert source.runs == [Run(slice(24 * i, 24 * i + 24), slice(0, 3), slice(0, TILE)) for i in range(2)]
    got = block(chains)
    assert all(same(got, row, got, 24 + row) for row in range(24)) and not same(got, 0, got, 1)


@given(places=st.lists(st.tuples(st.integers(0, 3), st.integers(0, TILE - 1)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_runs_cover_every_row_once_at_its_place(places):
    seen = []
    for run in runs(places):
        tiles, lanes = range(run.tiles.start, run.tiles.stop), range(run.lanes.start, run.lanes.stop)
        assert len(tiles) == 1 or len(lanes) == TILE
        seen += [(t, lane) for t in tiles for lane in lanes]
        assert run.rows.stop == len(seen)
    assert seen == places


def test_tiles_tell_seeds_apart_below_zero_as_well():
    found = [Tile.of(Chain(seed, (), 2, 40)) for seed in range(-20, 20)]
    assert [tile.number * TILE + lane for tile, lane in found] == list(range(-20, 20))
    assert all(0 <= lane < TILE for _, lane in found)


def turned(dof: float, size: int, seed: int = 0) -> np.ndarray:
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed)).numpy()
    ChiSquare(dof).turn(x, np.random.Generator(np.random.SFC64(seed)))
    return x


@pytest.mark.parametrize("dof", [1, 2, 5, 6, 9, 38, 197, 997, 1e5])
def test_chi_squares_have_their_law(dof):
    """Below some ten degrees of freedom a wrong rule of rejection shows in a million numbers."""
    x = turned(dof, 1_000_000)
    assert stats.kstest(x, "chi2", args=(dof,)).pvalue > 1e-3
    for power in (1, 2, 3):
        want = stats.chi2(dof).expect(lambda v, p=power: (v / dof - 1) ** p)
        got = (x.astype(float) / dof - 1) ** power
        assert abs(got.mean() - want) < 4.5 * got.std() / 1000
    neighbours = np.corrcoef(x[1:], x[:-1])[0, 1]
    assert abs(neighbours) < 4.5 / 1000


@pytest.mark.parametrize("dof", [1, 5, 12, 197, 997])
def test_the_rate_of_doubt_bounds_the_rejections_within_reach(dof):
    law = ChiSquare(dof)
    x = np.linspace(-math.sqrt(law.limit), math.sqrt(law.limit), 4001)
    d = dof / 2 - 1 / 3
    v = (1 + x / math.sqrt(9 * d)) ** 3
    want = 1 - np.exp(0.5 * x * x + d - d * v + d * np.log(v))
    np.testing.assert_allclose(law.rejected(x), want, atol=1e-9)
    assert want.max() <= law.most * (1 + 1e-6) and law.rejected(np.array([-1e3, 1e3])).tolist() == [1, 1]


def test_what_is_rejected_is_what_the_rule_rejects_and_nothing_else_is_touched():
    """With 5 degrees of freedom: the share of redrawn numbers, by size of the normal, is the probability of rejection."""
    dof, size = 5, 1_000_000
    x = torch.randn(size, generator=torch.Generator().manual_seed(3))
    law, plainly = ChiSquare(dof), 2 * (dof / 2 - 1 / 3) * (1 + x.double() / math.sqrt(9 * (dof / 2 - 1 / 3))) ** 3
    out = x.numpy().copy()
    law.turn(out, np.random.default_rng(3))
    again = ~np.isclose(out, plainly, rtol=1e-4)
    for low, high in ((-6, -3.5), (-3.5, -2), (-2, -1), (-1, 1), (1, 2), (2, 3.5), (3.5, 6)):
        here = ((x > low) & (x <= high)).numpy()
        want = law.rejected(x.numpy()[here].astype(float)).sum()
        assert abs(again[here].sum() - want) < 4.5 * math.sqrt(want) + 3, (low, high)


@pytest.mark.parametrize(("rate", "size"), [(0.9, 50), (0.1, 400), (1e-3, 5000), (1e-9, 100)])
def test_points_are_a_bernoulli_process(rate, size):
    rng = np.random.default_rng(0)
    many = [points(rng, rate, size) for _ in range(2000)]
    assert all((np.diff(p) > 0).all() and (not len(p) or 0 <= p[0] <= p[-1] < size) for p in many)
    counts = np.array([len(p) for p in many])
    assert abs(counts.mean() - rate * size) < 4.5 * math.sqrt(rate * size / 2000) + 1e-6
    assert counts.var() < 1.3 * rate * (1 - rate) * size + 1e-3
    hits = np.bincount(np.concatenate(many).astype(int), minlength=size) / 2000
    assert abs(hits - rate).max() < 5.5 * math.sqrt(rate * (1 - rate) / 2000) + 1e-6


def test_points_go_on_where_the_last_gaps_ended():
    """However many gaps are drawn at once: three a call, and all in one."""
    few, all_at_once = np.random.default_rng(7), np.random.default_rng(7)
    sparing: Any = SimpleNamespace(geometric=lambda rate, count: few.geometric(rate, 3))
    got = points(sparing, 0.2, 500)
    want = all_at_once.geometric(0.2, 200).cumsum() - 1
    assert got.tolist() == want[want < 500].tolist() and len(got) > 50
