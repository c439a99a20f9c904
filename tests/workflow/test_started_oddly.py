"""Runs that are started oddly: they work, or one sentence says what to do before anything is run."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from descent.config.read import read_study
from descent.core.errors import StudyError
from descent.tracking.stores import locked
from descent.workflow import forks
from descent.workflow.manage import _free_port
from soak import differences, outputs
from support import ROOMS, ROOT, snakemake

ROOM_PATH = f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{ROOMS}"


def make(*words, **environment):
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})
    return done.returncode, done.stdout + done.stderr


def dry(*words, cwd, **environment):
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", *words]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment})
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [(["study", "paper=zoflat"], "write papers=zoflat"), (["study", "papesr=zoflat"], "there is no variable papesr")],
)
def test_a_misspelt_variable_of_make_is_refused(words, told):
    code, text = make(*words)
    assert code and told in text


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 1", "{python} is older than Python 3.11, which the study needs"),
        ('case "$2" in *venv*) exit 1;; esac', "{python} has no module venv: install it"),
    ],
    ids=["too old", "without venv"],
)
def test_a_python_that_will_not_do_is_refused_by_name_before_anything_is_made(tmp_path, script, told):
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    for name in ("requirements.txt", "requirements-no-deps.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    python = tmp_path / "another-python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    done = subprocess.run(["make", "ui", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and told.format(python=python) in done.stdout and not (tmp_path / ".venv").exists()


def test_from_another_folder_it_plans_the_same(project, tmp_path):
    code, text = dry("-s", str(project / "Snakefile"), "--config", "scale=smoke", cwd=tmp_path, PYTHONPATH=ROOM_PATH)
    assert code == 0, text
    assert not (tmp_path / "results").exists()


TAKEN = """
configfile: "mine.yaml"
module descent:
    snakefile: "{snakefile}"
    config: config["descent"]
use rule * from descent as descent_*
rule mine:
    default_target: True
    input: rules.descent_front.output.verdicts
    output: "mine.txt"
    shell: "wc -l {{input}} > {{output}}"
"""


def test_in_another_folder_or_as_a_module_of_another_workflow_it_makes_the_same_bytes(project, tmp_path, monkeypatch):
    """--directory, and `module`: records and report go below the folder that Snakemake works in, and nowhere else."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "Snakefile").write_text(TAKEN.format(snakefile=project / "Snakefile"))
    (tmp_path / "mine" / "mine.yaml").write_text("other: 1\ndescent: {scale: smoke}\n")
    page = ("--config", "scale=smoke", "--", "front")
    snakemake(tmp_path / "mine", "--cores", "2")
    before = sorted(path.name for path in project.iterdir())
    assert not {"results", "reports"} & set(before)
    snakemake(project, "-s", str(project / "Snakefile"), "--directory", str(tmp_path / "there"), *page)
    assert not {"results", "reports"} & {path.name for path in project.iterdir()}
    snakemake(project, *page)
    whole = outputs(project)
    assert len(whole) > 12 and differences(whole, outputs(tmp_path / "there")) is None
    assert differences(whole, outputs(tmp_path / "mine")) is None and (tmp_path / "mine" / "mine.txt").is_file()


def test_of_two_checkouts_each_runs_its_own_code(project):
    shutil.copytree(ROOT / "pkg", project / "pkg", ignore=shutil.ignore_patterns("__pycache__"))
    with open(project / "pkg/descent/__init__.py", "a") as file:
        file.write("\nimport sys\nprint('this is the copy', file=sys.stderr)\n")
    code, text = dry(cwd=project, PYTHONPATH=f"{ROOT / 'pkg'}{os.pathsep}{ROOM_PATH}")
    assert code == 0 and "this is the copy" in text, text


def test_a_package_that_was_imported_from_another_checkout_is_refused(project, tmp_path):
    """Python's start-up files may have imported it before the workflow could say where its own lies."""
    shutil.copytree(ROOT / "pkg", project / "pkg", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text("import descent\n")
    code, text = dry(cwd=project, PYTHONPATH=f"{tmp_path / 'start'}{os.pathsep}{ROOT / 'pkg'}{os.pathsep}{ROOM_PATH}")
    assert code and "not from this checkout" in text and "Traceback" not in text


def test_a_port_that_is_taken_is_passed_over_and_a_named_one_is_said_to_be(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StudyError, match=f"port {port} is taken: name another"):
            _free_port(str(port))
    with pytest.raises(StudyError, match="PORT=abc is no port"):
        _free_port("abc")
    assert 5000 <= _free_port(None) < 5050


def test_a_half_made_environment_is_made_anew(tmp_path):
    """A .venv without pip, as an installation leaves it that was cut short: removed, and the installation begun again."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("requirements.txt", "requirements-no-deps.txt"):
        (tmp_path / name).write_text("a-package-that-no-index-has==1\n")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/nowhere/python")
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_USER": "1"}
    done = subprocess.run(["make", "ui", f"PYTHON={sys.executable}"], cwd=tmp_path, capture_output=True, text=True,
                          env=environment)  # fmt: skip
    assert "Removing a half-made .venv" in done.stdout and done.returncode, done.stdout
    assert "a-package-that-no-index-has" in done.stderr and not (tmp_path / ".venv" / ".ready").exists()


def test_file_systems_without_locks_are_worked_on_without(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl", reason="nothing to lock with on this system")

    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    with locked(tmp_path / "mlflow.lock", patience=0.2):
        assert (tmp_path / "mlflow.lock").is_file()


def test_a_tilde_is_the_home_folder(project, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_study(project, {"results": "~/out"}).results == str(tmp_path / "out")


def test_the_server_of_forks_starts_below_a_long_folder_and_is_done_without_where_it_cannot(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.delenv(forks.SERVER, raising=False)
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(forks.tempfile, "tempdir", str(long))
    listener, folder, path = forks._listening()
    listener.close()
    assert len(os.fsencode(path)) <= 107 and not list(long.iterdir())
    shutil.rmtree(folder)

    def broken(*_):
        raise OSError("no sockets here")

    monkeypatch.setattr(forks.socket, "socket", broken)
    forks.start()
    assert forks.SERVER not in os.environ and "no sockets here" in capsys.readouterr().err


def test_nothing_is_read_or_written_in_the_locale_s_encoding():
    """Text is UTF-8 whatever the user's locale says."""
    lost = []
    for path in [*(ROOT / "pkg").rglob("*.py"), *(ROOT / "workflow").rglob("*.py")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if ".read_text()" in line or (
                ".write_text(" in line
                and "encoding" not in line
                and "write_text(path" not in line
                and line.rstrip().endswith(")")
            ):
                lost.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not lost


HOSTILE = """
backend: svg
savefig.dpi: 30
font.size: 25
axes.grid: True
lines.linewidth: 9
text.usetex: True
axes.prop_cycle: cycler('color', ['k'])
image.cmap: gray
"""


def test_a_users_matplotlibrc_decides_nothing(tmp_path):
    code = (
        "import hashlib, io, matplotlib; matplotlib.use('agg')\n"
        "import matplotlib.pyplot as plt\nfrom descent.report import theme\n"
        "with theme.apply():\n"
        "    figure, axes = plt.subplots(); axes.plot([1, 3, 2], label='a'); axes.imshow([[1, 2], [3, 4]]); axes.legend()\n"
        "    out = io.BytesIO(); figure.savefig(out, format='png', metadata={'Software': None})\n"
        "print(hashlib.sha256(out.getvalue()).hexdigest())"
    )
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    seen = set()
    for environment in ({}, {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout.strip())
    assert len(seen) == 1
