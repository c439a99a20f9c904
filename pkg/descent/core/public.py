"""Public names that are imported on first use, so that reading a room's tables does not import torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__, __dir__, __all__` for a package whose public `names` map to its submodules.

    Example: `__getattr__, __dir__, __all__ = exports(__name__, {"zo": "methods"})`.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{names[name]}"), name)

    return find, lambda: sorted(names), sorted(names)
