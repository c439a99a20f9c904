"""docs/adding-a-paper.md: the signatures that it shows are the engine's. (Its commands run in test_new_paper.py.)"""

import inspect
import re

import pytest

from descent.core.context import Context, Need
from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.core.iterate import Trace, iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.core.settings import Setting
from descent.core.streams import Streams
from descent.report import theme
from support import ROOT

GUIDE = (ROOT / "docs" / "adding-a-paper.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", [Setting, Metric, MethodCard, ExperimentCard, Room, Method])
def test_constructors_are_shown_with_all_their_arguments(kind):
    shown = re.search(rf"^{kind.__name__}\((.*?)\)(?=\s|$)", GUIDE, re.M)
    assert shown, kind
    names = [part.split("=")[0].strip() for part in re.sub(r"\(.*?\)|\".*?\"", "", shown[1]).split(",")]
    assert names == list(inspect.signature(kind).parameters), kind


@pytest.mark.parametrize(
    ("owner", "method"),
    [
        (Records, "add"),
        (Records, "add_trace"),
        (Records, "array"),
        (Streams, "normal"),
        (Streams, "numpy"),
        (Streams, "torch"),
    ],
)
def test_methods_are_shown_with_all_their_arguments(owner, method):
    shown = re.search(rf"\.{method}\((.*?)\)(?=\s|$)", GUIDE.replace("slice(None)", "slice"), re.M)[1]
    names = [part.split("=")[0].strip().lstrip("*") for part in shown.split(",")]
    assert names == [name for name in inspect.signature(getattr(owner, method)).parameters if name != "self"]


def test_iterate_is_shown_with_all_its_arguments():
    shown = re.search(r"= iterate\((.*?)\)$", GUIDE, re.M)[1].replace("at=()", "at=")
    assert [part.split("=")[0].strip() for part in shown.split(",")] == list(inspect.signature(iterate).parameters)
    assert list(inspect.signature(log_grid).parameters) == ["steps", "points"] and "log_grid(steps, points)" in GUIDE


def test_attributes_that_are_shown_exist():
    for word, kind in (("job", Job), ("variant", Variant), ("context", Context), ("trace", Trace)):
        known = {*dir(kind), *getattr(kind, "__dataclass_fields__", {})}
        named = set(re.findall(rf"\b{word}\.(\w+)", GUIDE))
        assert named and named <= known, named - known
    assert {"records", "arrays", "chosen", "choose"} <= {*dir(Need), *Need.__dataclass_fields__}
    assert all(hasattr(theme, name) for name in re.findall(r"theme\.(\w+)", GUIDE))
    frames = set(re.findall(r"frames\.(\w+)", GUIDE))
    assert frames <= {*dir(theme.Frames), *theme.Frames.__annotations__}


def test_no_test_of_the_repository_shares_its_basename():
    """Two of one name cannot be collected together, unless they lie in packages."""
    loose = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    names = [path.name for path in loose]
    assert len(names) == len(set(names)), sorted(name for name in set(names) if names.count(name) > 1)
