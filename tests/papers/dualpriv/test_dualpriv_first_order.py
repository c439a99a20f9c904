"""first_order.py and sampling.py: DP-SGD, DP-Adam and block pruning against slow twins; their limits."""

import math

import numpy as np
import pytest
import torch
from dualpriv_world import STREAMS, ledger, make_problem, one, some_theta, start
from hypothesis import given, settings
from hypothesis.strategies import floats, integers
from test_dualpriv_lora import loss_alone
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers.dualpriv import problem as problem_module
from descent.papers.dualpriv.first_order import PHASES, Noise, batch_sum, clipped_sum, dpsgd
from descent.papers.dualpriv.problem import sample_gradients, sample_losses
from descent.papers.dualpriv.sampling import Counts, poisson_batches
from descent.papers.dualpriv.zeroth_order import dpzero


def run(problem, method, seeds=(500, 501), steps=3, block=2, theta=None):
    """The loop in its plainest form."""
    state = method.init(start(problem, seeds) if theta is None else theta)
    draw = method.drawing(STREAMS, seeds, block)
    for k in range(math.ceil(steps / block)):
        count = min(block, steps - k * block)
        noise = draw(k, count)
        for i in range(count):
            state = method.update(state, one(noise, i))
    return state


def slow_step(problem, theta, noise, book, step_size, keep, kind="rms"):
    """One row, one sample and one block at a time; returns the new theta (p,)."""
    total = torch.zeros_like(theta)
    for i, present in zip(noise.index, noise.present, strict=True):
        if present:
            leaf = theta.clone().requires_grad_()
            loss_alone(problem, leaf, int(i)).backward()
            total += leaf.grad * min(1.0, book.clip_norm / (leaf.grad.norm().item() + 1e-6))
    update = (total + book.noise_std * noise.normal) / (book.rate * book.records)
    rank = []
    for m, b in enumerate(problem.layout.blocks):
        part = update[b.start : b.start + b.size]
        score = part.norm().item() / (math.sqrt(b.size) if kind == "rms" else 1)
        rank.append((-score, m))
    dropped = [m for _, m in sorted(rank)[round(keep * len(rank)) :]]
    for m in dropped:
        b = problem.layout.blocks[m]
        update[b.start : b.start + b.size] = 0
    return theta - step_size * update


@pytest.mark.parametrize("keep", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("kind", ["rms", "l2"])
@pytest.mark.parametrize("clip_norm", [0.05, 1.0, 100.0])
def test_a_step_equals_the_slow_twin(keep, kind, clip_norm):
    problem = make_problem()
    book = ledger(clip_norm=clip_norm)
    method = dpsgd(problem, book, step_size=0.7, keep=keep, block_score=kind)
    theta = some_theta(problem, rows=2)
    noise = one(method.drawing(STREAMS, (500, 501), 1)(0, 1), 0)
    got = method.update(method.init(theta), noise).theta
    for row in range(2):
        expected = slow_step(problem, theta[row], one(noise, row), book, 0.7, keep, kind)
        assert_close(got[row], expected, atol=1e-10, rtol=1e-10)


@settings(deadline=None, max_examples=30)
@given(b=integers(1, 6), clip_norm=floats(1e-3, 100), seed=integers(0, 99))
def test_clipping_bounds_every_sample_over_all_blocks_jointly(b, clip_norm, seed):
    generator = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(2, b, n, generator=generator, dtype=torch.float64) for n in (3, 5, 2)]
    total = clipped_sum(gradients, clip_norm)
    assert (total.norm(dim=-1) <= b * clip_norm * (1 + 1e-12)).all()
    for row in range(2):
        for sample in range(b):
            alone = clipped_sum([g[row : row + 1, sample : sample + 1] for g in gradients], clip_norm)
            assert alone.norm() <= clip_norm * (1 + 1e-12)
        norms = torch.cat([g[row] for g in gradients], -1).norm(dim=-1)
        factors = (clip_norm / (norms + 1e-6)).clamp(max=1)
        assert_close(total[row], (factors[:, None] * torch.cat([g[row] for g in gradients], -1)).sum(0))


def test_keep_one_is_dp_sgd():
    problem = make_problem(dtype=torch.float32)
    dual = run(problem, dpsgd(problem, ledger(), step_size=1.0, keep=1.0))
    theta = start(problem)
    book = ledger()
    draw = dpsgd(problem, book, step_size=1.0).drawing(STREAMS, (500, 501), 2)
    for k, count in ((0, 2), (1, 1)):
        noise = draw(k, count)
        for i in range(count):
            gradients = sample_gradients(problem, theta, noise.index[i], noise.present[i])
            theta = theta - 1.0 * ((clipped_sum(gradients, 1.0) + book.noise_std * noise.normal[i]) / book.batch)
    assert torch.equal(dual.theta, run(problem, dpsgd(problem, ledger(), step_size=1.0)).theta)
    # One product of all rows rounds unlike a product a row on some processors.
    torch.testing.assert_close(dual.theta, theta, atol=1e-6, rtol=1e-5)


def test_no_noise_no_clipping_every_record_is_gradient_descent():
    problem = make_problem()
    book = ledger(budget=math.inf, clip_norm=math.inf, batch=12)
    state = run(problem, dpsgd(problem, book, step_size=0.5), steps=4)
    theta = start(problem)[1].clone()
    for _ in range(4):
        leaf = theta.clone().requires_grad_()
        torch.stack([loss_alone(problem, leaf, i) for i in range(12)]).mean().backward()
        theta = theta - 0.5 * leaf.grad
    assert_close(state.theta[1], theta, atol=1e-12, rtol=1e-12)
    everyone = torch.arange(12).expand(2, 12)
    assert (
        sample_losses(problem, state.theta, everyone).mean(-1)
        < sample_losses(problem, start(problem), everyone).mean(-1)
    ).all()


def test_an_empty_batch_still_adds_noise_and_counts():
    problem = make_problem()
    book = ledger()
    method = dpsgd(problem, book, step_size=2.0)
    theta = some_theta(problem)
    normal = torch.randn(1, problem.layout.size, dtype=torch.float64)
    none = Noise(
        torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.float64), None, normal, theta[:, :0]
    )
    state = method.update(method.init(theta), none)
    assert_close(state.theta, theta - 2.0 * book.noise_std * normal / book.batch)
    assert state.step == 1
    counted = none._replace(counts=Counts(0, ((0,),)))
    assert torch.equal(method.update(method.init(theta), counted).theta, state.theta)


def test_the_noise_has_the_accounted_size_on_every_coordinate():
    problem = make_problem()
    book = ledger(steps=400)
    noise = dpsgd(problem, book, step_size=1.0).drawing(STREAMS, (500, 501), 400)(0, 400)
    assert noise.normal.shape == (400, 2, problem.layout.size)
    spread = noise.normal.std(0)
    assert spread.mean().item() == pytest.approx(1, abs=0.005) and (spread > 0.8).all()
    assert noise.normal.mean().abs().item() < 4 / math.sqrt(noise.normal.numel())


def test_pruned_blocks_do_not_move_and_19_do():
    problem = make_problem()
    theta = some_theta(problem, rows=2)
    method = dpsgd(problem, ledger(), step_size=1.0, keep=0.8)
    noise = one(method.drawing(STREAMS, (500, 501), 1)(0, 1), 0)
    moved = method.update(method.init(theta), noise).theta - theta
    for row in range(2):
        changed = [moved[row, b.start : b.start + b.size].any().item() for b in problem.layout.blocks]
        assert sum(changed) == 19


def test_keep_counts_are_filed_under_their_phase():
    problem = make_problem(dtype=torch.float32)
    state = run(problem, dpsgd(problem, ledger(steps=20), step_size=1.0, keep=0.8), steps=20, block=10)
    assert state.kept.shape == (PHASES, 2, 24)
    assert (state.kept.sum(-1) == 2 * 19).all() and state.kept.max() <= 2


def test_random_blocks_ignore_the_update_and_keep_as_many():
    problem = make_problem()
    method = dpsgd(problem, ledger(), step_size=1.0, keep=0.5, block_score="random")
    noise = one(method.drawing(STREAMS, (500, 501), 1)(0, 1), 0)
    theta = some_theta(problem, rows=2)
    kept = method.update(method.init(theta), noise).kept[0]
    other = method.update(method.init(-theta), noise._replace(normal=-3 * noise.normal)).kept[0]
    assert torch.equal(kept, other) and (kept.sum(-1) == 12).all()
    assert not torch.equal(kept[0], kept[1])


def test_adam_equals_torch_adam_fed_with_the_noisy_gradient():
    problem = make_problem()
    book = ledger()
    method = dpsgd(problem, book, step_size=0.01, keep=0.8, optimiser="adam")
    state = run(problem, method, seeds=(500,), steps=4)
    theta = torch.nn.Parameter(start(problem, (500,)))
    adam = torch.optim.Adam([theta], lr=0.01, betas=(0.9, 0.999), eps=1e-8)
    draw = method.drawing(STREAMS, (500,), 2)
    for k in (0, 1):
        noise = draw(k, 2)
        for i in range(2):
            row = one(one(noise, i), 0)
            moved = slow_step(problem, theta.detach()[0], row, book, 1.0, 0.8)
            theta.grad = (theta.detach()[0] - moved)[None]
            adam.step()
    assert_close(state.theta, theta.detach(), atol=1e-7, rtol=1e-6)


def test_a_seed_does_not_notice_the_others_of_its_batch():
    problem = make_problem()
    method = dpsgd(problem, ledger(), step_size=1.0, keep=0.8)
    together = run(problem, method, seeds=(500, 501, 502)).theta
    assert_close(together[1:2], run(problem, method, seeds=(501,)).theta, atol=1e-9, rtol=1e-9)


def test_methods_share_batches_and_noise_and_nothing_else_is_shared():
    problem = make_problem()
    plain = dpsgd(problem, ledger(), step_size=1.0).drawing(STREAMS, (500, 501), 2)(1, 2)
    random = dpsgd(problem, ledger(), step_size=3.0, keep=0.5, block_score="random").drawing(STREAMS, (500, 501), 2)(
        1, 2
    )
    assert torch.equal(plain.index, random.index) and torch.equal(plain.normal, random.normal)
    assert not torch.equal(plain.normal[:, 0], plain.normal[:, 1])
    # Sampling and noise come from different streams: more records leave the noise as it is.
    more = dpsgd(make_problem(records=20), ledger(records=20), step_size=1.0).drawing(STREAMS, (500, 501), 2)(1, 2)
    assert torch.equal(plain.normal, more.normal)


def test_poisson_batches_are_bernoulli_record_by_record():
    records, rate, count = 50, 0.2, 3000
    batches = poisson_batches(STREAMS, (500, 501), records, rate, 0, count, count)
    sizes = batches.present.sum(-1)
    assert sizes.mean().item() == pytest.approx(records * rate, abs=4 * math.sqrt(records * 0.16 / sizes.numel()))
    assert sizes.var().item() == pytest.approx(records * rate * (1 - rate), rel=0.1)
    index = batches.index.numpy()
    for row in (0, 17, 99):
        places = index[row, 0][: int(sizes[row, 0])]
        assert len(set(places)) == len(places) and (np.diff(places) > 0).all()
    times = torch.zeros(records).index_add(0, batches.index.flatten(), batches.present.flatten())
    spread = math.sqrt(sizes.numel() * rate * (1 - rate))
    assert ((times - sizes.numel() * rate).abs() < 4.5 * spread).all()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_poisson_limits(rate):
    batches = poisson_batches(STREAMS, (500,), 7, rate, 0, 3, 3)
    assert (batches.present.sum(-1) == 7 * rate).all() and batches.index.shape[-1] == max(1, 7 * rate)


@pytest.mark.parametrize("micro_batch", [None, 1, 4])
@pytest.mark.parametrize("cache", [1, 2**40])
def test_rows_and_samples_in_parts_and_padding_left_out_give_the_same_sum(monkeypatch, cache, micro_batch):
    problem, book = make_problem(), ledger(batch=5)
    theta = some_theta(problem, rows=3)
    batches = poisson_batches(STREAMS, (500, 501, 502), 12, 5 / 12, 0, 2, 2, torch.float64)
    index, present = batches.index[1], batches.present[1]
    whole = clipped_sum(sample_gradients(problem, theta, index, present), book.clip_norm)
    monkeypatch.setattr(problem_module, "_CACHE", cache)
    sizes = batches.counts.at(1)
    assert list(sizes) == present.sum(-1).int().tolist() and len(set(sizes)) > 1
    parts = batch_sum(problem, theta, index, present, book.clip_norm, sizes=sizes, micro_batch=micro_batch)
    assert_close(parts, whole, atol=1e-12, rtol=1e-12)
    assert_close(batch_sum(problem, theta, index, present, book.clip_norm), whole, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("method", [dpsgd, dpzero])
def test_a_ledger_of_another_number_of_records_is_refused_and_sets_of_as_many_are_not(method):
    message = r"dualpriv: the ledger accounts for 5 records, but the problem holds 12; open the ledger for as many"
    with pytest.raises(SettingError, match=message):
        method(make_problem(), ledger(records=5, batch=3), step_size=1.0)
    drawn = method(make_problem(), ledger(records=4, batch=3), step_size=1.0).drawing(STREAMS, (500,), 8)(0, 8)
    assert drawn.index.max() == 3


def test_a_ledger_that_does_not_keep_its_budget_never_trains():
    import dataclasses

    problem = make_problem()
    broken = dataclasses.replace(ledger(), noise_multiplier=0.1)
    with pytest.raises(SettingError, match=r"privacy: noise multiplier 0\.1 over 5 steps .* more than the budget 3"):
        dpsgd(problem, broken, step_size=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keep": 0.0}, r"dualpriv: `keep` must lie in \(0, 1\], got 0.0"),
        ({"step_size": -1}, r"dualpriv: `step_size` must lie in \(0, 1000\], got -1"),
        ({"block_score": "size"}, "dualpriv: `block_score` must be rms, l2 or random, got 'size'"),
        ({"optimiser": "adamw"}, "dualpriv: `optimiser` must be sgd or adam, got 'adamw'"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change, message):
    with pytest.raises(SettingError, match=message):
        dpsgd(make_problem(), ledger(), **{"step_size": 1.0, **change})


def test_the_choice_follows_the_noisy_update():
    """Choosing on the clean sum would leak: other noise on the same batch must be able to move the mask."""
    problem = make_problem()
    method = dpsgd(problem, ledger(), step_size=1.0, keep=0.5)
    theta = some_theta(problem)
    noise = one(method.drawing(STREAMS, (500,), 1)(0, 1), 0)
    other = noise._replace(normal=torch.randn(1, problem.layout.size, dtype=torch.float64))
    masks = [method.update(method.init(theta), n).kept[0] for n in (noise, other)]
    assert not torch.equal(*masks)
