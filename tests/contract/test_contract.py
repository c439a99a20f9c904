"""What every room must pass, an eleventh paper's included: found by itself from config/papers.

At smoke scale, with the real engine and no Snakemake: every experiment runs, declares what it records, repeats to the
byte, resumes when killed, keeps its seeds apart, and refuses bad settings.
"""

import ast
import importlib
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
from descent.core.settings import faults
from descent.data.presence import present
from support import ROOMS, ROOT

PAPERS = registered(ROOT)


@cache
def plan_of(paper, scale="smoke"):
    return make_plan(ROOT, read_study(ROOT, {"papers": paper, "scale": scale}), everything=True)


def jobs_of(kinds=("train", "analyse", "select")):
    return [(paper, id) for paper in PAPERS for id, job in plan_of(paper).jobs.items() if job.kind in kinds]


JOBS = jobs_of()


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
    assert not undeclared, f"declare these metrics in the room's METRICS: {undeclared}"
    assert not frame.duplicated(["method", *job.axes, "seed", "step", "metric"]).any()
    assert (frame["status"].isin(["ok", "censored", "diverged", "undefined"])).all()
    assert np.isfinite(frame.loc[frame["status"] == "ok", "value"]).all()
    for variant in job.variants:
        own = frame[frame["method"] == variant.method]
        for axis, value in variant.setting.items():
            own = own[own[axis].isna()] if value is None else own[own[axis] == value]
        assert set(own["seed"]) >= set(variant.seeds), f"{variant.key} has no records of some seeds"


@pytest.mark.parametrize(("paper", "id"), [j for j in JOBS if plan_of(j[0]).jobs[j[1]].kind == "train"])
def test_repeats_to_the_byte_and_leaves_global_state_alone(smoke, paper, id, tmp_path):
    import torch

    from descent.core.records import write_records

    job, results = smoke(paper, id)
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy(), torch.get_default_dtype()
    records = again(job, results)
    assert torch.equal(before[0], torch.random.get_rng_state()) and np.array_equal(before[1], np.random.get_state()[1])
    assert torch.get_default_dtype() == before[2]
    write_records(tmp_path / "again.parquet", records.frame(job))
    assert (tmp_path / "again.parquet").read_bytes() == (results / id / "records.parquet").read_bytes()


def _plain(value):
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return "" if pd.isna(value) else f"{float(value):.12g}" if number else str(value)


class Killed(BaseException):
    pass


@pytest.mark.parametrize(("paper", "id"), [j for j in JOBS if plan_of(j[0]).jobs[j[1]].kind == "train"])
def test_killed_after_its_first_checkpoint_it_resumes_with_the_same_bytes(smoke, paper, id, tmp_path):
    from descent.core.records import write_records

    class Dying(FileCheckpoint):
        def save(self, *args, **kwargs):
            super().save(*args, **kwargs)
            raise Killed

    job, results = smoke(paper, id)
    try:
        again(job, results, Dying(tmp_path / "c", "key", every=0))
    except Killed:
        records = again(job, results, FileCheckpoint(tmp_path / "c", "key", every=0))
        write_records(tmp_path / "again.parquet", records.frame(job))
        assert (tmp_path / "again.parquet").read_bytes() == (results / id / "records.parquet").read_bytes()


@pytest.mark.parametrize(("paper", "id"), [j for j in JOBS if plan_of(j[0]).jobs[j[1]].kind == "train"])
def test_a_seed_does_not_notice_its_companions(smoke, paper, id):
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
    # float64 methods agree to 1e-9; float32 ones (a room may use both) to the rounding that a run amplifies
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
        if "papers" in path.parts or path.parts[-2] == "data":
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
