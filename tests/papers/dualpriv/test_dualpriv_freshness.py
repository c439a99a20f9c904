"""Noise is fresh at every step, block and seed, batches do not repeat, and the noise that is added is the noise accounted.

The runs here train on nobody: no record may be drawn, so that a step is its noise and nothing else.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dualpriv_world import STREAMS, ledger, make_problem, one, recipe, some_theta

from descent.core.errors import SettingError
from descent.papers.dualpriv.methods import METHODS, FirstOrder
from descent.papers.dualpriv.training import quieter, watched
from descent.privacy import Witness

SEEDS, BLOCK, STEPS, RECORDS = (500, 501, 502), 4, 12, 40
STEP_SIZE = 0.5


def built(name, problem, book):
    return recipe(name, step_size=STEP_SIZE).on(problem, book)


def walk(method, draw, theta):
    """(states, noises) of STEPS steps."""
    states, noises = [method.init(theta)], []
    for k in range(STEPS // BLOCK):
        noise = draw(k, BLOCK)
        for i in range(BLOCK):
            noises.append(one(noise, i))
            states.append(method.update(states[-1], noises[-1]))
    return states, noises


@pytest.mark.parametrize("name", METHODS)
def test_a_run_on_nobody_is_its_noise_fresh_at_every_step_block_and_seed(name):
    problem = make_problem(records=RECORDS)
    book = ledger(records=RECORDS, batch=8, steps=STEPS, clip_norm=0.7)
    method, first = built(name, problem, book), isinstance(recipe(name), FirstOrder)
    nobody = np.zeros((len(SEEDS), RECORDS), dtype=bool)
    states, noises = walk(method, method.drawing(STREAMS, SEEDS, BLOCK, nobody), some_theta(problem, rows=len(SEEDS)))
    seen = []
    for before, after, noise in zip(states, states[1:], noises, strict=False):
        if getattr(recipe(name), "optimiser", "sgd") == "adam":
            update = (after.first - 0.9 * before.first) / 0.1
        else:
            update = (before.theta - after.theta) / STEP_SIZE
        if not first:
            z = noise.direction
            update = (update * z).sum(-1, keepdim=True) / z.square().sum(-1, keepdim=True)
        seen.append(update * book.batch / book.noise_std)  # standard normals, where they were kept
    seen = torch.stack(seen)  # (STEPS, S, p) or (STEPS, S, 1)
    numbers = seen.flatten()
    numbers = numbers[numbers != 0]
    if first:
        assert numbers.square().mean().item() == pytest.approx(1, abs=0.1)
        share = {"rms": 0.8, "l2": 0.8, "random": 0.8, None: 1.0}[recipe(name).blocks]
        assert len(numbers) / seen.numel() > share - 0.45
    else:
        assert 0.3 < numbers.square().mean().item() < 2.2  # 36 numbers
    rows = [tuple(row.tolist()) for row in seen.flatten(0, 1).round(decimals=9)]
    assert len(set(rows)) == len(rows) == STEPS * len(SEEDS)
    # No two steps are multiples of each other either (a block's noise reused with another sign or size).
    if first:
        flat = torch.nn.functional.normalize(seen.flatten(0, 1), dim=-1)
        alike = (flat @ flat.T).abs().fill_diagonal_(0)
        assert alike.max() < 0.5


@pytest.mark.parametrize("name", METHODS)
def test_batches_differ_between_steps_blocks_and_seeds_and_the_draws_are_what_the_ledger_says(name):
    problem = make_problem(records=300)
    book = ledger(records=300, batch=60, steps=STEPS)
    method = built(name, problem, book)
    draw = method.drawing(STREAMS, SEEDS, BLOCK)
    witness = Witness(book, SEEDS, BLOCK)
    batches = []
    seen = watched(draw, witness)
    for k in range(STEPS // BLOCK):
        noise = seen(k, BLOCK)
        for i in range(BLOCK):
            for s in range(len(SEEDS)):
                batches.append(tuple(noise.index[i, s][noise.present[i, s] > 0].tolist()))
    assert len(set(batches)) == len(batches) == STEPS * len(SEEDS)
    witness.settle()


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("fault", ["same block", "same batch", "a tenth of the noise", "a step too few"])
def test_a_run_that_repeats_itself_or_saves_noise_is_refused(name, fault):
    problem = make_problem(records=300)
    book = ledger(records=300, batch=60, steps=STEPS)
    honest = built(name, problem, book).drawing(STREAMS, SEEDS, BLOCK)

    def draw(k, count):
        noise = honest(k, count)
        if fault == "same block":
            return noise._replace(normal=honest(0, count).normal)
        if fault == "same batch":
            first = honest(0, count)
            return noise._replace(index=first.index, present=first.present)
        return noise

    if fault == "a tenth of the noise":
        draw = quieter(draw, 0.1)
    witness = Witness(book, SEEDS, BLOCK)
    seen = watched(draw, witness)
    for k in range(STEPS // BLOCK):
        seen(k, BLOCK - (fault == "a step too few" and k == STEPS // BLOCK - 1))
    with pytest.raises(SettingError, match="privacy: the run is not what its ledger accounts for"):
        witness.settle()


@pytest.mark.parametrize("name", ["dpsgd", "dual", "dpadam"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_record_whose_gradient_is_not_finite_contributes_nothing(name, bad):
    problem = make_problem(records=RECORDS)
    x = problem.train.x.clone()
    x[3, 0, 0] = bad  # its gradient is NaN throughout
    normed = problem.train.normed.clone()
    normed[3] = bad
    broken = problem._replace(train=problem.train._replace(x=x, normed=normed))
    book = ledger(records=RECORDS, batch=RECORDS, steps=STEPS)
    theta = some_theta(problem)
    without = np.ones((1, RECORDS), dtype=bool)
    without[0, 3] = False

    def after(problem, members):
        method = built(name, problem, book)
        return method.update(
            method.init(theta), one(method.drawing(STREAMS, (500,), BLOCK, members)(0, BLOCK), 0)
        ).theta

    with_it = after(broken, None)
    assert with_it.isfinite().all()
    torch.testing.assert_close(with_it, after(problem, without), atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_slope_that_is_not_finite_contributes_nothing(bad):
    from descent.papers.dualpriv.zeroth_order import private_slope

    book = replace(ledger(), budget=float("inf"), noise_multiplier=0.0)
    difference = torch.tensor([[0.3, bad, -7.0]], dtype=torch.float64)
    got = private_slope(difference, torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), book)
    assert got.item() == pytest.approx((0.3 - 1.0) / book.batch)
