"""devices.py: choosing a device, and that two jobs never share a GPU. The GPUs are a faked `nvidia-smi`."""

import os
import subprocess
import sys
import time

import pytest
import torch

from descent.core.errors import SettingError
from descent.runner.devices import (
    choose,
    claim_gpu,
    count_gpus,
    device_for,
    machine_gpus,
    refuse_missing_cuda,
    visible_gpus,
)

CARDS = ["GPU-aaaa-1", "GPU-bbbb-2"]
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """machine(*lines): from here on `nvidia-smi -L` prints these lines."""
    for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)

    def fake(*lines):
        tool = tmp_path / "bin" / "nvidia-smi"
        tool.parent.mkdir(exist_ok=True)
        tool.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")

    return fake


def _cards(*uuids):
    return [f"GPU {i}: NVIDIA Some Card (UUID: {uuid})" for i, uuid in enumerate(uuids)]


@without_cuda
def test_auto_without_cuda_is_the_cpu_and_says_so():
    device, note = choose("auto")
    assert device == "cpu"
    assert note.startswith("device auto: ran on the CPU, because ")


@without_cuda
def test_cuda_without_cuda_is_refused_in_one_sentence():
    with pytest.raises(SettingError, match=r"^`device: cuda` was asked for but .*: use `device: auto` .*") as failure:
        choose("cuda")
    assert "\n" not in str(failure.value)


def test_cpu_has_nothing_to_say_and_other_words_are_refused():
    assert choose("cpu") == ("cpu", "")
    with pytest.raises(SettingError, match="`device` must be auto, cpu or cuda, got 'gpu'"):
        choose("gpu")


def test_cuda_is_chosen_where_there_is_some(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto") == choose("cuda") == ("cuda", "")


def test_the_module_does_not_import_torch():
    code = "import sys, descent.runner.devices; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_machine_without_nvidia_smi_has_no_gpu(machine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == 0
    with claim_gpu(tmp_path) as device:
        assert device is None and "CUDA_VISIBLE_DEVICES" not in os.environ


def test_the_devices_of_a_machine(machine):
    machine(*_cards(*CARDS))
    assert machine_gpus() == CARDS and count_gpus() == 2
    machine(
        "GPU 0: NVIDIA A100 (UUID: GPU-aaaa)",
        "  MIG 3g.20gb Device 0: (UUID: MIG-x)",
        "  MIG 3g.20gb Device 1: (UUID: MIG-y)",
    )
    assert machine_gpus() == ["MIG-x", "MIG-y"]
    machine("No devices found.")
    assert machine_gpus() == []


@pytest.mark.parametrize(
    "visible, slurm, expected",
    [
        (None, None, CARDS),
        ("", None, []),
        ("-1", None, []),
        ("1", None, CARDS[1:]),
        ("1,0", None, CARDS[::-1]),
        (CARDS[1], None, CARDS[1:]),
        ("0", "77", ["0"]),  # Slurm's number is its own: not our first card
        ("0,1", "77", ["0", "1"]),
    ],
)
def test_what_is_already_visible_is_respected(machine, monkeypatch, visible, slurm, expected):
    machine(*_cards(*CARDS))
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("SLURM_JOB_ID", slurm)):
        if value is not None:
            monkeypatch.setenv(name, value)
    assert visible_gpus() == expected


def test_a_claim_sets_and_restores_the_environment(machine, monkeypatch, tmp_path):
    machine(*_cards(*CARDS))
    with claim_gpu(tmp_path / "locks") as device:
        assert device == os.environ["CUDA_VISIBLE_DEVICES"] == CARDS[0]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    with pytest.raises(KeyError), claim_gpu(tmp_path / "locks") as device:
        assert device == os.environ["CUDA_VISIBLE_DEVICES"] == CARDS[1]
        raise KeyError
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,0"


def test_cuda_on_a_machine_without_gpu_is_refused_before_anything_runs(machine):
    machine("No devices found.")
    refuse_missing_cuda({"zoflat/convex": "auto", "rpg/lqr": "cpu"})
    with pytest.raises(
        SettingError, match=r"^zoflat/lm and 1 more: `device: cuda` was asked for but this machine has no GPU"
    ):
        refuse_missing_cuda({"zoflat/lm": "cuda", "zoflat/convex": "auto", "dualpriv/lm": "cuda"})
    machine(*_cards(*CARDS))
    refuse_missing_cuda({"zoflat/lm": "cuda"})


JOB = """
import os, sys, time
from pathlib import Path
from descent.runner.devices import claim_gpu
locks, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
def note(what):
    with log.open("a") as file:
        file.write(f"{time.monotonic()} {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')} {what}\\n")
with claim_gpu(locks, say=lambda text: note("waits")):
    note("begins")
    time.sleep(seconds)
    note("ends")
"""


def _start(tmp_path, seconds):
    command = [sys.executable, "-c", JOB, str(tmp_path / "locks"), str(tmp_path / "log"), str(seconds)]
    return subprocess.Popen(command)


def _events(tmp_path):
    lines = (
        [line.split() for line in (tmp_path / "log").read_text().splitlines()] if (tmp_path / "log").exists() else []
    )
    return [(float(when), pid, device, what) for when, pid, device, what in lines]


def test_two_jobs_never_share_a_gpu(machine, tmp_path):
    machine(*_cards(*CARDS))
    jobs = [_start(tmp_path, 0.2) for _ in range(6)]
    assert [job.wait(120) for job in jobs] == [0] * 6
    events = sorted(_events(tmp_path))
    holder = {}
    for _, pid, device, what in events:
        if what == "begins":
            assert holder.setdefault(device, pid) == pid, f"{device} was given to two jobs at once"
        if what == "ends":
            del holder[device]
    used = [device for _, _, device, what in events if what == "begins"]
    assert len(used) == 6 and set(used) == set(CARDS)
    assert any(what == "waits" for *_, what in events)


def test_a_killed_job_gives_its_gpu_back(machine, tmp_path):
    machine(*_cards(CARDS[0]))
    first = _start(tmp_path, 60)
    deadline = time.monotonic() + 120
    while not _events(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    first.kill()
    first.wait()
    assert _start(tmp_path, 0).wait(120) == 0
    assert [what for *_, what in _events(tmp_path)] == ["begins", "begins", "ends"]


def test_a_job_that_can_use_cuda_claims_its_device_before_it_looks(machine, monkeypatch, tmp_path):
    machine(*_cards(*CARDS))
    seen = []
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]) or True)
    with device_for("auto", locks=tmp_path / "locks") as choice:
        assert choice.device == "cuda" and seen == CARDS[:1]


@pytest.mark.parametrize("asked, built_with", [("cpu", "13.0"), ("auto", None)])
def test_a_job_that_cannot_use_cuda_claims_nothing(machine, monkeypatch, tmp_path, asked, built_with):
    machine(*_cards(CARDS[0]))
    monkeypatch.setattr(torch.version, "cuda", built_with)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: built_with is not None)
    with device_for(asked, locks=tmp_path / "locks") as choice:
        assert choice.device == "cpu" and not (tmp_path / "locks").exists()
