"""What a room declares of itself: metrics, methods and experiments.

Labels and texts live here and in the room's `room.py`; no training module imports them, so that mending a label
retrains nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from descent.core.errors import ConfigError
from descent.core.settings import Setting


@dataclass(frozen=True)
class Metric:
    """A quantity that a room records.

    unit: as printed ("" for pure numbers). better: which way is good. log: positive, drawn and averaged on the
    logarithmic scale. range: what it cannot leave, e.g. (0, 1) of a share. resolution: the step of what is counted or
    rounded, 0 where it is continuous. final: what a table of final values shows of a seed: its last record, the mean of
    the last tenth of its records, the mean of all (where steps count replications), or nothing.
    """

    unit: str
    meaning: str
    better: Literal["lower", "higher", "none"] = "none"
    log: bool = False
    range: tuple[float, float] | None = None
    resolution: float = 0.0
    final: Literal["last", "tail", "mean", "none"] = "last"


@dataclass(frozen=True)
class MethodCard:
    """A method, ours or a baseline, as the reader meets it.

    role: what it is for in the study. tag: where its form comes from (paper, code, derived, ours).
    settings: the names of the settings that its builder takes, keyword-only, which gets exactly these (`variant.own`).
    builder: "module:function" within the room: a test holds its signature to `settings`, and wants one wherever there are any.
    syncs_per_step: host synchronisations a step that the
    method cannot avoid (0 for nearly all; the device tests hold it to the number).
    """

    label: str
    role: Literal["headline", "baseline", "reference", "control"]
    about: str
    tag: str = "paper"
    settings: tuple[str, ...] = ()
    syncs_per_step: float = 0
    builder: str = ""


@dataclass(frozen=True)
class ExperimentCard:
    """Where an experiment lives and which settings all its methods take."""

    module: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Room:
    """Everything a room declares."""

    metrics: Mapping[str, Metric]
    methods: Mapping[str, MethodCard]
    experiments: Mapping[str, ExperimentCard]
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def allowed(self, experiment: str, method: str) -> dict[str, Setting]:
        """The settings that `method` takes in `experiment`."""
        names = (*self.experiments[experiment].settings, *self.methods[method].settings)
        return {name: self.settings[name] for name in dict.fromkeys(names)}


def room(slug: str, package: str | None = None) -> Room:
    """The declarations of the paper `slug`, from `package`.room (default descent.papers.<slug>).

    Raises ConfigError if there is no such module.
    """
    package = package or f"descent.papers.{slug}"
    try:
        return importlib.import_module(f"{package}.room").ROOM
    except ModuleNotFoundError as error:
        if error.name and f"{package}.room".startswith(error.name):
            raise ConfigError(
                f"config/papers/{slug}.yaml: there is no module {package}.room; add the room or remove the file"
            ) from None
        raise
