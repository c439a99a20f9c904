"""What the runs in MLflow hold: parameters, tags, curves, files, datasets, times; made from records and report."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from descent.core.errors import StudyError
from descent.core.files import digest, sha256, write_text
from descent.core.job import CHOSEN, RECORDS
from descent.core.records import write_records
from descent.report.front import matching
from descent.report.judged import VERDICTS_FILE, label, read_verdicts
from descent.report.runs import SUMMARY, Run, resolved, runs_of
from descent.report.tables import spans
from descent.report.words import VERDICTS, finite, number
from descent.results.stored import Results
from descent.runner.source import source_hash
from descent.tracking.points import Point, curves, finals_csv, settings


@dataclass
class Entry:
    """A run as it should be in MLflow. `write` puts its artifacts into a folder; `content` changes when anything does.

    parent: the key of the run that this one is listed under. group: holds other runs and nothing of its own.
    began, ended: milliseconds since 1970. datasets: name -> hash. sizes: settings that are metrics as well.
    """

    key: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    points: Callable[[], list[Point]]
    write: Callable[[Path], None]
    files: list[Path] = field(default_factory=list)
    parent: str = ""
    group: bool = False
    began: int = 0
    ended: int = 0
    datasets: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """A hash of everything that the run shows, and of the code that makes it."""
        sources = [[path.name, sha256(path)] for path in self.files if path.is_file()]
        times = [self.began, self.ended]
        return digest(
            [
                self.key,
                self.name,
                self.params,
                self.tags,
                self.parent,
                times,
                self.sizes,
                sources,
                source_hash(f"{__package__}.mirror"),
            ]
        )


def entries_of(results: Results, reports: Path) -> list[Entry]:
    """Every run of a paper: claims and verdicts, then experiment, method and setting, each after what it stands under."""
    runs = runs_of(results)
    sizes = numbers(results, runs)
    leaves = {run.key: run_entry(results, run, reports, sizes[run.key]) for run in runs}
    groups: dict[str, Entry] = {}
    prefix = label(results.plan.study)
    for experiment in dict.fromkeys(run.experiment for run in runs):
        own = [run for run in runs if run.experiment == experiment]
        if len(own) < 2:
            continue
        top = f"{prefix}/{experiment}"
        config = results.config.experiments[experiment]
        groups[top] = _group(top, f"{experiment}: {config.title}", "", [leaves[run.key] for run in own], config.about)
        for method in dict.fromkeys(run.method for run in own):
            same = [run for run in own if run.method == method]
            key = f"{top}/{method}/"
            if len(same) > 1 and len({run.method for run in own}) > 1:
                groups[key] = _group(key, f"{experiment}: {method}", top, [leaves[run.key] for run in same], "")
            for run in same:
                leaves[run.key].parent = key if key in groups else top
    return [*groups.values(), *leaves.values(), verdicts_entry(results, reports)]


def _group(key: str, name: str, parent: str, inside: list[Entry], about: str) -> Entry:
    tags = {"group": f"{len(inside)} runs"} | ({"mlflow.note.content": about} if about else {})
    shared = {"experiment", "method", "paper", "scale"}
    tags |= {k: v for k, v in inside[0].tags.items() if k in shared and all(e.tags.get(k) == v for e in inside)}
    began, ended = min(e.began for e in inside), max(e.ended for e in inside)
    return Entry(key, name, {}, tags, list, lambda folder: None, [], parent, True, began, ended)


def ascii_value(value: Any) -> str:
    """A setting as MLflow's filters and float() take it."""
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)


def numbers(results: Results, runs: Sequence[Run]) -> dict[str, dict[str, float]]:
    """Run -> those of its settings that are one number in it and not the same in all runs of the paper."""
    found: dict[str, dict[str, set[float]]] = {run.key: {} for run in runs}
    for run in runs:
        for variant in run.variants:
            for name, value in resolved(results, variant).items():
                if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                    found[run.key].setdefault(name, set()).add(float(value))
    every: dict[str, set[float]] = {}
    for own in found.values():
        for name, values in own.items():
            every.setdefault(name, set()).update(values)
    return {
        key: {name: min(values) for name, values in own.items() if len(values) == 1 and len(every[name]) > 1}
        for key, own in found.items()
    }


def run_entry(results: Results, run: Run, reports: Path, sizes: Mapping[str, float]) -> Entry:
    """A method on a setting: parameters, tags, curves, its rows of the records, the figures of its experiment.

    sizes: the settings that are metrics as well.
    """
    config = results.config.experiments[run.experiment]
    pictures = figures_of(reports / results.slug, run.experiment)
    paths = [results.folder / id / RECORDS for id in run.jobs]
    sidecars = [s for s in results.sidecars(run.experiment) if "/".join(_id(s)) in run.jobs]
    values: dict[str, dict[str, None]] = {}
    for variant in run.variants:
        for name, value in resolved(results, variant).items():
            values.setdefault(name, {})[ascii_value(value)] = None
    params = {
        "experiment": run.experiment,
        "method": run.method,
        "seeds": spans(run.seeds),
        "n_seeds": str(len(run.seeds)),
    }
    params |= {name: found for name, (found, *more) in values.items() if not more}
    varied = {f"varies.{name}": ", ".join(found) for name, found in values.items() if len(found) > 1}
    setting = ", ".join(f"{axis}={value}" for axis, value in run.setting.items())
    study = results.plan.study
    page = f"{study.reports}/{label(study)}/{results.slug}/index.html"
    tags = {
        "paper": results.slug, "scale": study.scale, "seeds": study.seeds, "experiment": run.experiment, "method": run.method,
        "setting": setting, "inside": ", ".join(run.inside), "variant": " | ".join(v.key for v in run.variants),
        "data_hash": digest(run.datasets) if run.datasets else "", "source_hash": " ".join(sorted({s["source_hash"] for s in sidecars})),
        **{f"data.{name}": hash for name, hash in run.datasets.items()}, **varied, **_verdict_tags(reports / results.slug, run.experiment),
        "versions": "; ".join(sorted({json.dumps(s["versions"], sort_keys=True) for s in sidecars})),
        "mlflow.note.content": "\n\n".join(filter(None, [f"**{config.title}**", config.about, f"Report: `{page}`"])),
    }  # fmt: skip
    frame = cache(lambda: rows_of(results, run))  # read only when the run has to be written

    def write(folder: Path) -> None:
        write_records(folder / RECORDS, frame())
        write_text(folder / "final.csv", finals_csv(frame()))
        for path in pictures:
            (folder / "figures").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "figures" / path.name)

    tags = {name: value for name, value in tags.items() if value}
    began, ended = times(sidecars)
    spent = [
        Point(f"system/{name}", float(sum(s[name] for s in sidecars)), 0) for name in ("wall_seconds", "cpu_seconds")
    ]
    spent += [Point("system/peak_memory_mb", float(max((s["peak_memory_mb"] for s in sidecars), default=0)), 0)]
    return Entry(
        run.key, run.name, params, tags, lambda: [*curves(frame(), run.inside), *settings(sizes), *spent], write, [*paths, *pictures], "", False,
        began, ended, dict(run.datasets), dict(sizes),
    )  # fmt: skip


def times(sidecars: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """When the first of some jobs began and the last one ended, in milliseconds since 1970; (0, 0) where it is not known."""
    known = [(s["began"], s["began"] + s["wall_seconds"]) for s in sidecars if s.get("began")]
    return (int(1000 * min(a for a, _ in known)), int(1000 * max(b for _, b in known))) if known else (0, 0)


def _verdict_tags(folder: Path, experiment: str) -> dict[str, str]:
    """The verdicts that rest on an experiment."""
    claims = read_verdicts(folder / VERDICTS_FILE)["claims"]
    return {f"verdict.{c['claim']}": c["verdict"] for c in claims if experiment in c["experiments"]}


def rows_of(results: Results, run: Run) -> pd.DataFrame:
    """The records of one run: its method and setting, all its seeds."""
    frame = results.records(run.experiment)
    keep = frame["method"] == run.method
    for axis, value in run.setting.items():
        keep &= frame[axis] == value
    return frame[keep].reset_index(drop=True)  # pyright: ignore[reportReturnType]


def figures_of(folder: Path, experiment: str | None = None) -> list[Path]:
    """PNGs of the paper's figures: all, or those of claims that read the experiment; panels of what was not run left out."""
    try:
        pictures = [
            p for p in json.loads((folder / "figures" / "figures.json").read_text(encoding="utf-8")) if not p["not_run"]
        ]
        claims = read_verdicts(folder / VERDICTS_FILE)["claims"]
    except FileNotFoundError as error:
        raise StudyError(
            f"{error.filename} is missing: make the report first (`snakemake` does it by itself)"
        ) from None
    if experiment is not None:
        named = [matching(pictures, c["figure"]) for c in claims if experiment in c["experiments"]]
        pictures = [picture for picture in pictures if picture in named]
    return [folder / "figures" / f"{picture['name']}.png" for picture in pictures]


def verdicts_entry(results: Results, reports: Path) -> Entry:
    """Claims and verdicts, with the report's files."""
    folder = reports / results.slug
    pictures = figures_of(folder)
    judged = read_verdicts(folder / VERDICTS_FILE, results)
    points, tags = [], {"paper": results.slug, "scale": judged["scale"], "seeds": judged["seeds"]}
    lines = ["| claim | verdict | ours | |", "|---|---|---|---|"]
    for claim in judged["claims"]:
        name, head = claim["claim"], claim["headline"] or {}
        tags[f"verdict.{name}"] = claim["verdict"]
        for column in ("estimate", "ci_low", "ci_high"):
            if (value := finite(head.get(column))) is not None:
                points.append(Point(f"verdict/{name} {column}", value, 0))
        shown = number(head["estimate"]) if head.get("estimate") is not None else ""
        mark = "" if claim["origin"] == "paper" else f" ({claim['origin']})"
        lines.append(
            f"| {name}{mark} | {VERDICTS[claim['verdict']].label} | {shown} | {claim['statement'].replace('|', '/')} |"
        )
    tags["mlflow.note.content"] = "\n".join([f"**{judged['title']}**", "", judged["source"], "", *lines])
    params = {
        f"{origin}: {verdict}": str(count)
        for origin, counts in judged["counts"].items()
        for verdict, count in counts.items()
    }
    tags |= {"data_hash": digest(judged["datasets"]), "source_hash": digest(judged["sources"])}
    files = [folder / name for name in (VERDICTS_FILE, "index.html", "results.csv") if (folder / name).is_file()]
    chosen = {job.experiment: results.folder / job.id / CHOSEN for job in results.jobs() if job.kind == "select"}

    def write(target: Path) -> None:
        for path in files:
            shutil.copyfile(path, target / path.name)
        for path in [*pictures, *(path.with_suffix(".svg") for path in pictures)]:
            (target / "figures").mkdir(exist_ok=True)
            shutil.copyfile(path, target / "figures" / path.name)
        for name, path in chosen.items():
            shutil.copyfile(path, target / f"chosen_{name}.json")

    key = f"{label(results.plan.study)}/{SUMMARY}"
    params = {name.replace(":", ""): value for name, value in params.items()}
    began, ended = times([s for name in results.experiments() for s in results.sidecars(name)])
    sources = [*files, *pictures, *chosen.values()]
    return Entry(
        key, "claims and verdicts", params, tags, lambda: points, write, sources, "", False, ended or began, ended
    )


def _id(sidecar: Mapping[str, Any]) -> tuple[str, str, str]:
    job = sidecar["job"]
    return job["paper"], job["experiment"], job["block"]
