"""The workflow rebuilds exactly what a change touches, and says what is wrong before anything runs."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from support import ROOMS, make_project, snakemake

RECORDS = [
    f"results/smoke/tiny/{job}/records.parquet"
    for job in ("base/base-round", "base/base-long", "tuning/all", "tune/all", "race/round", "race/long")
]
SMOKE = ("--config", "scale=smoke", "--")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project whose records are built, with its own copy of the tiny room to edit."""
    with pytest.MonkeyPatch.context() as patch:
        folder = make_project(tmp_path_factory.mktemp("built") / "project", patch)
    shutil.copytree(ROOMS / "tiny", folder / "rooms" / "tiny", ignore=shutil.ignore_patterns("__pycache__"))
    run(folder)
    return folder


@pytest.fixture
def project(built, tmp_path):
    """A copy of the built project, time stamps kept."""
    return Path(shutil.copytree(built, tmp_path / "project", symlinks=True))


def run(folder, *arguments, **options):
    os.environ["PYTHONPATH"] = str(folder / "rooms")
    try:
        return snakemake(folder, *(arguments or (*SMOKE, *RECORDS)), **options)
    finally:
        os.environ.pop("PYTHONPATH")


def would_run(folder):
    """The jobs that a dry run names."""
    output = run(folder, "-n", *SMOKE, *RECORDS).stdout
    jobs = set(re.findall(r"  tiny/(\S+) starts \(", output))
    assert jobs or "Nothing to be done" in output, output
    return jobs


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_straight_after_a_run_there_is_nothing_to_do(project):
    assert would_run(project) == set()


def test_fresh_time_stamps_rebuild_nothing_that_hashes_decide(project):
    for path in [project / "data.dvc", project / "config/papers/tiny.yaml", *(project / "rooms/tiny").glob("*.py")]:
        path.touch()
    assert would_run(project) == set()


def test_one_step_size_reruns_its_experiment_and_what_reads_it(project):
    replace(project / "config/papers/tiny.yaml", "step_size: [0.1, 0.3, 0.9]", "step_size: [0.1, 0.3, 0.8]")
    assert would_run(project) == {"tuning/all", "tune/all", "race/round"}


def test_a_setting_of_one_variant_reruns_its_block_only(project):
    path = project / "config/papers/tiny.yaml"
    data = yaml.safe_load(path.read_text())
    data["experiments"]["race"]["settings"].append({"when": {"world": "long", "method": "gd"}, "step_size": 0.1})
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    assert would_run(project) == {"race/long"}


def test_titles_claims_labels_and_comments_retrain_nothing(project):
    replace(project / "config/papers/tiny.yaml", "title: Step sizes", "title: The sizes of steps")
    replace(
        project / "config/papers/tiny.yaml",
        "lower: {estimate: ratio, above: 1}",
        "lower: {estimate: ratio, above: 1.1}",
    )
    replace(project / "rooms/tiny/room.py", "plain gradient descent", "gradient descent, plain")
    replace(project / "rooms/tiny/race.py", '"""Descent on', '"""Going down on')
    replace(project / "rooms/tiny/race.py", "# (R, 4): rows = variants x seeds", "# (R, 4)")
    assert would_run(project) == set()


def test_a_method_s_code_reruns_its_own_jobs_only(project):
    replace(project / "rooms/tiny/race.py", "scale * state.x + sigma * noise", "state.x * scale + sigma * noise")
    assert would_run(project) == {"tuning/all", "tune/all", "race/round", "race/long"}


def test_killed_with_9_and_run_again_it_ends_with_the_bytes_of_an_undisturbed_run(built, tmp_path, monkeypatch):
    folder = make_project(tmp_path / "killed", monkeypatch)
    shutil.copytree(built / "rooms", folder / "rooms")
    environment = {**os.environ, "PYTHONPATH": str(folder / "rooms"), "OMP_NUM_THREADS": "1"}
    environment.pop("DESCENT_ROOT", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *SMOKE, *RECORDS], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    limit = time.monotonic() + 500
    while not (folder / RECORDS[0]).exists() and time.monotonic() < limit:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / RECORDS[-1]).exists(), "it was killed half-way"
    locked = run(folder, check=False)
    assert locked.returncode != 0 and "lock" in locked.stdout.lower()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-m", "descent", "unlock"],
        cwd=folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    run(folder)
    for name in RECORDS:
        assert (folder / name).read_bytes() == (built / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("papers=tinny",), "unknown paper `tinny` (did you mean `tiny`?)"),
        (("scale=studdy",), "`scale` must be smoke, study or paper"),
        (("scal=smoke",), "unknown key `scal` (did you mean `scale`?)"),
        (("results=config/config.yaml",), "results: cannot write to"),
    ],
)
def test_bad_input_ends_the_run_before_anything_trains(tmp_path, monkeypatch, arguments, sentence):
    folder = make_project(tmp_path / "p", monkeypatch)
    done = snakemake(folder, "--config", *arguments, "--", "all", check=False)
    assert done.returncode != 0 and "Nothing was run." in done.stdout and sentence in done.stdout
    assert "Traceback" not in done.stdout and not (folder / "results").exists()


def test_a_missing_config_file_is_named(tmp_path, monkeypatch):
    folder = make_project(tmp_path / "p", monkeypatch)
    (folder / "config/config.yaml").unlink()
    done = snakemake(folder, check=False)
    assert done.returncode != 0 and "config/config.yaml: the file is missing" in done.stdout


def test_a_failing_job_names_its_rule_and_its_log_and_the_others_go_on(project):
    replace(
        project / "rooms/tiny/base.py",
        "records = Records()",
        'records = Records()\n    if job.block == "base-round":\n        raise OSError(28, "No space left on device")',
    )
    done = run(project, *SMOKE, *RECORDS, check=False)
    assert done.returncode != 0
    assert "FAILED  tiny/base/base-round: OSError: [Errno 28] No space left on device" in done.stdout
    log = Path(re.search(r"^ +log: (\S+)$", done.stdout, re.M)[1])
    assert log.is_absolute() and "No space left" in log.read_text()
    assert not (project / RECORDS[0]).exists()
    assert (project / RECORDS[1]).exists(), "the other job went on"
