"""Data of the room's tests: the real a5a and w5a where they can be found, else the test is skipped with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

MIRROR = Path(__file__).parents[4] / "shared" / "data"


def svmlight(path: Path, features: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, p) features and (N,) labels of a LIBSVM text file."""
    rows = [line.split() for line in path.read_text().splitlines()]
    x = np.zeros((len(rows), features))
    for i, row in enumerate(rows):
        for item in row[1:]:
            column, value = item.split(":")
            x[i, int(column) - 1] = float(value)
    return x, np.where(np.array([float(row[0]) for row in rows]) > 0, 1.0, -1.0)


def _real(name: str, features: int):
    """From the study's data where it is fetched, else from the developers' mirror."""
    from descent.data import load
    from descent.data.presence import present

    if present(name).on_disk:
        data = load(name)
        return (data.dense("train"), data.dense("test")), (data["train_labels"] * 1.0, data["test_labels"] * 1.0)
    path = MIRROR / "libsvm" / name
    if not path.exists():
        pytest.skip(f"dataset {name} is not fetched (make data), and not in ../shared/data/libsvm")
    (train, y), (test, y_test) = svmlight(path, features), svmlight(path.with_name(f"{name}.t"), features)
    return (train, test), (y, y_test)


@pytest.fixture(scope="session")
def a5a():
    """((train, test) raw features, their labels)."""
    return _real("a5a", 123)


@pytest.fixture(scope="session")
def w5a():
    return _real("w5a", 300)


@pytest.fixture
def toy_data():
    """A small binary problem with a constant training column that varies in the test set."""
    rng = np.random.default_rng(5)
    train, test = (rng.random((40, 6)) < 0.4).astype(float), (rng.random((23, 6)) < 0.5).astype(float)
    train[:, 3] = 0
    return (train, test), tuple(np.where(rng.random(len(x)) < 0.4, 1.0, -1.0) for x in (train, test))
