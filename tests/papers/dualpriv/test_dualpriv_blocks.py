"""blocks.py: scores and masks of the update's blocks."""

import pytest
import torch
from dualpriv_world import STUDY
from hypothesis import given
from hypothesis.strategies import floats, integers

from descent.papers.dualpriv.blocks import block_map, largest, masked, scores
from descent.papers.dualpriv.lora import layout

LAYOUT = layout(STUDY)
BLOCKS = block_map(LAYOUT)


def test_the_study_has_24_blocks_and_6912_parameters():
    assert len(LAYOUT.blocks) == 24 and LAYOUT.size == 6912
    assert layout(STUDY, rank=3).size == 5184
    assert sum(BLOCKS.sizes) == 6912 and torch.bincount(BLOCKS.of_parameter).tolist() == list(BLOCKS.sizes)


@pytest.mark.parametrize("kind", ["rms", "l2"])
def test_scores_equal_one_block_at_a_time(kind):
    update = torch.randn(3, LAYOUT.size, dtype=torch.float64)
    got = scores(BLOCKS, update, kind)
    for row in range(3):
        for m, block in enumerate(LAYOUT.blocks):
            norm = update[row, block.start : block.start + block.size].norm()
            assert got[row, m].item() == pytest.approx(
                (norm / (block.size**0.5 if kind == "rms" else 1)).item(), rel=1e-12
            )


@given(scale=floats(1e-3, 1e3), seed=integers(0, 99))
def test_the_mask_ignores_the_scale_of_the_update(scale, seed):
    update = torch.randn(2, LAYOUT.size, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(largest(scores(BLOCKS, update), 0.8), largest(scores(BLOCKS, scale * update), 0.8))


def test_19_of_24_blocks_change():
    update = torch.randn(5, LAYOUT.size)
    mask = largest(scores(BLOCKS, update), 0.8)
    assert mask.sum(-1).tolist() == [19.0] * 5
    got = masked(BLOCKS, update, mask)
    for row in range(5):
        changed = [got[row, b.start : b.start + b.size].any().item() for b in LAYOUT.blocks]
        assert sum(changed) == 19
        smallest_kept = scores(BLOCKS, update)[row][mask[row] > 0].min()
        assert scores(BLOCKS, update)[row][mask[row] == 0].max() <= smallest_kept


def test_keeping_everything_changes_no_bit():
    update = torch.randn(2, LAYOUT.size)
    assert torch.equal(masked(BLOCKS, update, largest(scores(BLOCKS, update), 1.0)), update)


def test_a_tie_goes_to_the_lower_block():
    mask = largest(torch.tensor([[0.0, 3.0, 0.0, 0.0, 2.0]]), 0.6)
    assert mask.tolist() == [[1, 1, 0, 0, 1]]
