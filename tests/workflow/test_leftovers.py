"""What a killed run left behind is removed at the next start, and nothing else."""

import os
import tempfile

from descent.core.leftovers import mark, sweep, sweep_folders
from descent.workflow import forks

GONE = 2147483646  # no process has this number


def old(path):
    os.utime(path, (1e9, 1e9))
    return path


def test_only_the_temporary_files_of_processes_that_are_gone_are_removed(tmp_path):
    folder = tmp_path / "results" / "tiny" / "race"
    folder.mkdir(parents=True)
    gone, mine = folder / f".records.parquet.{GONE}.part", folder / f".run.json.{os.getpid()}.part"
    kept = folder / "records.parquet"
    for path in (gone, mine, kept):
        path.write_text("x")
        old(path)
    assert sweep(tmp_path) == [gone]
    assert not gone.exists() and mine.exists() and kept.exists()


def test_only_the_study_s_own_temporary_folders_of_this_machine_are_removed(tmp_path):
    machine = mark().split("-")[0]
    gone = tmp_path / f"descent-warm-{machine}-{GONE}-abc"
    others = [
        tmp_path / name for name in (f"descent-warm-00000000-{GONE}-abc", f"descent-check-{mark()}x", "descent-x")
    ]
    for path in (gone, *others):
        path.mkdir()
        old(path)
    assert sweep_folders(tmp_path) == [gone]
    assert not gone.exists() and all(path.exists() for path in others)


def test_a_workflow_that_starts_removes_the_folder_of_one_that_was_killed(tmp_path, monkeypatch):
    monkeypatch.delenv(forks.SERVER, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"descent-warm-{mark().split('-')[0]}-{GONE}-abc"
    left.mkdir()
    old(left)
    monkeypatch.setattr(forks.subprocess, "Popen", lambda *words, **options: None)
    forks.start()
    assert not left.exists()
    forks.stop()
    assert not list(tmp_path.iterdir())
