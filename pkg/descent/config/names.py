"""Every name in a paper's YAML outside `claims:`, resolved before any job: methods, axes, values, settings, metrics,
datasets, packages, other experiments; of all scales, also of those that are not run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from descent.config.model import RESERVED, SCALES, ExperimentConfig, PaperConfig, ScaleConfig
from descent.core.declare import Room
from descent.core.errors import listed, nearest
from descent.core.records import AFTER, BEFORE
from descent.data.cards import cards

MEASURED = ("step_cpu_seconds", "step_wall_seconds")  # what every `bench` job records
PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
PLACE = re.compile(r"\{(\w+)\}")


def name_faults(paper: PaperConfig, room: Room, where: str) -> list[str]:
    """Every name of `paper` that nothing has, one sentence each."""
    found = [fault for name in paper.experiments for fault in _Names(paper, room, name, where).faults()]
    return list(dict.fromkeys(found))


def package_faults(paper: PaperConfig, where: str) -> list[str]:
    """Packages whose names no package can have (before the room is looked for in one of them)."""
    named = [("package", paper.package)] if paper.package is not None else []
    named += [(f"experiments.{n}.packages", p) for n, e in paper.experiments.items() for p in e.packages]
    return [f"{where}: {key}: `{name}` is no name of a package" for key, name in named if not PACKAGE.fullmatch(name)]


def flat(values: Any) -> list[Any]:
    """The values of an axis, of a condition: one, a list, or lists by method."""
    if isinstance(values, Mapping):
        return [v for group in values.values() for v in flat(group)]
    return list(values) if isinstance(values, (list, tuple)) else [values]


class _Names:
    """The names of one experiment."""

    def __init__(self, paper: PaperConfig, room: Room, name: str, where: str):
        self.paper, self.room, self.name = paper, room, name
        self.experiment: ExperimentConfig = paper.experiments[name]
        self.where = f"{where}: experiments.{name}"

    def faults(self) -> Iterator[str]:
        yield from self._links()
        if self.experiment.kind == "select":
            yield from self._select()
            return
        if self.name not in self.room.experiments:
            known = self.room.experiments
            yield f"{self.where}: the room has no experiment `{self.name}`{nearest(self.name, known)}; it has {listed(sorted(known))}"
            return
        if not self.experiment.methods:
            yield f"{self.where}.methods: name at least one method of the room: {', '.join(self.room.methods)}"
        if unknown := [m for m in self.experiment.methods if m not in self.room.methods]:
            yield from self._unknown("methods", "method", unknown, self.room.methods)
            return
        self.takes = {m: self.room.allowed(self.name, m) for m in self.experiment.methods}
        self.settings = {n: s for table in self.takes.values() for n, s in table.items()}
        yield from self._axes("vary", self.experiment.vary)
        yield from self._rules("settings", self.experiment.settings)
        yield from self._datasets("datasets", self.experiment.datasets)
        yield from self._unknown("folders", "setting", self.experiment.folders, self.settings)
        parts = ["method", "seed", *self.experiment.vary]
        yield from self._unknown("split", "axis", self.experiment.split or (), parts)
        for scale, config in self.experiment.scales.items():
            yield from self._scale(f"scales.{scale}", config)

    def _scale(self, key: str, scale: ScaleConfig) -> Iterator[str]:
        if scale.methods is not None and not scale.methods:
            yield f"{self.where}.{key}.methods: name at least one, or leave the key out for all"
        yield from self._unknown(f"{key}.methods", "method", scale.methods or (), self.experiment.methods)
        yield from self._unknown(f"{key}.vary", "axis", scale.vary, self.experiment.vary)
        yield from self._axes(f"{key}.vary", {a: v for a, v in scale.vary.items() if a in self.experiment.vary})
        yield from self._rules(f"{key}.settings", scale.settings)
        for i, entry in enumerate(scale.skip):
            if not entry:
                yield f"{self.where}.{key}.skip.{i}: an empty entry would leave out everything; name an axis or a method"
            yield from self._condition(f"{key}.skip.{i}", entry)

    def _axes(self, key: str, vary: Mapping[str, Any]) -> Iterator[str]:
        for axis, values in vary.items():
            shown = f"{self.where}.{key}.{axis}"
            if axis in (*BEFORE, *AFTER):
                yield f"{shown}: `{axis}` is a column of every record and cannot be an axis; choose another name"
                continue
            groups: Mapping[str, Any] = (
                values if isinstance(values, Mapping) else dict.fromkeys(self.experiment.methods, values)
            )
            if isinstance(values, Mapping):
                yield from self._unknown(f"{key}.{axis}", "method", values, self.experiment.methods)
            if not any(axis in table for table in self.takes.values()):
                yield f"{shown}: no method of this experiment takes a setting `{axis}`{nearest(axis, self.settings)}; they take {', '.join(sorted(self.settings))}"
                continue
            if not groups:
                yield f"{shown}: give at least one value"
            for method, own in groups.items():
                if not own:
                    yield f"{shown}: give at least one value" + (
                        f" for {method}" if isinstance(values, Mapping) else ""
                    )
                setting = self.takes.get(method, {}).get(axis)
                for value in own or ():
                    if setting and value is not None and (reason := setting.fault(value)):
                        yield f"{shown}: {method}: `{axis}` {reason}"
                texts = [str(v) for v in own or ()]
                if len(set(texts)) < len(texts):
                    yield f"{shown}: a value is given twice"

    def _rules(self, key: str, rules: Iterable[Mapping[str, Any]]) -> Iterator[str]:
        for i, rule in enumerate(rules):
            shown = f"{key}.{i}"
            allowed = [*self.settings, *sorted(RESERVED)]
            yield from self._unknown(shown, "setting", [n for n in rule if n not in allowed], allowed)
            yield from self._condition(f"{shown}.when", rule.get("when", {}))
            yield from self._datasets(f"{shown}.datasets", rule.get("datasets", ()))
            yield from self._unknown(f"{shown}.folders", "setting", rule.get("folders", ()), self.settings)
            yield from self._tuned(f"{shown}.tuned", rule.get("tuned", {}))
            when = rule.get("when", {})
            methods = flat(when["method"]) if "method" in when else self.experiment.methods
            for name, value in rule.items():
                takers = [m for m in methods if name in self.takes.get(m, {})]
                if name in RESERVED or name not in self.settings:
                    continue
                if not takers:
                    yield f"{self.where}.{shown}: {listed(methods)} takes no setting `{name}`; the methods that do: {listed(m for m in self.takes if name in self.takes[m])}"
                elif reason := self.settings[name].fault(value):
                    yield f"{self.where}.{shown}: {takers[0]}: `{name}` {reason}"

    def _condition(self, key: str, when: Mapping[str, Any]) -> Iterator[str]:
        values = {axis: self._values(axis) for axis in self.experiment.vary}
        values |= {"method": list(self.experiment.methods), "scale": list(SCALES)}
        for axis, wanted in when.items():
            if axis not in values:
                yield f"{self.where}.{key}: `{axis}` is no axis{nearest(axis, values)}; allowed: {', '.join(values)}"
                continue
            if isinstance(wanted, list) and not wanted:
                yield f"{self.where}.{key}.{axis}: give at least one value"
            for value in flat(wanted):
                if value not in values[axis] or isinstance(value, bool) != any(
                    v is value for v in values[axis] if isinstance(v, bool)
                ):
                    known = list(map(str, values[axis]))
                    yield f"{self.where}.{key}: no {axis} is `{value}`{nearest(value, known)}; known: {listed(known)}"

    def _values(self, axis: str) -> list[Any]:
        everywhere = [self.experiment.vary, *(scale.vary for scale in self.experiment.scales.values())]
        return list(dict.fromkeys(v for vary in everywhere for v in flat(vary.get(axis, ()))))

    def _datasets(self, key: str, names: Iterable[str]) -> Iterator[str]:
        known = cards()
        for name in names:
            places = PLACE.findall(name)
            values = ["method", "seed", *self.experiment.vary, *self.settings]
            yield from self._unknown(key, "axis or setting", places, values)
            if not places and name not in known:
                yield f"{self.where}.{key}: there is no dataset `{name}`{nearest(name, known)}; docs/data.md lists them"
            elif len(places) == 1 and name == f"{{{places[0]}}}" and places[0] in self.experiment.vary:
                yield from self._unknown(key, "dataset", [str(v) for v in self._values(places[0]) if v], known)

    def _links(self) -> Iterator[str]:
        experiments = self.paper.experiments
        for name, need in self.experiment.needs.items():
            key = f"needs.{name}"
            if need.experiment not in experiments:
                yield f"{self.where}.{key}: unknown experiment `{need.experiment}`{nearest(need.experiment, experiments)}"
                continue
            other = _Names(self.paper, self.room, need.experiment, "")
            axes = other._source().vary
            yield from self._unknown(f"{key}.where", "axis", need.where, ["method", "seed", *axes])
            for axis, value in need.where.items():
                known = other._source().methods if axis == "method" else other._values(axis) if axis in axes else None
                if known is not None and not (isinstance(value, str) and PLACE.search(value)) and value not in known:
                    yield f"{self.where}.{key}.where: no {axis} is `{value}`{nearest(value, map(str, known))}; known: {listed(map(str, known))}"
        if (self.experiment.kind == "select") != (self.experiment.select is not None):
            yield f"{self.where}: `select` goes with `kind: select`, one needs the other"

    def _source(self) -> ExperimentConfig:
        """The experiment whose axes the records have: of a `select` experiment the one that it chooses from."""
        select = self.experiment.select
        return self.paper.experiments.get(select.of, self.experiment) if select else self.experiment

    def _select(self) -> Iterator[str]:
        spec = self.experiment.select
        if spec is None:
            return
        sources = {n: e for n, e in self.paper.experiments.items() if e.kind != "select"}
        if spec.of not in sources:
            yield f"{self.where}.select.of: unknown experiment `{spec.of}`{nearest(spec.of, sources)}"
            return
        axes = sources[spec.of].vary
        if not spec.over:
            yield f"{self.where}.select.over: name at least one axis of `{spec.of}`: {listed(axes)}"
        for axis in spec.over:
            if axis not in axes:
                yield f"{self.where}.select.over: `{spec.of}` has no axis `{axis}`{nearest(axis, axes)}; it has {listed(axes)}"
        yield from self._unknown("select.metric", "metric", [spec.metric], [*self.room.metrics, *MEASURED])

    def _tuned(self, key: str, tuned: Mapping[str, str]) -> Iterator[str]:
        choosers = {n: e.select for n, e in self.paper.experiments.items() if e.kind == "select" and e.select}
        yield from self._unknown(key, "setting", tuned, self.settings)
        for setting, of in tuned.items():
            if of not in choosers:
                yield f"{self.where}.{key}.{setting}: unknown experiment `{of}`{nearest(of, choosers)}; the `select` experiments are {listed(choosers)}"
            elif setting not in choosers[of].over:
                yield f"{self.where}.{key}.{setting}: `{of}` chooses {listed(choosers[of].over)}, not `{setting}`"

    def _unknown(self, key: str, what: str, names: Iterable[str], known: Iterable[str]) -> Iterator[str]:
        known = list(known)
        for name in names:
            if name in known:
                continue
            if what == "setting" and name in self.room.settings:
                yield (
                    f"{self.where}.{key}: no card of this experiment takes `{name}`, which settings.py has: name it in the "
                    f"`settings` of a MethodCard, or of the ExperimentCard, in room.py"
                )
            else:
                declared = "; methods are declared in room.py" if what == "method" else ""
                yield f"{self.where}.{key}: unknown {what} `{name}`{nearest(name, known)}; known: {listed(known)}{declared}"
