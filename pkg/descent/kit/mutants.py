"""Mutants: do a room's tests notice when one line of the room is wrong?

A sample of single-line changes (an operator, a comparison, a number, a boolean, a sign, a dropped call of `abs`, `clip` and
the like, a dropped minus) is drawn from the room's modules, figures and declarations left out. Each is put into a copy of
the package, and the room's own tests are run on it until the first failure, those that speak most of the changed module
first, and last those that hold its public calls to docs/api.md and to its table of refusals. A line that no test misses is a survivor: a missing test, or a change that makes no difference.

For development only: it takes as long as `count` runs of the room's tests.
"""

from __future__ import annotations

import ast
import copy
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from descent.core.errors import ConfigError, listed
from descent.core.files import write_text

LEFT_OUT = {"__init__.py", "figures.py", "room.py", "settings.py"}
SWAPPED: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.Lt: ast.GtE, ast.LtE: ast.Lt, ast.Gt: ast.LtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
CONTRACT = (
    "test_the_defaults_are_the_documented_ones",
    "test_wrong_input_is_refused_in_one_sentence_and_nothing_else_happens",
)
DROPPED = {"abs", "clamp", "clip", "sqrt", "exp", "log", "sigmoid", "detach"}


@dataclass(frozen=True)
class Mutant:
    """One changed line. text: the whole module with the change."""

    path: Path
    line: int
    before: str
    after: str
    text: str


def mutants(root: Path, paper: str, *, count: int = 40, seed: int = 0, limit: float = 120) -> int:
    """Try a sample of mutants and write mutants/<paper>.md with the survivors; returns 0 when at least 85 % are caught.

    limit: seconds for one run of the tests, at least three times what they take unchanged; a mutant that exceeds it counts
    as caught. Raises ConfigError when the paper has no room or no tests, or when the tests fail without any change.
    """
    room, tests = root / "pkg/descent/papers" / paper, root / "tests/papers" / paper
    for folder in (room, tests):
        if not folder.is_dir():
            known = sorted(path.parent.name for path in (root / "pkg/descent/papers").glob("*/__init__.py"))
            raise ConfigError(f"mutants: there is no {folder.relative_to(root)}; papers: {listed(known)}")
    sample = drawn(room, count, seed)
    contract = root / "tests/contract/test_public.py"
    shared = (
        [f"{contract}::test_the_defaults_are_the_documented_ones[{paper}]"] if (room / "public.py").is_file() else []
    )
    with tempfile.TemporaryDirectory(prefix="descent-mutants-") as folder:
        package = Path(folder) / "pkg"
        shutil.copytree(root / "pkg", package, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        began = time.monotonic()
        if fails(root, package, [tests, *shared], 20 * limit) is not None:
            raise ConfigError(
                f"mutants: the tests of {paper} fail as they are: python -m pytest {tests.relative_to(root)}"
            )
        takes = time.monotonic() - began
        limit = max(limit, 3 * takes)  # a busy machine is no reason to call a mutant caught
        print(f"{len(sample)} mutants; the tests take {takes:.0f} s when nothing is wrong", flush=True)
        outcomes = []
        for i, mutant in enumerate(sample):
            target = package / "descent/papers" / paper / mutant.path.relative_to(room)
            original = target.read_text(encoding="utf-8")
            target.write_text(mutant.text, encoding="utf-8")
            how = fails(root, package, [*nearest_first(tests, mutant.path.stem), *shared], limit)
            target.write_text(original, encoding="utf-8")
            outcomes.append(how)
            print(
                f"{i + 1:3} {how or 'SURVIVED':9} {mutant.path.name}:{mutant.line}  {mutant.after.strip()}", flush=True
            )
    caught = sum(how is not None for how in outcomes)
    path = root / "mutants" / f"{paper}.md"
    write_text(path, table(paper, seed, sample, outcomes))
    print(f"{caught} of {len(sample)} caught; survivors: {path.relative_to(root)}")
    return 0 if caught >= 0.85 * len(sample) else 1


def table(paper: str, seed: int, sample: list[Mutant], outcomes: list[str | None]) -> str:
    """The survivors as Markdown, with a column for the reason why each is harmless."""
    survivors = [mutant for mutant, how in zip(sample, outcomes, strict=True) if how is None]
    caught = len(sample) - len(survivors)
    lines = [f"# Mutants of {paper}: {caught} of {len(sample)} caught (sample {seed})", ""]
    if survivors:
        lines += ["| line | as it is | changed to | why it is harmless |", "|---|---|---|---|"]
    for mutant in survivors:
        before, after = (text.strip().replace("|", "\\|") for text in (mutant.before, mutant.after))
        lines.append(f"| {mutant.path.name}:{mutant.line} | `{before}` | `{after}` | |")
    return "\n".join(lines) + "\n"


def nearest_first(tests: Path, module: str) -> list[Path]:
    """The test files, those first that carry the module's name or speak of it most often."""
    word = re.compile(rf"\b{module}\b")

    def distance(path: Path) -> tuple[bool, int]:
        return not path.stem.endswith(module), -len(word.findall(path.read_text(encoding="utf-8")))

    return sorted(sorted(tests.rglob("test_*.py")), key=distance)


def fails(root: Path, package: Path, tests: Sequence[Path | str], limit: float) -> str | None:
    """How the tests notice (`failed`, `too slow`), or None when they pass."""
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "-p", "no:cacheprovider", *map(str, tests)]
    try:
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return "too slow"
    return "failed" if done.returncode else None


def drawn(room: Path, count: int, seed: int) -> list[Mutant]:
    """`count` mutants of the room's modules, the same for the same seed and source; at most one a line."""
    every = {}
    for path in sorted(room.rglob("*.py")):
        if path.name not in LEFT_OUT and not draws(path):
            for mutant in of_module(path):
                every.setdefault((path, mutant.line), []).append(mutant)
    rng = random.Random(seed)
    lines = rng.sample(sorted(every), min(count, len(every)))
    return [rng.choice(every[line]) for line in lines]


def draws(path: Path) -> bool:
    """Whether a module is a part of the figures: it imports what they are drawn with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    return any(name.startswith(("matplotlib", "descent.report")) for name in names)


def of_module(path: Path) -> Iterator[Mutant]:
    """Every mutant of one module that changes one line and still parses."""
    text = path.read_text(encoding="utf-8")
    rows = text.splitlines(keepends=True)
    tree = ast.parse(text)
    unchanged = ast.dump(tree)
    for node, changed in _changes(tree):
        if node.lineno != node.end_lineno:
            continue
        row = rows[node.lineno - 1]
        data = row.encode()  # columns count bytes
        after = (data[: node.col_offset] + f"({ast.unparse(changed)})".encode() + data[node.end_col_offset :]).decode()
        mutated = "".join([*rows[: node.lineno - 1], after, *rows[node.lineno :]])
        try:
            if ast.dump(ast.parse(mutated)) == unchanged:
                continue
        except SyntaxError:  # inside an f-string, say
            continue
        yield Mutant(path, node.lineno, row, after, mutated)


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.expr]]:
    """(expression, what takes its place) for every place that can be changed, annotations and texts left out."""
    for node in _code(tree):
        if isinstance(node, ast.BinOp) and type(node.op) in SWAPPED:
            if not isinstance(node.op, ast.Mod) or not isinstance(node.left, (ast.Constant, ast.JoinedStr)):
                yield node, _with(node, op=SWAPPED[type(node.op)]())
        elif isinstance(node, ast.BoolOp):
            yield node, _with(node, op=SWAPPED[type(node.op)]())
        elif isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, _with(node, ops=[SWAPPED[type(node.ops[0])]()])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not, ast.Invert)):
            yield node, node.operand
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield node, ast.Constant(not node.value)
        elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
            yield node, ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 2 or 1.0)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DROPPED:
            module = isinstance(node.func.value, ast.Name) and node.func.value.id in ("torch", "np", "math")
            yield node, node.args[0] if module and node.args else node.func.value


def _code(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions that run: no annotations, docstrings, imports, or texts."""
    for name, field in ast.iter_fields(node):
        if name in ("annotation", "returns", "type_params"):
            continue
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.JoinedStr) or not isinstance(child, ast.AST):
                continue
            if isinstance(child, ast.Raise) or (isinstance(child, ast.Assign) and _is_text(child.value)):
                continue
            if isinstance(child, ast.keyword) and child.arg == "strict":  # of zip: it raises or does nothing
                continue
            if isinstance(child, ast.expr):
                yield child
            yield from _code(child)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _with(node: ast.expr, **fields: object) -> ast.expr:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed
