"""Steps as CUDA captures them: batches padded to few widths, recorded once, replayed; here on a tape."""

from functools import partial

import pytest
import torch
from dualpriv_world import STREAMS, ledger, make_problem, one, some_theta
from torch.testing import assert_close

from descent.papers.dualpriv import first_order, zeroth_order
from descent.papers.dualpriv.first_order import dpsgd
from descent.papers.dualpriv.sampling import graph_width, poisson_batches
from descent.papers.dualpriv.zeroth_order import dpzero
from descent.toolbox.capture import captured
from tape import Tape

SEEDS = (500, 501)
FORMS = {
    "dpsgd": partial(dpsgd, step_size=1.0),
    "dual": partial(dpsgd, step_size=1.0, keep=0.8),
    "micro-batches": partial(dpsgd, step_size=1.0, keep=0.8, micro_batch=4),
    "random blocks": partial(dpsgd, step_size=1.0, keep=0.5, block_score="random"),
    "adam": partial(dpsgd, step_size=0.01, keep=0.8, optimiser="adam"),
    "dpzero": partial(dpzero, step_size=0.1),
}


def five_steps(make):
    """The states of five steps of two blocks."""
    problem = make_problem()
    method = make(problem, ledger(batch=4))
    states = [method.init(some_theta(problem, rows=2))]
    draw = method.drawing(STREAMS, SEEDS, 3)
    with torch.no_grad():
        for k, count in ((0, 3), (1, 2)):
            noise = draw(k, count)
            for i in range(count):
                states.append(method.update(states[-1], one(noise, i)))
    return states


@pytest.mark.parametrize("form", FORMS)
def test_padded_replayed_steps_are_the_steps(monkeypatch, form):
    expected = five_steps(FORMS[form])
    tapes = []

    class Counted(Tape):
        def __init__(self):
            super().__init__()
            tapes.append(self)

    for module in (first_order, zeroth_order):
        monkeypatch.setattr(module, "captured", partial(captured, graph=Counted))
        monkeypatch.setattr(module, "graph_width", lambda device: 16)
    got = five_steps(FORMS[form])
    assert len(tapes) == 1, "one width, so one recording"
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.step == theirs.step
        assert_close(mine.theta, theirs.theta, atol=1e-10, rtol=1e-10)
    if form != "dpzero":
        assert torch.equal(got[-1].kept, expected[-1].kept)
    assert not torch.equal(got[1].theta, got[2].theta)


def test_widths_are_few_and_padding_weighs_nothing():
    plain = poisson_batches(STREAMS, SEEDS, 100, 0.3, 2, 4, 4)
    padded = poisson_batches(STREAMS, SEEDS, 100, 0.3, 2, 4, 4, multiple=32)
    width = plain.index.shape[-1]
    assert padded.index.shape[-1] % 32 == 0 and 0 <= padded.index.shape[-1] - width < 32
    assert padded.counts is None and plain.counts is not None
    assert torch.equal(padded.index[..., :width], plain.index) and torch.equal(
        padded.present[..., :width], plain.present
    )
    assert padded.present[..., width:].eq(0).all()


def test_only_cuda_pads_and_captures():
    assert graph_width(torch.device("cpu")) is None and graph_width(torch.device("cuda")) == 32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a captured graph needs CUDA")
@pytest.mark.parametrize("form", FORMS)
def test_cuda_graphs_take_the_steps_of_the_cpu(form):
    def there(make):
        problem = make_problem(device=torch.device("cuda"))
        method = make(problem, ledger(batch=4))
        state = method.init(some_theta(problem, rows=2))
        draw = method.drawing(STREAMS, SEEDS, 3)
        with torch.no_grad():
            for k, count in ((0, 3), (1, 2)):
                noise = draw(k, count)
                for i in range(count):
                    step = one(noise, i)
                    state = method.update(state, type(step)(*(z if z is None else z.cuda() for z in step)))
        return state.theta.cpu()

    assert_close(there(FORMS[form]), five_steps(FORMS[form])[-1].theta, atol=1e-8, rtol=1e-8)
