"""mechanism.py: what an attacker can prove of one step, and that the negative controls are caught."""

import math

import numpy as np
import pytest
import torch
from dualpriv_world import STREAMS, STUDY

from descent.core.job import Variant
from descent.papers.dualpriv.blocks import block_map
from descent.papers.dualpriv.lora import layout
from descent.papers.dualpriv.mechanism import _one_runs, audited_update, canaries, mask_game
from descent.privacy import gaussian_epsilon, tpr_fpr_bound

SEEDS = tuple(range(500, 508))


def bounds(method, noise):
    params = {"canaries": 1000, "guesses": 100, "noise": noise, "keep": 0.8, "delta": 1e-5, "claimed": 3.0}
    [found] = _one_runs([Variant(method, {}, params, SEEDS)], STREAMS)
    return np.array(found["epsilon_lower_bound"])


@pytest.mark.parametrize(
    ("method", "noise", "mean"),
    # Means of an independent implementation over 30 seeds; a seed's bound has a deviation of about 0.3.
    [("dpsgd", 1.0, 1.64), ("dual", 1.0, 1.44), ("dpsgd", 0.6, 2.78), ("dual", 0.6, 2.64)],
)
def test_gradient_canaries_give_an_independent_implementations_bounds_and_stay_below_epsilon(method, noise, mean):
    found = bounds(method, noise)
    assert found.mean() == pytest.approx(mean, abs=4 * 0.3 / math.sqrt(len(SEEDS)))
    assert found.max() < gaussian_epsilon(noise, 1e-5)


def test_a_run_without_noise_is_caught():
    found = bounds("no_noise", 0.0)
    assert (found > 3.0).all() and found == pytest.approx(3.465, abs=5e-4)


def test_a_mask_chosen_before_the_noise_is_caught_and_an_honest_one_is_not():
    trials, epsilon = 20_000, gaussian_epsilon(2.0, 1e-5)
    generator = STREAMS.torch("mask game", 500)
    hits, alarms = mask_game(generator, trials, 2.0, after_noise=False)
    assert (hits, alarms) == (trials, 0)
    assert tpr_fpr_bound(hits, trials, alarms, trials) == pytest.approx(8.6, abs=0.005) and epsilon < 2
    hits, alarms = mask_game(generator, 4000, 2.0, after_noise=True)
    assert hits / 4000 == pytest.approx(0.685, abs=0.03) and alarms / 4000 == pytest.approx(0.685, abs=0.03)
    assert tpr_fpr_bound(hits, 4000, alarms, 4000) < 0.1


def test_what_is_released_is_the_noisy_sum_of_the_included_canaries():
    blocks = block_map(layout(STUDY))
    found = canaries(STREAMS, 500, 50, 6912)
    assert found.directions.norm(dim=-1) == pytest.approx(np.ones(50), abs=1e-5)
    assert 10 < found.included.sum() < 40
    noise = torch.randn(6912)
    update = audited_update(found, noise, 0.5, blocks, 1.0)
    expected = found.directions[torch.from_numpy(found.included)].sum(0) + 0.5 * noise
    torch.testing.assert_close(update, expected, atol=1e-5, rtol=1e-4)
    pruned = audited_update(found, noise, 0.5, blocks, 0.8)
    dropped = pruned == 0
    assert torch.equal(pruned[~dropped], update[~dropped])
    assert sum(bool(part.all()) for part in dropped.split(blocks.sizes)) == 5
