"""pretraining.py: the optimiser against torch's, the schedule, and that it learns."""

import pytest
import torch
from torch.testing import assert_close

from descent.core.streams import Streams
from descent.papers.dualpriv import pretraining
from descent.papers.dualpriv.model import (
    Sizes,
    answer_logits,
    digit_logits,
    hidden_states,
    initial_parameters,
    parameter_shapes,
    project,
)  # fmt: skip
from descent.papers.dualpriv.pretraining import Batch, Scenes, batches, flat, loss, named, one_cycle, start
from descent.papers.dualpriv.scenes import draw_scenes

SIZES = Sizes(width=16, heads=2)


@pytest.fixture(scope="module")
def public(digits):
    rng = Streams("dualpriv").numpy("test scenes", 500)
    drawn = draw_scenes(rng, *digits, 256, private=False)
    return Scenes(*(torch.from_numpy(z) for z in (drawn.patches, drawn.text, drawn.answer, drawn.digit)))


def pieces(digits_draw, k, count):
    batch = digits_draw(k, count)
    return [Batch(*(z[i] for z in batch)) for i in range(count)]


def draw(steps=12, peak=4e-3):
    streams = Streams("dualpriv")
    return batches(lambda k: streams.numpy("test batches", 500, k), 256, 32, steps, 6, peak)


def test_steps_equal_torch_adamw_with_one_cycle(public):
    public = public._replace(patches=public.patches.double())
    w = flat(initial_parameters(SIZES, torch.Generator().manual_seed(0))).double()
    step, state = pretraining.pretraining(SIZES, public), start(w)
    theta = torch.nn.Parameter(w.clone())
    adam = torch.optim.AdamW([theta], lr=4e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        adam, 4e-3, total_steps=40, pct_start=0.1, cycle_momentum=False, final_div_factor=1e5 / 25
    )
    makes = draw(steps=40)
    for k in range(2):
        for batch in pieces(makes, k, 6):
            assert batch.rate.item() == pytest.approx(adam.param_groups[0]["lr"], rel=1e-5)
            state = step(state, batch)
            adam.zero_grad()
            loss(SIZES, theta, Scenes(*(z[batch.index] for z in public)), "shared").backward()
            adam.step()
            cycle.step()
    assert_close(state.w, theta.detach(), atol=1e-6, rtol=1e-5)  # rates are float32
    assert (state.w - w).abs().max() > 5e-3


def test_the_rate_goes_up_for_a_tenth_of_the_run_and_down_to_nothing():
    rates = [one_cycle(t, 600, 4e-3) for t in range(600)]
    assert max(rates) == pytest.approx(4e-3) and rates.index(max(rates)) == 59
    assert rates[0] == pytest.approx(4e-3 / 25) and rates[-1] == pytest.approx(4e-8)
    assert rates[:60] == sorted(rates[:60]) and rates[59:] == sorted(rates[59:], reverse=True)
    assert all(r > 0 for t in (1, 2, 5) for r in [one_cycle(s, t, 1.0) for s in range(t)])


def test_it_learns(public):
    w = flat(initial_parameters(SIZES, torch.Generator().manual_seed(0)))
    step, state, makes = pretraining.pretraining(SIZES, public), start(w), draw(steps=60, peak=1e-2)
    before = loss(SIZES, state.w, public, "shared").item()
    for k in range(10):
        for batch in pieces(makes, k, 6):
            state = step(state, batch)
    assert loss(SIZES, state.w, public, "shared").item() < before - 0.8


def test_the_loss_is_that_of_the_answers_and_of_the_digits_together(public):
    w = flat(initial_parameters(SIZES, torch.Generator().manual_seed(2)))
    weights = named(SIZES, w)
    hidden = hidden_states(SIZES, weights, public.patches)
    answers = answer_logits(SIZES, weights, project(weights, hidden), public.text, "shared").log_softmax(-1)
    digits = digit_logits(SIZES, weights, hidden).log_softmax(-1)
    rows = torch.arange(len(answers))
    want = -(answers[rows, public.answer] + digits[rows, public.digit]).mean()
    assert_close(loss(SIZES, w, public, "shared"), want)


def test_names_and_vector_go_both_ways():
    parameters = initial_parameters(SIZES, torch.Generator().manual_seed(1))
    assert list(parameters) == list(parameter_shapes(SIZES))
    again = named(SIZES, flat(parameters))
    assert all(torch.equal(parameters[n], again[n]) and again[n].shape == parameters[n].shape for n in parameters)


def test_a_batch_depends_on_its_block_alone():
    makes = draw()
    assert torch.equal(makes(1, 6).index, makes(1, 6).index)
    assert not torch.equal(makes(0, 6).index, makes(1, 6).index)
