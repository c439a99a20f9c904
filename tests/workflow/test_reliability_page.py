"""docs/reliability.md: every promise names a test that is there."""

import re

from support import ROOT

PAGE = ROOT / "docs" / "reliability.md"


def test_every_promise_names_tests_that_exist():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))
    assert len(named) >= 25
    lost = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not lost


def test_the_table_of_the_long_runs_has_what_they_count_and_nothing_was_lost():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.M)
    assert len(rows) >= 10 and all(int(tries) == int(survived) + int(lost) for _, tries, survived, lost in rows)
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for what, *_ in rows:
        words = re.split(r"(?:one bit flipped|cut off|a block of zeros), |a smoke study with ", what)[-1]
        assert words in sources + (ROOT / "tests/workflow/hostile.py").read_text(encoding="utf-8"), what
