"""The mirror in MLflow of what a run left on disk: made after the report, from the records, and made again at any time.

One MLflow experiment a paper; a run is a method on a setting (`report.runs`), and one more holds claims and verdicts.
Each run has a key; there is one live run a key, whatever is run again, and keys that the records no longer have go.
MLflow is imported only here and only when something is mirrored.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from descent.config.model import StudyConfig
from descent.core.errors import StudyError
from descent.core.files import digest, sha256, write_text
from descent.core.job import CHOSEN, RECORDS
from descent.core.records import write_records
from descent.report.front import matching
from descent.report.judged import VERDICTS_FILE, label
from descent.report.runs import SUMMARY, Run, resolved, runs_of
from descent.report.tables import spans
from descent.report.words import VERDICTS, finite, number
from descent.results.stored import Results
from descent.runner.source import source_hash
from descent.tracking.points import Point, curves, finals_csv

TIMEOUT = 10  # seconds that one answer of a server is waited for
PATIENCE = 300  # seconds that a server may take in all
BATCH = 1000  # metrics a call, MLflow's limit
LONGEST = 500  # characters of a parameter or tag value that anybody reads


# MLflow reports its use over the network unless it is told not to, before it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


@dataclass
class Entry:
    """A run as it should be in MLflow. `write` puts its artifacts into a folder; `content` changes when anything does."""

    key: str
    name: str
    params: dict[str, str]
    tags: dict[str, str]
    points: Callable[[], list[Point]]
    write: Callable[[Path], None]
    files: list[Path] = field(default_factory=list)

    @property
    def content(self) -> str:
        """A hash of everything that the run shows, and of the code that makes it."""
        sources = [[path.name, sha256(path)] for path in self.files if path.is_file()]
        return digest([self.key, self.name, self.params, self.tags, sources, source_hash("descent.tracking.mirror")])


def store(root: Path, study: StudyConfig) -> str:
    """Where runs go: `tracking.uri`, else MLFLOW_TRACKING_URI, else an SQLite file below the results folder."""
    given = study.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(root / study.results / 'mlflow.db').resolve()}"


def initialise(uri: str) -> None:
    """Make the store ready: once, alone, before anything logs. A server is only asked whether it is there.

    Parallel first use of an SQLite store races its migrations; a lock beside the file keeps others waiting.
    Raises StudyError, in one sentence and within seconds, when the store cannot be used.
    """
    if _database(uri) is None:
        if urllib.parse.urlsplit(uri).scheme in ("http", "https"):
            _ask(uri)
        return
    database = _database(uri)
    with _told(uri):
        database.parent.mkdir(parents=True, exist_ok=True)
        with open(database.with_suffix(".lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            import mlflow

            marker = database.with_suffix(".version")
            if database.is_file() and marker.is_file() and marker.read_text() == mlflow.__version__:
                return
            command = [sys.executable, "-m", "mlflow", "db", "upgrade", uri]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise StudyError(f"MLflow cannot prepare {database}: {_last_line(done.stderr)}; move the file away, "
                                 "it can be made again from the records")  # fmt: skip
            write_text(marker, mlflow.__version__)


def mirror(results: Results, reports: Path, uri: str | None = None, *, root: Path | None = None) -> dict[str, Any]:
    """Mirror one paper: its runs and its verdicts, from the records and the report in `reports` (reports/<scale>).

    uri: the store; by default `store`'s. root: the checkout (default DESCENT_ROOT, else the working folder); artifact
    locations of an SQLite store are relative to it, so that a moved checkout still opens them.
    Returns the experiment's id, key -> run id, and how many runs were written, kept as they were, and removed.
    Raises StudyError when the store is down, slow or broken: records and report are not touched by that.
    """
    root = (root or Path(os.environ.get("DESCENT_ROOT", "."))).resolve()
    uri = uri or store(root, results.plan.study)
    initialise(uri)
    entries = [*(_run(results, run, reports) for run in runs_of(results)), _verdicts(results, reports)]
    began = time.monotonic()
    with _told(uri), _quick(uri):
        place = _Place(uri, root, results)
        known = place.live()
        runs, kept, removed = {}, 0, 0
        for entry in entries:
            if _database(uri) is None and time.monotonic() - began > PATIENCE:
                raise StudyError(f"the MLflow server at {_shown(uri)} is too slow: it took more than {PATIENCE} s; "
                                 "records and report are done, run the mirror again later")  # fmt: skip
            mine = known.pop(entry.key, [])
            if len(mine) == 1 and place.intact(mine[0], entry):
                runs[entry.key], kept = mine[0].info.run_id, kept + 1
                continue
            removed += place.remove(mine)
            runs[entry.key] = place.write(entry)
        removed += sum(place.remove(stale) for stale in known.values())
    return {
        "paper": results.slug, "store": _shown(uri), "experiment_id": place.experiment, "runs": runs,
        "written": len(runs) - kept, "kept": kept, "removed": removed,
    }  # fmt: skip


class _Place:
    """One paper's experiment in a store."""

    def __init__(self, uri: str, root: Path, results: Results):
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=uri)
        self.label, self.slug = label(results.plan.study), results.slug
        self.database = _database(uri)
        self.root = root
        self.experiment = self._experiment(results)

    def _experiment(self, results: Results) -> str:
        found = self.client.get_experiment_by_name(self.slug)
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        if found is None:
            tags = {"title": results.config.title, "source": results.config.source}
            tags["mlflow.experimentKind"] = "custom_model_development"  # the UI for training, not for chat models
            artifacts = self._artifacts()
            location = str(self.root / artifacts) if artifacts else None
            id = self.client.create_experiment(self.slug, location, {k: _short(v) for k, v in tags.items()})
        else:
            id = found.experiment_id
        if self.database is not None:
            # MLflow makes every local location absolute, and then a moved checkout cannot open its artifacts; a
            # relative one is left alone and opened from the working folder (`make ui` starts in the checkout).
            with sqlite3.connect(self.database, timeout=30) as connection:
                connection.execute(
                    "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (self._artifacts(), int(id))
                )
            connection.close()
        return id

    def _artifacts(self) -> str | None:
        """The folder of the paper's artifacts beside the database: relative to the checkout if it lies inside."""
        if self.database is None:
            return None
        folder = self.database.parent / "mlartifacts" / self.slug
        return str(folder.relative_to(self.root)) if folder.is_relative_to(self.root) else str(folder)

    def live(self) -> dict[str, list[Any]]:
        """Key -> live runs of this scale."""
        found: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.label = '{self.label}'", max_results=500, page_token=token
            )
            for run in page:
                found.setdefault(run.data.tags.get("key", ""), []).append(run)
            token = page.token
            if not token:
                return found

    def intact(self, run: Any, entry: Entry) -> bool:
        """Whether a run is what it should be: same content, finished, its artifacts still there."""
        if run.data.tags.get("content") != entry.content or run.info.status != "FINISHED":
            return False
        folder = self._folder(run.info.run_id)
        return any(folder.iterdir()) if folder is not None and folder.is_dir() else folder is None

    def _folder(self, run_id: str) -> Path | None:
        artifacts = self._artifacts()
        return self.root / artifacts / run_id / "artifacts" if artifacts else None

    def write(self, entry: Entry) -> str:
        """Make the run; it is marked finished, with its content, only when all of it is there."""
        from mlflow.entities import Metric, Param, RunTag

        tags = {**entry.tags, "key": entry.key, "label": self.label}
        now = int(time.time() * 1000)
        run = self.client.create_run(self.experiment, now, {k: _short(v, 5000) for k, v in tags.items()}, entry.name)
        id = run.info.run_id
        params = [Param(name, _short(value)) for name, value in entry.params.items()]
        for first in range(0, len(params), 100):
            self.client.log_batch(id, params=params[first : first + 100])
        metrics = [Metric(p.name, p.value, now, p.step) for p in entry.points()]
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(id, metrics=metrics[first : first + BATCH])
        folder = self._folder(id)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            entry.write(folder)
        else:
            with tempfile.TemporaryDirectory() as temporary:
                entry.write(Path(temporary))
                self.client.log_artifacts(id, temporary)
        self.client.log_batch(id, tags=[RunTag("content", entry.content)])
        self.client.set_terminated(id, "FINISHED", now)
        return id

    def remove(self, runs: list[Any]) -> int:
        """Delete runs; from an SQLite store for good, so that it does not grow with every study."""
        for run in runs:
            id = run.info.run_id
            self.client.delete_run(id)
            hard = getattr(getattr(self.client, "_tracking_client", None), "store", None)
            if self.database is not None and hasattr(hard, "_hard_delete_run"):
                hard._hard_delete_run(id)  # what `mlflow gc` calls, without a process of its own
                shutil.rmtree(self._folder(id).parent, ignore_errors=True)
        return len(runs)


# -- what the runs hold -----------------------------------------------------------------------------------------------


def _run(results: Results, run: Run, reports: Path) -> Entry:
    """A method on a setting: parameters, tags, curves, its rows of the records, the figures of its experiment."""
    config = results.config.experiments[run.experiment]
    paths = [results.folder / id / RECORDS for id in run.jobs]
    sidecars = [s for s in results.sidecars(run.experiment) if "/".join(_id(s)) in run.jobs]
    values: dict[str, dict[str, None]] = {}
    for variant in run.variants:
        for name, value in resolved(results, variant).items():
            values.setdefault(name, {})[number(value, 6) if isinstance(value, float) else str(value)] = None
    params = {"experiment": run.experiment, "method": run.method, "seeds": spans(run.seeds)}
    params |= {name: ", ".join(found) for name, found in values.items()}
    setting = ", ".join(f"{axis}={value}" for axis, value in run.setting.items())
    study = results.plan.study
    tags = {
        "paper": results.slug, "scale": study.scale, "seeds": study.seeds, "experiment": run.experiment, "method": run.method,
        "setting": setting, "inside": ", ".join(run.inside), "variant": " | ".join(v.key for v in run.variants),
        "data_hash": digest(run.datasets) if run.datasets else "", "source_hash": " ".join(sorted({s["source_hash"] for s in sidecars})),
        **{f"data.{name}": hash for name, hash in run.datasets.items()},
        "versions": "; ".join(sorted({json.dumps(s["versions"], sort_keys=True) for s in sidecars})),
        "mlflow.note.content": f"**{config.title}**\n\n{config.about}\n\nReport: `{reports.name}/{results.slug}/index.html`",
    }  # fmt: skip
    pictures = figures_of(reports / results.slug, run.experiment)
    frame = cache(lambda: rows_of(results, run))  # read only when the run has to be written

    def write(folder: Path) -> None:
        write_records(folder / RECORDS, frame())
        write_text(folder / "final.csv", finals_csv(frame()))
        for path in pictures:
            (folder / "figures").mkdir(exist_ok=True)
            shutil.copyfile(path, folder / "figures" / path.name)

    tags = {name: value for name, value in tags.items() if value}
    return Entry(run.key, run.name, params, tags, lambda: curves(frame(), run.inside), write, [*paths, *pictures])


def rows_of(results: Results, run: Run) -> pd.DataFrame:
    """The records of one run: its method and setting, all its seeds."""
    frame = results.records(run.experiment)
    keep = frame["method"] == run.method
    for axis, value in run.setting.items():
        keep &= frame[axis] == value
    return frame[keep].reset_index(drop=True)


def figures_of(folder: Path, experiment: str | None = None) -> list[Path]:
    """PNGs of the paper's figures: all, or those of claims that read the experiment; panels of what was not run left out."""
    try:
        pictures = [p for p in json.loads((folder / "figures" / "figures.json").read_text()) if not p["not_run"]]
        claims = json.loads((folder / VERDICTS_FILE).read_text())["claims"]
    except FileNotFoundError as error:
        raise StudyError(
            f"{error.filename} is missing: make the report first (`snakemake` does it by itself)"
        ) from None
    if experiment is not None:
        named = [matching(pictures, c["figure"]) for c in claims if experiment in c["experiments"]]
        pictures = [picture for picture in pictures if picture in named]
    return [folder / "figures" / f"{picture['name']}.png" for picture in pictures]


def _verdicts(results: Results, reports: Path) -> Entry:
    """Claims and verdicts, with the report's files."""
    folder = reports / results.slug
    pictures = figures_of(folder)
    judged = json.loads((folder / VERDICTS_FILE).read_text())
    points, tags = [], {"paper": results.slug, "scale": judged["scale"], "seeds": judged["seeds"]}
    lines = ["| claim | verdict | ours | |", "|---|---|---|---|"]
    for claim in judged["claims"]:
        name, head = claim["claim"], claim["headline"] or {}
        tags[f"verdict.{name}"] = claim["verdict"]
        for column in ("estimate", "ci_low", "ci_high"):
            if (value := finite(head.get(column))) is not None:
                points.append(Point(f"claims/{name} {column}", value, 0))
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
    return Entry(key, "claims and verdicts", params, tags, lambda: points, write, [*files, *pictures, *chosen.values()])


def _id(sidecar: Mapping[str, Any]) -> tuple[str, str, str]:
    job = sidecar["job"]
    return job["paper"], job["experiment"], job["block"]


# -- stores that are down, slow or broken -----------------------------------------------------------------------------


def _database(uri: str) -> Path | None:
    """The file of an SQLite store, else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(urllib.parse.unquote(uri.removeprefix("sqlite:///").split("?")[0])).resolve()


def _ask(uri: str) -> None:
    """Whether a server answers at all; an error page counts as an answer, a gateway's does not."""
    try:
        urllib.request.urlopen(_shown(uri).rstrip("/") + "/health", timeout=5).close()
    except urllib.error.HTTPError as error:
        if error.code in (502, 503, 504):
            raise _down(uri, f"HTTP {error.code}") from None
    except (OSError, ValueError) as error:
        raise _down(uri, str(getattr(error, "reason", error))) from None


def _down(uri: str, reason: str) -> StudyError:
    return StudyError(f"the MLflow server at {_shown(uri)} does not answer ({reason}): start it, or set `tracking.uri` in "
                      "config/config.yaml to another; records and report are done, only the mirror has to be run again")  # fmt: skip


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Every failure of the store as one StudyError, without a traceback."""
    try:
        yield
    except StudyError:
        raise
    except Exception as error:
        kinds = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
        if not kinds & {"mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3"} and not isinstance(
            error, OSError
        ):
            raise
        if _database(uri) is None:
            raise _down(uri, _last_line(str(error))) from None
        raise StudyError(f"MLflow's store {_database(uri)} cannot be used ({_last_line(str(error))}): check that its folder is "
                         "writable and its disk not full, or move the file away: it can be made again from the records") from None  # fmt: skip


@contextmanager
def _quick(uri: str) -> Iterator[None]:
    """MLflow's own patience (two minutes a request, seven times) cut down while the block runs."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }
    set_here = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ |= set_here
    try:
        yield
    finally:
        for name in set_here:
            del os.environ[name]


def _shown(uri: str) -> str:
    """A URI without the name and password that may be in it."""
    parts = urllib.parse.urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 4] + " ..."


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _short(lines[-1] if lines else "no reason given", 300)
