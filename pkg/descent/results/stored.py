"""What a run of the study left on disk, by paper: records, arrays, choices, sidecars, and what was not run."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from descent.config.model import PaperConfig, Scale
from descent.config.plan import Missing, Plan, room_of
from descent.core.declare import Room
from descent.core.job import RECORDS, Job
from descent.core.outputs import arrays_of, chosen_of, records_of, sidecar_of


class Results:
    """The results of one paper at one scale.

    folder: of the scale's results, which holds <paper>/<experiment>/<block>/ (the runner wrote them).
    bench: of the stored measurements of time, with the same layout.
    """

    def __init__(self, plan: Plan, paper: str, folder: Path, bench: Path | None = None):
        self.plan, self.slug, self.folder, self.bench = plan, paper, folder, bench

    @property
    def scale(self) -> Scale:
        return self.plan.study.scale

    @property
    def config(self) -> PaperConfig:
        return self.plan.papers[self.slug]

    @cached_property
    def room(self) -> Room:
        return room_of(self.config)

    def jobs(self, experiment: str | None = None) -> list[Job]:
        """The jobs of this run, `bench` jobs left out."""
        return [job for job in self.plan.of(self.slug, experiment) if job.kind != "bench"]

    def experiments(self) -> list[str]:
        """The experiments of which something was run, in the order of the configuration."""
        run = {job.experiment for job in self.jobs()} | set(self._stored())
        return [name for name in self.config.experiments if name in run]

    def records(self, experiment: str) -> pd.DataFrame:
        """All records of an experiment, in the order of the plan; empty (with the usual columns) when none was run."""
        return records_of(self._folders(experiment))

    def arrays(self, experiment: str) -> dict[str, np.ndarray]:
        """The named arrays of all jobs of an experiment."""
        return arrays_of(self._folders(experiment))

    def chosen(self, experiment: str) -> list[dict[str, Any]]:
        """What a `select` experiment chose, with its seeds and its grid."""
        return chosen_of(self._folders(experiment))

    def sidecars(self, experiment: str) -> list[dict[str, Any]]:
        """The sidecars of an experiment's jobs."""
        return [sidecar_of(folder) for folder in self._folders(experiment)]

    def missing(self) -> list[Missing]:
        """The configurations that were not run, with the reason; measured time counts as run where it is stored."""
        stored = self._stored()
        return [m for m in self.plan.missing if m.paper == self.slug and m.experiment not in stored]

    def _folders(self, experiment: str) -> list[Path]:
        if experiment in (stored := self._stored()):
            return stored[experiment]
        return [self.folder / job.id for job in self.jobs(experiment)]

    def _stored(self) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for name, experiment in self.config.experiments.items():
            if experiment.kind == "bench" and self.bench is not None:
                paths = sorted((self.bench / self.slug / name).glob(f"*/{RECORDS}"))
                if paths:
                    found[name] = [path.parent for path in paths]
        return found
