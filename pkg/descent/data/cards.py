"""The datasets as the study records them: `cards.yaml`, typed, and the documentation made from it.

The card is the record: which files a dataset consists of, their sizes and hashes, and the arrays that they hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from descent.core.errors import DataError, listed, nearest

CARDS = Path(__file__).with_name("cards.yaml")


@dataclass(frozen=True)
class FileRecord:
    """A file of a dataset. path: from the repository's root (from the package's folder for kind `package`)."""

    path: str
    size: int | None = None  # bytes
    sha256: str | None = None
    md5: str | None = None  # where the publisher names no better hash

    @property
    def algorithm(self) -> Literal["sha256", "md5"]:
        return "sha256" if self.sha256 else "md5"

    @property
    def hash(self) -> str:
        """The recorded hash, hexadecimal."""
        return self.sha256 or self.md5 or ""

    def hash_of(self, content: bytes) -> str:
        """The hash of `content`, by the algorithm of the record."""
        return hashlib.new(self.algorithm, content).hexdigest()

    def mismatch(self, got: str, size: int) -> str:
        """What to say of content with the hash `got` in place of the recorded one: both hashes and sizes."""
        length = f" ({self.size} bytes)" if self.size is not None else ""
        return f"expected {self.algorithm} {self.hash}{length}, got {got} ({size} bytes)"


@dataclass(frozen=True)
class ArrayRecord:
    """An array of a dataset: its dtype, shape and meaning (units where it has any)."""

    dtype: str
    shape: tuple[int, ...]
    about: str


@dataclass(frozen=True)
class Card:
    """One dataset.

    kind: embedded (in the repository's DVC store), import (a public URL, by hash), stand-in (embedded and made by us,
    so that code can run where an import is missing; never called by the import's name) or package (a pip package).
    """

    name: str
    title: str
    kind: Literal["embedded", "import", "stand-in", "package"]
    format: Literal["svmlight", "npz", "idx", "snippets", "cifar", "safetensors"]
    source: str
    licence: str
    citation: str
    made: str  # how the files were made from the source
    used_by: tuple[str, ...]  # papers
    files: tuple[FileRecord, ...]
    arrays: Mapping[str, ArrayRecord] = field(default_factory=dict)
    texts: int = 0  # how many texts it holds
    n_features: int | None = None  # columns of the sparse rows: more than the largest index present, maybe
    order_free: Mapping[str, str] = field(default_factory=dict)  # file -> SHA-256 that ignores the order of rows
    raw: tuple[str, ...] = ()  # the downloads in imports/ from which `files` are made
    stand_in: str | None = None  # the dataset to use where this one is missing and only the code's paths matter
    on_request: bool = False  # an import that only the paper scale needs: fetched when named
    labels: Mapping[str, str] = field(default_factory=dict)  # cifar: our name -> key in the file

    @property
    def embedded(self) -> bool:
        """Whether it lies in data/, which DVC fetches as one piece."""
        return self.kind in ("embedded", "stand-in")

    @property
    def hash(self) -> str:
        """The identity of the data: its file's hash, or for several files the SHA-256 of their hashes and paths."""
        if len(self.files) == 1:
            return self.files[0].hash
        listing = "".join(f"{file.hash}  {file.path}\n" for file in self.files)
        return hashlib.sha256(listing.encode()).hexdigest()


@cache
def cards() -> Mapping[str, Card]:
    """Every dataset's card by name, in the order of the file."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {name: _card(name, entry) for name, entry in yaml.load(CARDS.read_bytes(), loader).items()}


def card(name: str) -> Card:
    """The card of one dataset. Raises DataError for an unknown name."""
    known = cards()
    if name not in known:
        raise DataError(f"there is no dataset `{name}`{nearest(name, known)}: known are {listed(known)}")
    return known[name]


def stand_in(name: str) -> str | None:
    """The labelled stand-in that lets code run where dataset `name` is missing, or None."""
    return card(name).stand_in


def _card(name: str, entry: Mapping[str, Any]) -> Card:
    entry = dict(entry)
    entry["files"] = tuple(FileRecord(path, **record) for path, record in entry["files"].items())
    entry["arrays"] = {
        key: ArrayRecord(a["dtype"], tuple(a["shape"]), a["about"]) for key, a in entry.get("arrays", {}).items()
    }
    for key in ("used_by", "raw"):
        entry[key] = tuple(entry.get(key, ()))
    for key in ("source", "licence", "citation", "made"):
        entry[key] = " ".join(entry[key].split())
    return Card(name=name, **entry)
