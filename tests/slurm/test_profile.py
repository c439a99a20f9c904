"""profiles/slurm on a small workflow: what Slurm is asked for, what reaches the job, what a user sees when one fails.

The workflow here has the study's two training rules by name; test_study.py takes the study itself.
"""

import re
import signal

import pytest
import yaml

from .cluster import PROFILE, FakeCluster, wait_for

SNAKEFILE = """
rule all:
    input: expand("{name}.txt", name=config["names"].split(","))

rule train_cpu:
    output: "{name}.txt"
    wildcard_constraints: name="cpu|bad|cancelled|large"
    log: "logs/{name}.log"
    threads: 2
    shell:
        '''
        echo "working on {wildcards.name}" > {log}
        case {wildcards.name} in
            bad) echo "the loss is not a number" >> {log}; exit 3 ;;
            cancelled|large) touch {wildcards.name}.started; sleep 600 ;;
        esac
        echo "gpu=${{CUDA_VISIBLE_DEVICES:-none}}" > {output}
        '''

use rule train_cpu as train_gpu with:
    output: "{name}.txt"
    wildcard_constraints: name="gpu"
    threads: 1
    resources: gpu=1

rule report:
    output: "{name}.txt", "{name}.txt.config"
    wildcard_constraints: name="report"
    run:
        open(output[1], "w").write(repr(config))
        shell("echo gpu=${{CUDA_VISIBLE_DEVICES:-none}} > {output[0]}")
"""

NOTE = 'a path with spaces/$HOME & "more"; `id` 100%'

# The lines of the profile that a cluster user may need, and that are comments as shipped.
COMMENTED = ("slurm_account", "gpu_model", "constraint", "slurm_extra")


def _cluster(tmp_path_factory):
    home = tmp_path_factory.mktemp("cluster")
    (home / "work").mkdir()
    (home / "work" / "Snakefile").write_text(SNAKEFILE)
    return home, FakeCluster(home)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A run that ends well: (folder, jobs, output)."""
    home, cluster = _cluster(tmp_path_factory)
    try:
        code, output = cluster.run(home / "work", "--config", "names=cpu,gpu,report", f"note={NOTE}", "rate=1e-3")
        assert code == 0, output
        yield home / "work", cluster.jobs(), output
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """A run whose jobs fail, are cancelled and run out of memory, with every commented line of the table in force."""
    home, cluster = _cluster(tmp_path_factory)
    text = (PROFILE / "config.yaml").read_text()
    for key in COMMENTED:
        text, changed = re.subn(rf"# ({key}:)", r"\1", text)
        assert changed == 1, key
    profile = home / "profile"
    profile.mkdir()
    (profile / "config.yaml").write_text(text)
    try:
        process = cluster.start(home / "work", "--config", "names=bad,cancelled,large,gpu", profile=profile)
        for name, state in (("cancelled", "CANCELLED"), ("large", "OUT_OF_MEMORY")):
            wait_for((home / "work" / f"{name}.started").exists)
            cluster.end(cluster.jobs()[f"rule_train_cpu_wildcards_{name}"], state)
        output, _ = process.communicate(timeout=300)
        yield process.returncode, cluster.jobs(), output
    finally:
        cluster.close()


def _table():
    profile = yaml.safe_load((PROFILE / "config.yaml").read_text())
    return {"report": profile["default-resources"], **profile["set-resources"]}


@pytest.mark.parametrize("rule, name", [("train_cpu", "cpu"), ("train_gpu", "gpu"), ("report", "report")])
def test_a_job_asks_for_what_the_table_says(good, rule, name):
    job, row = good[1][f"rule_{rule}_wildcards_{name}"], _table()[rule]
    assert job["partition"] == row["slurm_partition"]
    assert (int(job["time"]), int(job["mem"])) == (row["runtime"], row["mem_mb"])
    assert job["gpus"] == ("1" if rule == "train_gpu" else None)
    assert job["cpus_per_task"] == ("2" if rule == "train_cpu" else "1")
    assert job["account"] is None and job["constraint"] is None


def test_the_table_names_the_two_training_rules_and_keeps_them_apart():
    table = _table()
    assert set(table) == {"report", "train_cpu", "train_gpu"}
    assert table["train_cpu"]["slurm_partition"] != table["train_gpu"]["slurm_partition"]


def test_logs_lie_in_one_folder_given_to_slurm_as_an_absolute_path(good):
    folder, jobs, output = good
    for comment, job in jobs.items():
        rule, name = re.fullmatch(r"(rule_\w+)_wildcards_(\w+)", comment).groups()
        assert job["output"] == f"{folder}/results/logs/slurm/{rule}/{name}/{job['id']}.log"
        assert f"SLURM jobid {job['id']} (log: {job['output']})" in output


def test_the_config_reaches_the_job_unchanged(good):
    assert eval((good[0] / "report.txt.config").read_text()) == {"names": "cpu,gpu,report", "note": NOTE, "rate": 1e-3}


def test_only_the_gpu_rule_sees_a_gpu(good):
    folder, _, _ = good
    seen = {name: (folder / f"{name}.txt").read_text().split("gpu=")[-1].strip() for name in ("cpu", "gpu", "report")}
    assert seen == {"cpu": "none", "gpu": "0", "report": "none"}


def test_every_line_of_the_table_that_is_a_comment_works(bad):
    _, jobs, _ = bad
    gpu = jobs["rule_train_gpu_wildcards_gpu"]
    assert gpu["state"] == "COMPLETED"
    assert (gpu["account"], gpu["gpus"], gpu["constraint"], gpu["exclude"]) == (
        "my_group",
        "a100:1",
        "a100|h100",
        "node17",
    )
    cpu = jobs["rule_train_cpu_wildcards_bad"]
    assert (cpu["account"], cpu["gpus"], cpu["constraint"], cpu["exclude"]) == ("my_group", None, None, None)


@pytest.mark.parametrize("name, state", [("bad", "FAILED"), ("cancelled", "CANCELLED"), ("large", "OUT_OF_MEMORY")])
def test_a_job_that_fails_or_is_killed_is_reported_with_its_id_and_log(bad, name, state):
    code, jobs, output = bad
    assert code == 1
    job = jobs[f"rule_train_cpu_wildcards_{name}"]
    report = re.search(rf"Error in rule train_cpu:\n(?:    .*\n)*?    output: {name}.txt\n(?:    .*\n)*", output)
    assert report, output
    assert f"SLURM-job '{job['id']}' failed, SLURM status is: '{state}'" in report[0]
    assert f"external_jobid: {job['id']}" in report[0]
    assert f"log: logs/{name}.log, {job['output']}" in report[0]


def test_the_log_of_a_failed_job_is_shown_and_the_others_go_on(bad):
    _, jobs, output = bad
    assert "the loss is not a number" in output
    assert jobs["rule_train_gpu_wildcards_gpu"]["state"] == "COMPLETED"


def test_a_partition_that_does_not_exist_is_named(tmp_path_factory):
    home, cluster = _cluster(tmp_path_factory)
    code, output = cluster.run(
        home / "work", "--config", "names=cpu", "--set-resources", "train_cpu:slurm_partition=nowhere"
    )
    assert code == 1 and not cluster.jobs()
    assert "invalid partition specified: nowhere" in output


def test_ctrl_c_cancels_the_jobs(tmp_path_factory):
    home, cluster = _cluster(tmp_path_factory)
    cluster.env["FAKE_SLURM_PATIENCE"] = "0"  # the plugin forgets its jobs while it waits for squeue
    try:
        process = cluster.start(home / "work", "--config", "names=cancelled")
        wait_for((home / "work" / "cancelled.started").exists)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=300)
        assert process.returncode != 0
        assert [job["state"] for job in cluster.jobs().values()] == ["CANCELLED"], output
    finally:
        cluster.close()
