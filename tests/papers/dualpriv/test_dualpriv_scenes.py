"""scenes.py: what a scene is made of, pixel by pixel, and that the secret words stay secret."""

import numpy as np
import pytest

from descent.papers.dualpriv import scenes as world
from descent.papers.dualpriv.scenes import Pools, code_words, draw_scenes, pools


def canvas_of(patches):
    """(n, P, 16) -> (n, side, side), one pixel at a time."""
    n, count, _ = patches.shape
    grid = int(count**0.5)
    out = np.zeros((n, 4 * grid, 4 * grid), patches.dtype)
    for p in range(count):
        for pixel in range(16):
            out[:, 4 * (p // grid) + pixel // 4, 4 * (p % grid) + pixel % 4] = patches[:, p, pixel]
    return out


@pytest.fixture(scope="module")
def drawn(digits):
    return draw_scenes(np.random.default_rng(3), *digits, 400, private=False)


def test_pools_are_disjoint_and_fixed():
    found = pools()
    assert [len(p) for p in found] == [797, 600, 400]
    assert sorted(np.concatenate(found)) == list(range(1797))
    np.testing.assert_array_equal(found.public, np.random.default_rng(0).permutation(1797)[:797])
    assert isinstance(found, Pools)


def test_shapes_and_types(drawn):
    assert drawn.patches.shape == (400, 36, 16) and drawn.patches.dtype == np.float32
    assert drawn.text.shape == (400, 4) and drawn.on_digit.sum(1).tolist() == [4] * 400


def test_the_digit_stands_where_the_diagnostic_says(digits):
    images = np.ones((1, 8, 8))  # a "digit" brighter than any background on average, pixels >= 1
    drawn = draw_scenes(np.random.default_rng(0), images, np.array([7]), 200, private=False)
    canvas = canvas_of(drawn.patches)
    for pixels, mask in zip(canvas, drawn.on_digit, strict=True):
        inside = np.kron(mask.reshape(6, 6), np.ones((4, 4), bool))
        assert inside.sum() == 64 and (pixels[inside] >= 1).all()
        rows, columns = np.nonzero(mask.reshape(6, 6))
        assert len(set(rows)) == len(set(columns)) == 2
    # Every one of the 25 places is used.
    assert len({tuple(m) for m in drawn.on_digit}) == 25


def test_background_clutter_and_noise_have_the_stated_sizes(digits):
    images = np.zeros((1, 8, 8))
    drawn = draw_scenes(np.random.default_rng(1), images, np.array([0]), 4000, private=False)
    on = drawn.patches[drawn.on_digit]
    assert on.mean() == pytest.approx(0.1 * np.sqrt(2 / np.pi), rel=0.01)  # 0.1 |N(0, 1)|
    off = drawn.patches[~drawn.on_digit]
    quiet = off.mean(1) < 0.33  # patch means: background 0.20 +- 0.04, clutter 0.50 +- 0.07
    assert off[quiet].mean() == pytest.approx(0.25 * np.sqrt(2 / np.pi), rel=0.03)
    # Three uniform places of 36, some falling together (36 (1 - (35/36)^3) distinct), less those under the digit.
    expected = 36 * (1 - (35 / 36) ** 3) / 36
    assert (~quiet).mean() == pytest.approx(expected, rel=0.05)


def test_public_answers_are_right(digits):
    images, labels = digits
    drawn = draw_scenes(
        np.random.default_rng(2), images, labels, 500, private=False, questions=("digit", "parity", "row")
    )
    row = drawn.on_digit.reshape(-1, 6, 6).any(2).argmax(1)
    for text, answer, digit, r in zip(drawn.text, drawn.answer, drawn.digit, row, strict=True):
        assert text[0] == world.BOS and text[1] == world.PUBLIC and text[3] == world.ANS
        right = {world.ASK_DIGIT: 8 + digit, world.ASK_PARITY: 18 + digit % 2, world.ASK_ROW: 8 + r}[text[2]]
        assert answer == right
    assert len(set(drawn.text[:, 2])) == 3


def test_private_answers_are_code_words_never_seen_in_public(digits):
    public = draw_scenes(np.random.default_rng(2), *digits, 500, private=False)
    private = draw_scenes(np.random.default_rng(2), *digits, 500, private=True)
    np.testing.assert_array_equal(public.patches, private.patches)
    words = np.concatenate(code_words())
    assert sorted(words) == list(range(20, 32))
    assert not set(words) & set(public.answer) and set(private.answer) <= set(words)
    assert world.PRIVATE not in public.text and world.PUBLIC not in private.text
    # One code word for each public word.
    assert len(set(zip(public.answer, private.answer, strict=True))) == len(set(public.answer)) == 12
    rng = np.random.default_rng(123)
    np.testing.assert_array_equal(code_words()[0], 20 + rng.permutation(10))
    np.testing.assert_array_equal(code_words()[1], 30 + rng.permutation(2))


def test_a_majority_guess_earns_three_tenths(digits):
    drawn = draw_scenes(np.random.default_rng(5), *digits, 20_000, private=True)
    best = sum(
        np.bincount(drawn.answer[drawn.text[:, 2] == q]).max() for q in (world.ASK_DIGIT, world.ASK_PARITY)
    ) / len(drawn.answer)
    assert best == pytest.approx(0.30, abs=0.012)


def test_a_larger_canvas(digits):
    drawn = draw_scenes(np.random.default_rng(0), *digits, 5, private=False, canvas=56)
    assert drawn.patches.shape == (5, 196, 16)
