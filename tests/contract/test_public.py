"""The public surface of every room that has a public.py: what its documentation shows runs as a user would run it.

The example in docs/papers/<slug>.md: a block ```` ```python set-up ```` (what is the user's own; may be left out) and a block
```` ```python example ```` of at most twelve lines. What must be refused, and calls of several seeds: tests/papers/<slug>/<slug>_public.py
(tests of a new paper made by `descent new` show both).
"""

import importlib
import importlib.util
import inspect
import json
import random
import re
import subprocess
import sys
import typing
from functools import cache

import numpy as np
import pytest
import torch

from descent.config.docs import call as called
from descent.config.read import read_paper, registered
from descent.core.errors import SettingError
from support import ROOT

PACKAGES = {slug: read_paper(ROOT, slug).package or f"descent.papers.{slug}" for slug in registered(ROOT)}
PUBLIC = {slug: package for slug, package in PACKAGES.items() if importlib.util.find_spec(f"{package}.public")}
INSTEAD = {
    "learning_rate": "lr", "step_size": "lr", "eta": "lr", "epochs": "steps", "iterations": "steps", "n_steps": "steps",
    "num_steps": "steps", "max_iter": "steps", "generator": "seed", "rng": "seed", "random_seed": "seed", "verbose": "callback",
}  # fmt: skip
"""Words that a public name does not take, and the one that it does."""
LINES = 12

pytestmark = pytest.mark.skipif(not PUBLIC, reason="no room has a public.py")
every_room = pytest.mark.parametrize("slug", PUBLIC)


def example(slug):
    """(set-up, example) of the room's page."""
    page = ROOT / "docs" / "papers" / f"{slug}.md"
    assert page.is_file(), f"docs/papers/{slug}.md is missing: it shows the room's example"
    blocks = dict(re.findall(r"^```python (set-up|example)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.S | re.M))
    assert "example" in blocks, f"docs/papers/{slug}.md has no block ```python example"
    return blocks.get("set-up", ""), blocks["example"]


def cases(slug):
    """The room's own table of refused and seeded calls."""
    path = ROOT / "tests" / "papers" / slug / f"{slug}_public.py"
    assert path.is_file(), f"{path.relative_to(ROOT)} is missing: REFUSED and SEEDED, as in kit/template/tests"
    spec = importlib.util.spec_from_file_location(f"{slug}_public", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Runs the blocks in a process that can import nothing beyond the five training packages and what they need, and prints what
# tensors the example left behind, whether it touched a global random state, and what it changed of the set-up's tensors.
ALONE = r"""
import hashlib, importlib.machinery, importlib.metadata, json, random, re, sys

setup, example = json.loads(sys.stdin.read())
waiting, allowed = ["torch", "numpy", "pandas", "pyarrow", "PyYAML"], set()
while waiting:
    name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
    if name not in allowed:
        allowed.add(name)
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [re.match(r"[\w.-]+", need)[0] for need in needs if "extra ==" not in need]
owners = importlib.metadata.packages_distributions()


class Bare(importlib.machinery.PathFinder):
    # Finds the five packages, what they need, and this one; others are not there.
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        dists = {re.sub(r"[-_.]+", "-", d).lower() for d in owners.get(name.partition(".")[0], ())}
        return super().find_spec(name, path, target) if not dists or dists & {*allowed, "descent"} else None


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = Bare
import numpy, torch

def states():
    return [
        torch.random.get_rng_state().tolist(), numpy.random.get_state()[1].tolist(), list(random.getstate()[1]),
        str(torch.get_default_dtype()), torch.get_num_threads(), torch.is_grad_enabled(),
    ]


def tensors(value, seen):
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, torch.nn.Module):
        yield from (t for _, t in sorted({**dict(value.named_parameters()), **dict(value.named_buffers())}.items()))
    elif isinstance(value, dict):
        for each in value.values():
            yield from tensors(each, seen)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors(each, seen)
    elif isinstance(value, numpy.ndarray):
        yield torch.from_numpy(value)


def digest(space, names):
    found = [t for name in sorted(names) for t in tensors(space[name], set())]
    plain = [t.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for t in found]
    return hashlib.sha256(b"".join(plain)).hexdigest(), sorted({str(t.dtype) for t in found if t.is_floating_point()})


def once(dtype):
    torch.set_default_dtype(getattr(torch, dtype))
    torch.manual_seed(0)
    space = {"__name__": "example"}
    exec(setup, space)
    before, known = states(), set(space)
    plain = [n for n in known if isinstance(space[n], torch.Tensor) and not space[n].requires_grad]
    inputs = digest(space, plain)
    exec(example, space)
    names = {n for n in space if not n.startswith("_")}
    return {
        "global": [a == b for a, b in zip(before, states())], "inputs": inputs == digest(space, plain),
        "digest": digest(space, names)[0], "dtypes": digest(space, names - set(plain))[1],
    }


print(json.dumps({dtype: [once(dtype), once(dtype)] for dtype in ("float32", "float64")}))
"""


@cache
def alone(slug):
    """What the example did, twice in each dtype, in one process."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE], input=json.dumps(example(slug)), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"docs/papers/{slug}.md, as a user runs it:\n{done.stderr[-3000:]}"
    return json.loads(done.stdout.splitlines()[-1])


@every_room
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_example_of_the_documentation_runs_twice_alike_and_leaves_the_rest_alone(slug, dtype):
    """On a bare machine; the numbers are of the dtype that the user's tensors have."""
    first, second = alone(slug)[dtype]
    assert first["digest"] == second["digest"], "the same example gave other bytes"
    assert all(first["global"]), (
        "torch's, NumPy's or random's global state, the default dtype, threads or grad mode changed"
    )
    assert first["inputs"], "the example changed a tensor of the set-up"
    assert first["dtypes"] in ([f"torch.{dtype}"], []), f"results are {first['dtypes']}, the user's tensors {dtype}"


@every_room
def test_the_example_is_short(slug):
    lines = [line for line in example(slug)[1].splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) <= LINES, f"docs/papers/{slug}.md: {len(lines)} lines, at most {LINES}"


def surface(slug):
    """Public name -> object, of what public.py defines."""
    package = importlib.import_module(PUBLIC[slug])
    found = {name: getattr(package, name) for name in package.__all__}
    return {
        name: it for name, it in found.items() if getattr(it, "__module__", "").startswith(f"{PUBLIC[slug]}.public")
    }


@every_room
def test_public_signatures_have_one_form(slug):
    """The user's objects first, all else by keyword; annotated; the study's words."""
    assert surface(slug), f"{slug}: public.py defines no name that `__init__.py` exports"
    for name, it in surface(slug).items():
        if inspect.isclass(it) and issubclass(it, tuple):
            continue  # a result
        parameters = [p for p in inspect.signature(it).parameters.values() if p.name not in ("self", "cls")]
        hints = typing.get_type_hints(it.__init__ if inspect.isclass(it) else it)
        for p in parameters:
            assert p.name in hints, f"{slug}.{name}: `{p.name}` has no type"
            assert p.name not in INSTEAD, f"{slug}.{name}: `{p.name}` is called `{INSTEAD[p.name]}` everywhere"
            if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty:
                assert p.name == "lr", f"{slug}.{name}: `{p.name}` has a default, so it must be keyword-only"
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        assert len(positional) <= 4, f"{slug}.{name}: {positional} by position; the user's objects only"
        if not inspect.isclass(it):
            assert "return" in hints, f"{slug}.{name} has no return type"
        assert inspect.getdoc(it), f"{slug}.{name} has no docstring"


@every_room
def test_the_defaults_are_the_documented_ones(slug):
    """What a call gives without being asked changes only together with docs/api.md (`make docs`)."""
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name, it in surface(slug).items():
        assert f"| `{called(name, it)}` |" in page, f"{slug}.{name} takes other arguments or defaults: run `make docs`"


@every_room
def test_every_type_of_the_room_that_a_signature_names_is_public(slug):
    package = importlib.import_module(PUBLIC[slug])
    for name, it in surface(slug).items():
        hints = typing.get_type_hints(it.__init__ if inspect.isclass(it) and not issubclass(it, tuple) else it)
        for hint in hints.values():
            for each in _inside(hint):
                if inspect.isclass(each) and each.__module__.startswith(PUBLIC[slug]):
                    assert each.__name__ in package.__all__, f"{slug}.{name} names {each.__name__}, which is not public"


def _inside(hint):
    yield hint
    for argument in typing.get_args(hint):
        yield from _inside(argument)


def _states():
    return torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()


@every_room
def test_wrong_input_is_refused_in_one_sentence_and_nothing_else_happens(slug):
    refused = cases(slug).REFUSED
    assert len(refused) >= 5, f"{slug}_public.REFUSED: at least five"
    for what, (call, words) in refused.items():
        before = _states()
        with pytest.raises(SettingError) as caught:
            call()
        text = str(caught.value)
        assert words in text, f"{what}: {text}"
        assert "\n" not in text and len(text) < 400, f"{what}: one sentence, please: {text}"
        after = _states()
        assert torch.equal(before[0], after[0]) and (before[1] == after[1]).all() and before[2] == after[2], what


@every_room
def test_three_seeds_at_once_are_three_runs(slug):
    for name, call in cases(slug).SEEDED.items():
        together = call(range(3))
        for seed in range(3):
            for rows, row in zip(together, call(seed), strict=True):
                assert len(rows) == 3, f"{slug}.{name}: the leading axis must be the seeds'"
                tolerance = 1e-9 if rows.dtype == torch.float64 else 1e-4
                torch.testing.assert_close(
                    rows[seed], row, rtol=tolerance, atol=tolerance, msg=f"{slug}.{name}, seed {seed}"
                )
