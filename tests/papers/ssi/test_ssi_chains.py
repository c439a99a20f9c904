"""chains.py: dropping and batching change nothing, a chunk is its steps, first passages are those of a plain loop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.core.checkpoint import FileCheckpoint
from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.job import Variant
from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers.ssi import links, single, transition
from descent.papers.ssi.chains import run_chains
from descent.papers.ssi.noise import Chain, HostNoise, Plan

CONTEXT = Context(torch.device("cpu"), Streams("ssi"), {})
PLAN = Plan(6000, 100, 25)
D = 64


class Constants(NamedTuple):
    kappa: torch.Tensor
    used: torch.Tensor


def product_model():
    return single.single_vector(
        lambda z, c: links.product(z, c.used)[1], lambda s, y, c: links.product_slope(s, y, c.used), 3, positional=False
    )


def inputs(seeds, order: int = 2):
    rows = len(seeds)
    used = torch.zeros(3, rows, dtype=torch.float64)
    used[:order] = 1
    body = single.start(torch.full((rows,), 0.25, dtype=torch.float64))
    constants = Constants(torch.full((rows,), 0.1 / D, dtype=torch.float64), used)
    return [Chain(seed, ("x",), 3, D) for seed in seeds], body, constants


def passages(seeds, plan=PLAN, level: float = 0.5, context=CONTEXT, **options):
    chains, body, constants = inputs(seeds)
    threshold = torch.full((len(seeds),), level, dtype=torch.float64)
    return run_chains(context, "x", product_model(), chains, body, constants, plan, threshold=threshold, **options)


def slow(seed: int, plan=PLAN, level: float = 0.5) -> float:
    """One chain, step by step, to its first passage: nothing batched, chunked or dropped."""
    chains, body, constants = inputs([seed])
    model = product_model()
    source = HostNoise(CONTEXT, model, chains, plan, 0)
    for block in range(plan.steps // plan.block):
        noise = source.draw(block, plan.block // plan.chunk)
        z, chi = (x.flatten(0, 2)[..., seed % 8, None] for x in (noise.z, noise.chi))  # a tile of one chain: its place
        for i in range(plan.block):
            work = model.work(body, 1)
            work.w.copy_(body.w)
            work.noise.z[0], work.noise.chi[0] = z[i], chi[i]
            model.prepare(work, constants)
            model.step(work, 0, constants)
            body = single.Single(work.w)
            if abs(float(body.w[0])) >= level:
                return block * plan.block + i + 1
    return np.inf


SEEDS = list(range(500, 512))


def test_first_passages_are_those_of_a_plain_loop():
    got = passages(SEEDS).time
    assert got.tolist() == [slow(seed) for seed in SEEDS]
    assert np.isfinite(got).all() and len(set(got)) > 3


def test_a_chain_that_does_not_arrive_is_infinite_and_the_others_do_not_notice():
    short = passages(SEEDS, Plan(400, 100, 25)).time
    whole = passages(SEEDS).time
    assert np.isinf(short).any() and np.isfinite(short).any()
    assert (short[np.isfinite(short)] == whole[np.isfinite(short)]).all()
    assert (whole[np.isinf(short)] > 400).all()


def test_a_chain_does_not_notice_the_others_of_its_batch_to_the_bit():
    """Alone, in a batch, in another order; with fast chains that are dropped early and slow ones that stay."""
    chains, body, constants = inputs(SEEDS)
    at, options = (0, 500, 1000), {"measure": lambda s: {"m": s.w[0]}}
    whole = run_chains(CONTEXT, "x", product_model(), chains, body, constants, Plan(1000, 100, 25), at=at, **options)
    for i in (0, 5, 11):
        own = tree_map(lambda x, i=i: x[..., i : i + 1].contiguous(), (body, constants))
        alone = run_chains(
            CONTEXT, "x", product_model(), chains[i : i + 1], *own, Plan(1000, 100, 25), at=at, **options
        )
        assert (alone.trace.values["m"][:, 0] == whole.trace.values["m"][:, i]).all()
    assert passages(SEEDS).time[3] == passages(SEEDS[3:4]).time[0] == passages(SEEDS[::-1]).time[8]


def test_an_attention_chain_has_its_bits_alone_and_at_any_place_of_a_batch():
    """Both losses, whose tanh is done many numbers at a time; 3 to 11 rows leave every remainder."""
    params = {"omega": 0.5, "width": 1.0, "rate": 0.4, "dimension": 40}

    def path(seeds, losses=("sq", "fro")):
        made = [Variant("sgd", {}, {**params, "loss": x}, seeds, takes=("dimension", "rate")) for x in losses]
        chains = [Chain(seed, ("a",), 2, 40) for _ in losses for seed in seeds]
        m = torch.full((len(chains),), 0.3, dtype=torch.float64)
        model = transition.attention_model([Variant("sgd", {}, {"loss": "fro"}, ())])
        constants = transition.constants_of(made, CONTEXT.device)
        ran = run_chains(
            CONTEXT, "a", model, chains, single.start(m, -m), constants, Plan(200, 100, 25),
            measure=single.overlaps, at=(100, 200),
        )  # fmt: skip
        return np.stack([ran.trace.values[name].reshape(2, len(losses), -1) for name in ("m", "e")])

    whole = path(range(-5, 6))
    assert np.isfinite(whole).all() and len(np.unique(whole)) == whole.size
    for seeds in ((0,), (-3, 5, 2), tuple(range(5, -2, -1))):
        assert (path(seeds) == whole[..., [seed + 5 for seed in seeds]]).all()
    assert (path((4,), ("fro",))[:, :, 0] == whole[:, :, 1, [9]]).all()


def test_the_chunk_is_no_part_of_the_result():
    assert (passages(SEEDS, Plan(6000, 100, 100)).time == passages(SEEDS, Plan(6000, 100, 20)).time).all()


def test_a_curve_keeps_the_passages_and_every_chain():
    curved = passages(SEEDS, measure=lambda s: {"m": s.w[0].abs()}, at=(0, 25, 6000))
    assert (curved.time == passages(SEEDS).time).all()
    assert curved.trace.steps.tolist() == [0, 25, 6000]
    assert_close(torch.from_numpy(curved.trace.values["m"][0]), torch.full((12,), 0.25, dtype=torch.float64))


def test_finished_chains_are_dropped(monkeypatch):
    sizes = []
    draw = HostNoise.draw
    monkeypatch.setattr(
        HostNoise, "draw", lambda self, k, count: sizes.append(len(self.chains)) or draw(self, k, count)
    )
    time = passages(SEEDS).time
    assert sizes[0] == 12 and sizes[-1] < 12 and sizes == sorted(sizes, reverse=True)
    assert len(sizes) <= time.max() // 100 * 9 / 8 + 2, "the run ends soon after its last chain"


def test_killed_between_two_segments_it_resumes_with_the_same_passages(tmp_path):
    class Killed(BaseException):
        pass

    class Dying(FileCheckpoint):
        left = 3

        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            Dying.left -= 1
            if Dying.left == 0:
                raise Killed

    context = lambda kind: Context(CONTEXT.device, CONTEXT.streams, {}, checkpoint=kind(tmp_path / "c", "key", every=0))  # noqa: E731
    with pytest.raises(Killed):
        passages(SEEDS, context=context(Dying))
    assert (passages(SEEDS, context=context(FileCheckpoint)).time == passages(SEEDS).time).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a captured graph needs CUDA")
def test_a_captured_graph_gives_the_passages_of_the_cpu():
    cuda = Context(torch.device("cuda"), CONTEXT.streams, {})
    chains, body, constants = inputs(SEEDS)
    there = tree_map(lambda x: x.cuda(), (body, constants))
    threshold = torch.full((12,), 0.5, dtype=torch.float64, device="cuda")
    got = run_chains(cuda, "x", product_model(), chains, *there, PLAN, threshold=threshold).time
    assert (np.abs(got - passages(SEEDS).time) <= 1).all()


@pytest.mark.parametrize("plan", [Plan(1010, 100, 25), Plan(1000, 110, 25)])
def test_a_plan_that_does_not_divide_is_refused(plan):
    with pytest.raises(SettingError, match=r"ssi: `chunk` must divide .* got 25"):
        passages(SEEDS, plan)


def test_device_noise_gives_the_same_law_of_passages():
    host = passages(list(range(500, 580)), Plan(6000, 500, 100)).time
    device = passages(list(range(500, 580)), Plan(6000, 500, 100, "device")).time
    spread = np.sqrt((host.var() + device.var()) / 80)
    assert abs(host.mean() - device.mean()) < 4 * spread and not (host == device).any()
