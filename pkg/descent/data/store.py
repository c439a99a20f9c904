"""The embedded datasets' DVC store: one pull for all, and what DVC does not say when it fails.

`dvc pull` with a damaged blob says only that a checkout failed (with verify = true; without, it says nothing). So the
blobs are looked at here, and named with both hashes.
"""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from descent.core.errors import DataError
from descent.data.places import TRACKED

PULL_SECONDS = 600  # a copy within one disk takes seconds: this only ends a hang


def run_dvc(arguments: list[str], folder: Path, timeout: float) -> str:
    """Run `dvc`; returns "" or, when it failed, its last words. Raises DataError when dvc is not installed."""
    if importlib.util.find_spec("dvc") is None:
        raise DataError(
            "dvc is not installed in this environment: `pip install 'dvc[http]'`, or copy data/ and imports/ from a "
            "machine that has them"
        )
    quiet = {**os.environ, "DVC_NO_ANALYTICS": "true"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=folder, env=quiet, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:g} seconds"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines)[-1]


def pull(root: Path) -> str:
    """`dvc pull data.dvc` from the repository's own remote, whatever the user's default; returns "" or DVC's last words."""
    if not _in_git(root):
        _work_without_git(root)
    remote = _own_remote(root)
    return run_dvc(["pull", *(["--remote", remote] if remote else []), TRACKED], root, PULL_SECONDS)


def cache_folder(root: Path) -> Path | None:
    """DVC's cache of this checkout, or None where there is no .dvc folder (data copied to a bare machine, say)."""
    if not (root / ".dvc").is_dir():
        return None
    return _folder(root, "cache", "dir") or root / ".dvc" / "cache"


def blob(folder: Path, md5: str) -> Path:
    """Where a DVC 3 cache or remote keeps the content with this md5."""
    return folder / "files" / "md5" / md5[:2] / md5[2:]


def damaged(folder: Path, root: Path) -> Iterator[tuple[str, Path, str, str]]:
    """Blobs of data.dvc in a cache or remote whose content is not what their name says, and in a remote missing ones.

    Yields (path below the root, blob, expected md5, got md5 or "nothing"). Where the listing itself is damaged, only it.
    """
    expected = yaml.safe_load((root / TRACKED).read_text(encoding="utf-8"))["outs"][0]["md5"]
    listing = blob(folder, expected)
    got = _md5(listing)
    if got != expected.removesuffix(".dir"):
        yield "data (the list of its files)", listing, expected, got
        return
    for entry in json.loads(listing.read_bytes()):
        content = blob(folder, entry["md5"])
        if (got := _md5(content)) != entry["md5"]:
            yield f"data/{entry['relpath']}", content, entry["md5"], got


def store_faults(root: Path) -> list[str]:
    """A sentence for each damaged or missing blob of the repository's own store."""
    name = _own_remote(root)
    folder = _folder(root, f'remote "{name}"', "url")
    if folder is None or not folder.is_dir():
        return []  # a remote elsewhere: DVC's own words must do
    return [
        f"{path}: expected md5 {expected}, got {got} in the store's blob {os.path.relpath(file, root)}: "
        f"restore it by `git checkout -- {os.path.relpath(folder, root)}`"
        for path, file, expected, got in damaged(folder, root)
    ]


def clear_damaged_cache(root: Path) -> list[str]:
    """Delete damaged blobs from the cache, which DVC would otherwise trust. Returns a sentence for each."""
    folder = cache_folder(root)
    if folder is None:
        return []
    said = []
    for path, file, expected, got in damaged(folder, root):
        if got != "nothing":
            file.chmod(0o644)
            file.unlink()
            said.append(f"{path}: expected md5 {expected}, got {got} in the cache; deleted there, to be fetched again")
    return said


def _md5(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError:
        return "nothing"


def _own_remote(root: Path) -> str | None:
    """The remote that .dvc/config names, which is committed: a user's own files may name another as the default."""
    return _configured(root, "core", "remote", files=("config",))


def _in_git(root: Path) -> bool:
    """Whether git keeps this folder: not in an archive, nor in one that lies in somebody's repository, ignored there."""
    if (root / ".git").exists():
        return True
    if not any((folder / ".git").exists() for folder in root.parents):
        return False
    try:
        done = subprocess.run(["git", "ls-files", "--error-unmatch", TRACKED], cwd=root, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def _work_without_git(root: Path) -> None:
    """A downloaded archive has no .git, and DVC then wants to be told so, in a file that is never committed."""
    local = root / ".dvc" / "config.local"
    text = local.read_text(encoding="utf-8") if local.exists() else ""
    if re.search(r"^\s*no_scm\s*=", text, re.MULTILINE):
        return
    head, section, tail = text.partition("[core]\n")
    local.write_text(
        f"{head}[core]\n    no_scm = true\n{tail}" if section else f"{text}[core]\n    no_scm = true\n",
        encoding="utf-8",
    )


def _folder(root: Path, section: str, key: str) -> Path | None:
    """A configured path, which is relative to .dvc/; None where there is none, or a URL."""
    value = _configured(root, section, key)
    return None if value is None or "://" in value else (root / ".dvc" / value).resolve()


def _configured(root: Path, section: str, key: str, files: tuple[str, ...] = ("config", "config.local")) -> str | None:
    """A value of .dvc/config or config.local (which wins)."""
    value = None
    for file in files:
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(root / ".dvc" / file, encoding="utf-8")
        except configparser.Error:
            continue
        # DVC writes sections with a name in quotes: ['remote "store"'].
        for name in (section, f"'{section}'"):
            if parser.has_option(name, key):
                value = parser.get(name, key).strip("'\"")
    return value
