"""The hash of the source that a job runs: its modules and all that they import from this package.

Comments, docstrings, layout and the types of a function's arguments do not count, so mending one retrains nothing. Imports are found in the text,
also inside functions; a room's labels and figures stay out because no training module imports them.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "descent"


def job_source(module: str) -> str:
    """The hash of the code that a job of the experiment `module` runs: that module, its imports, and the runner."""
    return source_hash(module, f"{__package__}.run")


@cache
def source_hash(*modules: str) -> str:
    """16 hexadecimal digits for the code reachable from `modules` (dotted names)."""
    total = hashlib.sha256()
    for name, code in sorted(closure(modules).items()):
        total.update(f"{name}\n{code}\n".encode())
    return total.hexdigest()[:16]


def closure(modules: Iterable[str]) -> dict[str, str]:
    """Every module that `modules` import, directly or not: dotted name -> code without comments.

    Only this package and the packages of `modules` themselves count (a room may live in a package of its own).
    Raises LookupError when one of `modules` does not exist: a module that was moved must not drop out of a hash.
    """
    found: dict[str, str] = {}
    waiting = list(modules)
    packages = {PACKAGE, *(name.split(".")[0] for name in waiting)}
    if lost := [name for name in waiting if _path(name, packages) is None]:
        raise LookupError(f"there is no module {lost[0]} to hash")
    while waiting:
        name = waiting.pop()
        if name in found or (path := _path(name, packages)) is None:
            continue
        code, imports = _read(path, name, path.stat().st_mtime_ns)
        found[name] = code
        waiting.extend(imports)
    return found


@cache
def _read(path: Path, name: str, _changed: int) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = tuple(_imports(tree, name, path.name == "__init__.py"))
    return ast.unparse(_without_words(tree)), imports


def _path(name: str, packages: set[str]) -> Path | None:
    top, *parts = name.split(".")
    if top not in packages or (folder := _folder(top)) is None:
        return None
    base = folder.joinpath(*parts)
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def module_text(name: str) -> str:
    """The text of a module, docstrings included; empty when there is no such module."""
    path = _path(name, {name.split(".")[0]})
    return path.read_text(encoding="utf-8") if path else ""


@cache
def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def _imports(tree: ast.AST, name: str, is_package: bool) -> Iterator[str]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = name.split(".")[: len(name.split(".")) - node.level + is_package]
                base = ".".join([*parents, *([base] if base else [])])
            yield from _with_parents(base)
            for alias in node.names:
                yield f"{base}.{alias.name}"


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run: what stands under `if TYPE_CHECKING:` is for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for other in node.orelse:
                yield from (other, *_running(other))
            continue
        yield node
        yield from _running(node)


def _with_parents(name: str) -> Iterator[str]:
    """Importing a.b.c runs a/__init__ and a/b/__init__ as well."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])


def _without_words(tree: ast.Module) -> ast.Module:
    """The tree without docstrings and without the types in functions' signatures (those of classes' fields stay)."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    return tree
