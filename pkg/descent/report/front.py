"""The front page of a scale: the verdicts of all papers, and the joint tables verdicts.csv and checks.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from descent.claims.results import CHECK_COLUMNS, VERDICT_COLUMNS, rounded
from descent.config.model import StudyConfig
from descent.config.read import read_paper, registered
from descent.core.files import write_text
from descent.report.figures import FIGURES
from descent.report.html import data_png, render
from descent.report.judged import COST_FILE, VERDICTS_FILE, label, read_verdicts
from descent.report.words import VERDICTS, finite, number, plural
from descent.results.stored import Results

BUDGET = 4_500_000  # bytes of the front page; thumbnails are left out beyond it (the links stay)
MAIN = ("reproduced", "partly", "not reproduced", "inconclusive", "not run")


def write_front(
    folder: Path, papers: Mapping[str, str], study: StudyConfig, judged: Mapping[str, dict[str, Any]] | None = None
) -> Path:
    """Write index.html, verdicts.csv, checks.csv (and cost.html, outside byte identity) into reports/<scale>.

    papers: slug -> title of every registered paper, in the order in which they are shown. A paper whose verdicts.json
    lies in the folder is shown as it is, whether or not this run made it; one without is shown as not run.
    judged: slug -> content of its verdicts.json, where the caller has read them.
    Returns the page's path. Raises DataError when a verdicts.json is broken.
    """
    judged = read_judged(folder, papers) if judged is None else judged
    write_text(folder / "verdicts.csv", verdicts_csv(judged.values()))
    write_text(folder / "checks.csv", checks_csv(judged.values()))
    cost = write_cost(folder, judged, study)
    text = page(folder, papers, judged, study, cost=cost, thumbnails=True)
    if len(text.encode()) > BUDGET:
        text = page(folder, papers, judged, study, cost=cost, thumbnails=False)
    write_text(folder / "index.html", text)
    return folder / "index.html"


def titles(root: Path) -> dict[str, str]:
    """slug -> title of every paper registered in the checkout `root`."""
    return {slug: read_paper(root, slug).title for slug in registered(root)}


def read_judged(
    folder: Path, papers: Mapping[str, str], results: Mapping[str, Results] | None = None
) -> dict[str, dict[str, Any]]:
    """slug -> verdicts.json, of the registered papers that have one here.

    results: of the papers whose verdicts must rest on the records that lie here.
    """
    paths = {slug: folder / slug / VERDICTS_FILE for slug in papers}
    return {slug: read_verdicts(path, (results or {}).get(slug)) for slug, path in paths.items() if path.is_file()}


def page(
    folder: Path,
    papers: Mapping[str, str],
    judged: Mapping[str, Any],
    study: StudyConfig,
    *,
    cost: bool,
    thumbnails: bool,
) -> str:
    """The HTML of the front page."""
    shown = [_paper(folder, slug, title, judged.get(slug), study, thumbnails) for slug, title in papers.items()]
    totals = {key: 0 for key in MAIN}
    others: dict[str, dict[str, int]] = {}
    for paper in judged.values():
        for origin, counts in paper["counts"].items():
            target = totals if origin == "paper" else others.setdefault(origin, {})
            for verdict, count in counts.items():
                target[verdict] = target.get(verdict, 0) + count
    claims = sum(totals.values())
    present = [key for key in VERDICTS if any(c["verdict"] == key for paper in shown for c in paper["claims"])]
    smoke = study.scale == "smoke"
    return render(
        "front.html", label=label(study), scale=study.scale, smoke=smoke, dev=study.seeds == "dev", papers=shown, totals=totals, present=present,
        cost=cost, own=_own(others),
        headline="A walk through every code path" if smoke else "Which claims held, and which did not",
        lead=(
            f"{plural(claims, 'claim')} of {plural(len(judged), 'paper')} on gradient descent and its relatives, each put "
            + ("to an explicit test, here on development seeds." if study.seeds == "dev" else "to an explicit test and judged on fresh seeds; "
               "where a criterion was chosen after earlier results had been seen, its page says so.")
            + (f" {plural(len(papers) - len(judged), 'registered paper')} not run here." if len(judged) < len(papers) else "")
        ),
    )  # fmt: skip


def _own(others: Mapping[str, Mapping[str, int]]) -> str:
    said = []
    for origin, counts in others.items():
        total = sum(counts.values())
        parts = ", ".join(f"{count} {VERDICTS[verdict].label}" for verdict, count in counts.items())
        said.append(f"{plural(total, 'claim')} {'of our own' if origin == 'ours' else 'only reported'} ({parts})")
    return "; ".join(said)


def _paper(folder: Path, slug: str, title: str, judged: Any, study: StudyConfig, thumbnails: bool) -> dict[str, Any]:
    if judged is None:
        return {"slug": slug, "title": title, "judged": False, "claims": []}
    pictures = _figures(folder / slug / "figures")
    claims = []
    for claim in judged["claims"]:
        picture = matching(pictures, claim["figure"]) if thumbnails else None
        thumb = (
            picture
            and not picture["not_run"]
            and {"name": picture["name"], "alt": picture["alt"], **_thumb(folder / slug / "figures", picture)}
        )
        claims.append({**claim, "thumb": thumb})
    note = "" if judged["label"] == label(study) else f"scale {judged['label']}"
    return {"slug": slug, "title": judged["title"], "judged": True, "claims": claims, "source": judged["source"],
            "label": judged["label"], "note": note}  # fmt: skip


def _figures(folder: Path) -> list[dict[str, Any]]:
    path = folder / FIGURES
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _thumb(folder: Path, picture: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": data_png(folder / f"{picture['name']}.thumb.png"), "width": 320,
            "height": round(320 * picture["height"] / picture["width"])}  # fmt: skip


def matching(pictures: list[dict[str, Any]], figure: str | None) -> dict[str, Any] | None:
    """The described figure that a claim names: `F1` is also the figure `F1_toy`."""
    for picture in pictures:
        if figure and (picture["name"] == figure or picture["name"].startswith((f"{figure}_", f"{figure}-"))):
            return picture
    return None


def verdicts_csv(judged: Any) -> str:
    """A row a claim, columns `claims.results.VERDICT_COLUMNS`: the numbers are those of the headline check."""
    rows = []
    for paper in judged:
        for claim in paper["claims"]:
            head = claim["headline"] or {}
            taken = {
                column: _exact(head.get(column)) for column in VERDICT_COLUMNS if column in head and column not in claim
            }
            rows.append({column: claim.get(column) for column in VERDICT_COLUMNS} | taken
                        | {"experiment": head.get("experiment") or ", ".join(claim["experiments"])})  # fmt: skip
    return _csv(rows, VERDICT_COLUMNS)


def checks_csv(judged: Any) -> str:
    """A row a check instance, columns `claims.results.CHECK_COLUMNS`."""
    rows = [
        {column: _exact(check.get(column)) for column in CHECK_COLUMNS} | {"paper": claim["paper"], "claim": claim["claim"]}
        for paper in judged for claim in paper["claims"] for check in claim["checks"]
    ]  # fmt: skip
    return _csv(rows, CHECK_COLUMNS)


def _exact(value: Any) -> Any:
    return rounded(value) if isinstance(value, float) else value


def _csv(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    return pd.DataFrame(rows, columns=list(columns)).to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)


def write_cost(folder: Path, judged: Mapping[str, Any], study: StudyConfig) -> bool:
    """Write cost.html: CPU seconds of every paper against its budget; False when no paper has a cost.csv here."""
    rows = []
    for slug, paper in judged.items():
        path = folder / slug / COST_FILE
        if path.is_file():
            cost = pd.read_csv(path)
            rows.append({
                "slug": slug, "title": paper["title"], "jobs": len(cost), "cpu": float(cost.loc[:, "cpu_seconds"].sum()),
                "wall": float(cost.loc[:, "wall_seconds"].sum()), "memory": finite(cost["peak_memory_mb"].max()),
                "budget": paper["budget"], "machines": sorted(set(cost["machine"].dropna())),
            })  # fmt: skip
    if not rows:
        return False
    total = sum(row["cpu"] for row in rows)
    budget = study.budget if study.scale == "study" else None
    write_text(folder / "cost.html", render("cost_front.html", label=label(study), rows=rows, total=total, budget=budget,
                                            spent=number(total, 3)))  # fmt: skip
    return True
