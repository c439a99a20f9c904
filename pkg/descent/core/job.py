"""What a job is: one block of variants of one experiment at one scale, with everything that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from descent.core.errors import SettingError

RECORDS, ARRAYS, CHOSEN, SIDECAR = "records.parquet", "arrays.npz", "chosen.json", "run.json"
"""The files of a job's folder."""

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Variant:
    """One method on one setting, all its seeds inside.

    setting: the values of the experiment's axes (columns of the records); params: every resolved setting, axes included.
    tuned: setting -> name of the need whose `select` job chooses it; the runner puts the value into params.
    takes: the settings that the method's card lists; a variant made by hand names them before `own` is read.
    """

    method: str
    setting: Mapping[str, Any]
    params: Mapping[str, Any]
    seeds: tuple[int, ...]
    tuned: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] | None = None

    @property
    def own(self) -> dict[str, Any]:
        """What the method's builder is given: the settings of its card, those of the experiment left out.

        Raises SettingError where nobody said what the method takes: its builder would run on its defaults in silence.
        """
        if self.takes is None:
            raise SettingError(f"{self.key}: say what the method takes, Variant(..., takes=METHODS[method].settings)")
        return {name: self.params[name] for name in self.takes if name in self.params}

    @property
    def key(self) -> str:
        """`zo, model=svm, data=a5a`: names the variant in messages, tables and MLflow."""
        return ", ".join([self.method, *(f"{name}={value}" for name, value in self.setting.items())])


@dataclass(frozen=True)
class Job:
    """A unit of work of the DAG; serialises to the JSON that is passed to it.

    datasets: name -> content hash. stand_ins: dataset -> the dataset that takes its place at smoke.
    needs: name -> ids of the jobs whose outputs it reads.
    select: what a `select` job chooses and how.
    """

    paper: str
    experiment: str
    block: str
    scale: str
    kind: str
    module: str
    axes: tuple[str, ...]
    variants: tuple[Variant, ...]
    device: str = "auto"
    threads: int = 1
    datasets: Mapping[str, str] = field(default_factory=dict)
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    select: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """`zoflat/convex/svm-a5a`, unique within a scale."""
        return f"{self.paper}/{self.experiment}/{self.block}"

    def to_json(self) -> str:
        """Stable JSON of everything that the job depends on, but for the source."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The job that `to_json` wrote."""
        data = json.loads(text)
        variants = tuple(
            Variant(**{**v, "seeds": tuple(v["seeds"]), "takes": None if v["takes"] is None else tuple(v["takes"])})
            for v in data["variants"]
        )
        needs = {name: tuple(ids) for name, ids in data["needs"].items()}
        return cls(**{**data, "variants": variants, "axes": tuple(data["axes"]), "needs": needs})
