"""The synthetic paper `hill`, published once for all tests of the report."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

OTHERS = {"later": "A paper that was not run", "elsewhere": "A paper that another run judged"}


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """(results, reports/study) of one run."""
    from hill.make import publish

    return publish(tmp_path_factory.mktemp("hill"), "study", OTHERS)


@pytest.fixture(scope="session")
def smoked(tmp_path_factory):
    """(results, reports/smoke) of a smoke run."""
    from hill.make import publish

    return publish(tmp_path_factory.mktemp("smoke"), "smoke")
