"""Few-shot sentiment from rated movie snippets: which texts, which class, which split."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

PAD, CLS, SEP = 0, 1, 2  # of the hashed vocabulary; words start above


class Texts(NamedTuple):
    texts: tuple[str, ...]
    labels: np.ndarray  # (n,) int64: 0 negative, 1 positive


def rated(texts: Sequence[str], ratings: np.ndarray, least: float = 1.5) -> Texts:
    """Texts whose mean rating is at least `least` away from 0, in their order; the class is the rating's sign."""
    kept = np.flatnonzero(np.abs(ratings) >= least)
    return Texts(tuple(texts[i] for i in kept), (ratings[kept] > 0).astype(np.int64))  # pyright: ignore[reportCallIssue, reportArgumentType] (an integer)


def few_shot(labels: np.ndarray, order: np.ndarray, shots: int, tests: int) -> tuple[np.ndarray, np.ndarray]:
    """(2 * shots,) training and (tests,) test indices: the first `shots` of each class in `order`, and its last `tests`."""
    first = [order[labels[order] == c][:shots] for c in (0, 1)]
    return np.concatenate(first), order[-tests:]


def hashed_tokens(texts: Sequence[str], length: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Words hashed into `vocabulary` ids, for encoders without a tokenizer: ids (n, length) and which are real."""
    ids = np.full((len(texts), length), PAD, dtype=np.int64)
    for row, text in zip(ids, texts, strict=True):
        words = [3 + zlib.crc32(word.encode()) % (vocabulary - 3) for word in text.lower().split()]
        tokens = [CLS, *words[: length - 2], SEP]
        row[: len(tokens)] = tokens
    return ids, ids != PAD
