"""The tasks, trial by trial as the official code builds them; training's penalty and Adam; matching at equal error."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from descent.core.errors import DataError, SettingError
from descent.core.streams import Streams
from descent.data import load
from descent.papers.eprop.mante_task import Periods, decision_accuracy, mante_task, mante_trials
from descent.papers.eprop.matching import matched
from descent.papers.eprop.network import Parameters, Wiring, dale_mask, forward, initial
from descent.papers.eprop.reach_task import Trials, one_trial_each, reach, reach_task, recorded, trial_numbers
from descent.papers.eprop.similarity import condition_average, floor, procrustes, random_halves
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.tasks import Batch, cross_entropy, normalised_error, squared_error
from descent.papers.eprop.training import State, adam, learner


@pytest.fixture(scope="module")
def recordings():
    try:
        return load("hatsopoulos2007")
    except DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def made_up():
    return load("reach_generated")


# The reach


def trial(data, direction, cue, hold, length):
    """One trial with loops: inputs (T, 3), target (T, 2), mask (T,)."""
    bump = [0.05, 0.1, 0.2, 0.35, 0.65, 0.8, 0.9, 0.95] + [1.0] * 7 + [0.95, 0.9, 0.8, 0.65, 0.35, 0.2, 0.1, 0.05]
    end = cue + 23 + hold
    x, target, mask = np.zeros((length, 3)), np.zeros((length, 2)), np.ones(length)
    for i, value in enumerate(bump):
        if cue + i < length:
            x[cue + i, 0] = value * math.sin(math.radians(45 * direction))
            x[cue + i, 1] = value * math.cos(math.radians(45 * direction))
    x[:end, 2] = 1
    x[end - 8 : end, 2] = bump[-8:]
    start = end - 10
    for i in range(51):
        if start + i < length:
            target[start + i] = data["shoulderangle"][direction, 70 + i], data["elbowangle"][direction, 70 + i]
    target[start + 51 :] = target[start + 50] if start + 50 < length else 0
    mask[start + 51 :] = 0
    return x, target, mask


@pytest.mark.parametrize("stride", [1, 4])
def test_trials_as_loops_build_them(made_up, stride):
    trials = Trials(torch.tensor([[2, 7, 0]]), torch.tensor([[0, 25, 13]]), torch.tensor([[0, 45, 59]]))
    batch = reach(made_up, dtype=torch.float64).batch(trials, 168, stride)
    for b in range(3):
        x, target, mask = trial(made_up, *(int(part[0, b]) for part in trials), 168)
        assert_close(batch.x[0, :, b], torch.tensor(x[::stride]), atol=1e-12, rtol=0)
        assert_close(batch.mask[0, :, b], torch.tensor(mask[::stride]))
        on = torch.tensor(mask[::stride, None])
        assert_close(batch.target[0, :, b] * on, torch.tensor(target[::stride]) * on)


def test_target_of_the_test_trial(recordings):
    batch = reach(recordings, dtype=torch.float64).batch(one_trial_each(25, 105), 250)
    last = int(batch.mask[0, :, 2].sum()) - 1
    assert_close(batch.target[0, last, 2], torch.tensor([1.0, -1.0], dtype=torch.float64), atol=1e-12, rtol=0)
    assert last == 25 + 23 + 105 - 10 + 50


@pytest.mark.parametrize("stratified", [True, False])
def test_batches_are_a_seeds_own_and_cover_directions(stratified):
    options = {"batch": 32, "cue_delays": 20, "hold_delays": 60, "stratified": stratified}
    draw = trial_numbers(Streams("eprop"), [7, 8, 7], **options)
    trials = draw(3, 5)
    alone = trial_numbers(Streams("eprop"), [8], **options)(3, 5)
    for part, own in zip(trials, alone, strict=True):
        assert part.shape == (5, 3, 32)
        assert torch.equal(part[:, 1:2], own) and torch.equal(part[:, 0], part[:, 2])
    assert trials.cue.min() >= 0 and trials.cue.max() < 20 and trials.hold.max() < 60
    assert not torch.equal(trials.hold[0], trials.hold[1])
    if stratified:
        for k in range(8):
            own = trials.direction[0, 0] == k
            assert own.sum() == 4
            assert (trials.hold[0, 0][own] // 15).tolist() == [0, 1, 2, 3]  # one in each quarter
            assert sorted((trials.cue[0, 0][own] // 5).tolist()) == [0, 1, 2, 3]
    else:
        assert trials.direction[0, 0, :8].tolist() == list(range(8))
        assert len(set(trials.direction[0, 0, 8:].tolist())) > 4


def test_recordings_known_numbers(recordings):
    rates = torch.as_tensor(recorded(recordings, slice(None)))
    assert_close(
        rates[:3, 60, 0], torch.tensor([12.35708381, 10.71574048, 9.67375713], dtype=torch.float64), atol=5e-9, rtol=0
    )
    y = rates.flatten(0, 1)
    near = lambda got, want: assert_close(got, torch.tensor(want, dtype=torch.float64), atol=1e-10, rtol=0)  # noqa: E731
    near(procrustes(y[:, :70], y[:, 70:140]), 0.39162469620367124)
    near(procrustes(condition_average(y, 8), y), 0.483829929312872)
    short = torch.as_tensor(recorded(recordings, np.arange(40, 121, 4))).flatten(0, 1)
    near(procrustes(condition_average(short, 8), short), 0.5817338903186913)
    halves = random_halves(np.random.default_rng(0), 141, 70, 40)
    full = floor(y, y, halves, halves[:, 1], conditions=8)
    assert full.other_half.mean().item() == pytest.approx(0.400, abs=0.02)
    assert full.other_half.std().item() == pytest.approx(0.025, abs=0.012)
    assert full.average.mean().item() == pytest.approx(0.53, abs=0.02)


# Errors


def test_normalised_error_of_the_mean_is_one():
    target = torch.randn(2, 9, 4, 2, dtype=torch.float64)
    mask = (torch.rand(2, 9, 4) < 0.7).double()
    mean = (target * mask[..., None]).sum((1, 2), keepdim=True) / mask.sum((1, 2)).reshape(2, 1, 1, 1)
    assert_close(
        normalised_error(mean.expand_as(target), Batch(target, target, mask)), torch.ones(2, dtype=torch.float64)
    )


@pytest.mark.parametrize("loss", [squared_error, cross_entropy])
def test_slope_of_the_loss_by_autograd(loss):
    y = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    kind = torch.nn.functional.one_hot(torch.randint(4, (2, 5, 3)), 4).double()
    batch = Batch(y, kind, (torch.rand(2, 5, 3) < 0.6).double())
    value, slope = loss(y, batch)
    (want,) = torch.autograd.grad(value.sum(), y)
    assert_close(slope.detach(), want)
    if loss is squared_error:
        on = batch.mask[..., None].expand_as(y) == 1
        assert_close(value[0], (y - kind)[0][on[0]].square().mean())
    else:
        on = batch.mask == 1
        want = torch.nn.functional.cross_entropy(y[0][on[0]], kind[0][on[0]].argmax(-1))
        assert_close(value[0], want)


# Mante


def test_mante_trials_one_by_one():
    batch = mante_trials(Periods(3, 4, 2, 2), dtype=torch.float64)
    b = 0
    for context in range(2):
        for motion in (-0.5, -0.17, -0.06, 0.06, 0.17, 0.5):
            for colour in (-0.5, -0.17, -0.06, 0.06, 0.17, 0.5):
                for t in range(11):
                    fix = t < 9
                    see = 3 <= t < 7
                    x = [
                        fix,
                        (1 - motion) / 2 * see,
                        (1 + motion) / 2 * see,
                        (1 - colour) / 2 * see,
                        (1 + colour) / 2 * see,
                    ]
                    x += [fix and context == 0, fix and context == 1, 0, 1]
                    x = np.array(x, float)
                    assert_close(batch.x[0, t, b], torch.tensor(x / np.linalg.norm(x)), atol=1e-12, rtol=0)
                    kind = 0 if fix else 2 if (motion, colour)[context] > 0 else 1
                    assert batch.target[0, t, b].tolist() == [float(c == kind) for c in range(3)]
                b += 1
    assert batch.x.shape == (1, 11, 72, 9)
    assert batch.x[0, 0, 0].tolist() == pytest.approx([3**-0.5, 0, 0, 0, 0, 3**-0.5, 0, 0, 3**-0.5])


def test_decision_accuracy_looks_at_the_decision_alone():
    task = mante_task(Periods(2, 2, 1, 3))
    batch = task.make(None)
    output = torch.zeros(1, 8, 72, 3)
    output[:, 5:] = batch.target[:, 5:]
    output[:, 6, :36] = 1 - batch.target[:, 6, :36]
    wrong = (output[:, 6, :36].argmax(-1) != batch.target[:, 6, :36].argmax(-1)).sum()
    assert wrong == 36
    assert_close(decision_accuracy(output, batch, 3), torch.tensor([1 - 36 / (3 * 72)]))


# The network's start


def test_initial_weights():
    numbers = start_numbers(Streams("eprop"), range(3), 200, 3, 2)
    p = initial(numbers, gain=torch.tensor([0.5, 1.0, 1.5]))
    assert p.W.std((1, 2)).tolist() == pytest.approx([1.5 * g / 200**0.5 for g in (0.5, 1.0, 1.5)], rel=0.02)
    assert p.U.std().item() == pytest.approx(3**-0.5, rel=0.1) and p.V.abs().max() <= 200**-0.5
    assert p.V.std().item() == pytest.approx((200 * 3) ** -0.5, rel=0.1)
    assert not (p.b.any() or p.c.any() or p.start.any())
    dale = initial(numbers, dale=True, density=0.25)
    assert_close(dale.W[..., 0], numbers.W[..., 0] * 1.5 / 200**0.5 / 4 / 0.5)
    assert_close(dale.W[..., -1], numbers.W[..., -1] * 1.5 / 200**0.5 / 0.5)
    mask = dale_mask(10, p.W)[0]
    assert mask[0].tolist() == [0, 1, 1, 1, 1, 1, 1, 1, -1, -1] and mask[9].tolist() == [1] * 8 + [-1, 0]
    alone = start_numbers(Streams("eprop"), [1], 200, 3, 2)
    for one, all_of_them in zip(alone, numbers, strict=True):
        assert torch.equal(one[0], all_of_them[1])


# Training


def test_updates_by_hand(made_up):
    """Three updates of two runs, with torch's Adam and the penalty's rule spelt out."""
    numbers = start_numbers(Streams("eprop"), [1, 2], 12, 3, 2, torch.float64)
    draw = trial_numbers(Streams("eprop"), [1, 2], batch=16, cue_delays=20, hold_delays=60, stratified=True)
    tables = reach(made_up, dtype=torch.float64)
    task = reach_task(tables, draw, length=144, stride=4)
    lr = torch.tensor([1e-3, 5e-3], dtype=torch.float64)
    method = learner(task, rule="bptt", lr=lr, penalty=3.0, alpha=0.4)
    state = method.init(initial(numbers))
    noise = draw(0, 3)
    for k in range(3):
        state, info = method.step(state, Trials(*(part[k] for part in noise)))
        assert not info.diverged.any()
    for run in range(2):
        p = Parameters(*(part[run : run + 1].clone().requires_grad_() for part in initial(numbers)))
        optimiser, r = torch.optim.Adam(p, lr=lr[run].item()), 3.0
        for k in range(3):
            trials = Trials(*(part[k, run : run + 1] for part in noise))
            batch = tables.batch(trials, 144, 4)
            a = p.start[:, None].expand(-1, 16, -1)
            h, out, energy = torch.relu(torch.tanh(a)), [], 0
            for t in range(36):
                a = a + 0.4 * (-a + h @ p.W.mT + batch.x[:, t] @ p.U.mT + p.b[:, None])
                h = torch.relu(torch.tanh(a))
                energy = energy + h.square().mean() / 36
                out.append(h @ p.V.mT + p.c[:, None])
            wrong = (torch.stack(out, 1) - batch.target).square() * batch.mask[..., None]
            main = wrong.sum() / (2 * batch.mask.sum())
            optimiser.zero_grad()
            (main + r * energy).backward()
            optimiser.step()
            if r * energy >= main / 2:
                r = r * 2 / 3
        assert r < 3
        assert_close(state.penalty[run].item(), r, rtol=1e-12, atol=0)
        for name, ours, want in zip(Parameters._fields, state.parameters, p, strict=True):
            assert_close(ours[run : run + 1], want.detach(), rtol=1e-9, atol=1e-12, msg=name)


def test_a_run_that_diverges_says_so_and_leaves_the_others():
    numbers = start_numbers(Streams("eprop"), [1, 2], 8, 9, 3)
    method = learner(mante_task(Periods(2, 2, 1, 2)), rule="eprop", lr=1e-3)
    state = method.init(initial(numbers))
    broken = state.parameters._replace(W=torch.stack([state.parameters.W[0], torch.full((8, 8), torch.inf)]))
    good, _ = method.step(state, None)
    after, info = method.step(state._replace(parameters=broken), None)
    assert info.diverged.tolist() == [False, True]
    for one, two in zip(good.parameters, after.parameters, strict=True):
        assert torch.equal(one[0], two[0])


@pytest.mark.parametrize("rule", ["bptt", "eprop"])
def test_stacked_runs_follow_single_ones(rule, made_up):
    def draw(seeds):
        return trial_numbers(Streams("eprop"), seeds, batch=16, cue_delays=20, hold_delays=60, stratified=True)

    def train(seeds):
        method = learner(reach_task(reach(made_up), draw(seeds), length=144, stride=4), rule=rule, lr=1e-3, alpha=0.4)
        state, noise = method.init(initial(start_numbers(Streams("eprop"), seeds, 20, 3, 2))), method.draw(0, 20)
        for k in range(20):
            state, _ = method.step(state, Trials(*(part[k] for part in noise)))
        return state

    together, alone = train([5, 6, 7]), train([6])
    for one, two in zip(together.parameters, alone.parameters, strict=True):
        assert_close(one[1:2], two, atol=1e-4, rtol=1e-4)
    again = train([5, 6, 7])
    for one, two in zip(together.parameters, again.parameters, strict=True):
        assert torch.equal(one, two)


def test_adam_takes_no_step_without_a_slope():
    p = Parameters(*(torch.ones(2, *shape) for shape in ((3, 3), (3, 1), (3,), (1, 3), (1,), (3,))))
    zero = Parameters(*(torch.zeros_like(x) for x in p))
    state = State(p, zero, zero, torch.ones(2), torch.zeros((), dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(adam(state, zero, 0.1)[0], p, strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "epop"}, "`rule` must be .* got 'epop'"),
        ({"lr": 0.0}, r"`lr` must lie in \(0, 10\], got 0.0"),
        ({"alpha": 1.5}, r"`alpha` must lie in \(0, 1\], got 1.5"),
        ({"penalty": -1.0}, "`penalty`"),
        ({"activation": "sigmoid"}, "`activation`"),
        ({"rule": "rflo"}, "rflo needs `feedback`"),
        ({"rule": "modprop"}, "`activation` relu and a `wiring` under Dale's law, got retanh without Dale"),
    ],
)
def test_refusals(options, words):
    with pytest.raises(SettingError, match=words):
        learner(mante_task(Periods(2, 2, 1, 2)), **options)


def test_forward_with_a_shared_batch_equals_repeated_trials():
    numbers = start_numbers(Streams("eprop"), [1, 2], 8, 9, 3, torch.float64)
    p, x = initial(numbers), mante_trials(Periods(2, 2, 1, 2), dtype=torch.float64).x
    one, two = forward(p, p.W, x, alpha=0.3), forward(p, Wiring().effective(p.W), x.repeat(2, 1, 1, 1), alpha=0.3)
    assert torch.equal(one.output, two.output)


# Matching


def test_matched_by_hand():
    errors = np.array(
        [[1.0, 1.0, 0.05, 1.0], [0.4, 0.9, 0.04, 0.5], [0.5, 0.8, 0.03, np.nan], [0.1, 0.7, 0.02, np.nan]]
    )
    values = np.array([[0.6, 0.6, 0.3, 0.6]] * 2 + [[0.55, 0.5, 0.2, 0.5], [0.4, 0.4, 0.1, 0.4]])
    got = matched(np.array([0, 10, 20, 30]), errors, values, 0.2)
    # Run 0: the running minimum is .4, .4, .1: at .2 half of the way in the logarithm, between evaluations 2 and 3.
    assert got.values[0] == pytest.approx((0.55 + 0.4) / 2)
    assert got.updates.tolist() == [30, np.inf, 0, np.inf]
    assert np.isnan(got.values[1]) and got.values[2] == 0.3
    assert got.status == ["ok", "censored", "ok", "diverged"]
