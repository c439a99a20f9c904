"""Who may import whom: the walls of docs/architecture.md. A test names the offender and the room it broke into."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from support import ROOT

PACKAGE = ROOT / "pkg" / "descent"

MAY_IMPORT = {
    "core": set(),
    "toolbox": {"core"},
    "privacy": {"core"},
    "data": {"core"},
    "papers": {"core", "toolbox", "privacy", "data", "report.theme"},
    "claims": {"core", "privacy"},
    "runner": {"core", "data"},
    "config": {"core", "claims", "data"},
    "results": {"core", "config"},
    "kit": {"core"},
    "report": {"core", "claims", "config", "results"},
    "tracking": {"core", "config", "results", "report", "runner"},
    "workflow": {"core", "claims", "config", "data", "results", "report", "tracking", "runner"},
}
DRAWING = {"figures.py", "pictures.py"}
"""The modules of a room that draw: no training module imports them."""
ONE_MEANING = {"__init__", "__main__", "docs", "model"}
"""Names that several rooms of the engine may give a module, since they mean the same in each."""


def modules():
    """Dotted name (without `descent.`) -> path of every module of the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if "template" in path.parts:  # the skeleton of a new paper, which stands in a room once it is one
            continue
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known) -> dict[str, int]:
    """What a module imports of this package, wherever in it: dotted name -> line."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write the import with the full name"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top != "descent":
                continue
            while rest and rest not in known:
                rest = rest.rpartition(".")[0]
            if rest:
                found[rest] = node.lineno
    return found


def offences(known=None):
    known = known or modules()
    for name, path in known.items():
        room = name.partition(".")[0]
        if room in ("", "__main__"):
            continue
        for other, line in imports(path, known).items():
            there = other.partition(".")[0]
            allowed = MAY_IMPORT[room]
            if there == room and room != "papers":
                continue
            if room == there == "papers" and other.split(".")[1:2] == name.split(".")[1:2]:
                continue
            if there in allowed:
                continue
            if other in allowed and path.name in DRAWING:
                continue
            yield f"{path}:{line} imports descent.{other}; {room} may import {sorted(allowed)}"


def test_every_import_goes_the_way_that_the_walls_allow():
    assert not list(offences())


@pytest.mark.parametrize(
    ("where", "line", "refused"),
    [
        ("papers/gmfg/game.py", "from descent.papers.rpg.problem import Controller", True),
        ("papers/gmfg/game.py", "from descent.runner.run import perform", True),
        ("papers/gmfg/game.py", "from descent.report import theme", True),
        ("core/job.py", "from descent.runner import run", True),
        ("claims/judge.py", "import descent.papers.gmfg", True),
        ("papers/gmfg/game.py", "from descent.core.streams import Streams", False),
    ],
)
def test_a_forbidden_import_is_named(where, line, refused, tmp_path):
    path = tmp_path / "pkg" / "descent" / where
    path.parent.mkdir(parents=True)
    path.write_text(f"{line}\n")
    known = {**modules(), where.removesuffix(".py").replace("/", "."): path}
    found = [o for o in offences(known) if where in o]
    assert bool(found) == refused, found


def test_every_room_of_the_package_has_walls():
    assert {name.partition(".")[0] for name in modules()} - {"", "__main__"} == set(MAY_IMPORT)


def test_no_circle():
    known = modules()
    arrows = {name: set(imports(path, known)) - {name} for name, path in known.items()}
    done, path = set(), []

    def visit(name):
        assert name not in path, f"a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name in done:
            return
        path.append(name)
        for other in sorted(arrows[name]):
            if known[other].name != "__init__.py" or not other:  # a package's __init__ names its modules, lazily
                visit(other)
        path.pop()
        done.add(name)

    for name in known:
        if known[name].name != "__init__.py":
            visit(name)


def test_no_two_modules_of_the_engine_share_a_name():
    named = defaultdict(list)
    for path in modules().values():
        if "papers" not in path.parts:
            named[path.stem].append(str(path.relative_to(PACKAGE)))
    assert not {stem: paths for stem, paths in named.items() if len(paths) > 1 and stem not in ONE_MEANING}


def test_the_drawing_of_the_architecture_has_the_same_arrows():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = defaultdict(set)
    for left, right in re.findall(r"^ {4}([\w &]+) --> ([\w &]+)$", text.split("```")[1], re.M):
        for room in left.split(" & "):
            drawn[room] |= set(right.split(" & "))
    allowed = {room: {other for other in others if "." not in other} for room, others in MAY_IMPORT.items() if others}
    assert drawn == allowed
    assert set(re.findall(r"^\| `(\w+)(?:/<slug>)?` \|", text, re.M)) == set(MAY_IMPORT)
