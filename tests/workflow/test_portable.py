"""The package can be imported where PyTorch can: what only POSIX has is asked for where it is used, with a way around."""

import ast

import pytest

from support import ROOT

POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
ELSEWHERE = {"devices.py": "fcntl"}  # claims of a GPU are the workflow's, and there is none on Windows
FILES = sorted((ROOT / "pkg").rglob("*.py"))


def imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.partition(".")[0]


def test_no_module_needs_posix_to_be_imported():
    lost = []
    for path in FILES:
        top = ast.parse(path.read_text(encoding="utf-8")).body
        lost += [f"{path.relative_to(ROOT)}:{line} {name}" for line, name in imported(top) if name in POSIX]
    assert not lost


def test_where_posix_is_used_another_system_is_thought_of():
    """Each such import stands in a `try` that goes on without it."""
    lost = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tried = {id(n) for t in ast.walk(tree) if isinstance(t, ast.Try) for n in t.body}
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)) and id(node) not in tried:
                found = [(line, name) for line, name in imported([node]) if name in POSIX]
                lost += [
                    f"{path.relative_to(ROOT)}:{k} {name}" for k, name in found if ELSEWHERE.get(path.name) != name
                ]
    assert not lost


@pytest.mark.parametrize("name", ["resource", "fcntl"])
def test_without_it_the_work_goes_on(name, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, name, None)  # then `import` raises ModuleNotFoundError, as on Windows
    if name == "resource":
        from descent.runner.sidecar import _peak_memory

        assert _peak_memory() == 0.0
    else:
        from descent.tracking.stores import locked

        with locked(tmp_path / "a.lock"):
            pass
