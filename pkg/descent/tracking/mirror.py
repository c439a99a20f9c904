"""The copy in MLflow of what a run left on disk: made after the report, from the records, and made again at any time.

One MLflow experiment a paper and checkout; in it a tree of runs: experiment, method, setting, and one run of claims and
verdicts. Each run has a key; there is one live run a key, whatever is run again, and keys that the records no longer
have go. MLflow is imported only here and only when something is copied.
"""

from __future__ import annotations

import getpass
import os
import shutil
import sqlite3
import subprocess
import tempfile
from contextlib import chdir, nullcontext
from pathlib import Path
from typing import Any

from descent.core.errors import StudyError
from descent.report.judged import label
from descent.results.stored import Results
from descent.tracking.entries import Entry, entries_of
from descent.tracking.owner import CHECKOUT, MARK, STUDY, checkout_id
from descent.tracking.stores import database, opened, patient, prepare, shown, store, told

BATCH = 1000  # metrics a call, MLflow's limit
LONGEST = 500  # characters of a parameter or tag value that anybody reads

__all__ = ["mirror", "store"]


def mirror(results: Results, reports: Path, uri: str | None = None, *, root: Path | None = None) -> dict[str, Any]:
    """Copy one paper: its runs and its verdicts, from the records and the report in `reports` (reports/<scale>).

    uri: the store; by default `store`'s. root: the checkout (default DESCENT_ROOT, else the working folder); artifact
    locations of an SQLite store inside it are relative to it, so that a moved checkout still opens them.
    Returns the experiment's name and id, key -> run id, and how many runs were written, kept as they were, and removed.
    Raises StudyError when the store is down, slow or broken: records and report are not touched by that.
    """
    root = (root or Path(os.environ.get("DESCENT_ROOT", "."))).resolve()
    uri = uri or store(root, results.plan.study)
    entries = entries_of(results, reports)
    # An SQLite store below a folder with a `?` can only be named from its own folder.
    with chdir(root) if "?" in uri and database(uri) else nullcontext(), told(uri), patient(uri):
        prepare(uri)
        place = _Place(uri, root, results)
        known = place.live()
        runs: dict[str, str] = {}
        groups: dict[str, str] = {}
        kept = removed = 0
        for entry in entries:
            parent = groups.get(entry.parent, "")
            mine = known.pop(entry.key, [])
            if len(mine) == 1 and place.intact(mine[0], entry):
                id, kept = mine[0].info.run_id, kept + (not entry.group)
                if mine[0].data.tags.get("mlflow.parentRunId", "") != parent:
                    place.client.set_tag(id, "mlflow.parentRunId", parent)
            else:
                removed += place.remove(mine)
                id = place.write(entry, parent)
            (groups if entry.group else runs)[entry.key] = id
        removed += sum(place.remove(stale) for stale in known.values())
    return {
        "paper": results.slug, "store": shown(uri), "experiment": place.name, "experiment_id": place.experiment, "runs": runs,
        "groups": groups, "written": len(runs) - kept, "kept": kept, "removed": removed,
    }  # fmt: skip


class _Place:
    """One paper's experiment of this checkout in a store."""

    def __init__(self, uri: str, root: Path, results: Results):
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=opened(uri))
        self.label, self.slug = label(results.plan.study), results.slug
        self.database, self.root, self.owner = database(uri), root, checkout_id(root)
        self.name, self.experiment = self._experiment(results)

    def _experiment(self, results: Results) -> tuple[str, str]:
        """Ours of this name; where another's stands in the way it is left as it is, and ours has a name of its own."""
        for name in (self.slug, f"{self.slug} ({self.owner})"):
            found = self.client.get_experiment_by_name(name)
            if found is None:
                return name, self._create(name, results)
            if found.tags.get(STUDY) == MARK and found.tags.get(CHECKOUT) == self.owner:
                if found.lifecycle_stage == "deleted":
                    self.client.restore_experiment(found.experiment_id)
                return name, found.experiment_id
        raise StudyError(
            f"the store has experiments {self.slug} and {self.slug} ({self.owner}) that are not this study's: rename them"
        )

    def _create(self, name: str, results: Results) -> str:
        tags = {"title": results.config.title, "source": results.config.source, STUDY: MARK, CHECKOUT: self.owner}
        tags["mlflow.experimentKind"] = "custom_model_development"  # the UI for training, not for chat models
        tags["mlflow.note.content"] = f"**{results.config.title}**\n\n{results.config.summary}"
        tags = {k: _short(v, 5000) for k, v in tags.items()}
        if self.database is None:
            return self.client.create_experiment(name, None, tags)
        id = self.client.create_experiment(name, "artifacts", tags)
        # MLflow makes every local location absolute, and then a moved checkout cannot open its artifacts; a relative one
        # is left alone and opened from the working folder (`make ui` starts in the checkout).
        with sqlite3.connect(self.database, timeout=30) as connection:
            connection.execute(
                "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (self._artifacts(name), int(id))
            )
        connection.close()
        return id

    def _artifacts(self, name: str) -> str:
        """The folder of an experiment's artifacts beside the database: relative to the checkout if it lies inside."""
        assert self.database is not None, "a server keeps its artifacts itself"
        folder = self.database.parent / "mlartifacts" / name
        return str(folder.relative_to(self.root)) if folder.is_relative_to(self.root) else folder.as_uri()

    def _folder(self, run_id: str) -> Path | None:
        return self.database.parent / "mlartifacts" / self.name / run_id / "artifacts" if self.database else None

    def live(self) -> dict[str, list[Any]]:
        """Key -> live runs of this checkout and scale."""
        found: dict[str, list[Any]] = {}
        wanted = f"tags.`{STUDY}` = '{MARK}' and tags.`{CHECKOUT}` = '{self.owner}' and tags.label = '{self.label}'"
        token = None
        while True:
            page = self.client.search_runs([self.experiment], wanted, max_results=500, page_token=token)
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
        return entry.group or folder is None or (folder.is_dir() and any(folder.iterdir()))

    def write(self, entry: Entry, parent: str) -> str:
        """Make the run; it is marked finished, with its content, only when all of it is there."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

        tags = {
            **self._source(),
            **entry.tags,
            "key": entry.key,
            "label": self.label,
            STUDY: MARK,
            CHECKOUT: self.owner,
        }
        if parent:
            tags["mlflow.parentRunId"] = parent
        run = self.client.create_run(
            self.experiment, entry.began, {k: _short(v, 5000) for k, v in tags.items()}, entry.name
        )
        id = run.info.run_id
        params = [Param(name, _short(value)) for name, value in entry.params.items()]
        for first in range(0, len(params), 100):
            self.client.log_batch(id, params=params[first : first + 100])
        metrics = [Metric(p.name, p.value, entry.ended, p.step) for p in entry.points()]
        for first in range(0, len(metrics), BATCH):
            self.client.log_batch(id, metrics=metrics[first : first + BATCH])
        if entry.datasets:
            inputs = [DatasetInput(Dataset(name, hash[:36], "local", name), [InputTag("mlflow.data.context", "training")])
                      for name, hash in entry.datasets.items()]  # fmt: skip
            self.client.log_inputs(id, inputs)
        folder = self._folder(id)
        if folder is not None and not entry.group:
            folder.mkdir(parents=True, exist_ok=True)
            entry.write(folder)
        elif not entry.group:
            with tempfile.TemporaryDirectory() as temporary:
                entry.write(Path(temporary))
                self.client.log_artifacts(id, temporary)
        self.client.log_batch(id, tags=[RunTag("content", entry.content)])
        self.client.set_terminated(id, "FINISHED", entry.ended)
        return id

    def _source(self) -> dict[str, str]:
        """Who made the copy, from which commit: outside what tells whether a run is still what it should be."""
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=self.root, capture_output=True, text=True, encoding="utf-8"
        )
        tags = {"mlflow.source.type": "LOCAL", "mlflow.source.name": "Snakefile", "mlflow.user": _user()}
        return tags | ({"mlflow.source.git.commit": git.stdout.strip()} if git.returncode == 0 else {})

    def remove(self, runs: list[Any]) -> int:
        """Delete runs of ours; from an SQLite store for good, so that it does not grow with every study."""
        for run in runs:
            if run.data.tags.get(STUDY) != MARK or run.data.tags.get(CHECKOUT) != self.owner:
                continue
            id = run.info.run_id
            self.client.delete_run(id)
            hard: Any = getattr(getattr(self.client, "_tracking_client", None), "store", None)
            folder = self._folder(id)
            if folder is not None and hasattr(hard, "_hard_delete_run"):
                hard._hard_delete_run(id)  # what `mlflow gc` calls, without a process of its own
                shutil.rmtree(folder.parent, ignore_errors=True)
        return sum(run.data.tags.get("group") is None for run in runs)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _short(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else text[: longest - 4] + " ..."
