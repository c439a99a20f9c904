"""What a killed process left: temporary files and folders that carry its number, swept at the next start."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

OLD = 600  # seconds: a process of another machine may write to the same disk, and its number says nothing here
_FILE = re.compile(r"\..+\.(\d+)\.(?:part|copy)")
_FOLDER = re.compile(r"descent-(?:[a-z]+-)?([0-9a-f]{8})-(\d+)-")


def mark() -> str:
    """What a temporary folder's name holds of its maker: the machine and the process."""
    return f"{zlib.crc32(platform.node().encode()):08x}-{os.getpid()}-"


def sweep(folder: Path) -> list[Path]:
    """Delete the temporary files below `folder` of processes that are gone; returns them."""
    gone = [path for path, number in _parts(folder) if _stale(path, number)]
    for path in gone:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return gone


def sweep_folders(above: Path | None = None) -> list[Path]:
    """Delete the study's own temporary folders of processes of this machine and user that are gone; returns them."""
    above = above or Path(tempfile.gettempdir())
    gone = []
    with contextlib.suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            found = _FOLDER.match(entry.name)
            if found and mark().startswith(found[1]) and entry.is_dir(follow_symlinks=False):
                mine = not hasattr(os, "getuid") or entry.stat(follow_symlinks=False).st_uid == os.getuid()
                if mine and _stale(Path(entry.path), int(found[2])):
                    gone.append(Path(entry.path))
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    return gone


def _parts(folder: Path) -> Iterator[tuple[Path, int]]:
    for where, _, names in os.walk(folder):
        for name in names:
            if found := _FILE.fullmatch(name):
                yield Path(where, name), int(found[1])


def _stale(path: Path, number: int) -> bool:
    try:
        return time.time() - path.stat().st_mtime > OLD and not _alive(number)
    except OSError:
        return False


def _alive(number: int) -> bool:
    if os.name != "posix":  # where signal 0 is not a question
        return number == os.getpid()
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
