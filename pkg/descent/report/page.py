"""A paper's page: what it claims, what was run, verdicts with their checks and figures, tables, provenance.

Everything on it is the same when the records are the same. What differs from run to run (times, memory, the machine)
is on cost.html beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.markers import MarkerStyle

from descent.config.model import ExperimentConfig
from descent.core.errors import DataError
from descent.core.files import write_text
from descent.report import theme
from descent.report.figures import FIGURES
from descent.report.finals import finals, results_csv
from descent.report.first import first_verdicts, fresh_seeds
from descent.report.front import matching
from descent.report.html import image, render
from descent.report.judged import VERDICTS_FILE, cost_rows, label, read_verdicts
from descent.report.other_scales import verdicts_elsewhere
from descent.report.runs import runs_of
from descent.report.tables import (
    cells_of,
    cost_by_experiment,
    settings_of,
    spans,
    step_costs,
)
from descent.results.stored import Results

FOLDED = 40  # rows: a longer table starts closed


def write_page(results: Results, folder: Path, costs: Path | None = None) -> Path:
    """Write reports/<scale>/<paper>/index.html, results.csv and (outside byte identity) cost.html; return the page's path.

    Reads verdicts.json (`judged.judge_paper`) and figures/ (`figures.draw`) in `folder`. Raises DataError without them.
    costs: the folder of cost.html (default: `folder`).
    """
    path = folder / VERDICTS_FILE
    judged = _read(path, lambda: read_verdicts(path, results))
    pictures = _read(path := folder / "figures" / FIGURES, lambda: json.loads(path.read_text(encoding="utf-8")))
    tables = [t for name in _recorded(results) if (t := finals(results, name))]
    write_text(folder / "results.csv", results_csv(tables))
    write_text((costs or folder) / "cost.html", cost_page(results))
    text = render(
        "page.html", paper=judged, config=results.config, label=judged["label"], smoke=results.scale == "smoke", dev=judged["seeds"] == "dev",
        looks=swatches(results), cards=results.room.methods, metrics=results.room.metrics, folded=FOLDED,
        experiments=[_experiment(results, name, config) for name, config in results.config.experiments.items()],
        finals=tables, tuning=_tuning(results), claims=_claims(results, judged, pictures, folder.parent), figures=_figures(folder, pictures),
        spare=_spare(judged, pictures), missing=_missing(judged), runs=runs_of(results), versions=_versions(results),
        notes=_notes(results), used=_used(results),
    )  # fmt: skip
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise DataError(
            f"{path} is missing: judge the paper and draw its figures first (`snakemake` does it by itself)"
        ) from None


def _recorded(results: Results) -> list[str]:
    """Experiments whose final values make a table: not tuning choices (a table of their own), not measured time."""
    kinds = results.config.experiments
    return [name for name in results.experiments() if kinds[name].kind in ("train", "analyse")]


# -- what was run -----------------------------------------------------------------------------------------------------


def _experiment(results: Results, name: str, config: ExperimentConfig) -> dict[str, Any]:
    """One experiment as the page shows it."""
    jobs = results.jobs(name)
    variants = [variant for job in jobs for variant in job.variants]
    axes = {axis: list(dict.fromkeys(v.setting[axis] for v in variants if v.setting.get(axis) is not None))
            for job in jobs[:1] for axis in job.axes}  # fmt: skip
    whole = [m.reason for m in results.missing() if m.experiment == name and m.method is None]
    return {
        "name": name, "title": config.title, "about": config.about, "kind": config.kind, "jobs": len(jobs),
        "stored": not jobs and name in results.experiments(),
        "not_run": whole[0] if whole else None,
        "methods": list(dict.fromkeys(v.method for v in variants)) or config.methods,
        "axes": {axis: ", ".join(map(str, values)) for axis, values in axes.items() if values},
        "seeds": spans({seed for v in variants for seed in v.seeds}), "device": config.device, "tier": config.tier,
        "settings": settings_of(results, name), "select": config.select,
    }  # fmt: skip


def _tuning(results: Results) -> list[dict[str, Any]]:
    """What every `select` experiment chose."""
    found = []
    for name in results.experiments():
        if results.config.experiments[name].kind == "select":
            select = results.config.experiments[name].select
            choices = [{**c, "seeds": spans(c["seeds"])} for c in results.chosen(name)]
            found.append({"name": name, "title": results.config.experiments[name].title, "select": select,
                          "choices": choices})  # fmt: skip
    return found


def _missing(judged: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was not run: configurations of one experiment with one reason together, methods that lack the same settings too."""
    groups: dict[tuple[str, str], dict[str | None, list[dict[str, Any]]]] = {}
    for cell in judged["missing"]:
        methods = groups.setdefault((cell["experiment"], cell["reason"]), {})
        methods.setdefault(cell["method"], []).append(cell["setting"])
    found = []
    for (experiment, reason), methods in groups.items():
        alike: dict[str, list[str]] = {}
        for method, settings in methods.items():
            alike.setdefault(cells_of(settings) if any(settings) else "", []).append(method or "all of it")
        what = "; ".join(f"{', '.join(names)}{f' ({cells})' if cells else ''}" for cells, names in alike.items())
        found.append({"experiment": experiment, "reason": reason, "cells": what})
    return found


# -- claims and figures -----------------------------------------------------------------------------------------------


def _claims(
    results: Results, judged: Mapping[str, Any], pictures: list[dict[str, Any]], report: Path
) -> list[dict[str, Any]]:
    """The claims; the first that names a figure shows it, later ones point to it. report: the folder with the first verdicts.

    What the other scale says of a claim comes with it.
    """
    shown: set[str] = set()
    before = first_verdicts(report, results.config, results.scale)
    others = verdicts_elsewhere(report, results.config.paper)
    claims = []
    for claim in judged["claims"]:
        picture = matching(pictures, claim["figure"])
        first = picture is not None and picture["name"] not in shown
        if picture is not None:
            shown.add(picture["name"])
        fresh = fresh_seeds(results.config, claim["experiments"], results.scale)
        own = {"picture": picture["name"] if picture else None, "show": first}
        own |= {
            "before": before.get(claim["claim"], []) if fresh else [],
            "fresh": fresh,
            "others": others.get(claim["claim"], []),
        }
        claims.append({**claim, **own})
    return claims


def _spare(judged: Mapping[str, Any], pictures: list[dict[str, Any]]) -> list[str]:
    """Names of the figures that no claim shows."""
    used = {p["name"] for claim in judged["claims"] if (p := matching(pictures, claim["figure"]))}
    return [picture["name"] for picture in pictures if picture["name"] not in used]


def _figures(folder: Path, pictures: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {p["name"]: {**p, "data": image(folder / "figures", p["name"])} for p in pictures}


def swatches(results: Results) -> dict[str, dict[str, Any]]:
    """How every method is drawn, for the swatch beside its name: label, colour, css_dash, marker (SVG polygon points)."""
    found = {}
    for name, look in theme.looks(results.room).items():
        dash = "none" if look.dash == "-" else " ".join(f"{length * 1.7:.3g}" for length in look.dash[1])
        found[name] = {"label": look.label, "colour": look.colour, "css_dash": dash, "marker": _polygon(look.marker)}
    return found


def _polygon(marker: str) -> str:
    style = MarkerStyle(marker)
    (points, *_) = style.get_path().transformed(style.get_transform()).to_polygons()
    return " ".join(f"{17 + 8.4 * x:.1f},{6 - 8.4 * y:.1f}" for x, y in np.asarray(points))


# -- provenance and cost ----------------------------------------------------------------------------------------------


def _used(results: Results) -> dict[str, list[str]]:
    """Dataset -> the experiments that read it."""
    found: dict[str, dict[str, None]] = {}
    for job in results.jobs():
        for name in job.datasets:
            found.setdefault(name, {})[job.experiment] = None
    return {name: list(experiments) for name, experiments in found.items()}


def _versions(results: Results) -> list[str]:
    """The package versions behind the records, a line for each combination that occurs."""
    return sorted({
        ", ".join(f"{package} {version}" for package, version in sidecar["versions"].items())
        for name in results.experiments() for sidecar in results.sidecars(name)
    })  # fmt: skip


def _notes(results: Results) -> list[str]:
    """What the jobs say of their device, with the experiments that say it."""
    notes: dict[str, dict[str, None]] = {}
    for name in results.experiments():
        for sidecar in results.sidecars(name):
            if sidecar.get("device_note"):
                notes.setdefault(sidecar["device_note"], {})[name] = None
    return [f"{', '.join(names)}: {note}" for note, names in notes.items()]


def cost_page(results: Results) -> str:
    """The HTML of cost.html: what the paper's jobs took, against its budget, and measured steps. Differs from run to run."""
    rows = cost_rows(results)
    sums = cost_by_experiment(row for row in rows if row["kind"] != "bench")
    return render(
        "cost.html", title=results.config.title, label=label(results.plan.study), slug=results.slug, sums=sums, rows=rows,
        budget=results.config.budget.get(results.scale), total=sum(row["cpu_seconds"] for row in sums),
        machines=sorted({row["machine"] for row in rows if row["machine"]}), steps=step_costs(results),
        looks=swatches(results),
    )  # fmt: skip
