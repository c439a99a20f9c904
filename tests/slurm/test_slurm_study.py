"""The study's own workflow on the fake Slurm: its training rules, its resolved jobs, its errors."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from descent.config.plan import make_plan
from descent.config.read import read_study
from support import ROOMS, make_project

from .cluster import PROFILE, FakeCluster

PAPER = ("--config", "scale=paper")  # the scale at which `device: auto` asks for a GPU
GPU, CPU, LOST = "race/long", "base/base-long", "race/round"


def records(*jobs):
    return [f"results/paper/tiny/{job}/records.parquet" for job in jobs]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One call of snakemake on the fake cluster, in which a job is lost: (folder, jobs, output)."""
    home = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(home / "project", patch)
        cluster = FakeCluster(home)
        # a copy of the room, in which one job meets a full disk
        room = folder / "rooms" / "tiny"
        room.mkdir(parents=True)
        for path in (ROOMS / "tiny").glob("*.py"):
            shutil.copy(path, room)
        base = (room / "base.py").read_text()
        lost = 'if job.block == "base-round":\n        raise OSError(28, "No space left on device")\n    records = Records()'
        (room / "base.py").write_text(base.replace("records = Records()", lost))
        cluster.env |= {"PYTHONPATH": str(folder / "rooms")}
        try:
            code, output = cluster.run(folder, *PAPER, "--", *records(GPU, LOST), profile=folder / "profiles" / "slurm")
            assert code == 1, output
            yield folder, cluster.jobs(), output
        finally:
            cluster.close()


def of(jobs, rule, job):
    return jobs[f"rule_{rule}_wildcards_tiny_{job.replace('/', '_')}"]


def test_a_gpu_job_and_a_cpu_job_ask_for_what_the_table_says(run):
    _, jobs, _ = run
    table = yaml.safe_load((PROFILE / "config.yaml").read_text())["set-resources"]
    for rule, job, gpus in (("train_gpu", GPU, "1"), ("train_cpu", CPU, None)):
        asked = of(jobs, rule, job)
        assert asked["state"] == "COMPLETED"
        assert (asked["partition"], asked["gpus"]) == (table[rule]["slurm_partition"], gpus)
        assert (int(asked["time"]), int(asked["mem"])) == (table[rule]["runtime"], table[rule]["mem_mb"])
        assert asked["output"].startswith("/") and asked["output"].endswith(f"/{asked['id']}.log")


def test_the_resolved_job_reaches_the_node_unchanged(run, monkeypatch):
    folder, _, _ = run
    monkeypatch.setenv("DESCENT_ROOT", str(folder))
    plan = make_plan(folder, read_study(folder, {"scale": "paper"}))
    for job in (GPU, CPU):
        sidecar = json.loads((folder / f"results/paper/tiny/{job}/run.json").read_text())
        assert sidecar["job"] == json.loads(plan.jobs[f"tiny/{job}"].to_json())


def test_the_records_are_the_bytes_of_a_local_run(run, tmp_path):
    folder, _, _ = run
    environment = {**os.environ, "DESCENT_ROOT": str(folder), "PYTHONPATH": str(folder / "rooms")}
    command = [sys.executable, "-m", "descent", "run", "tiny", "race", "--block", "long", "--scale", "paper"]
    subprocess.run([*command, "--results", str(tmp_path)], env=environment, check=True, stdout=subprocess.DEVNULL)
    for job in (GPU, CPU):
        there = folder / "results/paper/tiny" / job / "records.parquet"
        assert there.read_bytes() == (tmp_path / "paper" / "tiny" / job / "records.parquet").read_bytes()


def test_a_lost_job_is_reported_with_its_id_its_logs_and_its_reason(run):
    folder, jobs, output = run
    job = of(jobs, "train_cpu", "base/base-round")
    assert job["state"] == "FAILED"
    assert f"SLURM-job '{job['id']}' failed, SLURM status is: 'FAILED'" in output
    report = re.search(rf"Error in rule train_cpu:(?:\n    .*)*?\n    external_jobid: {job['id']}", output)
    assert report and f"results/paper/logs/tiny/base/base-round.log, {job['output']}" in report[0]
    assert "No space left on device" in output
    assert not (folder / records(LOST)[0]).exists(), "nothing that a later run could take for a result"
