"""Checkpoints of a job: beside its output, carrying its dependency key, ignored when the key differs."""

from __future__ import annotations

import hashlib
import io
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from descent.core.files import write_atomically


class Checkpoint(Protocol):
    """Where a job's loops keep their state."""

    def load(self, name: str) -> Any: ...

    def save(self, name: str, value: Callable[[], Any], *, force: bool = False) -> None: ...


class NoCheckpoint:
    """For runs in memory: nothing is kept."""

    def load(self, name: str) -> None:
        return None

    def save(self, name: str, value: Callable[[], Any], *, force: bool = False) -> None:
        return None


class FileCheckpoint:
    """One file a job: {key, parts: {loop name: its last state}}.

    key: the job's dependency key. every: seconds between two saves (a finished loop is saved at the next one due).
    A file that is damaged (it begins with the SHA-256 of the rest), or of another key, counts as absent: the job starts
    again.
    """

    def __init__(self, path: Path, key: str, every: float = 30.0):
        self.path, self.key, self.every = path, key, every
        self.saved = time.monotonic()
        self.parts: dict[str, Any] = {}
        content = _whole(path) if path.is_file() else None
        if isinstance(content, dict) and content.get("key") == key:
            self.parts = content["parts"]

    def load(self, name: str) -> Any:
        """The last state saved under `name`, or None."""
        return self.parts.get(name)

    def save(self, name: str, value: Callable[[], Any], *, force: bool = False) -> None:
        """Keep `value()` under `name`; written when `every` seconds have passed. `force` keeps it in any case."""
        due = time.monotonic() - self.saved >= self.every
        if not (due or force):
            return
        self.parts[name] = value()
        if due:
            import torch

            content = io.BytesIO()
            torch.save({"key": self.key, "parts": self.parts}, content)
            data = content.getvalue()
            write_atomically(self.path, lambda temporary: temporary.write_bytes(_digest(data) + data))
            self.saved = time.monotonic()

    def remove(self) -> None:
        """Forget everything; called when the job's outputs are in place."""
        self.path.unlink(missing_ok=True)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _whole(path: Path) -> Any:
    """The content of a checkpoint that is as it was written; None for anything else. torch.load checks no sums."""
    import torch

    try:
        content = path.read_bytes()
        head, data = content[:64], content[64:]
        if _digest(data) != head:
            return None
        return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return None
