"""Downloads turned into the .npz files that training reads, once, when they are fetched.

Every function takes the downloads' bytes, whose hashes must have matched already: two of them are formats that run or
trust what they read. scipy is needed for MATLAB files only, so training never needs it.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping

import numpy as np

from descent.core.errors import DataError
from descent.data.cards import Card
from descent.data.formats import Rows, npz_bytes, order_free_sha256, read_svmlight, rows_from, svmlight, svmlight_lines


def convert(card: Card, raw: Mapping[str, bytes]) -> bytes:
    """The content of the card's one file, from the downloads by name. Raises DataError where a check does not hold."""
    return npz_bytes(_CONVERTERS[card.name](card, raw))


def w5a_lines(raw: Mapping[str, bytes]) -> tuple[list[bytes], list[bytes]]:
    """w5a and w5a.t as svmlight lines: w5a.mat holds w5a as a matrix [label, 300 features]; w5a.t is w8a minus w5a.

    The difference is of multisets, and keeps w8a's order: w5a and w5a.t together are w8a's training rows.
    """
    table = _matlab(raw["w5a.mat"])["data"]
    w5a = svmlight_lines(rows_from(table[:, 1:] != 0, table[:, 0]))
    taken = Counter(w5a)
    rest = []
    for line in raw["w8a"].splitlines():
        tidy = b" ".join(line.split())
        if taken[tidy] > 0:
            taken[tidy] -= 1
        elif tidy:  # the file ends in an empty line
            rest.append(tidy)
    return w5a, rest


def _w5a(card: Card, raw: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for split, file, lines in zip(("train", "test"), ("w5a", "w5a.t"), w5a_lines(raw), strict=True):
        if (got := order_free_sha256(lines)) != card.order_free[file]:
            raise DataError(f"{file}: expected the order-free sha256 {card.order_free[file]}, got {got}")
        rows: Rows = read_svmlight(svmlight(lines))
        arrays |= {f"{split}_{part}": values for part, values in rows._asdict().items()}
    return arrays


def _waveform(card: Card, raw: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    table = _matlab(raw["waveform.mat"])
    return {
        "train_features": table["X_train"], "train_labels": table["y_train"].ravel(),
        "test_features": table["X_test"], "test_labels": table["y_test"].ravel(),
    }  # fmt: skip


def _hatsopoulos2007(card: Card, raw: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    (content,) = raw.values()
    recordings = np.load(io.BytesIO(content), allow_pickle=True).item()
    return {name: np.asarray(values) for name, values in recordings.items()}


def _matlab(content: bytes) -> dict[str, np.ndarray]:
    try:
        from scipy.io import loadmat
    except ImportError:
        raise DataError(
            "converting MATLAB files needs scipy: install it here, or copy imports/*.npz from where it is"
        ) from None
    return loadmat(io.BytesIO(content))


_CONVERTERS = {"w5a": _w5a, "waveform": _waveform, "hatsopoulos2007": _hatsopoulos2007}
