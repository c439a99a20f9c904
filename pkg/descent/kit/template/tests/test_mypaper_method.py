"""The method: a step worked by hand, limits, a slow twin, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis.strategies import floats, integers

from descent.core.errors import SettingError
from descent.core.streams import Streams
from descent.papers.mypaper import Quadratic, descend, heavy_ball

STREAMS = Streams("mypaper")


def quadratic(seeds=(1, 2, 3), noise=0.1, dimension=4, condition=100.0):
    return Quadratic.of(dimension=dimension, condition=condition, noise=noise, streams=STREAMS, seeds=seeds)


def walk(method, x, noise):
    """The states after each row of noise."""
    state = method.init(x)
    for each in noise:
        state = method.update(state, each)
    return state


def test_a_step_worked_by_hand():
    problem = quadratic(seeds=(1,), dimension=2, condition=4.0)  # curvatures 1/4 and 1
    method = heavy_ball(problem, step_size=0.5, momentum=0.8)
    x, noise = torch.tensor([[4.0, 2.0]], dtype=torch.float64), torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    state, info = method.step(method.init(x), noise)  # gradient (1, 3), move (-.5, -1.5)
    torch.testing.assert_close(state.x, torch.tensor([[3.5, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(info.gradient, torch.tensor([10.0], dtype=torch.float64).sqrt())
    state, _ = method.step(state, 0 * noise)  # gradient (.875, .5), move .8 (-.5, -1.5) - .5 (.875, .5)
    torch.testing.assert_close(state.x, torch.tensor([[3.5 - 0.8375, 0.5 - 1.45]], dtype=torch.float64))


@given(step_size=floats(0.01, 1), seed=integers(0, 99))
def test_without_momentum_it_is_gradient_descent(step_size, seed):
    problem = quadratic(seeds=(seed,))
    noise = problem.draw(0, 20)
    ball = walk(heavy_ball(problem, step_size=step_size, momentum=0.0), problem.start(), noise)
    plain = walk(descend(problem, step_size=step_size), problem.start(), noise)
    torch.testing.assert_close(ball.x, plain.x)


def test_without_noise_gradient_descent_shrinks_every_coordinate_by_its_own_factor():
    problem = quadratic(noise=0.0)
    state = walk(descend(problem, step_size=0.3), problem.start(), torch.zeros(7, 1, 1, dtype=torch.float64))
    torch.testing.assert_close(state.x, problem.start() * (1 - 0.3 * problem.curvature) ** 7)


def test_a_seed_does_not_notice_the_others_of_its_batch():
    together, alone = quadratic(seeds=(7, 8, 9)), quadratic(seeds=(8,))
    rows = walk(heavy_ball(together, step_size=0.3, momentum=0.9), together.start(), together.draw(0, 30))
    row = walk(heavy_ball(alone, step_size=0.3, momentum=0.9), alone.start(), alone.draw(0, 30))
    torch.testing.assert_close(rows.x[1:2], row.x, atol=1e-12, rtol=1e-12)


def test_blocks_of_noise_are_independent_and_have_the_given_spread():
    problem = quadratic(seeds=range(20), noise=0.3, dimension=50)
    first, second = problem.draw(0, 10), problem.draw(1, 10)
    assert first.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs((first * second).mean().item()) < 4 * 0.3**2 / first.numel() ** 0.5


@pytest.mark.parametrize(("bad", "word"), [({"step_size": 0.0}, "step_size"), ({"momentum": 1.0}, "momentum")])
def test_a_bad_setting_is_refused_in_one_sentence(bad, word):
    with pytest.raises(SettingError, match=f"heavy_ball: `{word}` must lie in .* got"):
        heavy_ball(quadratic(), **{"step_size": 0.1, "momentum": 0.9, **bad})
