"""mask_game.py: a mask chosen before the noise leaks, one chosen after it does not."""

import pytest
from dualpriv_world import STREAMS

from descent.papers.dualpriv.mask_game import mask_game
from descent.privacy import gaussian_epsilon, tpr_fpr_bound


def test_a_mask_chosen_before_the_noise_is_caught_and_an_honest_one_is_not():
    trials, epsilon = 20_000, gaussian_epsilon(2.0, 1e-5)
    generator = STREAMS.torch("mask game", 500)
    hits, alarms = mask_game(generator, trials, 2.0, after_noise=False)
    assert (hits, alarms) == (trials, 0)
    assert tpr_fpr_bound(hits, trials, alarms, trials) == pytest.approx(8.6, abs=0.005) and epsilon < 2
    hits, alarms = mask_game(generator, 4000, 2.0, after_noise=True)
    assert hits / 4000 == pytest.approx(0.685, abs=0.03) and alarms / 4000 == pytest.approx(0.685, abs=0.03)
    assert tpr_fpr_bound(hits, 4000, alarms, 4000) < 0.1
