"""kit/mutants.py: changes of one line, the same sample each time, survivors named."""

import ast

import pytest

from descent.core.errors import ConfigError
from descent.kit.mutants import drawn, mutants, nearest_first, of_module

MODULE = '''"""A module - with words."""
LIMIT = 3


def pace(x: int | None, y=True):
    """x - y."""
    if x is not None and x < LIMIT:
        raise ValueError(f"{x} - {y} < 3")
    total = abs(x) * -2.5 + (
        1 / x
    )
    return total.clamp(0) if y else "a - b"
'''
TEST = "from descent.papers.mine.steps import double\n\n\ndef test_double():\n    assert double(3) == 6\n"


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "pace.py"
    path.write_text(MODULE)
    return path


def test_every_mutant_changes_one_line_and_parses(module):
    found = list(of_module(module))
    changes = {(m.line, m.after.strip()) for m in found}
    assert (2, "LIMIT = (4)") in changes
    assert (5, "def pace(x: int | None, y=(False)):") in changes
    assert (7, "if (x is not None or x < LIMIT):") in changes
    assert (7, "if x is not None and (x >= LIMIT):") in changes
    assert any(line == 9 and "abs(x) / -2.5" in after for line, after in changes)
    assert any(line == 12 and "(total) if y" in after for line, after in changes)
    assert not {m.line for m in found} & {1, 6, 8}, "no docstring, no message"
    for mutant in found:
        ast.parse(mutant.text)
        pairs = zip(MODULE.splitlines(), mutant.text.splitlines(), strict=True)
        assert sum(a != b for a, b in pairs) == 1


def test_the_sample_is_the_same_for_the_same_seed_and_has_one_change_a_line(module):
    first, again, other = (drawn(module.parent, 4, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({m.line for m in first}) == len(first) == 4


def test_parts_of_the_figures_are_left_out(module):
    (module.parent / "spreads.py").write_text("from descent.report import theme\n\nWIDTH = 3\n")
    assert {mutant.path.name for mutant in drawn(module.parent, 40, 0)} == {"pace.py"}


def test_caught_and_surviving_mutants_are_told_apart(tmp_path, capsys):
    room, tests = tmp_path / "pkg/descent/papers/mine", tmp_path / "tests/papers/mine"
    for folder in (room, tests):
        folder.mkdir(parents=True)
    for folder in (room, room.parent, room.parents[1]):
        (folder / "__init__.py").touch()
    (room / "steps.py").write_text("def double(x):\n    return x * 2\n\n\ndef unused(x):\n    return x + 1\n")
    (tests / "test_mine_steps.py").write_text(TEST)
    assert mutants(tmp_path, "mine", count=9) == 1
    table = (tmp_path / "mutants/mine.md").read_text()
    assert "1 of 2 caught" in table and "steps.py:6" in table and "steps.py:2" not in table
    (tests / "test_mine_steps.py").write_text(TEST.replace("6", "7"))
    with pytest.raises(ConfigError, match="the tests of mine fail as they are"):
        mutants(tmp_path, "mine")


def test_the_tests_that_speak_of_the_changed_module_run_first(tmp_path):
    texts = {
        "a": "",
        "b": "import steps",
        "c": "paced = 1",
        "d": "import steps\nsteps.go()",
        "e_steps": "",
        "f": "xsteps",
    }
    for name, text in texts.items():
        (tmp_path / f"test_{name}.py").write_text(text)
    order = [path.stem.removeprefix("test_") for path in nearest_first(tmp_path, "steps")]
    assert order == ["e_steps", "d", "b", "a", "c", "f"]


def test_a_paper_without_tests_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="mutants: there is no pkg/descent/papers/nobody"):
        mutants(tmp_path, "nobody")
