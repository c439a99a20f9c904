"""source.py: what counts as a job's source, so that edits rebuild exactly what they touch."""

import sys

import pytest

from descent.runner.source import _folder, closure, source_hash


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own: lab.method imports lab.helper; lab.figures imports lab.method."""
    folder = tmp_path / "lab"
    folder.mkdir()
    files = {
        "__init__": '"""The lab."""\n',
        "method": '"""Doc."""\nfrom .helper import f\n\n\ndef run():\n    """Doc."""\n    return f(1)  # why\n',
        "helper": "def f(x):\n    return x + 1\n",
        "figures": "from lab.method import run\n",
        "late": "def g():\n    import lab.helper\n    return lab.helper.f(2)\n",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield folder
    forget()
    sys.modules.pop("lab", None)


def forget():
    source_hash.cache_clear()
    _folder.cache_clear()


def fresh(*modules):
    source_hash.cache_clear()
    return source_hash(*modules)


def test_the_closure_is_what_the_module_imports_and_no_more(package):
    assert set(closure(["lab.method"])) == {"lab", "lab.method", "lab.helper"}
    assert "lab.helper" in closure(["lab.late"]), "imports inside functions count"


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("method", "# why", "# because", False),
        ("method", '"""Doc."""\n    return', '"""Other doc."""\n    return', False),
        ("method", "return f(1)", "return f( 1 )", False),
        ("helper", "def f(x):", "def f(x: int) -> int:", False),
        ("figures", "import run", "import run as r", False),
        ("method", "return f(1)", "return f(2)", True),
        ("helper", "x + 1", "x + 2", True),
    ],
)
def test_only_code_that_the_job_runs_changes_the_hash(package, file, old, new, changes):
    before = fresh("lab.method")
    path = package / f"{file}.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert (fresh("lab.method") != before) == changes


def test_the_runner_is_part_of_every_job_and_the_report_of_none():
    names = closure(["descent.runner.run"])
    assert {
        "descent.runner.run",
        "descent.core.iterate" if "descent.core.iterate" in names else "descent.core.records",
        "descent.core.streams",
    } <= set(names)
    for forbidden in (
        "descent.report",
        "descent.claims",
        "descent.tracking.mirror",
        "descent.workflow.study",
        "descent.config",
    ):
        assert not [name for name in names if name == forbidden or name.startswith(f"{forbidden}.")], forbidden


def test_the_loaders_are_part_of_what_a_job_runs():
    """Names that a package exports on first use are not followed: a job imports the module that holds the code."""
    assert "descent.data.loaders" in closure(["descent.runner.run"])
