"""run.py: a job's files appear whole or not at all, and the same job gives the same bytes, killed or not."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from descent.config.plan import make_plan
from descent.config.read import read_study
from descent.core.context import Need
from descent.core.errors import ConfigError, DataError, SettingError
from descent.core.job import Job, Variant
from descent.runner.run import execute, perform
from support import ROOMS, make_project

OUTPUTS = ("records.parquet", "arrays.npz")


@pytest.fixture
def plan(project):
    return make_plan(project, read_study(project, {"scale": "smoke"}), everything=True)


def run_all(plan, folder, until=None):
    for id, job in plan.jobs.items():
        if job.kind != "bench":
            execute(job, folder, say=lambda text: None)
        if id == until:
            return


def test_every_kind_of_job_runs_and_the_bytes_repeat(plan, tmp_path):
    for name in ("a", "b"):
        run_all(plan, tmp_path / name)
    for id, job in plan.jobs.items():
        if job.kind == "bench":
            continue
        for file in OUTPUTS:
            assert (tmp_path / "a" / id / file).read_bytes() == (tmp_path / "b" / id / file).read_bytes(), (id, file)


def test_a_select_job_chooses_the_best_mean_and_the_variants_get_it(plan, tmp_path):
    run_all(plan, tmp_path)
    chosen = json.loads((tmp_path / "tiny/tune/all/chosen.json").read_text())
    for choice in chosen:
        best = min(choice["grid"], key=lambda point: point["score"])
        assert choice["values"] == {"step_size": best["step_size"]} and choice["seeds"] == [200, 201]
    need = Need(None, {}, tuple(chosen))
    variant = plan.jobs["tiny/race/round"].variants[1]
    assert variant.method == "gd" and "step_size" not in variant.params
    assert need.choose(variant, "step_size") == 0.9


def test_a_grid_may_have_axes_that_some_methods_lack():
    from descent.core.records import Records
    from descent.runner.tuning import choose_best

    job = Job(
        "p", "choice", "all", "study", "select", "", ("rate", "pull"), (),
        select={"metric": "loss", "best": "min", "over": ["rate", "pull"]},
    )  # fmt: skip
    records = Records()
    for method, setting, loss in (
        ("plain", {"rate": 0.1}, 2.0), ("plain", {"rate": 0.2}, 1.0),
        ("pulled", {"rate": 0.1, "pull": 1.0}, 3.0), ("pulled", {"rate": 0.1, "pull": 2.0}, 4.0),
    ):  # fmt: skip
        records.add(Variant(method, setting, {}, (200,)), "loss", loss)
    found, chosen = choose_best(job, records.frame(job))
    values = {choice["group"]["method"]: choice["values"] for choice in chosen}
    assert values == {"plain": {"rate": 0.2}, "pulled": {"rate": 0.1, "pull": 1.0}}
    assert [set(point) for point in chosen[0]["grid"]] == [{"rate", "score"}] * 2
    assert len(found.frame(job)) == 8 and json.dumps(chosen, allow_nan=False)


def test_the_json_of_a_job_is_the_job(plan):
    for job in plan.jobs.values():
        assert Job.from_json(job.to_json()) == job
        assert Job.from_json(job.to_json()).to_json() == job.to_json()


def test_a_failing_job_leaves_no_output(plan, tmp_path):
    with pytest.raises(DataError, match="run the job tiny/base/base-round first"):
        execute(plan.jobs["tiny/race/round"], tmp_path, say=lambda text: None)
    assert not [path for path in (tmp_path / "tiny").rglob("*") if path.is_file()]


def test_a_job_sees_only_the_datasets_that_it_declares(plan):
    with pytest.raises(ConfigError, match="`datasets` do not declare it"):
        perform_context = {}

        class Module:
            @staticmethod
            def run(job, context):
                perform_context["data"] = context.data["a5a"]

        sys.modules["spy"] = Module
        perform(Job("tiny", "x", "b", "smoke", "train", "spy", (), ()))


def test_a_method_alone_agrees_with_its_block_within_rounding(plan, tmp_path):
    from dataclasses import replace

    run_all(plan, tmp_path)
    job = plan.jobs["tiny/race/long"]
    from descent.runner.run import read_need

    needs = {name: read_need(tmp_path, ids) for name, ids in job.needs.items()}
    whole = perform(job, needs=needs).frame(job)
    for method in ("noisy", "gd"):
        alone = replace(job, variants=tuple(v for v in job.variants if v.method == method))
        frame = perform(alone, needs=needs).frame(alone)
        part = whole[whole["method"] == method]
        assert abs(frame["value"].values - part["value"].values).max() < 1e-12


SLOW = """
import sys, time
sys.path.insert(0, {rooms!r})
import tiny.race as race
from pathlib import Path
from descent.core.job import Job, Variant
from descent.runner.run import execute
inner = race.step
def slow(*args):
    time.sleep(0.002)
    return inner(*args)
race.step = slow
execute(Job.from_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]), checkpoint_every=0)
"""


def test_a_job_killed_with_9_and_started_again_gives_the_same_bytes(plan, tmp_path, monkeypatch):
    from dataclasses import replace

    job = plan.jobs["tiny/race/long"]
    job = replace(job, variants=tuple(replace(v, params={**v.params, "steps": 600}) for v in job.variants))
    for name in ("whole", "killed"):
        run_all(plan, tmp_path / name, until="tiny/tune/all")
    execute(job, tmp_path / "whole", say=lambda text: None)
    (tmp_path / "job.json").write_text(job.to_json())
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(rooms=str(ROOMS)))
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path / "job.json"), str(tmp_path / "killed")])
    folder = tmp_path / "killed" / job.id
    limit = time.monotonic() + 60
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was still at work"
    assert not (folder / "records.parquet").exists() and (folder / "checkpoint.pt").exists()
    execute(job, tmp_path / "killed", say=lambda text: None)
    assert not (folder / "checkpoint.pt").exists()
    for file in OUTPUTS:
        assert (folder / file).read_bytes() == (tmp_path / "whole" / job.id / file).read_bytes()


def test_cuda_without_cuda_is_refused_before_anything_trains(plan, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    from dataclasses import replace

    with pytest.raises(SettingError, match="cuda"):
        execute(replace(plan.jobs["tiny/base/base-round"], device="cuda"), tmp_path)


def test_the_sidecar_says_what_ran_where(plan, tmp_path):
    folder = execute(plan.jobs["tiny/base/base-round"], tmp_path, say=lambda text: None)
    sidecar = json.loads((folder / "run.json").read_text())
    assert sidecar["threads"] == 1 and sidecar["cpu_seconds"] >= 0 and sidecar["versions"]["torch"]
    assert sidecar["job"]["variants"][0]["seeds"] == [1000]


def test_the_command_line_runs_a_job_with_what_it_needs(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", monkeypatch)
    done = subprocess.run(
        [sys.executable, "-m", "descent", "run", "tiny", "race", "--block", "long", "--scale", "smoke", "--out", "x.parquet"],
        cwd=project, env={**os.environ, "PYTHONPATH": str(ROOMS)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tiny/base/base-long (needed)" in done.stdout and (project / "x.parquet").is_file()
    bad = subprocess.run(
        [sys.executable, "-m", "descent", "run", "tiny", "race", "--set", "noise=-1", "--scale", "smoke"],
        cwd=project, env={**os.environ, "PYTHONPATH": str(ROOMS)}, capture_output=True, text=True,
    )  # fmt: skip
    assert bad.returncode == 2 and "Traceback" not in bad.stderr
