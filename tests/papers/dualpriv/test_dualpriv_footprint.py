"""footprint.py: the counted steps do what the methods do, and the counts are those of an independent implementation."""

import math

import pytest
import torch
from dualpriv_world import ledger, make_problem, some_theta
from torch.testing import assert_close

from descent.papers.dualpriv import footprint
from descent.papers.dualpriv.decoder import Shape
from descent.papers.dualpriv.first_order import Noise, dpsgd
from descent.papers.dualpriv.footprint import (
    COUNTED,
    Case,
    Counting,
    count,
    first_order_step,
    llava_case,
    small_case,
    zeroth_order_step,
)
from descent.papers.dualpriv.model import Sizes
from descent.papers.dualpriv.zeroth_order import Noise as ZerothNoise
from descent.papers.dualpriv.zeroth_order import dpzero

INDEX = torch.tensor([[4, 2, 9]])
ONES = torch.ones(1, 3, dtype=torch.float64)


def case_of(problem, theta, noise=False, checkpoint=False):
    train = problem.train
    return Case(
        problem.layout, problem.frozen, problem.rotation, theta.clone(), train.x[INDEX], train.normed[INDEX],
        train.answer[INDEX[0]], (), 1, checkpoint, noise,
    )  # fmt: skip


def pieces_of(z, layout):
    """normal(like) that gives z piece by piece, or whole."""
    parts = iter(z.split(layout.pieces, -1))
    return lambda like: z if like.shape == z.shape else next(parts)


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("checkpoint", [False, True])
@pytest.mark.parametrize("keep", [1.0, 0.8])
def test_the_counted_first_order_step_is_the_methods_step(keep, checkpoint, noise):
    problem = make_problem()
    theta, book = some_theta(problem), ledger(clip_norm=0.4)
    normal = torch.randn(1, problem.layout.size, dtype=torch.float64)
    expected = dpsgd(problem, book, step_size=0.7, keep=keep)
    expected = expected.update(expected.init(theta), Noise(INDEX, ONES, None, normal, theta[:, :0])).theta
    case = case_of(problem, theta, noise, checkpoint)
    first_order_step(
        case, keep=keep, clip_norm=0.4, noise_std=book.noise_std, batch=book.batch, step_size=0.7,
        normal=pieces_of(normal, problem.layout),
    )  # fmt: skip
    assert_close(case.theta, expected, atol=1e-12, rtol=1e-12)
    assert not torch.equal(case.theta, theta)


@pytest.mark.parametrize("noise", [False, True])
def test_the_counted_zeroth_order_step_is_the_methods_step(noise):
    problem = make_problem()
    theta, book = some_theta(problem), ledger(clip_norm=0.4)
    z = torch.randn(1, problem.layout.size, dtype=torch.float64)
    scalar = torch.tensor([0.3], dtype=torch.float64)
    method = dpzero(problem, book, step_size=0.7)
    expected = method.update(method.init(theta), ZerothNoise(INDEX, ONES, None, z, scalar)).theta
    case = case_of(problem, theta, noise)
    parts = z.split(problem.layout.pieces, -1)
    zeroth_order_step(
        case,
        clip_norm=0.4,
        noise=book.noise_std * 0.3,
        batch=book.batch,
        step_size=0.7,
        normal=lambda i, like: parts[i],
    )
    assert_close(case.theta, expected, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("order", ["first", "zeroth"])
def test_meta_counts_what_the_cpu_holds_to_the_byte(order):
    on = [count(small_case(13, 8, 4, device), order, 0.8) for device in ("cpu", "meta")]
    assert on[0] == on[1] > 300_000
    tiny = Shape(width=16, hidden=24, heads=2, layers=2, gated=True)
    counted = Counting(noise=True, checkpoint=True, rank=4)
    on = [count(llava_case(9, 2, counted, device, tiny), order, 0.8) for device in ("cpu", "meta")]
    assert on[0] == on[1]


def test_nothing_of_the_data_set_is_counted():
    """Held: weights (decoder 55,296 + its 96 biases and norms), adapter, inputs; in float32."""
    case = small_case(13, 8, 4, "meta")
    inputs = 2 * 8 * 17 * 48 * 4 + 8 * 8
    decoder = 2 * (4 * (48 * 48 + 48) + 2 * 48 * 192 + 192 + 48 + 4 * 48) + 2 * 48 + 32 * 48
    rotation = 2 * 4 * 12 * 4
    assert sum(z.nbytes for z in case.held()) == inputs + 4 * decoder + 4 * 6912 + rotation


@pytest.fixture(scope="module")
def paper_size():
    """Peaks of the 7B-shaped step at micro-batch 1: (DP-SGD, Dual, ZO, ZO + M1), bytes."""
    plain = COUNTED["plain"]
    full, pruned = llava_case(576, 1, plain, "meta"), llava_case(221, 1, plain, "meta")
    return (
        count(full, "first", 1.0),
        count(pruned, "first", 0.8),
        count(full, "zeroth", 1.0),
        count(pruned, "zeroth", 1.0),
    )


def test_the_papers_size_gives_an_independent_implementations_ratios(paper_size):
    """.853, 1.121, 1.125: it had other temporaries, the same tensors."""
    sgd, dual, zo, zo_m1 = paper_size
    assert dual / sgd == pytest.approx(0.853, abs=0.015)
    assert dual / zo == pytest.approx(1.121, abs=0.02)
    assert dual / zo_m1 == pytest.approx(1.125, abs=0.02)


def test_the_papers_size_weighs_what_it_should():
    case = llava_case(576, 1, COUNTED["plain"], "meta")
    assert sum(w.nbytes for w in case.frozen.weights) == 2 * 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert case.layout.size == 319_815_680 and len(case.layout.blocks) == 2 * 7 * 32
    assert case.x.shape == (1, 1, 640, 4096)


def test_what_else_is_counted_moves_the_comparison_as_expected():
    shape = footprint.LLAVA._replace(layers=4)  # the same a layer

    def ratio(counted, order, keep=1.0):
        dual = count(llava_case(221, 1, COUNTED[counted], "meta", shape), "first", 0.8)
        return dual / count(llava_case(576, 1, COUNTED[counted], "meta", shape), order, keep)

    # Checkpointing drops the activations: both comparisons go towards 1.
    assert ratio("checkpoint", "zeroth") < ratio("plain", "zeroth")
    assert ratio("checkpoint", "first") > ratio("plain", "first")
    # A stored direction burdens only the zeroth-order method's peak.
    assert ratio("noise", "zeroth") < ratio("plain", "zeroth")


def test_pruned_tokens_halve_the_small_models_memory():
    for micro_batch, most in ((1, 0.8), (8, 0.55), (32, 0.5), (128, 0.5)):
        sgd = count(small_case(37, micro_batch, 4, "meta"), "first", 1.0)
        dual = count(small_case(13, micro_batch, 4, "meta"), "first", 0.8)
        assert dual / sgd < most
    assert math.isclose(Sizes().patches, 36)
