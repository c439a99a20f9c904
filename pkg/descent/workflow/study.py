"""What the Snakefile knows: the plan, where things lie, and the hashes that decide what is rebuilt.

The rules stay thin: each asks this module for its inputs, outputs and parameters. Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from descent.config.model import StudyConfig
from descent.config.plan import Plan, make_plan
from descent.config.read import read_study, registered
from descent.core.errors import ConfigError, DataError
from descent.core.files import digest
from descent.core.job import ARRAYS, CHOSEN, RECORDS, SIDECAR, Job
from descent.core.leftovers import sweep
from descent.data.cards import cards
from descent.report.other_scales import hashes
from descent.results.stored import Results
from descent.runner.source import job_source, module_text, source_hash
from descent.workflow.handover import hand_over, handed_over
from descent.workflow.published import COST, tracked

CONFIG = "DESCENT_CONFIG"  # what this run was configured by, as JSON, for the scripts of its rules


class Study:
    """One call of the workflow, resolved and checked; raises ConfigError with every fault before any job starts."""

    def __init__(self, root: Path, overrides: Mapping[str, Any]):
        self.root = root
        os.environ["DESCENT_ROOT"] = str(root)
        self.config: StudyConfig = read_study(root, overrides)
        if self.config.data.mirror:
            mirror = (root / self.config.data.mirror).resolve()
            if not mirror.is_dir():
                raise ConfigError(
                    f"config/config.yaml or --config: data.mirror names {mirror}, which is not a folder: name one that "
                    "holds the downloads, or leave it out"
                )
            os.environ["DESCENT_MIRROR"] = str(mirror)
        self.label = self.config.label
        self.results = Path(self.config.results) / self.label
        self.reports = Path(self.config.reports) / self.label
        self.bench = Path(self.config.reports) / "bench" / self.config.scale
        self._check_writable()

    def prepare(self) -> None:
        """What comes before planning, once a call: imports from the cache or the mirror (from their URLs when asked to).

        Raises StudyError when an embedded data file is there but damaged: no job may train on it.
        """
        from descent.data.fetching import fetch, file_faults

        for folder in (self.results, self.reports):
            sweep(self.root / folder)
        slugs = set(registered(self.root) if self.config.papers == "all" else self.config.papers)
        wanted = [n for n, c in cards().items() if c.kind == "import" and not c.on_request and slugs & set(c.used_by)]
        fetch(embedded=False, imports=wanted, retry=self.config.retry_imports, root=self.root, say=lambda line: None)
        faults = [f for card in cards().values() if card.embedded for f in file_faults(card, self.root).items()]
        if damaged := [fault for path, fault in faults if path.exists()]:
            raise DataError("\n".join(f"{fault}; `make data` repairs it" for fault in damaged))

    def local_gpus(self) -> int:
        """The GPUs of this machine, for a local run. Raises SettingError when a job must have one and there is none."""
        from descent.runner.devices import count_gpus, refuse_missing_cuda

        refuse_missing_cuda({job.id: job.device for job in self.plan.jobs.values()})
        return count_gpus()

    @cached_property
    def plan(self) -> Plan:
        """Resolved once a run: the process that was called hands it to those that it starts."""
        return handed_over(self.config) or make_plan(self.root, self.config)

    def hand_over(self) -> None:
        """Leave the plan for the scripts of this run, below the results folder."""
        hand_over(self.plan, self.root / self.results / "plans")

    @property
    def papers(self) -> list[str]:
        """The slugs of this run."""
        return list(self.plan.papers)

    def jobs(self, *kinds: str, gpu: bool | None = None) -> list[str]:
        """Ids of the jobs of these kinds; `gpu`: only those that ask for one, or only the others."""
        found = [job for job in self.plan.jobs.values() if job.kind in kinds]
        return [job.id for job in found if gpu is None or wants_gpu(job) == gpu]

    def job(self, id: str) -> Job:
        return self.plan.jobs[id]

    def records_of(self, paper: str, *, bench: bool = False) -> list[str]:
        """The record files that the paper's verdicts rest on."""
        jobs = [job for job in self.plan.of(paper) if (job.kind == "bench") == bench]
        return [str((self.bench if bench else self.results) / job.id / RECORDS) for job in jobs]

    def needs(self, id: str) -> list[str]:
        """The files that a job reads of other jobs."""
        files = []
        for need in dict.fromkeys(n for ids in self.job(id).needs.values() for n in ids):
            files += [str(self.results / need / name) for name in (RECORDS, ARRAYS)]
            files += [str(self.results / need / CHOSEN)] if self.job(need).kind == "select" else []
        return files

    def priority(self, id: str) -> float:
        """What to start first: the job with the longest chain of jobs waiting for it, of such the one with more rows."""
        rows = sum(len(variant.seeds) for variant in self.job(id).variants)
        return self._chains[id] + rows / (rows + 1)

    @cached_property
    def _chains(self) -> dict[str, int]:
        """Job -> length of the longest chain of jobs that wait for it."""
        found = dict.fromkeys(self.plan.jobs, 0)
        for id in reversed(self.plan.jobs):  # a job comes after those that it needs
            for need in (n for ids in self.job(id).needs.values() for n in ids):
                found[need] = max(found[need], found[id] + 1)
        return found

    def data_files(self, id: str | None = None) -> list[str]:
        """The embedded data files that a job reads, or all that `data.dvc` holds."""
        if id is None:
            found = list(cards().values())
        else:
            job = self.job(id)
            found = [cards()[job.stand_ins.get(name, name)] for name in job.datasets]
        return [file.path for card in found if card.embedded for file in card.files]

    def source(self, id: str) -> str:
        """The hash of the code that a job runs."""
        return job_source(self.job(id).module)

    def judging(self, paper: str) -> str:
        """The hash of all that turns the paper's records into verdicts.json."""
        config = self.plan.papers[paper]
        missing = [dataclasses.asdict(m) for m in self.plan.missing if m.paper == paper]
        shown = [config.title, config.authors, config.source, config.summary, config.budget]
        facts = [config.claims, shown, missing, self.label, self.config.tier]
        return digest([_plain(facts), source_hash("descent.report.judged")])

    def writing(self, paper: str) -> str:
        """The hash of all that turns the paper's verdicts and records into its page."""
        config = self.plan.papers[paper]
        package = config.package or f"descent.papers.{paper}"
        captions = module_text(f"{package}.figures")  # docstrings are captions, and no source hash sees them
        drawn = [f"{package}.figures"] if captions else []
        code = source_hash(f"{package}.room", *drawn, "descent.report.page", "descent.report.figures")
        elsewhere = hashes(self.root / self.reports, paper)
        return digest(
            [_plain(config), self.label, code, captions, self.templates(), *([elsewhere] if elsewhere else [])]
        )

    def templates(self) -> str:
        """The hash of the report's templates, styles and scripts."""
        folder = Path(__file__).parents[1] / "report"
        files = sorted(path for path in folder.rglob("*") if path.suffix in (".html", ".css", ".js"))
        return digest([[path.name, path.read_text(encoding="utf-8")] for path in files])

    def front(self) -> str:
        """The hash of all that turns the papers' verdicts into the front page."""
        return digest(
            [
                registered(self.root),
                self.papers,
                self.label,
                self.templates(),
                source_hash("descent.report.front", "descent.report.overview"),
            ]
        )

    def tracking(self) -> dict[str, str]:
        """Where the mirror goes, and the hash of what makes it."""
        uri = self.config.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI") or "under the results folder"
        # Snakemake prints parameters and keeps them: of a URI, which may hold a password, a hash and no more.
        return {"store": digest(uri), "source": source_hash("descent.tracking.mirror")}

    def found(self, paper: str) -> Results:
        """What the run left on disk of one paper."""
        return Results(self.plan, paper, self.root / self.results, self.root / self.bench)

    def shows(self, paper: str, figure: str) -> str:
        """What a figure of the report shows, for Snakemake's own report: its alternative text."""
        from descent.report.figures import FIGURES

        path = self.root / self.reports / paper / "figures" / FIGURES
        return next(each["alt"] for each in json.loads(path.read_text(encoding="utf-8")) if each["name"] == figure)

    def costs(self, paper: str) -> Path:
        """Where the costs of this machine are written: not over those that the committed report tells."""
        report = self.reports / paper
        return self.results / COST / paper if tracked(self.root, report / "cost.csv") else report

    def pattern(self, ids: list[str]) -> str:
        """A regular expression for the wildcard `job` that matches exactly `ids` (nothing, when there are none)."""
        return "|".join(re.escape(id) for id in ids) or "(?!)"

    def _check_writable(self) -> None:
        for name, folder in (("results", self.results), ("reports", self.reports)):
            path = self.root / folder
            while not path.exists():
                path = path.parent
            if not path.is_dir() or not os.access(path, os.W_OK):
                raise ConfigError(
                    f"config/config.yaml or --config: {name}: cannot write to {path}; make it a writable folder or name another"
                )


def placed(root: Path, overrides: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a run that works in `folder` is configured by: elsewhere than in the checkout, records and report go below
    `folder`. The scripts of its rules read the same, whatever workflow the rules were taken into.
    """
    found = dict(overrides)
    if folder.resolve() != root.resolve():
        config = read_study(root, overrides)
        found |= {"results": str(folder / config.results), "reports": str(folder / config.reports)}
    os.environ[CONFIG] = json.dumps(found, default=str)
    own = root / "pkg"
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if (own / "descent").is_dir() and path[0] != str(own):  # the jobs' processes, too, run this checkout's code
        os.environ["PYTHONPATH"] = os.pathsep.join([str(own), *filter(None, path)])
    return found


def wants_gpu(job: Job) -> bool:
    """Whether the job's rule asks Snakemake for a GPU: it says `cuda`, or `auto` (which is content without one)."""
    return job.device in ("auto", "cuda")


def job_files(folder: str) -> dict[str, str]:
    """The outputs of a job's rule."""
    return {"records": f"{folder}/{RECORDS}", "arrays": f"{folder}/{ARRAYS}", "sidecar": f"{folder}/{SIDECAR}"}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) or type(value).__name__ == "dict_keys":
        return [_plain(v) for v in cast(Iterable[Any], value)]
    return value
