"""game.py: the attacker's ratio against a plain sum over all batches; honest steps pass, leaking ones are caught."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from descent.core.context import Context
from descent.core.job import Variant
from descent.core.streams import Streams
from descent.papers.dualpriv import game
from descent.papers.dualpriv.room import ROOM
from descent.privacy import tpr_fpr_bound

PARAMS = {
    "epsilon": "1", "delta": 1e-5, "records": 4, "batch": 2, "steps": 4, "clip_norm": 1.0, "slope_clip": 0.5, "accountant": "rdp",
    "noise_multiplier": None, "trials": 100, "dominant": 8, "contextual": 4, "fuse_noise": "sigmaC/B", "keep": 0.8, "probe": 1e-3,
    "rank": 4, "alpha": 8.0, "micro_batch": None, "step_size": 1.0,
}  # fmt: skip
METHODS = {"dual": 1.0, "dpsgd": 1.0, "m1": 1.0, "m2": 1.0, "dpadam": 0.02, "dpzo": 0.03}


@pytest.fixture(scope="module")
def context(digits):
    data = {"digits": {"images": digits[0] * 16, "labels": digits[1]}}
    return Context(torch.device("cpu"), Streams("dualpriv"), data)


def made(method, **params):
    return Variant(method, {}, {**PARAMS, **params}, (500,), takes=ROOM.methods[method].settings)


def play(context, method, **params):
    return game.play(context, game.game_world(context), made(method, **params), 500)


def counts(context, method, share, **more):
    few = {"records": 2, "batch": 1} if method == "dpzo" else {}
    found = play(context, method, noise_share=share, step_size=METHODS[method], **few, **more)
    guessed = found.gain > 1.0
    assert found.present.sum() == len(found.present) // 2
    return int((guessed & found.present).sum()), int((guessed & ~found.present).sum()), len(guessed) // 2


@pytest.mark.parametrize("rate", [0.3, 0.5, 1.0])
def test_the_ratio_equals_a_plain_sum_over_all_batches(rate):
    generator = torch.Generator().manual_seed(3)
    effects = torch.randn(5, 3, 6, generator=generator, dtype=torch.float64)
    update = torch.randn(5, 6, generator=generator, dtype=torch.float64)
    got = game.log_ratio(update, effects, rate, 0.8)
    for row in range(5):
        likely = {True: 0.0, False: 0.0}
        for chosen in itertools.product((0, 1), repeat=3):
            weight = math.prod(rate if c else 1 - rate for c in chosen[:2])
            mean = sum(c * e for c, e in zip(chosen, effects[row], strict=True))
            density = math.exp(-0.5 * float((update[row] - mean).square().sum()) / 0.64)
            likely[False] += weight * density * (chosen[2] == 0)
            likely[True] += weight * density * (rate if chosen[2] else 1 - rate)
        assert got[row].item() == pytest.approx(math.log(likely[True] / likely[False]), abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_honest_steps_pass_and_leaking_ones_are_caught(context, method):
    right, wrong, half = counts(context, method, 1.0)
    assert tpr_fpr_bound(right, half, wrong, half) < 1
    right, wrong, half = counts(context, method, 0.0)
    assert right > 0.75 * half and wrong <= 1
    assert tpr_fpr_bound(right, half, wrong, half) > 1
    # A twentieth of the noise: guessed far more often where the record is there.
    right, wrong, half = counts(context, method, 0.05)
    assert right > 3 * wrong + 10


def test_the_attacker_reckons_with_the_kept_blocks_alone(context):
    """One step of Dual-Priv, its dropped blocks taken out of the records' effects by hand."""
    world, recipe = game.game_world(context), game.recipe_of(made("dual", step_size=0.5))
    ledger = game.open_ledger(recipe, PARAMS)
    inputs = game.tokens_of(world, world.split("game", 4), recipe, 0.0)
    table = world.rotation(inputs.x.shape[1])
    problem = game.Problem(game.adapter(world, PARAMS), world.frozen, table, inputs)
    attacker = game.Attacker(problem, ledger, recipe, 0.05)
    theta = 0.3 * torch.randn(2, problem.layout.size, generator=torch.Generator().manual_seed(0))
    everyone = torch.arange(4).expand(2, -1)
    effects = torch.cat(game.sample_gradients(problem, theta, everyone, torch.ones(2, 4)), -1)
    effects = effects * (1.0 / (effects.norm(dim=-1, keepdim=True) + 1e-6)).clamp(max=1)
    dropped = torch.zeros(problem.layout.size, dtype=torch.bool)
    for block in problem.layout.blocks[3:9]:
        dropped[block.start : block.start + block.size] = True
    update = effects[:, 1] + effects[:, 3]  # without noise, two records drawn
    update[:, dropped] = 0
    before, after = (SimpleNamespace(theta=z, first=z[:, :0]) for z in (theta, theta - 0.5 * update / ledger.batch))
    deviation = 0.05 * ledger.noise_multiplier
    expected = game.log_ratio(update[:, ~dropped].double(), effects[:, :, ~dropped].double(), 0.5, deviation)
    torch.testing.assert_close(attacker.gain(before, after, None), expected, rtol=1e-3, atol=1e-3)
    # Reckoned with, the dropped coordinates would say that little was drawn.
    naive = game.log_ratio(update.double(), effects.double(), 0.5, deviation)
    assert (naive < expected - 0.1).all()


def test_no_two_trials_share_a_stream():
    every = [s for seed in (1000, 1001, 2000) for s in game.trial_seeds(seed, 1000)]
    assert len(set(every)) == len(every) and not set(every) & set(range(200, 3000))


def test_the_record_in_question_is_absent_from_half_of_the_trials(context, monkeypatch):
    """Its presence is the trial's parity and reaches the sampler; the others can always be drawn."""
    from descent.papers.dualpriv import first_order

    seen = []
    real = first_order.poisson_batches

    def spy(*args):
        batches = real(*args)
        seen.append((args[8], batches))
        return batches

    monkeypatch.setattr(first_order, "poisson_batches", spy)
    play(context, "dpsgd", noise_share=1.0, trials=60)
    assert [len(b.index) for _, b in seen] == [2, 2]
    for members, batches in seen:
        assert members[:, :-1].all() and np.array_equal(members[:, -1], np.arange(60) % 2 == 0)
        drawn = ((batches.index == 3) & (batches.present > 0)).any(-1).numpy()
        assert not drawn[:, 1::2].any() and 0.3 < drawn[:, ::2].mean() < 0.7
