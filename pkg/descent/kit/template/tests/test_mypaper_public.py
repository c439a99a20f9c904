"""public.py: the same numbers as the study's step, the user's dtype, and divergence that is said."""

import pytest
import torch

from descent.papers.mypaper import minimise
from descent.papers.mypaper.momentum import heavy_ball
from descent.papers.mypaper.problem import Quadratic


def test_it_is_the_study_s_step_to_the_byte():
    curvature = torch.tensor([0.1, 1.0], dtype=torch.float64)
    start = torch.tensor([3.0, -2.0], dtype=torch.float64)
    run = minimise(lambda x: (curvature * x**2).sum() / 2, start, lr=0.3, momentum=0.7, steps=9)
    method = heavy_ball(Quadratic(curvature, 0.0, None, (0,)), step_size=0.3, momentum=0.7)
    state = method.init(start[None])
    for _ in range(9):
        state = method.update(state, 0.0)
    assert torch.equal(run.x, state.x[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_users_dtype_is_kept(dtype):
    run = minimise(lambda x: x.square().sum(), torch.ones(3, dtype=dtype), lr=0.1, noise=0.1)
    assert run.x.dtype == run.history["loss"].dtype == dtype


def test_divergence_is_said_and_not_raised():
    run = minimise(lambda x: x.square().sum(), torch.ones(3), lr=9.0, steps=400)
    assert run.diverged.item() and not run.x.isfinite().all()
