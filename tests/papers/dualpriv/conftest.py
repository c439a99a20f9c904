"""The digits, from scikit-learn."""

import pytest
from sklearn.datasets import load_digits


@pytest.fixture(scope="session")
def digits():
    """(images (1797, 8, 8) in [0, 1], labels)."""
    data = load_digits()
    return data.images / 16, data.target
