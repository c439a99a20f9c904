"""Synthetic visual questions: a handwritten digit on a cluttered canvas, a question about it, an answer word.

Every scene has one digit (2 x 2 patches of 4 x 4 pixels), three patches of clutter and a noisy background, so most
patches are redundant: what token pruning is meant for. Questions ask for the digit, its parity, or (a stress case of
ours) the row it stands in. In the public domain an answer is a plain word; in the private domain it is a code word of
a secret permutation that never occurs in pre-training, so without fine-tuning the accuracy is zero.

The digits are scikit-learn's 8 x 8 images (UCI Optical Digits). One scene with its question is one record.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BOS, ANS, PUBLIC, PRIVATE, ASK_DIGIT, ASK_PARITY, ASK_ROW = range(7)
_DIGIT_WORD, _PARITY_WORD, _CODE_DIGIT, _CODE_PARITY = 8, 18, 20, 30
VOCABULARY = 32
QUESTIONS = {"digit": ASK_DIGIT, "parity": ASK_PARITY, "row": ASK_ROW}
_SIZE, _PATCH = 8, 4  # pixels of a digit's side and of a patch's side


class Pools(NamedTuple):
    """The digits, split by image so that no image is in two pools."""

    public: np.ndarray  # positions of 797 images: pre-training
    private: np.ndarray  # 600: fine-tuning
    test: np.ndarray  # 400: evaluation


class Scenes(NamedTuple):
    """n records."""

    patches: np.ndarray  # (n, P, 16) float32, pixels of each patch, patches and pixels in raster order
    text: np.ndarray  # (n, 4) int64: BOS, domain, question, ANS
    answer: np.ndarray  # (n,) int64, the word that follows
    digit: np.ndarray  # (n,) int64, 0..9
    on_digit: np.ndarray  # (n, P) bool, the four patches under the digit: a diagnostic, never an input


def pools(count: int = 1797) -> Pools:
    """A fixed split of `count` images in the proportions of the study (797 / 600 / 400 of 1797)."""
    order = np.random.default_rng(0).permutation(count)
    first, second = round(count * 797 / 1797), round(count * 1397 / 1797)
    return Pools(order[:first], order[first:second], order[second:])


def code_words() -> tuple[np.ndarray, np.ndarray]:
    """The secret words of the private domain: of each digit (10,) and of even, odd (2,)."""
    rng = np.random.default_rng(123)
    return _CODE_DIGIT + rng.permutation(10), _CODE_PARITY + rng.permutation(2)


def draw_scenes(
    rng: np.random.Generator,
    images: np.ndarray,
    labels: np.ndarray,
    count: int,
    *,
    private: bool,
    canvas: int = 24,
    questions: tuple[str, ...] = ("digit", "parity"),
) -> Scenes:
    """`count` scenes with images drawn from a pool.

    images: (m, 8, 8) in [0, 1]. labels: (m,). canvas: side in pixels, a multiple of 4. questions: which of QUESTIONS,
    one chosen uniformly for each scene.
    """
    side = canvas // _PATCH
    which = rng.integers(len(images), size=count)
    pixels = 0.25 * np.abs(rng.standard_normal((count, canvas, canvas)))
    every = np.arange(count)
    cells = pixels.reshape(count, side, _PATCH, side, _PATCH)
    for _ in range(3):
        row, column = rng.integers(side, size=(2, count))
        cells[every, row, :, column, :] = rng.random((count, _PATCH, _PATCH))
    row, column = rng.integers(side - 1, size=(2, count))
    digit = images[which] + 0.1 * np.abs(rng.standard_normal((count, _SIZE, _SIZE)))
    inside = np.arange(_SIZE)
    rows, columns = _PATCH * row[:, None] + inside, _PATCH * column[:, None] + inside
    pixels[every[:, None, None], rows[:, :, None], columns[:, None, :]] = digit

    on_digit = np.zeros((count, side, side), dtype=bool)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        on_digit[every, row + down, column + right] = True
    patches = cells.transpose(0, 1, 3, 2, 4).reshape(count, side * side, _PATCH * _PATCH)
    label = np.asarray(labels)[which]
    question = rng.integers(len(questions), size=count)
    text = np.empty((count, 4), dtype=np.int64)
    text[:] = BOS, PRIVATE if private else PUBLIC, 0, ANS
    text[:, 2] = np.array([QUESTIONS[q] for q in questions])[question]
    answers = np.stack([_answers(q, label, row, private) for q in questions])
    return Scenes(
        np.ascontiguousarray(patches, dtype=np.float32),
        text,
        answers[question, every],
        label.astype(np.int64),
        on_digit.reshape(count, -1),
    )


def _answers(question: str, label: np.ndarray, row: np.ndarray, private: bool) -> np.ndarray:
    digit_code, parity_code = code_words()
    if question == "parity":
        return (parity_code if private else _PARITY_WORD + np.arange(2))[label % 2]
    number = label if question == "digit" else row  # a row is answered by the word of its number
    return (digit_code if private else _DIGIT_WORD + np.arange(10))[number % 10]
