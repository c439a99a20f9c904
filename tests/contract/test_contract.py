"""What every room must pass, an eleventh paper's included: found by itself from config/papers.

At smoke scale, with the real engine and no Snakemake: every experiment runs and declares what it records, every figure is
drawn, every public name is there, bad settings are refused; and of every method in every module one job repeats to the byte,
killed and resumed, and keeps its seeds apart.
"""

import ast
import importlib
import inspect
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from descent.config.plan import make_plan, room_of
from descent.config.read import read_study, registered
from descent.core.checkpoint import FileCheckpoint
from descent.core.errors import nearest
from descent.core.settings import faults
from descent.data.presence import present
from support import ROOMS, ROOT

PAPERS = registered(ROOT)


@cache
def plan_of(paper, scale="smoke"):
    return make_plan(ROOT, read_study(ROOT, {"papers": paper, "scale": scale}), everything=True)


def jobs_of(kinds=("train", "analyse", "select")):
    return [(paper, id) for paper in PAPERS for id, job in plan_of(paper).jobs.items() if job.kind in kinds]


def covering(jobs):
    """Of `jobs` the first ones that together hold every method of every module that trains: variants in number only are
    the same program, and to run them all again would cost more than it shows."""
    found, seen = [], set()
    for paper, id in jobs:
        job = plan_of(paper).jobs[id]
        forms = {(paper, job.module, variant.method) for variant in job.variants}
        if job.kind == "train" and not forms <= seen:
            seen |= forms
            found.append((paper, id))
    return found


JOBS = jobs_of()
ONE_EACH = covering(JOBS)


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """Runs jobs of a paper once a session, with what they need."""
    from descent.runner.run import execute

    results = tmp_path_factory.mktemp("smoke")
    done = set()

    def run(paper, id):
        plan = plan_of(paper)
        job = plan.jobs[id]
        for ids in job.needs.values():
            for need in ids:
                run(paper, need)
        if id not in done:
            _require_data(job)
            execute(job, results, say=lambda text: None)
            done.add(id)
        return job, results

    return run


def _require_data(job):
    for name in job.datasets:
        if not present(job.stand_ins.get(name, name)).on_disk:
            pytest.skip(f"dataset {name} is not fetched: make data")


def again(job, results, checkpoint=None):
    from descent.runner.run import perform, read_need

    needs = {name: read_need(results, ids) for name, ids in job.needs.items()}
    return perform(job, needs=needs, checkpoint=checkpoint)


@pytest.mark.parametrize(("paper", "id"), JOBS)
def test_runs_and_declares_every_metric_and_covers_every_variant(smoke, paper, id):
    job, results = smoke(paper, id)
    frame = pd.read_parquet(results / id / "records.parquet")
    room = room_of(plan_of(paper).papers[paper])
    undeclared = (
        set(frame["metric"]) - set(room.metrics) - ({f"mean_{job.select['metric']}", "chosen"} if job.select else set())
    )
    close = {name: nearest(name, room.metrics) for name in sorted(undeclared)}
    assert not undeclared, (
        f"declare in `metrics` of ROOM in room.py: {', '.join(f'`{n}`{hint}' for n, hint in close.items())}"
    )
    assert not frame.duplicated(["method", *job.axes, "seed", "step", "metric"]).any()
    assert (frame["status"].isin(["ok", "censored", "diverged", "undefined"])).all()
    assert np.isfinite(frame.loc[frame["status"] == "ok", "value"]).all()
    for variant in job.variants:
        own = frame[frame["method"] == variant.method]
        for axis, value in variant.setting.items():
            own = own[own[axis].isna()] if value is None else own[own[axis] == value]
        assert set(own["seed"]) >= set(variant.seeds), f"{variant.key} has no records of some seeds"


def _plain(value):
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return "" if pd.isna(value) else f"{float(value):.12g}" if number else str(value)


class Killed(BaseException):
    pass


class Dying(FileCheckpoint):
    """Ends the job at its first checkpoint."""

    def save(self, *args, **kwargs):
        super().save(*args, **kwargs)
        raise Killed


def _global_state():
    import torch

    return torch.random.get_rng_state().tolist(), np.random.get_state()[1].tolist(), torch.get_default_dtype()


@pytest.mark.parametrize(("paper", "id"), ONE_EACH)
def test_killed_and_resumed_it_repeats_to_the_byte_and_leaves_global_state_alone(smoke, paper, id, tmp_path):
    """A job without a checkpoint is simply done again."""
    import torch

    from descent.core.records import write_records

    job, results = smoke(paper, id)
    torch.manual_seed(5)
    np.random.seed(5)
    before = _global_state()
    try:
        records = again(job, results, Dying(tmp_path / "c", "key", every=0))
    except Killed:
        records = again(job, results, FileCheckpoint(tmp_path / "c", "key", every=0))
    assert _global_state() == before
    write_records(tmp_path / "again.parquet", records.frame(job))
    assert (tmp_path / "again.parquet").read_bytes() == (results / id / "records.parquet").read_bytes()


@pytest.mark.parametrize(("paper", "id"), ONE_EACH)
def test_a_seed_does_not_notice_the_others_of_its_batch(smoke, paper, id):
    job, results = smoke(paper, id)
    if max(len(v.seeds) for v in job.variants) < 2:
        pytest.skip("one seed at smoke")
    alone = replace(job, variants=tuple(replace(v, seeds=v.seeds[-1:]) for v in job.variants))
    whole = pd.read_parquet(results / id / "records.parquet")
    part = again(alone, results).frame(alone)
    keys = ["method", *job.axes, "seed", "step", "metric"]
    for axis in job.axes:  # Parquet turns whole numbers into floats where some methods have no such axis
        part[axis], whole[axis] = part[axis].map(_plain), whole[axis].map(_plain)
    both = part.merge(whole, on=keys, how="left", suffixes=("", "_whole"))
    assert len(both) == len(part) and both["value_whole"].notna().equals(both["value"].notna())
    scale = both["value"].abs().clip(lower=1e-3)
    # Most methods agree to 1e-9. What a run amplifies of the rounding of float32 is allowed here; a shared random number is not.
    assert ((both["value"] - both["value_whole"]).abs() / scale).max() < 1e-2
    assert (both["status"] == both["status_whole"]).all()


@pytest.mark.parametrize("paper", PAPERS)
def test_every_method_is_reached_and_every_setting_is_guarded(paper):
    plan = plan_of(paper)
    config, room = plan.papers[paper], room_of(plan.papers[paper])
    reached = {
        v.method
        for scale in ("smoke", "study", "paper")
        for job in plan_of(paper, scale).of(paper)
        for v in job.variants
    }
    named = {m for e in config.experiments.values() for m in e.methods}
    assert named == set(room.methods), "the config and the room name the same methods"
    assert named <= reached, f"no job at any scale runs {named - reached}"
    used = {s for card in (*room.experiments.values(), *room.methods.values()) for s in card.settings}
    assert used == set(room.settings), "every declared setting is taken by something"
    for name, setting in room.settings.items():
        assert setting.doc.strip().endswith("."), f"{name}: a sentence, please"
        bad = object()
        assert faults(paper, room.settings, {name: bad}), f"{name} accepts anything"
        if setting.kind in (int, float) and not setting.choices:
            assert setting.low is not None or setting.high is not None, f"{name} has no limits"


@pytest.mark.parametrize("paper", PAPERS)
def test_every_figure_is_drawn_at_smoke(smoke, paper, tmp_path):
    from descent.report.figures import draw, figures_of
    from descent.results.stored import Results

    plan = plan_of(paper)
    for id, job in plan.jobs.items():
        if job.kind in ("train", "analyse", "select"):
            _, results = smoke(paper, id)
    found = Results(plan, paper, results)
    drawn = draw(found, tmp_path)
    assert [figure["name"] for figure in drawn] == list(figures_of(found)), "every name of FIGURES, in its order"
    for figure in drawn:
        assert figure["caption"].endswith((".", "?")), (
            f"{figure['name']}: its docstring is its caption: sentences, please"
        )
        if figure["not_run"] is None:
            assert (tmp_path / f"{figure['name']}.svg").stat().st_size > 2000, f"{figure['name']} is empty"
    named = {claim.get("figure") for claim in plan.papers[paper].claims.values()} - {None}
    begins = tuple(figure["name"] for figure in drawn)
    assert all(name in begins or any(b.startswith((f"{name}_", f"{name}-")) for b in begins) for name in named), named


@pytest.mark.parametrize("paper", PAPERS)
def test_every_public_name_is_there(paper):
    package = importlib.import_module(plan_of(paper).papers[paper].package or f"descent.papers.{paper}")
    assert package.__doc__, "a docstring that says what is public"
    assert list(package.__all__) == sorted(set(package.__all__)) and package.__all__
    for name in package.__all__:
        found = getattr(package, name)
        assert not inspect.ismodule(found), f"{name} is a module: give it or the module another name"
        assert not callable(found) or inspect.getdoc(found), f"{name} has no docstring"


@pytest.mark.parametrize("paper", PAPERS)
def test_importing_the_room_s_tables_imports_neither_torch_nor_the_workflow(paper):
    import subprocess
    import sys

    package = plan_of(paper).papers[paper].package or f"descent.papers.{paper}"
    code = f"import sys, {package}.room; print([m for m in ('torch', 'snakemake', 'mlflow', 'seaborn', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("paper", PAPERS)
def test_training_modules_need_the_training_packages_only(paper):
    from descent.runner.source import _path, closure

    plan = plan_of(paper)
    allowed = {"torch", "numpy", "pandas", "pyarrow", "yaml", "descent", "__future__"}
    extra = {"scipy", "sklearn", "statsmodels", "seaborn", "matplotlib", "mlflow", "snakemake", "pydantic", "dvc"}
    for job in {j.module: j for j in plan.of(paper) if j.kind == "train"}.values():
        for name in closure([job.module]):
            tree = ast.parse(Path(_path(name, {"descent", job.module.split(".")[0]})).read_text())
            top = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
            names = {(n.module or "descent") if isinstance(n, ast.ImportFrom) else a.name for n in top for a in n.names}
            bad = {n for n in names if n.split(".")[0] in extra - allowed}
            assert not bad, f"{name} imports {bad} at the top"


def test_rooms_import_no_other_room():
    for path in (ROOT / "pkg/descent/papers").glob("*/*.py"):
        slug = path.parent.name
        others = [p for p in PAPERS if p != slug]
        found = re.findall(r"descent\.papers\.(\w+)", path.read_text())
        assert not set(found) & set(others), f"{path.name} of {slug} imports another room"


def test_the_engine_knows_no_paper_by_name():
    for path in (ROOT / "pkg/descent").rglob("*.py"):
        if {"papers", "kit"} & set(path.parts) or path.parts[-2] == "data":
            continue
        code = ast.unparse(ast.parse(path.read_text()))
        strings = {
            n.value for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        }
        docs = {
            ast.get_docstring(n, clean=False)
            for n in ast.walk(ast.parse(code))
            if isinstance(n, (ast.Module, ast.FunctionDef, ast.ClassDef))
        }
        named = [s for s in strings - docs for p in PAPERS if re.fullmatch(p, s)]
        assert not named, f"{path}: {named}"


@pytest.mark.parametrize("paper", PAPERS)
def test_the_budget_is_kept_in_the_config(paper):
    config = plan_of(paper).papers[paper]
    assert config.budget.get("study", 0) > 0


def test_the_budgets_add_up():
    total = sum(plan_of(p).papers[p].budget["study"] for p in PAPERS)
    assert total <= read_study(ROOT).budget


def test_the_tiny_room_passes_the_plan_too(project):
    assert yaml.safe_load((ROOMS / "tiny.yaml").read_text())["paper"] == "tiny"
    assert make_plan(project, read_study(project, {"scale": "smoke"})).jobs
    assert importlib.import_module("tiny.room").ROOM.methods
