"""capture.py: what is replayed is the function, in buffers of its own; a graph a shape."""

from typing import NamedTuple

import pytest
import torch

from descent.toolbox.capture import captured, leaves
from tape import Tape


class Pair(NamedTuple):
    a: torch.Tensor
    b: torch.Tensor


def test_a_replay_is_a_call_and_aliases_nothing():
    replayed = captured(lambda state, noise: Pair(state.a + noise, state.b * 2), Tape)
    state, noise = Pair(torch.ones(3), torch.ones(3)), torch.arange(3.0)
    first = replayed(state, noise)
    kept = first.a.clone()
    second = replayed(first, noise + 1)
    assert isinstance(second, Pair)
    assert torch.equal(second.a, torch.ones(3) + noise + noise + 1) and torch.equal(second.b, torch.full((3,), 4.0))
    assert torch.equal(first.a, kept) and state.a.eq(1).all()
    assert len({x.data_ptr() for x in (*first, *second, *state)}) == 6


def test_a_function_that_depends_on_the_host_does_not_survive_a_replay():
    counter = iter(range(9))
    replayed = captured(lambda x: x + next(counter), Tape)
    x = torch.zeros(1)
    replayed(x)
    assert replayed(x).item() == 0 and next(counter) == 1


def test_every_shape_and_every_plain_value_has_a_recording_of_its_own():
    made = []

    class Counted(Tape):
        def __init__(self):
            super().__init__()
            made.append(self)

    replayed = captured(lambda x, factor: x * factor, Counted)
    for _ in range(2):
        for width in (2, 3):
            for factor in (5, 7):
                x = torch.rand(width)
                assert torch.equal(replayed(x, factor), x * factor)
    assert len(made) == 4


def test_without_a_cuda_device_the_function_is_called_as_it_is():
    x = torch.rand(3)
    assert captured(lambda z: z)(x) is x
    assert leaves((x, (Pair(x, x), 3))) == [x, x, x]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a captured graph needs CUDA")
def test_a_cuda_graph_replays_the_function():
    replayed = captured(lambda x, y: (x @ y).relu() + 1)
    for seed in range(3):
        x, y = (torch.randn(8, 8, generator=torch.Generator("cuda").manual_seed(seed), device="cuda") for _ in range(2))
        torch.testing.assert_close(replayed(x, y), (x @ y).relu() + 1)
