"""Names of test modules: pytest takes two of one name for one."""

from collections import defaultdict

from support import ROOT


def test_no_two_test_modules_have_one_name():
    places = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name not in ("__init__.py", "conftest.py") and "rooms" not in path.parts:
            places[path.name].append(str(path.relative_to(ROOT)))
    taken = [
        f"{' and '.join(where)}: begin the name with that of the paper" for where in places.values() if len(where) > 1
    ]
    assert not taken, "; ".join(taken)
