"""What all tests share: one thread, and a checkout of the tiny room to run the workflow in."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

from support import make_project

settings.register_profile("suite", deadline=None)  # time is measured by benchmarks, never by a test
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _one_thread(request):
    """Results are compared to the byte, so every test runs torch on one thread, where it uses torch at all."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout in miniature: the real Snakefile, workflow and profile, and one paper, tiny."""
    return make_project(tmp_path / "project", monkeypatch)


def pytest_terminal_summary(terminalreporter):
    """The table of the long robustness runs, where any were made (`make soak`)."""
    import soak

    if soak.ROWS:
        terminalreporter.write_line("")
        for line in soak.table():
            terminalreporter.write_line(line)
