"""lora.py and problem.py: per-sample gradients against autograd of each sample alone, in float64."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from dualpriv_world import STREAMS, make_problem, some_theta
from torch.nn import functional
from torch.testing import assert_close

from descent.papers.dualpriv import problem as problem_module
from descent.papers.dualpriv.decoder import decode
from descent.papers.dualpriv.lora import frozen_linear, initial, layout, split
from descent.papers.dualpriv.problem import answers, sample_gradients, sample_losses


def plain_linear(problem, theta):
    """W x + b + (alpha / r) B A x, matrix by matrix, for one row of theta (p,)."""
    layout, frozen = problem.layout, problem.frozen
    by_name = {b.name: theta[b.start : b.start + b.size] for b in layout.blocks}

    def linear(g, x):
        group = layout.groups[g]
        parts = []
        for n, name in enumerate(group.names):
            rows = slice(n * group.outputs, (n + 1) * group.outputs)
            a = by_name[f"{group.layer}.{name}.A"].view(layout.rank, group.inputs)
            b = by_name[f"{group.layer}.{name}.B"].view(layout.rank, group.outputs).T
            weight = frozen.weights[g][rows] + layout.alpha / layout.rank * b @ a
            parts.append(functional.linear(x, weight, frozen.biases[g][rows]))
        return torch.cat(parts, -1)

    return linear


def loss_alone(problem, theta, i):
    """The loss of record i with adapter theta (p,), nothing cached."""
    logits = decode(
        problem.layout.shape,
        problem.frozen,
        plain_linear(problem, theta),
        problem.train.x[None, i : i + 1],
        problem.rotation,
    )
    return functional.cross_entropy(logits[0, :, 0], problem.train.answer[i : i + 1])


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_per_sample_gradients_equal_autograd_of_each_sample_alone(rank):
    problem = make_problem(rank=rank)
    theta = some_theta(problem, rows=2)
    index = torch.tensor([[3, 0, 7], [5, 5, 1]])
    got = torch.cat(sample_gradients(problem, theta, index, torch.ones(2, 3, dtype=torch.float64)), -1)
    assert got.shape == (2, 3, problem.layout.size)
    for row in range(2):
        for sample in range(3):
            leaf = theta[row].clone().requires_grad_()
            loss_alone(problem, leaf, int(index[row, sample])).backward()
            assert leaf.grad.abs().min() >= 0 and leaf.grad.norm() > 0.1
            assert_close(got[row, sample], leaf.grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("cache", [1, 2**40])  # a row at a time, all rows together
@pytest.mark.parametrize("sizes", [None, (3, 3)])
def test_losses_equal_each_sample_alone(monkeypatch, cache, sizes):
    monkeypatch.setattr(problem_module, "_CACHE", cache)
    problem = make_problem()
    theta = some_theta(problem, rows=2)
    index = torch.tensor([[3, 0, 7], [5, 5, 1]])
    got = sample_losses(problem, theta, index, sizes)
    # What lies beyond a row's size changes nothing within it.
    assert_close(sample_losses(problem, theta, index, (1, 2))[1, :2], got[1, :2], atol=1e-12, rtol=1e-12)
    expected = [[loss_alone(problem, theta[r], int(i)).item() for i in index[r]] for r in range(2)]
    assert_close(got, torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=1e-12)
    right, losses = answers(problem, theta, problem.train)
    assert right.shape == losses.shape == (2, 12)
    assert_close(losses[1, 5], got[1, 0], atol=1e-12, rtol=1e-12)


def test_padding_has_no_gradient():
    problem = make_problem()
    present = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    pieces = sample_gradients(problem, some_theta(problem), torch.tensor([[1, 2, 3]]), present)
    assert all((g[0, 1] == 0).all() for g in pieces) and all((g[0, 2] != 0).any() for g in pieces)


def test_the_adapter_starts_as_the_frozen_model_with_zero_gradients_of_a():
    problem = make_problem()
    theta = initial(problem.layout, [STREAMS.torch("adapter", 500)], torch.float64)
    logits = decode(
        problem.layout.shape, problem.frozen, frozen_linear(problem.frozen), problem.train.x[None], problem.rotation
    )[0, :, 0]
    expected = functional.cross_entropy(logits, problem.train.answer, reduction="none")
    index = torch.arange(12)[None]
    assert_close(sample_losses(problem, theta, index)[0], expected, atol=1e-12, rtol=1e-12)
    pieces = sample_gradients(problem, theta, index, torch.ones(1, 12, dtype=torch.float64))
    for number, piece in enumerate(pieces):
        # A, B, A, B, ...
        assert bool((piece == 0).all()) == (number % 2 == 0)


def test_a_is_uniform_within_its_bound_and_b_is_zero():
    problem = make_problem()
    theta = initial(problem.layout, [STREAMS.torch("adapter", s) for s in range(500, 520)])
    for group, (a, b) in zip(problem.layout.groups, split(problem.layout, theta), strict=True):
        bound = 1 / math.sqrt(group.inputs)
        assert a.abs().max() <= bound and a.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.15)
        assert (b == 0).all()


def test_a_seed_does_not_notice_the_others_of_its_batch():
    problem = make_problem(dtype=torch.float32)
    alone = initial(problem.layout, [STREAMS.torch("adapter", 501)])
    assert torch.equal(initial(problem.layout, [STREAMS.torch("adapter", s) for s in (500, 501)])[1:], alone)
    theta, index = some_theta(problem, rows=3), torch.randint(0, 12, (3, 5))
    together = torch.cat(sample_gradients(problem, theta, index, torch.ones(3, 5)), -1)
    single = torch.cat(sample_gradients(problem, theta[1:2], index[1:2], torch.ones(1, 5)), -1)
    assert_close(together[1:2], single, atol=1e-6, rtol=1e-5)


def test_a_diverged_row_has_no_accuracy():
    problem = make_problem()
    theta = some_theta(problem, rows=2)
    theta[0, 3] = float("inf")
    right, _ = answers(problem, theta, problem.train)
    assert right[0].isnan().all() and right[1].isfinite().all()


def test_blocks_cover_theta_once():
    for problem in (make_problem(), make_problem(sizes=None, rank=3)):
        found = layout(problem.layout.shape, 3)
        ends = [b.start + b.size for b in found.blocks]
        assert [b.start for b in found.blocks] == [0, *ends[:-1]] and ends[-1] == found.size == sum(found.pieces)
        assert len({b.name for b in found.blocks}) == len(found.blocks) == 24


def test_opacus_gives_the_same_per_sample_gradients():
    """Its GradSampleModule on a plain module of the same decoder (benchmarks/dualpriv.py), float32."""
    pytest.importorskip("opacus", reason="opacus, a development package, is not installed")
    path = Path(__file__).parents[3] / "benchmarks" / "dualpriv.py"
    spec = importlib.util.spec_from_file_location("benchmark_dualpriv", path)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    case = benchmark.Case(benchmark.PRUNED, 1)
    assert_close(case.ours()(), case.opacus()(), atol=2e-6, rtol=1e-5)
    assert (case.ours()() - case.theta).abs().max() > 1e-4
