"""Writes the synthetic paper's configuration and the files that its jobs would have left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from descent.config.plan import Plan, make_plan
from descent.config.read import read_study
from descent.core.files import write_json, write_npz
from descent.core.job import ARRAYS, CHOSEN, RECORDS, SIDECAR
from descent.core.records import Records, read_records, write_records
from descent.results.stored import Results
from descent.runner.tuning import choose_best

STEPS = np.unique(np.round(np.geomspace(1, 1000, 40))).astype(int)
END = {"climb": 40.0, "gd": 160.0, "sam": 110.0, "drift": 200.0}
ACCURACY = {"climb": 0.90, "gd": 0.93, "sam": 0.9305, "drift": 0.88}


def plan_of(root: Path, scale: str = "study") -> Plan:
    """Configuration under `root` with the one paper, resolved."""
    (root / "config" / "papers").mkdir(parents=True, exist_ok=True)
    (root / "config" / "config.yaml").write_text("scale: study\npapers: all\n")
    text = (Path(__file__).parent / "hill.yaml").read_text()
    (root / "config" / "papers" / "hill.yaml").write_text(text)
    plan = make_plan(root, read_study(root, {"scale": scale}))
    for id, job in plan.jobs.items():  # as if the jobs had read data
        if job.experiment in ("descent", "sweep"):
            stand_ins = {"valley": "made_up"} if scale == "smoke" else {}
            plan.jobs[id] = replace(job, datasets={"valley": "5ca1ab1e", "ridge": "deadbeef"}, stand_ins=stand_ins)
    return plan


def write_results(plan: Plan, root: Path) -> Results:
    """The records, arrays and sidecars of every job of the plan, under `root`/results and (stored times) `root`/bench."""
    folder, bench = root / "results", root / "bench"
    results = Results(plan, "hill", folder, bench)
    for number, job in enumerate(plan.of("hill")):
        place = folder / job.id
        chosen = None
        if job.kind == "select":
            source = read_records([folder / id / RECORDS for id in job.needs["from"]])
            records, chosen = choose_best(job, source)
            write_json(place / CHOSEN, chosen)
        else:
            records = _records(job)
        write_npz(place / ARRAYS, records.arrays)
        write_json(place / SIDECAR, _sidecar(job, number))
        write_records(place / RECORDS, records.frame(job))
    _bench(plan, root, bench)
    return results


def _records(job) -> Records:
    records = Records()
    for variant in job.variants:
        seeds = np.array(variant.seeds)
        rng = np.random.default_rng(sum(map(ord, variant.key)))
        steps = STEPS[variant.params["steps"] >= STEPS]
        t = (np.log(steps) / np.log(1000))[:, None]
        end = END[variant.method] * (1.5 if variant.setting.get("data") == "rough" else 1)
        end = end * np.exp(-3 * variant.params.get("smoothing", 0.05)) * variant.params.get("step_size", 0.1) ** 0.01
        spread = rng.normal(1, 0.08, (1, len(seeds)))
        curvature = (200 + (end - 200) * t) * spread + rng.normal(0, 1, (len(steps), len(seeds)))
        loss = 10 ** (1 - 6 * t + rng.normal(0, 0.15, (1, len(seeds)))) * (1 + variant.params.get("step_size", 0))
        accuracy = 0.5 + (ACCURACY[variant.method] - 0.5) * t + rng.normal(0, 0.004, (1, len(seeds)))
        if variant.method == "drift" and variant.setting.get("data") == "rough":
            curvature[-12:, 1] = np.nan  # one seed diverges
            loss[-12:, 1] = np.inf
        records.add(variant, "loss", loss, step=steps)
        records.add(variant, "curvature", curvature, step=steps)
        if job.experiment == "descent":
            records.add(variant, "accuracy", accuracy, step=steps)
    return records


def _sidecar(job, number: int) -> dict:
    note = "device auto: ran on the CPU, because this PyTorch was built without CUDA" if job.device == "auto" else ""
    return {
        "job": json.loads(job.to_json()), "source_hash": "0123456789abcdef", "needs_sha256": {}, "device": "cpu",
        "device_note": note, "threads": 1, "wall_seconds": 1.25 + number, "cpu_seconds": 1.5 + number,
        "peak_memory_mb": 300.0 + number, "peak_device_memory_mb": None,
        "versions": {"python": "3.11.2", "torch": "2.13.0", "numpy": "2.4.6", "pandas": "3.1.1", "pyarrow": "25.0.1"},
        "machine": "Linux x86_64, 2 cores",
    }  # fmt: skip


def _bench(plan: Plan, root: Path, bench: Path) -> None:
    for job in make_plan(root, replace(plan.study, bench=True)).of("hill", "cost"):
        records = Records()
        for i, variant in enumerate(job.variants):
            records.add(variant, "step_cpu_seconds", np.full((5, 1), 1e-4 * (i + 1)), step=np.arange(5), seeds=(0,))
        write_npz(bench / job.id / ARRAYS, {})
        write_json(bench / job.id / SIDECAR, _sidecar(job, 0))
        write_records(bench / job.id / RECORDS, records.frame(job))


def publish(root: Path, scale: str = "study", others: dict[str, str] | None = None) -> tuple[Results, Path]:
    """The whole report of the synthetic paper below `root`: (results, the folder reports/<scale>)."""
    from descent.report.figures import draw
    from descent.report.front import titles, write_front
    from descent.report.judged import judge_paper
    from descent.report.page import write_page

    plan = plan_of(root, scale)
    results = write_results(plan, root)
    folder = root / "reports" / scale
    judge_paper(results, folder / "hill" / "verdicts.json")
    draw(results, folder / "hill" / "figures")
    write_page(results, folder / "hill")
    write_front(folder, titles(root) | (others or {}), plan.study)
    return results, folder
