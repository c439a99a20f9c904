"""A fake Slurm for tests: its commands on PATH, its jobs run here."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "srun", "scontrol", "sinfo", "sacctmgr", "sshare")
FAKE = Path(__file__).parent / "fake" / "slurm"
ROOT = Path(__file__).resolve().parents[2]
PROFILE = ROOT / "profiles" / "slurm"


def heard() -> None:
    """A shell starts what runs in its background deaf to Ctrl-C, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class FakeCluster:
    """Folder `home` holds the commands and the jobs; `close` ends what still runs."""

    def __init__(self, home: Path):
        self.state = home / "state"
        self.state.mkdir(parents=True)
        commands = home / "bin"
        commands.mkdir()
        for name in COMMANDS:
            (commands / name).symlink_to(FAKE)
        path = [str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SNAKEMAKE_"))}
        self.env = {**kept, "PATH": os.pathsep.join(path), "FAKE_SLURM": str(self.state), "OMP_NUM_THREADS": "1"}

    def start(self, folder: Path, *arguments: str, profile: Path = PROFILE) -> subprocess.Popen:
        """snakemake in `folder` with the profile, asking for news every second."""
        command = [sys.executable, "-m", "snakemake", "--workflow-profile", str(profile)]
        command += [
            "--slurm-init-seconds-before-status-checks",
            "1",
            "--seconds-between-status-checks",
            "1",
            *arguments,
        ]
        return subprocess.Popen(
            command, cwd=folder, env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            preexec_fn=heard,
        )  # fmt: skip

    def run(self, folder: Path, *arguments: str, profile: Path = PROFILE) -> tuple[int, str]:
        """Exit code and everything printed."""
        process = self.start(folder, *arguments, profile=profile)
        output, _ = process.communicate(timeout=100)
        return process.returncode, output

    def jobs(self) -> dict[str, dict]:
        """What sbatch was given: comment (`rule_NAME` or `rule_NAME_wildcards_W`) -> options, with `id` and `state`."""
        found = {}
        for path in sorted(self.state.glob("*/job.json")):
            job = json.loads(path.read_text())
            found[job["comment"]] = {**job, "id": path.parent.name, "state": (path.parent / "state").read_text()}
        return found

    def end(self, job: dict, state: str) -> None:
        """Kill a job as its node or an administrator would."""
        command = ["scancel", job["id"]] if state == "CANCELLED" else [str(FAKE), "end", job["id"], state]
        subprocess.run(command, env=self.env, check=True)

    def close(self) -> None:
        for job in self.jobs().values():
            if job["state"] in ("PENDING", "RUNNING"):
                self.end(job, "CANCELLED")


def wait_for(condition, seconds: float = 60) -> None:
    """Until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
