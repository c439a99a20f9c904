"""operations.py: what is recorded gives PyTorch's numbers on the host, row by row or whole, in place as well, and starts few operations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from descent.papers.ssi import operations as op

SHAPES = {
    "the same": ((2, 5), (2, 5)),
    "a row for both": ((2, 5), (5,)),
    "a vector for each token": ((3, 5), (2, 3, 5)),
    "a number for each row": ((2, 1, 5), (2, 3, 5)),
    "many tokens": ((7, 1, 5), (7, 3, 5)),
    "one token": ((1, 1, 5), (1, 2, 5)),
    "a single row": ((5,), (5,)),
}


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(len(shape))) + 0.5


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide"])
def test_two_operands_give_pytorch_s_numbers(name, shapes):
    torch_s = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div}[name]
    a, b = random(*shapes[0]), random(*shapes[1])
    for x, y in ((a, b), (b, a)):
        want = torch_s(x, y)
        for out in (torch.full_like(want, np.nan), y if y.shape == want.shape else x):
            calls = getattr(op, name)(x, y, out)
            want = torch_s(x, y)
            op.perform(calls)
            assert torch.equal(out, want)


@pytest.mark.parametrize("name", ["sqrt", "tanh", "copy"])
def test_one_operand(name):
    x = random(3, 2, 5)
    want = {"sqrt": torch.sqrt, "tanh": torch.tanh, "copy": torch.clone}[name](x)
    for out in (torch.empty_like(x), torch.empty(3, 4, 5, dtype=torch.float64)[:, ::2], x[:1]):
        given = x[:1] if len(out) == 1 else x
        op.perform(getattr(op, name)(given, out))
        torch.testing.assert_close(out, want[: len(out)], rtol=1e-14, atol=0)


@pytest.mark.parametrize("sign", [1, -1])
def test_products_are_added_whatever_room_they_have(sign):
    x, a, b = random(2, 5), random(2, 5) + 1, random(5)
    want = x + sign * a * b
    for room, out in ((torch.empty_like(x), torch.empty_like(x)), (a.clone(), x.clone())):
        given = a.clone().copy_(a)
        room = given if room.equal(a) else room
        op.perform(op.add_product(x, given, b, room, out, sign))
        assert torch.equal(out, want)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 13])
def test_folds_add_everything_and_zeros_change_no_bit(size):
    x = random(size, 2, 5)
    calls, total = op.fold(buffer := x.clone())
    op.perform(calls)
    torch.testing.assert_close(total, x.sum(0))
    assert total.data_ptr() == buffer.data_ptr()
    if size & (size - 1) == 0:
        padded = torch.cat([x, torch.zeros_like(x)])
        calls, longer = op.fold(padded)
        op.perform(calls)
        assert torch.equal(longer, total)


def test_what_is_recorded_reads_its_memory_when_it_is_performed():
    a, out = torch.zeros(2, 5), torch.zeros(2, 5)
    calls = op.add(a, a, out)
    assert out.eq(0).all()
    a.fill_(2)
    op.perform(calls)
    assert out.eq(4).all()


def test_few_rows_are_done_one_by_one_many_and_contiguous_ones_at_once():
    assert len(op.multiply(random(2, 5), random(2, 5), torch.empty(2, 5, dtype=torch.float64))) == 1
    assert len(op.multiply(random(5), random(2, 5), torch.empty(2, 5, dtype=torch.float64))) == 2
    assert len(op.multiply(random(3, 5), random(2, 3, 5), torch.empty(2, 3, 5, dtype=torch.float64))) == 2
    assert len(op.multiply(random(2, 1, 5), random(2, 3, 5), torch.empty(2, 3, 5, dtype=torch.float64))) == 1
    assert len(op.multiply(random(1, 5), random(9, 5), torch.empty(9, 5, dtype=torch.float64))) == 1


def test_the_same_memory_is_the_same_object_or_numpy_would_look_for_harm():
    x, y = random(2, 5), random(5)
    for call in op.add(x, y, x):
        a, _, out = call.args  # pyright: ignore[reportFunctionMemberAccess] (a partial)
        assert a is out


def test_what_overflows_is_silent_on_the_host():
    huge, out = torch.full((3,), 1e300, dtype=torch.float64), torch.empty(3, dtype=torch.float64)
    with op.quiet(torch.device("cpu")):
        op.perform(op.multiply(huge, huge, out))
    assert out.isinf().all()
    with pytest.warns(RuntimeWarning, match="overflow"):
        op.perform(op.multiply(huge, huge, out))
