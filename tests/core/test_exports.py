"""core/public.py: names imported on first use, written once, never the name of a module."""

import sys

import pytest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """(text of __init__.py) -> the name of a package with two modules, parts and heavy."""

    def make(text):
        folder = tmp_path / "lazily"
        folder.mkdir()
        (folder / "__init__.py").write_text(f"from descent.core.public import exports\n{text}\n")
        (folder / "parts.py").write_text("def solve(): return 7\nclass Answer: pass\n")
        (folder / "heavy.py").write_text("heavier = 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        return "lazily"

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazily"]:
        del sys.modules[name]


WRITTEN = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from lazily.heavy import heavier as heavier
    from lazily.parts import Answer as Answer, solve as solve
__getattr__, __dir__, __all__ = exports(__name__)
"""
LISTED = '__getattr__, __dir__, __all__ = exports(__name__, {"solve": "parts", "Answer": "parts", "heavier": "heavy"})'


@pytest.mark.parametrize("text", [WRITTEN, LISTED])
def test_names_are_found_on_first_use_and_no_earlier(package, text):
    module = __import__(package(text))
    assert module.__all__ == dir(module) == ["Answer", "heavier", "solve"]
    assert "lazily.parts" not in sys.modules
    assert module.solve() == 7 and "lazily.heavy" not in sys.modules
    with pytest.raises(AttributeError, match="module 'lazily' has no attribute 'solv'"):
        _ = module.solv


def test_a_public_name_that_is_a_module_is_refused(package):
    with pytest.raises(ValueError, match="lazily: `heavy` is a public name and a module of the package"):
        __import__(package('__getattr__, __dir__, __all__ = exports(__name__, {"heavy": "heavy"})'))
