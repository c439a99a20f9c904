"""warm.py: a call in a fork is the call, on its own, and ends with the one that asked for it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from descent.workflow import forks as warm

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server is for Linux only")

CALLED = """
import json, os, signal, sys, time

def note(path, **more):
    found = {"pid": os.getpid(), "folder": os.getcwd(), "word": os.environ.get("WORD"), "torch": "torch" in sys.modules,
             "ours": sorted(m for m in sys.modules if m.startswith("descent")), **more}
    with open(path, "w") as out:
        json.dump(found, out)

def stop(status):
    sys.exit(status)

def fail():
    raise ValueError("no good")

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def wait(path):
    note(path)
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("warm")
    (path / "called.py").write_text(CALLED)
    return path


@pytest.fixture(scope="module")
def server(folder):
    """The environment of processes that may ask a server of ours."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = f"{folder}{os.pathsep}{before or ''}"
    warm.start()
    yield dict(os.environ)
    warm.stop()
    os.environ["PYTHONPATH"] = before or ""


def asked(environment, text, **options):
    """A process that calls; text: the arguments of `call`."""
    code = f"from descent.workflow.forks import call\ncall({text})"
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, **options
    )


def test_a_call_runs_in_a_fork_with_the_callers_folder_and_environment(server, folder, tmp_path):
    path = tmp_path / "note.json"
    done = asked({**server, "WORD": "mine"}, f"'called:note', path={str(path)!r}, more=[1, 'b']", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first = json.loads(path.read_text())
    assert first["folder"] == str(tmp_path) and first["word"] == "mine" and first["more"] == [1, "b"]
    assert first["torch"], "torch is there without an import"
    assert set(first["ours"]) <= {
        "descent",
        "descent.core",
        "descent.core.leftovers",
        "descent.workflow",
        "descent.workflow.forks",
    }, "the study's code is read by each job anew"
    asked(server, f"'called:note', path={str(path)!r}")
    assert json.loads(path.read_text())["pid"] != first["pid"]


def test_a_failed_call_gives_its_status(server):
    assert asked(server, "'called:stop', status=3").returncode == 3
    failed = asked(server, "'called:fail'")
    assert failed.returncode == 1


def test_a_killed_call_is_told_from_a_failed_one(server):
    died = asked(server, "'called:die'")
    assert died.returncode == 1 and "the process of called:die was killed" in died.stderr


def test_a_call_ends_with_the_process_that_asked_for_it(server, tmp_path):
    path = tmp_path / "note.json"
    code = f"from descent.workflow.forks import call\ncall('called:wait', path={str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], env=server)
    pid = json.loads(wait_for(path))["pid"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the job outlived the one that asked for it")


@pytest.mark.parametrize("change", [{"SLURM_JOB_ID": "7"}, {warm.SERVER: ":/nowhere/warm"}, {warm.SERVER: ""}])
def test_where_the_server_is_not_ours_or_gone_the_caller_does_it_itself(server, tmp_path, change):
    path = tmp_path / "note.json"
    text = f"'called:note', path={str(path)!r}, asked=__import__('os').getpid()"
    done = asked({**server, **change}, text)
    found = json.loads(path.read_text())
    assert done.returncode == 0 and found["pid"] == found["asked"] and not found["torch"]


def test_the_server_ends_with_the_run_that_started_it(tmp_path):
    code = textwrap.dedent("""
        import os
        from descent.workflow import forks as warm
        warm.start()
        print(os.environ[warm.SERVER].partition(":")[2], flush=True)
    """)
    environment = {k: v for k, v in os.environ.items() if k != warm.SERVER}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    # The pipe is closed once the server is gone too, so `run` has waited for it.
    assert not Path(done.stdout.strip()).parent.exists()


def wait_for(path):
    for _ in range(400):
        if path.is_file() and path.read_text().endswith("}"):
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_the_server_loads_its_packages_with_one_thread_whatever_the_user_has_set(monkeypatch):
    """NumPy's linear algebra reads its number of threads when it is loaded: a forked job could not change it any more."""
    seen = {}
    monkeypatch.delenv(warm.SERVER, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "5")
    monkeypatch.setattr(warm.subprocess, "Popen", lambda *words, env, **options: seen.update(env))
    warm.start()
    warm.stop()
    assert {seen[name] for name in warm.ONE_THREAD} == {"1"} and os.environ["OPENBLAS_NUM_THREADS"] == "5"
