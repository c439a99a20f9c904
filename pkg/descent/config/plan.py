"""From the configuration to jobs: every variant resolved, every default filled in, every fault found before work starts."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from descent.config.claimed import claim_names
from descent.config.model import (
    MOST_SEEDS,
    MOST_THREADS,
    RESERVED,
    ExperimentConfig,
    PaperConfig,
    ScaleConfig,
    StudyConfig,
)
from descent.config.names import flat, name_faults, package_faults
from descent.config.read import read_paper, registered
from descent.core import declare, settings
from descent.core.errors import ConfigError, DataError, listed
from descent.core.job import Job, Variant
from descent.data.cards import stand_in
from descent.data.presence import present

FIRST_SEED = {"verdict": 1000, "fresh": 2000, "again": 3000, "dev": 500, "tuning": 200}


@dataclass(frozen=True)
class Missing:
    """A configuration that is not run, and why. method None: the whole experiment."""

    paper: str
    experiment: str
    method: str | None
    setting: Mapping[str, Any]
    reason: str


@dataclass
class Plan:
    """Everything that a run of the study does and leaves out."""

    study: StudyConfig
    papers: dict[str, PaperConfig]
    jobs: dict[str, Job] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    def of(self, paper: str, experiment: str | None = None) -> list[Job]:
        """The jobs of a paper, or of one of its experiments."""
        return [job for job in self.jobs.values() if job.paper == paper and experiment in (None, job.experiment)]


def make_plan(root: Path, study: StudyConfig, *, everything: bool = False, any_data: bool = False) -> Plan:
    """Resolve the papers that `study` names. Raises ConfigError with all faults of all of them.

    everything: also the extended tier and the `bench` jobs (for `descent list` and the tests' batteries).
    any_data: as if every dataset were at hand, for plans of which no job is run (dry runs).
    """
    slugs = registered(root) if study.papers == "all" else list(study.papers)
    faults: list[str] = []
    plan = Plan(study, {})
    for slug in slugs:
        try:
            paper = read_paper(root, slug)
            plan.papers[slug] = paper
            where = f"config/papers/{slug}.yaml"
            if found := package_faults(paper, where):
                raise ConfigError(found)
            planner = _Planner(paper, room_of(paper), study, everything, any_data)
            planner.plan()
            faults += planner.faults
            plan.jobs |= {job.id: job for job in planner.jobs}
            plan.missing += planner.missing
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(dict.fromkeys(faults))
    return plan


class _Planner:
    """Resolves one paper."""

    def __init__(
        self, paper: PaperConfig, room: declare.Room, study: StudyConfig, everything: bool, any_data: bool = False
    ):
        self.paper, self.room, self.study = paper, room, study
        self.everything, self.any_data = everything, any_data
        self.where = f"config/papers/{paper.paper}.yaml"
        self.faults: list[str] = []
        self.jobs: list[Job] = []
        self.missing: list[Missing] = []

    def plan(self) -> None:
        """Fill `jobs`, `missing` and `faults`, experiments in the order in which they feed each other."""
        self.faults += name_faults(self.paper, self.room, self.where)
        self._claims()
        if self.faults:
            return
        before = {name: _depends_on(experiment) for name, experiment in self.paper.experiments.items()}
        try:
            order = list(TopologicalSorter(before).static_order())
        except CycleError as error:
            self.faults.append(f"{self.where}: experiments need each other in a circle: {' -> '.join(error.args[1])}")
            return
        for name in order:
            self._experiment(name, self.paper.experiments[name])

    def _claims(self) -> None:
        """Parse the claims, and find the names in them that nothing has, before any record is made.

        On a machine with the training packages alone the claims are not looked at: nothing there reads them.
        """
        if importlib.util.find_spec("pydantic") is None:
            return
        from descent.claims import parse_claims, reference_faults

        try:
            claims = parse_claims(self.paper.claims, where=self.where)
            self.faults += reference_faults(claims, claim_names(self.paper, self.room), self.where)
        except ConfigError as error:
            self.faults += error.faults

    def _experiment(self, name: str, experiment: ExperimentConfig) -> None:
        scale = experiment.scales.get(self.study.scale)
        reason = None
        if scale is None:
            reason = f"only at scale {listed(experiment.scales).replace(' or ', ' and ')}"
        elif scale.not_run:
            reason = scale.not_run
        elif absent := [name for name in experiment.packages if importlib.util.find_spec(name) is None]:
            reason = f"needs the package {listed(absent).replace(' or ', ' and ')}, which is not installed"
        elif experiment.kind == "bench" and not (self.study.bench or self.everything):
            reason = "measured time: run on request (`--config bench=true`)"
        if experiment.kind == "select":
            if reason is None and experiment.select:
                self._select(name, experiment)
        elif reason is None and scale is not None:
            self._train(name, experiment, scale)
        if reason is not None:
            self.missing.append(Missing(self.paper.paper, name, None, {}, reason))

    def _select(self, name: str, experiment: ExperimentConfig) -> None:
        spec = experiment.select
        assert spec is not None, "a `select` experiment without it is refused before"
        sources = [job for job in self.jobs if job.experiment == spec.of]
        if not sources:
            self._lost(name, None, {}, f"needs `{spec.of}`, which is not run")
            return
        axes = sources[0].axes
        chosen = {"metric": spec.metric, "best": spec.best, "over": list(spec.over)}
        ids = tuple(job.id for job in sources)
        self.jobs.append(
            Job(
                self.paper.paper,
                name,
                "all",
                self.study.scale,
                "select",
                "descent.runner.tuning",
                axes,
                (),
                "cpu",
                1,
                needs={"from": ids},
                select=chosen,
            )
        )

    def _train(self, name: str, experiment: ExperimentConfig, scale: ScaleConfig) -> None:
        where = f"{self.where}: experiments.{name}"
        axes = tuple(experiment.vary)
        vary = {**experiment.vary, **scale.vary}
        rules = [*experiment.settings, *scale.settings]
        takes = {m: self.room.allowed(name, m) for m in experiment.methods}
        split = experiment.split if experiment.split is not None else ["method", *axes]
        blocks: dict[str, list[tuple[Variant, dict[str, Any]]]] = {}
        for method in scale.methods or experiment.methods:
            for setting in _settings(method, axes, vary):
                cell = {"method": method, "scale": self.study.scale, **setting}
                if any(_matches(entry, cell) for entry in scale.skip):
                    self._lost(name, method, setting, f"left out at scale {self.study.scale}")
                    continue
                params, reserved = self._resolve(where, rules, cell, takes[method], experiment, scale)
                if reserved["tier"] == "extended" and self.study.tier != "extended" and not self.everything:
                    self._lost(name, method, setting, "a secondary sweep: run with `--config tier=extended`")
                    continue
                for variant in self._seeds(method, setting, params, reserved, experiment, "seed" in split):
                    block = _block_name(split, variant)
                    blocks.setdefault(block, []).append((variant, reserved))
        for block, members in blocks.items():
            self._job(name, experiment, axes, block, members)

    def _resolve(self, where, rules, cell, takes, experiment, scale) -> tuple[dict[str, Any], dict[str, Any]]:
        """The params and the reserved keys of one variant."""
        axes = {axis: value for axis, value in cell.items() if axis in takes and value is not None}
        reserved = {
            "seeds": scale.seeds,
            "datasets": experiment.datasets,
            "folders": experiment.folders,
            "device": experiment.device,
            "tier": experiment.tier,
            "threads": experiment.threads,
            "tuned": {},
        }
        given: dict[str, Any] = {}
        for rule in rules:
            when = rule.get("when") or {}
            if not _matches(when, cell):
                continue
            reserved |= {k: v for k, v in rule.items() if k in RESERVED and k != "when"}
            named = "method" in when
            given |= {k: v for k, v in rule.items() if k not in RESERVED and (named or k in takes)}
        params = settings.with_defaults(takes, takes, {**given, **axes})
        for key in reserved["tuned"]:
            params.pop(key, None)
        owner = f"{where}: {cell['method']}"
        self.faults += settings.faults(owner, takes, params)
        self.faults += [
            f"{owner}: the setting `{n}` is missing; give it in `settings` ({takes[n].doc})"
            for n in takes
            if n not in params and n not in reserved["tuned"]
        ]
        if not 1 <= reserved["seeds"] <= MOST_SEEDS:
            self.faults.append(f"{owner}: `seeds` must lie in [1, {MOST_SEEDS}], got {reserved['seeds']!r}")
            reserved["seeds"] = 1
        if not 1 <= reserved["threads"] <= MOST_THREADS:
            self.faults.append(f"{owner}: `threads` must lie in [1, {MOST_THREADS}], got {reserved['threads']!r}")
        return params, reserved

    def _seeds(self, method, setting, params, reserved, experiment, one_each) -> Iterator[Variant]:
        kind = experiment.scales[self.study.scale].seeds_from or experiment.seeds_from
        if kind != "tuning" and self.study.seeds == "dev":
            kind = "dev"
        seeds = tuple(range(FIRST_SEED[kind], FIRST_SEED[kind] + reserved["seeds"]))
        tuned = dict(reserved["tuned"])
        for group in [(seed,) for seed in seeds] if one_each else [seeds]:
            yield Variant(method, setting, params, group, tuned, tuple(self.room.methods[method].settings))

    def _job(self, name, experiment, axes, block, members) -> None:
        variants = [variant for variant, _ in members]
        first = variants[0]
        devices = {reserved["device"] for _, reserved in members}
        threads = max(reserved["threads"] for _, reserved in members)
        own = {"method": first.method, **first.params, **first.setting, "seed": first.seeds[0]}
        wanted = dict.fromkeys(_filled(d, {**own, **v.params, **v.setting}) for v, r in members for d in r["datasets"])
        datasets, stand_ins, reason = self._datasets(wanted)
        for folder in dict.fromkeys(folder for _, reserved in members for folder in reserved["folders"]):
            paths = {str(v.params.get(folder) or "") for v in variants}
            if any(not path or not Path(path).expanduser().is_dir() for path in paths):
                named = f"`{' '.join(sorted(paths))}` is no folder" if any(paths) else "none is named"
                reason = (
                    reason or f"needs a folder that is not distributed here ({named}): give `{folder}` in {self.where}"
                )
        needs: dict[str, tuple[str, ...]] = {}
        for need, spec in experiment.needs.items():
            ids = self._needed(spec.experiment, {k: _filled(v, own) for k, v in spec.where.items()})
            needs[need] = ids
            reason = reason or (None if ids else f"needs `{spec.experiment}`, which is not run")
        for of in dict.fromkeys(of for variant in variants for of in variant.tuned.values()):
            needs[of] = self._needed(of, {})
            reason = reason or (None if needs[of] else f"needs `{of}`, which is not run")
        if reason:
            for variant in variants:
                self._lost(name, variant.method, variant.setting, reason)
            return
        device = "cuda" if "cuda" in devices else "auto" if "auto" in devices else "cpu"
        self.jobs.append(
            Job(
                self.paper.paper, name, block, self.study.scale, experiment.kind, self.room.experiments[name].module, axes,
                tuple(variants), device, threads, datasets, stand_ins, needs,
            )
        )  # fmt: skip

    def _needed(self, experiment: str, where: Mapping[str, Any]) -> tuple[str, ...]:
        found = []
        for job in self.jobs:
            if job.experiment != experiment:
                continue
            cells = [{"method": v.method, **v.setting, "seed": v.seeds} for v in job.variants] or [{}]
            if any(all(_same(cell.get(k), value) for k, value in where.items()) for cell in cells):
                found.append(job.id)
        return tuple(found)

    def _datasets(self, names: Iterable[str]) -> tuple[dict[str, str], dict[str, str], str | None]:
        """Hashes, stand-ins, and why the job cannot be run (None when it can)."""
        hashes: dict[str, str] = {}
        stand_ins: dict[str, str] = {}
        for name in names:
            try:
                taken = (stand_in(name) or name) if self.study.scale == "smoke" else name
                presence = present(taken)
            except DataError as error:
                self.faults.append(f"{self.where}: datasets: {error}")
                continue
            if not presence.available and not self.any_data:
                return {}, {}, presence.reason
            hashes[name] = presence.hash or ""
            if taken != name:
                stand_ins[name] = taken
        return hashes, stand_ins, None

    def _lost(self, experiment: str, method: str | None, setting: Mapping[str, Any], reason: str) -> None:
        self.missing.append(Missing(self.paper.paper, experiment, method, dict(setting), reason))


def _depends_on(experiment: ExperimentConfig) -> list[str]:
    """The experiments whose jobs come first."""
    rules = [*experiment.settings, *(rule for scale in experiment.scales.values() for rule in scale.settings)]
    wanted = [need.experiment for need in experiment.needs.values()]
    wanted += [experiment.select.of] if experiment.select else []
    wanted += [of for rule in rules for of in rule.get("tuned", {}).values()]
    return list(dict.fromkeys(wanted))


def _settings(method: str, axes: Sequence[str], vary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the axes' values for `method`; an axis that the method does not have is None."""
    columns = []
    for axis in axes:
        values = vary[axis]
        columns.append(values.get(method, [None]) if isinstance(values, Mapping) else values)
    for combination in itertools.product(*columns):
        yield dict(zip(axes, combination, strict=True))


def _matches(when: Mapping[str, Any], cell: Mapping[str, Any]) -> bool:
    return all(cell.get(axis) in flat(wanted) for axis, wanted in when.items())


def _same(found: Any, wanted: Any) -> bool:
    options = found if isinstance(found, tuple) else (found,)
    return any(option == w or str(option) == str(w) for option in options for w in flat(wanted))


def _filled(template: Any, values: Mapping[str, Any]) -> Any:
    """`{axis}` in a text replaced by the variant's value; anything else as it is."""
    if not isinstance(template, str):
        return template
    return re.sub(r"\{(\w+)\}", lambda m: str(values.get(m[1], m[0])), template)


def _block_name(split: Sequence[str], variant: Variant) -> str:
    parts = []
    for part in split:
        value = variant.method if part == "method" else variant.seeds[0] if part == "seed" else variant.setting[part]
        if value is not None:
            text = str(value) if part in ("method",) or isinstance(value, str) else f"{part}{value}"
            parts.append(re.sub(r"[^\w.+]", "_", text))
    return "-".join(parts) or "all"


def room_of(paper: PaperConfig) -> declare.Room:
    """What the paper's room declares."""
    return declare.room(paper.paper, paper.package)
