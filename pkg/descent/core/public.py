"""Public names that are imported on first use, so that reading a room's tables does not import torch.

A room's `__init__.py` writes its public names once, where type checkers and editors see them too:

    from typing import TYPE_CHECKING

    from descent.core.public import exports

    if TYPE_CHECKING:
        from descent.papers.mypaper.public import Result as Result, minimise as minimise

    __getattr__, __dir__, __all__ = exports(__name__)
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def exports(
    package: str, names: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__, __dir__, __all__` for a package whose public names live in its submodules.

    names: public name -> submodule; by default what the package's `__init__.py` imports under `if TYPE_CHECKING:`.
    Raises ValueError when a name is also the name of a module of the package: `from package import name` would give the
    function or the module, whichever was imported first.
    """
    module = sys.modules[package]
    found = dict(names) if names is not None else _written(Path(module.__file__ or ""), package)
    if twice := sorted(set(found) & {each.name for each in pkgutil.iter_modules(module.__path__)}):
        raise ValueError(f"{package}: `{twice[0]}` is a public name and a module of the package; rename the module")

    def find(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{found[name]}"), name)

    return find, lambda: sorted(found), sorted(found)


def _written(path: Path, package: str) -> dict[str, str]:
    """public name -> submodule, from the imports under `if TYPE_CHECKING:`."""
    found = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for each in ast.walk(node):
                if isinstance(each, ast.ImportFrom) and (each.module or "").startswith(f"{package}."):
                    home = (each.module or "").removeprefix(f"{package}.")
                    found |= {alias.asname or alias.name: home for alias in each.names}
    return found
