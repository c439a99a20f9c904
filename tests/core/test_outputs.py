"""outputs.py and checkpoints: a flipped bit is noticed, named, and heals; it never becomes another result."""

import random

import pytest
import torch

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.checkpoint import FileCheckpoint
from descent.core.errors import DataError
from descent.core.outputs import arrays_of, chosen_of, records_of, sidecar_of
from descent.runner.current import is_current
from descent.runner.run import execute, read_need

READERS = {"records.parquet": records_of, "arrays.npz": arrays_of, "chosen.json": chosen_of}


@pytest.fixture
def run(project, tmp_path):
    plan = make_plan(project, read_study(project, {"scale": "smoke"}))
    for id in ("tiny/base/base-round", "tiny/base/base-long", "tiny/tuning/all", "tiny/tune/all"):
        execute(plan.jobs[id], tmp_path / "results", say=lambda text: None)
    return plan, tmp_path / "results"


def flipped(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]


@pytest.mark.parametrize("name", READERS)
def test_every_flipped_bit_of_an_output_is_noticed_and_the_file_is_named(run, name):
    _, results = run
    folder = results / "tiny/tune/all"
    content, rng = (folder / name).read_bytes(), random.Random(3)
    READERS[name]([folder])
    for _ in range(60):
        (folder / name).write_bytes(flipped(content, rng))
        with pytest.raises(DataError, match=f"{name} is damaged.*snakemake makes it anew") as error:
            READERS[name]([folder])
        assert "\n" not in str(error.value)
    (folder / name).unlink()
    with pytest.raises(DataError, match="is missing"):
        READERS[name]([folder])


def test_a_job_does_not_read_a_damaged_need_and_a_damaged_sidecar_is_named(run):
    plan, results = run
    folder = results / "tiny/base/base-round"
    path = folder / "records.parquet"
    path.write_bytes(flipped(path.read_bytes(), random.Random(1)))
    with pytest.raises(DataError, match="damaged"):
        read_need(results, ("tiny/base/base-round",))
    (folder / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json"):
        sidecar_of(folder)
    assert not is_current(plan.jobs["tiny/base/base-round"], results)
    execute(plan.jobs["tiny/base/base-round"], results, say=lambda text: None)
    assert read_need(results, ("tiny/base/base-round",)).records is not None, "made anew, it is whole"


def test_every_flipped_bit_of_a_checkpoint_makes_the_job_start_again(tmp_path):
    path, rng = tmp_path / "checkpoint.pt", random.Random(5)
    kept = FileCheckpoint(path, "key", every=0)
    kept.save("loop", lambda: {"step": 3, "state": torch.arange(300, dtype=torch.float64)}, force=True)
    content = path.read_bytes()
    assert FileCheckpoint(path, "key").load("loop")["step"] == 3
    assert FileCheckpoint(path, "other").load("loop") is None
    for _ in range(200):
        path.write_bytes(flipped(content, rng))
        assert FileCheckpoint(path, "key").load("loop") is None


@pytest.mark.parametrize("content", [b"", b"x", b"0" * 64, b"\x00" * 5000])
def test_what_is_no_checkpoint_counts_as_absent(tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    assert FileCheckpoint(tmp_path / "checkpoint.pt", "key").parts == {}


def test_a_bare_tensor_in_the_place_of_a_checkpoint_counts_as_absent(tmp_path):
    torch.save(torch.ones(3), tmp_path / "checkpoint.pt")
    assert FileCheckpoint(tmp_path / "checkpoint.pt", "key").parts == {}
