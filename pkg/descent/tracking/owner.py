"""Whose runs are whose: the study's mark and this checkout's id.

On a store that others use we are a guest: only experiments and runs that carry both are ever changed or deleted.
"""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path

from descent.core.errors import StudyError
from descent.core.files import write_text

STUDY = "descent.study"  # the tag that marks what this study made; its value is always MARK
CHECKOUT = "descent.checkout"  # the tag that says which checkout made it
MARK = "descent"
FILE = Path(".descent") / "checkout.json"  # ignored by git: a clone is another checkout


def checkout_id(root: Path) -> str:
    """12 hexadecimal digits that stay with this checkout when its folder is moved, and differ in a copy of it.

    Raises StudyError when the folder cannot be written.
    """
    path, here = root / FILE, str(root)
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        id, there = str(kept["id"]), str(kept["folder"])
        if there == here:
            return id
        if not (Path(there) / FILE).is_file():  # moved
            _keep(path, id, here)
            return id
    except (OSError, ValueError, KeyError, TypeError):
        pass
    id = uuid.uuid4().hex[:12]
    try:
        _keep(path, id, here)
    except OSError as error:
        raise StudyError(f"cannot write {path} ({os.strerror(error.errno or 0)}): make the checkout writable, so that its "
                         "runs in MLflow can be told from others'") from None  # fmt: skip
    return id


def _keep(path: Path, id: str, folder: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({"id": id, "folder": folder}) + "\n")
