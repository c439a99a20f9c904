"""Which device a job runs on, and whose it is: one job, one CUDA device.

Imports torch only where a job is about to run, so that the workflow may ask how many GPUs there are.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from descent.core.errors import SettingError, listed

DEVICES = ("auto", "cpu", "cuda")
VISIBLE = "CUDA_VISIBLE_DEVICES"


class Choice(NamedTuple):
    """device: `cpu` or `cuda`. note: a sentence for the sidecar and the report, empty where there is nothing to say."""

    device: str
    note: str = ""


def choose(asked: str) -> Choice:
    """The device for a job that asks for `auto`, `cpu` or `cuda`.

    `auto` takes CUDA where PyTorch can use it, else the CPU, and says so.
    Raises SettingError when `cuda` is asked for and there is none, or for any other word.
    """
    if asked not in DEVICES:
        raise SettingError(f"`device` must be {listed(DEVICES)}, got {asked!r}")
    if asked == "cpu":
        return Choice("cpu")
    import torch

    if torch.cuda.is_available():
        return Choice("cuda")
    why = _why_no_cuda(torch.version.cuda)
    if asked == "cuda":
        raise SettingError(
            f"`device: cuda` was asked for but {why}: use `device: auto` to run on the CPU, or a machine with a GPU"
        )
    return Choice("cpu", f"device auto: ran on the CPU, because {why}")


def _why_no_cuda(version: str | None) -> str:
    if version is None:
        return "this PyTorch was built without CUDA"
    if os.environ.get(VISIBLE) == "":
        return f"{VISIBLE} is empty"
    return "PyTorch finds no CUDA device"


@contextmanager
def device_for(asked: str, *, say: Callable[[str], None] = print, locks: Path | None = None) -> Iterator[Choice]:
    """`choose`, with the CUDA device claimed for this process while the `with` lasts.

    Call it before anything uses CUDA. Nothing is claimed without a GPU or with a PyTorch that cannot use it.
    Raises as `choose` does.
    """
    import torch

    wanted = asked in ("auto", "cuda") and torch.version.cuda is not None
    with claim_gpu(locks, say=say) if wanted else nullcontext():
        yield choose(asked)


@contextmanager
def claim_gpu(
    locks: Path | None = None, *, say: Callable[[str], None] = print, patience: float = 0.2
) -> Iterator[str | None]:
    """Give this process one CUDA device that no other job of this user on this machine has; None without a GPU.

    Waits until one is free. Holds it by a lock on a file in `locks` (one a device, kept by the operating system: it
    goes with the process, however that ends) and names it in CUDA_VISIBLE_DEVICES for everything started inside.
    A CUDA_VISIBLE_DEVICES that is already set limits the choice: Slurm's own allocation is taken as it is, and shared
    between several jobs only by claims like this one. `patience`: seconds between two looks while all are taken.
    """
    devices = visible_gpus()
    if not devices:
        yield None
        return
    locks = locks or Path(tempfile.gettempdir()) / f"descent-gpus-{os.getuid()}"
    locks.mkdir(parents=True, exist_ok=True)
    device, lock = _lock_one(devices, locks, say, patience)
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = device
    try:
        yield device
    finally:
        os.close(lock)
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def _lock_one(devices: list[str], locks: Path, say: Callable[[str], None], patience: float) -> tuple[str, int]:
    import fcntl  # not on Windows, where there is no workflow either

    told = False
    while True:
        for device in devices:
            lock = os.open(locks / _lock_name(device), os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return device, lock
            except BlockingIOError:
                os.close(lock)
        if not told:
            say(f"waiting for a GPU: other jobs use {listed(devices).replace(' or ', ' and ')}")
            told = True
        time.sleep(patience)


def _lock_name(device: str) -> str:
    """Slurm numbers the devices of every allocation from 0, and `locks` may be shared between machines."""
    return "-".join([socket.gethostname(), os.environ.get("SLURM_JOB_ID", "local"), device.replace("/", "_")]) + ".lock"


def visible_gpus() -> list[str]:
    """The CUDA devices that this process may use, as CUDA_VISIBLE_DEVICES would name them; [] without a GPU.

    Outside Slurm numbers are turned into UUIDs, so that `0` and the UUID of the first device are the same device.
    """
    allowed = os.environ.get(VISIBLE)
    if allowed is None:
        return machine_gpus()
    named = [name.strip() for name in allowed.split(",") if name.strip()]
    if not named or named[0].startswith("-") or "SLURM_JOB_ID" in os.environ:
        return [name for name in named if not name.startswith("-")]
    all_ = machine_gpus()
    return [all_[int(name)] if name.isdigit() and int(name) < len(all_) else name for name in named]


def machine_gpus() -> list[str]:
    """UUIDs of this machine's CUDA devices in the order of `nvidia-smi -L` (MIG instances in place of their card)."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=60, check=False).stdout
    cards: list[list[str]] = []
    for kind, uuid in re.findall(r"UUID: ((?:GPU|MIG)-)([0-9A-Za-z/-]+)", listing):
        if kind == "GPU-":
            cards.append([kind + uuid])
        elif cards:
            cards[-1].append(kind + uuid)
    return [uuid for card in cards for uuid in (card[1:] or card)]


def count_gpus() -> int:
    """How many jobs of this machine can hold a GPU at once: Snakemake's `gpu` resource for local runs."""
    return len(visible_gpus())


def refuse_missing_cuda(asked: Mapping[str, str]) -> None:
    """Before a local run: `asked` maps a job or experiment to its `device`. Raises SettingError if one must have CUDA
    and this machine has no GPU. (Only the job itself can tell whether its PyTorch can use it.)
    """
    needy = [name for name, device in asked.items() if device == "cuda"]
    if needy and not count_gpus():
        others = f" and {len(needy) - 1} more" if len(needy) > 1 else ""
        raise SettingError(
            f"{needy[0]}{others}: `device: cuda` was asked for but this machine has no GPU that nvidia-smi lists: "
            "use `device: auto` to run on the CPU, or a machine or cluster with a GPU"
        )
