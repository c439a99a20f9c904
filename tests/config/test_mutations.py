"""A paper's YAML, spoilt at random outside `claims:`: one clear sentence a fault, or a valid plan; never a traceback."""

import copy
import datetime
import random

import pytest
import yaml

from descent.config.plan import make_plan
from descent.config.read import read_study, registered
from descent.core.errors import ConfigError
from support import ROOT

PAPERS = [slug for slug in registered(ROOT)]
SCALES = ("smoke", "study", "paper")
VALUES = [
    None, "", " ", "zzz", "1e-4", "null", True, False, 0, -1, 3, 10**9, 10**30, 0.5, -0.5, float("nan"), float("inf"), 1e308, [],
    {}, [None], [[]], [{}], ["zzz"], {"zzz": 1}, {"when": None}, {"when": {"zzz": 1}}, [{"device": "tpu"}], [{"tier": "x"}],
    [{"threads": "x"}], datetime.date(2026, 1, 2), b"\xff", "..", "a.b", "{zzz}", "../x", "\u2212", "x" * 5000,
]  # fmt: skip


def places(tree, path=()):
    """Every place of a YAML tree, as the path of keys to it; what belongs to the claims is left out."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        yield (*path, name)
        yield from places(value, (*path, name))


def mutate(data, rng):
    """`data` with one place spoilt; returns it and what was done, in words."""
    data = copy.deepcopy(data)
    path = rng.choice(list(places(data)))
    holder = data
    for name in path[:-1]:
        holder = holder[name]
    last, how = (
        path[-1],
        rng.choice(("delete", "rename", "replace", "replace", "replace", "nest", "double", "misspell", "number")),
    )
    value = holder[last]
    if how == "delete":
        del holder[last]
    elif how == "rename" and isinstance(holder, dict):
        holder[rng.choice([f"{last}x", f"x{last}", str(last)[:-1] or "q", 7])] = holder.pop(last)
    elif how == "nest":
        holder[last] = rng.choice([[value], {"x": value}, [[value]], {str(last): value}])
    elif how == "double" and isinstance(value, list):
        holder[last] = value + copy.deepcopy(value)
    elif how == "misspell" and isinstance(value, str) and value:
        at = rng.randrange(len(value))
        holder[last] = value[:at] + value[at + 1 :]
    elif how == "number" and isinstance(value, (int, float)):
        holder[last] = rng.choice([-value, value * 1e6, value + 0.5, str(value)])
    else:
        holder[last] = copy.deepcopy(rng.choice(VALUES))
    return data, f"{how} {'.'.join(map(str, path))}"


TEXTS = {
    "not UTF-8": lambda text: text.encode()[:50] + b"\xff\xfe" + text.encode()[50:],
    "a tab": lambda text: text.replace("\n  ", "\n\t", 1).encode(),
    "a key twice": lambda text: (text + "\npaper: again\n").encode(),
    "a list as a key": lambda text: (text + "\n[a]: 1\n").encode(),
    "a mapping as a key": lambda text: (text + "\n? {a: 1}\n: 1\n").encode(),
    "an impossible date": lambda text: (text + "\nzzz: 2024-13-45\n").encode(),
    "a number of 5,000 digits": lambda text: (text + f"\nzzz: {'9' * 5000}\n").encode(),
    "nested 3,000 deep": lambda text: (text + f"\nzzz: {'[' * 3000}{']' * 3000}\n").encode(),
    "half a file": lambda text: text[: len(text) // 2].encode(),
    "empty": lambda text: b"",
    "a list": lambda text: b"- 1\n- 2\n",
    "an anchor of itself": lambda text: (text + "\nzzz: &a [*a]\n").encode(),
    "zero bytes": lambda text: (text[:40] + "\x00" + text[40:]).encode(),
}


@pytest.fixture
def spoil(tmp_path, monkeypatch):
    """Plans one paper from given bytes; returns the faults, checked to be sentences, or [] for a plan."""
    monkeypatch.setenv("DESCENT_ROOT", str(ROOT))
    folder = tmp_path / "config" / "papers"
    folder.mkdir(parents=True)
    (tmp_path / "config" / "config.yaml").write_text("scale: study\n")

    def plan(slug, content: bytes, scale="study"):
        for old in folder.glob("*"):
            old.unlink()
        (folder / f"{slug}.yaml").write_bytes(content)
        try:
            make_plan(tmp_path, read_study(tmp_path, {"scale": scale}))
        except ConfigError as error:
            assert error.faults
            for fault in error.faults:
                assert "\n" not in fault and f"{slug}.yaml" in fault, fault
                assert "Error" not in fault and "<class" not in fault and "object at 0x" not in fault, fault
            return error.faults
        return []

    return plan


def source(slug):
    data = yaml.safe_load((ROOT / "config" / "papers" / f"{slug}.yaml").read_text(encoding="utf-8"))
    return {**data, "claims": {}}


def run(spoil, rounds, seed):
    rng = random.Random(seed)
    sources = {slug: source(slug) for slug in PAPERS}
    refused = 0
    for _ in range(rounds):
        slug = rng.choice(PAPERS)
        data, what = mutate(sources[slug], rng)
        content = yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode()
        try:
            refused += bool(spoil(slug, content, rng.choice(SCALES)))
        except Exception as error:
            raise AssertionError(f"{slug}: {what}: {type(error).__name__}: {error}") from error
    return refused


def test_two_hundred_spoilt_files_give_sentences_or_plans(spoil):
    assert run(spoil, 200, 11) > 80


@pytest.mark.soak
def test_two_thousand_spoilt_files_give_sentences_or_plans(spoil):
    assert run(spoil, 2000, 12) > 800


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_not_yaml_is_refused_in_a_sentence(spoil, name):
    text = (ROOT / "config" / "papers" / f"{PAPERS[0]}.yaml").read_text(encoding="utf-8")
    assert spoil(PAPERS[0], TEXTS[name](text)), name


def first(data):
    return next(n for n, e in data["experiments"].items() if e.get("settings") and e.get("vary"))


SILENT = [
    (lambda e: e["settings"].append({"device": "tpu"}), "device"),
    (lambda e: e["settings"].append({"tier": "x"}), "tier"),
    (lambda e: e["settings"].append({"threads": "x"}), "threads"),
    (lambda e: e["settings"].append({"threads": True}), "threads"),
    (lambda e: e["settings"].append({"seeds": True}), "seeds"),
    (lambda e: e["scales"]["study"].update(seeds=10**9), "seeds"),
    (lambda e: e["settings"].append({"when": None}), "when"),
    (lambda e: e["settings"].append({"when": ["pg"]}), "when"),
    (lambda e: e["settings"].append({"tuned": {"zzz": "nothing"}}), "tuned"),
    (lambda e: e["settings"].append({"tuned": ["zzz"]}), "tuned"),
    (lambda e: e["vary"].update({next(iter(e["vary"])): []}), "at least one value"),
    (lambda e: e["vary"].update({next(iter(e["vary"])): {"nobody": [1]}}), "unknown method `nobody`"),
    (lambda e: e["vary"].update(seed=[1, 2]), "cannot be an axis"),
    (lambda e: e["vary"].update(zzz=[1, 2]), "takes a setting `zzz`"),
    (lambda e: e["vary"].update({next(iter(e["vary"])): [[1]]}), "vary"),
    (lambda e: e.update(needs={"a": {"experiment": "zzz"}}), "unknown experiment `zzz`"),
    (lambda e: e.update(needs={"a": {"experiment": "SELF", "where": {"taskx": 1}}}), "taskx"),
    (lambda e: e.update(folders="zzz"), "folders"),
    (lambda e: e.update(packages="scipy"), "packages"),
    (lambda e: e.update(packages=[".."]), "no name of a package"),
    (lambda e: e.update(datasets=["a6a"]), "there is no dataset `a6a`"),
    (lambda e: e["scales"]["paper"].update(vary={"zzz": [1]}), "unknown axis `zzz`"),
    (lambda e: e["scales"]["paper"].update(methods=[]), "at least one"),
    (lambda e: e["scales"]["paper"].update(skip=[{}]), "leave out everything"),
    (lambda e: e["scales"].update(huge={}), "huge"),
]


@pytest.mark.parametrize(("change", "words"), SILENT, ids=[words for _, words in SILENT])
def test_what_would_change_the_meaning_in_silence_is_refused(spoil, change, words):
    data = source("gmfg")
    experiment = data["experiments"]["sampling"]
    change(experiment)
    text = yaml.safe_dump(data, sort_keys=False).replace("SELF", "coupling")
    faults = spoil("gmfg", text.encode(), "smoke")
    assert any(words in fault for fault in faults), faults


def test_top_level_values_that_mean_nothing_are_refused(spoil):
    for change, words in [
        ({"package": ".."}, "no name of a package"), ({"budget": {"study": float("nan")}}, "not a number"),
        ({"title": ""}, "empty"), ({"experiments": []}, "experiments"), ({"notes": "one"}, "notes"), ({"budget": {"study": True}}, "budget"),
    ]:  # fmt: skip
        faults = spoil("gmfg", yaml.safe_dump({**source("gmfg"), **change}, sort_keys=False).encode())
        assert any(words in fault for fault in faults), (change, faults)
