"""The study on a real Slurm: one node, started for the occasion, with a GPU that is a character device.

Two papers, jobs of both training rules, through `profiles/slurm` as it is shipped: every record is the bytes of a
local run. Skipped, with the reason, where this cannot be root's machine with Debian's slurm-wlm and munge.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOMS, make_project

SCRIPT = Path(__file__).parent / "one_node.sh"
WHY_NOT = subprocess.run(["bash", str(SCRIPT), "why-not"], capture_output=True, text=True).stdout.strip()

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT), reason=f"no Slurm here: {WHY_NOT}"),
]

PAPER = ("--config", "scale=paper", "papers=tiny,second")  # tiny rooms at the scale at which `auto` asks for a GPU
JOBS = {
    "tiny": ["base/base-round", "base/base-long", "tuning/all", "tune/all", "race/round", "race/long"],
    "second": ["base/base-long", "race/long"],
}
RESULTS = [f"{paper}/{job}" for paper, jobs in JOBS.items() for job in jobs]
RECORDS = [f"results/paper/{job}/records.parquet" for job in RESULTS]


@pytest.fixture(scope="module")
def slurm():
    started = subprocess.run(["bash", str(SCRIPT), "start"], capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stderr
        yield
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop"], check=True)


def _two_papers(folder):
    with pytest.MonkeyPatch.context() as patch:
        make_project(folder, patch)
    text = (folder / "config/papers/tiny.yaml").read_text()
    (folder / "config/papers/second.yaml").write_text(text.replace("paper: tiny\n", "paper: second\n"))
    return folder


@pytest.fixture(scope="module")
def on_slurm(slurm, tmp_path_factory):
    """(folder, output) of a run on the cluster."""
    folder = _two_papers(tmp_path_factory.mktemp("slurm") / "project")
    # a copy of the room, whose race says which GPU it was given
    room = folder / "rooms" / "tiny"
    shutil.copytree(ROOMS / "tiny", room, ignore=shutil.ignore_patterns("__pycache__"))
    race = (room / "race.py").read_text()
    race = race.replace(
        "def run(job, context):\n",
        "def run(job, context):\n    import os\n\n    context.say(f\"given GPU {os.environ.get('CUDA_VISIBLE_DEVICES')}\")\n",
    )
    (room / "race.py").write_text(race)
    environment = {k: v for k, v in os.environ.items() if k not in ("DESCENT_ROOT", "CUDA_VISIBLE_DEVICES")}
    environment |= {"PYTHONPATH": str(folder / "rooms"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/slurm", "--latency-wait", "10"]
    # the profile asks for the memory of a cluster's node; this one may have less
    command += ["--default-resources", "slurm_partition=cpu", "runtime=10", "mem_mb=500"]
    command += ["--set-resources", "train_cpu:mem_mb=500", "train_gpu:mem_mb=500", *PAPER, "--", *RECORDS]
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return folder, done.stdout


def test_every_record_is_the_bytes_of_a_local_run(on_slurm, tmp_path):
    folder, _ = on_slurm
    environment = {
        **os.environ,
        "DESCENT_ROOT": str(folder),
        "PYTHONPATH": str(folder / "rooms"),
        "OMP_NUM_THREADS": "1",
    }
    for paper in JOBS:
        command = [
            sys.executable,
            "-m",
            "descent",
            "run",
            paper,
            "race",
            "--scale",
            "paper",
            "--results",
            str(tmp_path),
        ]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    for job in RESULTS:
        for file in ("records.parquet", "arrays.npz"):
            there = folder / "results" / "paper" / job / file
            assert there.read_bytes() == (tmp_path / "paper" / job / file).read_bytes(), there


def test_the_gpu_rule_was_given_the_gpu_and_auto_says_that_it_ran_on_the_cpu(on_slurm):
    folder, output = on_slurm
    # the executor takes a log away once its job went well, so what it said of the submission is what can be read
    sent = re.findall(r"submitted with SLURM jobid \d+ \(log: \S*rule_train_gpu/(\w+)/\d+\.log\)", output)
    assert sorted(sent) == ["second_race_long", "tiny_race_long", "tiny_race_round"], output[-3000:]
    for paper in ("tiny", "second"):
        assert "given GPU 0" in (folder / f"results/paper/logs/{paper}/race/long.log").read_text()
        sidecar = json.loads((folder / f"results/paper/{paper}/race/long/run.json").read_text())
        assert sidecar["device"] == "cpu" and sidecar["device_note"].startswith("device auto: ran on the CPU")
    assert "given GPU None" in (folder / "results/paper/logs/tiny/tuning/all.log").read_text()


def test_a_job_that_is_cancelled_is_reported_with_its_id_and_its_log(slurm, tmp_path):
    (tmp_path / "Snakefile").write_text(
        'rule train_cpu:\n    output: "x"\n    shell: "scancel $SLURM_JOB_ID; sleep 60"\n'
    )
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(SCRIPT.parents[2] / "profiles" / "slurm")]
    command += ["--set-resources", "train_cpu:mem_mb=500", "--", "x"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    number = re.search(r"SLURM jobid (\d+) \(log: (\S+)\)", output)
    assert f"SLURM-job '{number[1]}' failed, SLURM status is: 'CANCELLED'" in output
    assert number[2] in output.split("Error in rule train_cpu")[1]
    assert "CANCELLED" in Path(number[2]).read_text()
