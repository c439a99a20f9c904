"""zeroth_order.py: DPZero on a quadratic, against a slow twin, and its noise."""

import math

import pytest
import torch
from dualpriv_world import STREAMS, ledger, make_problem, one, some_theta
from test_dualpriv_lora import loss_alone
from torch.testing import assert_close

from descent.core.errors import SettingError
from descent.papers.dualpriv import zeroth_order
from descent.papers.dualpriv.zeroth_order import Noise, State, dpzero, private_slope


def ones(records):
    return torch.ones(1, records, dtype=torch.float64)


@pytest.mark.parametrize("probe", [1e-3, 0.1, 1.0])
def test_a_quadratic_gives_the_exact_slope_for_every_probe(monkeypatch, probe):
    """l = |theta|^2 / 2, no noise, no clipping: s = theta . z, and E[s z] = theta."""
    monkeypatch.setattr(
        zeroth_order,
        "sample_losses",
        lambda problem, theta, index, sizes: theta.square().sum(-1, keepdim=True).expand(index.shape) / 2,
    )
    problem = make_problem()
    book = ledger(budget=math.inf, clip_norm=math.inf, batch=12)
    method = dpzero(problem, book, step_size=1.0, probe=probe)
    theta = some_theta(problem, rows=1)
    everyone = torch.arange(12)[None]
    total = torch.zeros_like(theta)
    draws = torch.randn(4000, 1, problem.layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for z in draws[:50]:
        moved = method.update(
            State(theta, 0), Noise(everyone, ones(12), None, z, torch.zeros(1, dtype=torch.float64))
        ).theta
        assert_close(theta - moved, (theta * z).sum() * z, atol=1e-9, rtol=1e-7)
    for z in draws:
        total += (theta * z).sum() * z
    # Var[(s z)_j] = |theta|^2 + theta_j^2.
    error = (theta.square().sum() + theta.square()).sqrt() / math.sqrt(len(draws))
    assert ((total / len(draws) - theta).abs() < 5 * error).all()


def test_a_step_equals_the_slow_twin():
    problem = make_problem()
    book = ledger(clip_norm=0.3)
    method = dpzero(problem, book, step_size=0.2, probe=1e-3)
    theta = some_theta(problem, rows=2)
    noise = one(method.drawing(STREAMS, (500, 501), 1)(0, 1), 0)
    got = method.update(method.init(theta), noise).theta
    clipped = 0
    for row in range(2):
        z, total = noise.direction[row], 0.0
        for i, present in zip(noise.index[row], noise.present[row], strict=True):
            if present:
                up, down = (loss_alone(problem, theta[row] + sign * 1e-3 * z, int(i)).item() for sign in (1, -1))
                slope = (up - down) / 2e-3
                clipped += abs(slope) > 0.3
                total += max(-0.3, min(0.3, slope))
        s = (total + book.noise_multiplier * 0.3 * noise.normal[row].item()) / book.batch
        assert_close(got[row], theta[row] - 0.2 * s * z, atol=1e-9, rtol=1e-7)
    assert clipped > 0


def test_one_scalar_of_noise_with_the_accounted_size():
    book = ledger(clip_norm=4.0)
    difference = torch.zeros(20_000, 3, dtype=torch.float64)
    normal = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s = private_slope(difference, torch.ones_like(difference), normal, book)
    assert s.std().item() == pytest.approx(book.noise_multiplier * 4.0 / book.batch, rel=0.02)


def test_a_record_moves_the_sum_by_at_most_the_clip():
    book = ledger(clip_norm=4.0, budget=math.inf)
    difference = torch.tensor([[100.0, -7.0, 1.5]], dtype=torch.float64)
    present = ones(3)
    with_it = private_slope(difference, present, torch.zeros(1, dtype=torch.float64), book)
    for record in range(3):
        without = present.clone()
        without[0, record] = 0
        moved = (with_it - private_slope(difference, without, torch.zeros(1, dtype=torch.float64), book)) * book.batch
        assert moved.abs().item() <= 4.0 + 1e-12


def test_batches_are_those_of_dp_sgd_and_a_seed_stands_alone():
    from descent.papers.dualpriv.first_order import dpsgd

    problem = make_problem()
    first = dpsgd(problem, ledger(), step_size=1.0).drawing(STREAMS, (500, 501), 3)(0, 3)
    method = dpzero(problem, ledger(), step_size=1.0)
    zeroth = method.drawing(STREAMS, (500, 501), 3)(0, 3)
    assert torch.equal(first.index, zeroth.index)
    alone = method.drawing(STREAMS, (501,), 3)(0, 3)
    assert torch.equal(zeroth.direction[:, 1:], alone.direction) and torch.equal(zeroth.normal[:, 1:], alone.normal)
    assert not torch.equal(first.normal, zeroth.direction)


def test_a_bad_probe_is_refused():
    with pytest.raises(SettingError, match=r"dualpriv: `probe` must lie in \(0, 1\], got 0"):
        dpzero(make_problem(), ledger(), step_size=1.0, probe=0)
