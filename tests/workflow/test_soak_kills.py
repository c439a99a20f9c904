"""make soak: runs that are killed, started twice, or run out of disk end with the bytes of a quiet one."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from soak import RECORDS, differences, environment, finish, gone, litter, members, outputs, started, tally, tries
from support import ROOMS, ROOT, make_project, snakemake

pytestmark = [pytest.mark.soak, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")]


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A checkout of the tiny paper after an undisturbed run, with how long that took."""
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(tmp_path_factory.mktemp("quiet") / "project", patch)
    began = time.monotonic()
    snakemake(folder, *RECORDS)
    return folder, time.monotonic() - began


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Makes checkouts in which nothing was run."""
    return lambda name: make_project(tmp_path / name, monkeypatch)


def ended(folder, quiet):
    return finish(folder) or differences(outputs(quiet[0]), outputs(folder)) or litter(folder)


def whole(process):
    os.killpg(process.pid, signal.SIGKILL)


def alone(process):
    process.kill()


def of_group(process, words):
    """Kill one process of the run whose command line holds one of `words`, if there is one just now."""
    found = [
        id for id, command in members(process.pid).items() if id != process.pid and any(w in command for w in words)
    ]
    if found:
        with suppress(ProcessLookupError):
            os.kill(random.Random(len(found)).choice(found), signal.SIGKILL)


VICTIMS = {
    "the whole run killed (SIGKILL to the group) at a random instant": (whole, 6),
    "the workflow's own process killed, its jobs left alone": (alone, 3),
    "the server that forks for the jobs killed, with what it forked": (
        lambda p: of_group(p, ["forks import serve"]),
        4,
    ),
    "the script of one job killed": (lambda p: of_group(p, ["/scripts/", ".snakemake/scripts"]), 3),
    "Ctrl-C (SIGINT to the group)": (lambda p: os.killpg(p.pid, signal.SIGINT), 3),
    "SIGTERM to the workflow": (lambda p: p.terminate(), 2),
}


@pytest.mark.parametrize("what", VICTIMS)
def test_a_run_that_is_killed_ends_with_the_same_bytes_when_it_is_started_again(what, quiet, fresh):
    kill, count = VICTIMS[what]
    chance = random.Random(what)
    with tally(what) as told:
        for i in range(tries(count)):
            folder = fresh(f"{i}")
            process = started(folder)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(1.5, max(4.0, quiet[1])))
            with suppress(ProcessLookupError):
                kill(process)
            try:
                process.wait(timeout=600)  # one that lost a job goes on with the others
            except subprocess.TimeoutExpired:
                whole(process)
                told("it did not end within ten minutes")
                continue
            orphans = None if gone(process.pid) else "a process outlived its run"
            told(orphans or ended(folder, quiet))
            shutil.rmtree(folder)


def test_two_runs_at_once_in_one_checkout_do_no_harm(quiet, fresh):
    with tally("two runs started at once in one checkout") as told:
        for i in range(tries(2)):
            folder = fresh(f"{i}")
            both = [started(folder), started(folder)]
            codes = [process.wait(timeout=600) for process in both]
            told((None if 0 in codes else f"neither went through: {codes}") or ended(folder, quiet))


def test_a_disk_that_is_full_costs_the_jobs_that_meet_it_and_no_more(quiet, fresh):
    """A limit on the size of files stands for it: every write beyond fails, as on a full disk, at a place that varies."""
    chance = random.Random(3)
    largest = max(path.stat().st_size for path in (quiet[0] / "results").rglob("records.parquet"))
    with tally("a disk that fills up (no file may grow beyond a random size)") as told:
        for i in range(tries(3)):
            folder, size = fresh(f"{i}"), chance.randrange(1_000, largest)
            done = subprocess.run(
                [sys.executable, "-m", "snakemake", *RECORDS], cwd=folder, env=environment(), capture_output=True, text=True,
                timeout=600, preexec_fn=lambda size=size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
            )  # fmt: skip
            told((None if done.returncode else f"{size} bytes were enough") or ended(folder, quiet))


SLOW = """
import sys, time
sys.path.insert(0, {rooms!r})
import tiny.race as race
from pathlib import Path
from descent.core.job import Job
from descent.runner.run import execute
inner = race.step
def slow(*args):
    time.sleep(0.001)
    return inner(*args)
race.step = slow
execute(Job.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), checkpoint_every=0, say=lambda text: None)
"""


def test_a_long_job_killed_again_and_again_resumes_with_the_same_bytes(quiet, tmp_path):
    from dataclasses import replace

    from descent.config.plan import make_plan
    from descent.config.read import read_study
    from descent.runner.run import execute

    plan = make_plan(quiet[0], read_study(quiet[0], {"scale": "smoke"}))
    job = plan.jobs["tiny/race/long"]
    job = replace(job, variants=tuple(replace(v, params={**v.params, "steps": 3000}) for v in job.variants))
    for name in ("whole", "killed"):
        shutil.copytree(quiet[0] / "results" / "smoke", tmp_path / name)
        shutil.rmtree(tmp_path / name / job.id)
    execute(job, tmp_path / "whole", say=lambda text: None)
    (tmp_path / "job.json").write_text(job.to_json())
    (tmp_path / "slow.py").write_text(SLOW.format(rooms=str(ROOMS)))
    command = [sys.executable, str(tmp_path / "slow.py"), str(tmp_path / "job.json"), str(tmp_path / "killed")]
    folder, chance, killed = tmp_path / "killed" / job.id, random.Random(11), 0
    with tally("a job that checkpoints killed at a random instant of its training") as told:
        while killed < tries(15):
            process = subprocess.Popen(command, env=environment())
            before = (folder / "checkpoint.pt").stat().st_mtime_ns if (folder / "checkpoint.pt").exists() else 0
            limit = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < limit:
                now = (folder / "checkpoint.pt").stat().st_mtime_ns if (folder / "checkpoint.pt").exists() else 0
                if now > before:  # it is at work again
                    break
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            if process.wait() == 0:  # it was done: from the beginning, for the next kills
                fault = differences(outputs_of(tmp_path / "whole" / job.id), outputs_of(folder))
                assert not fault, fault
                shutil.rmtree(folder)
                continue
            killed += 1
            early = [name for name in ("records.parquet", "run.json") if (folder / name).exists()]
            told(f"{early} lay there before it was done" if early else None)
        execute(job, tmp_path / "killed", say=lambda text: None)
        if fault := differences(outputs_of(tmp_path / "whole" / job.id), outputs_of(folder)) or litter(folder):
            told(fault)


def outputs_of(folder):
    return {
        name: (folder / name).read_bytes() for name in ("records.parquet", "arrays.npz") if (folder / name).exists()
    }


def test_a_real_paper_s_smoke_study_killed_again_and_again_ends_with_the_same_bytes(tmp_path):
    """Two clones of this checkout, data in place: one is left in peace."""
    words = ("--config", "scale=smoke", "papers=gmfg", "--", "reports/smoke/gmfg/index.html")
    folders = []
    for name in ("quiet", "killed"):
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / name)], check=True)
        if (ROOT / "data").is_dir():
            shutil.copytree(ROOT / "data", tmp_path / name / "data")
        folders.append(tmp_path / name)
    chance = random.Random(0)
    with tally("gmfg's smoke study killed at a random instant, again and again, then finished") as told:
        own = {"PYTHONPATH": f"{folders[0] / 'pkg'}"}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=folders[0],
            env=environment(**own),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        own = {"PYTHONPATH": f"{folders[1] / 'pkg'}"}
        for _ in range(tries(8)):
            process = started(folders[1], *words, **own)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=chance.uniform(3, 20))
            with suppress(ProcessLookupError):
                whole(process)
            process.wait()
            told(None if gone(process.pid) else "a process outlived its run")
            unlock = [sys.executable, "-m", "descent", "unlock"]
            subprocess.run(unlock, cwd=folders[1], env=environment(**own), check=True, capture_output=True)
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *words],
            cwd=folders[1],
            env=environment(**own),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        if fault := differences(*(outputs(folder) for folder in folders)) or litter(folders[1]):
            told(fault)
