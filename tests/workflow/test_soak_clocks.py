"""make soak: clocks that jump and time stamps of any age change no byte, and cost no more than work done twice."""

import os
import random
import shutil

import pytest

from soak import VERDICTS, differences, finish, litter, outputs, tally, tries
from support import make_project, snakemake

pytestmark = pytest.mark.soak

# Every Python process is told another time: years off, and not the same for two of them.
JUMPING = """
import os, random, time
off = random.Random(f"{os.environ['JUMP']} {os.getpid()}").uniform(-3e7, 3e7)
real, stamp = time.time, time.time_ns
time.time = lambda: real() + off
time.time_ns = lambda: stamp() + int(off * 1e9)
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(tmp_path_factory.mktemp("quiet") / "project", patch)
    snakemake(folder, *VERDICTS)
    return folder


def test_clocks_that_jump_between_processes_change_no_byte(quiet, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(JUMPING)
    with tally("a study in whose processes the clock is wrong by up to a year, each by another") as told:
        for i in range(tries(2)):
            folder = make_project(tmp_path / f"{i}", monkeypatch)
            monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
            monkeypatch.setenv("JUMP", str(i))
            told(finish(folder, VERDICTS) or differences(outputs(quiet), outputs(folder)) or litter(folder))


def test_time_stamps_of_any_age_change_no_byte(quiet, tmp_path):
    """As a copy, an unpacked archive or `git checkout` leaves them, or a disk of another machine."""
    chance = random.Random(2)
    with tally("a finished study whose files get time stamps of any age, run again") as told:
        for i in range(tries(3)):
            folder = shutil.copytree(quiet, tmp_path / f"{i}")
            for path in sorted(folder.rglob("*")):
                if path.is_file() and ".snakemake" not in path.parts:
                    stamp = chance.uniform(1, 2**31)  # from 1970 to 2038
                    os.utime(path, (stamp, stamp))
            told(finish(folder, VERDICTS) or differences(outputs(quiet), outputs(folder)) or litter(folder))
