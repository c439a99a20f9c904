"""The typed model of config/config.yaml and config/papers/<slug>.yaml.

Plain dataclasses: they build themselves from YAML where only the training packages are installed, and pydantic checks
them (all faults at once) and writes the schema and the documentation where the workflow's packages are.
The description of a key is its `metadata`; docs/config.md is made from it.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field
from typing import Any, Literal

from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12; torch brings it

Scale = Literal["smoke", "study", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "study", "paper")
Value = str | int | float | bool | None
Device = Literal["auto", "cpu", "cuda"]
Tier = Literal["core", "extended"]
Axis = list[Value] | dict[str, list[Value]]
MOST_SEEDS, MOST_THREADS = 100_000, 1024
STRICT = {"extra": "forbid"}


def key(
    description: str,
    default: Any = MISSING,
    factory: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Any:
    """A key of the configuration with the sentence that documents it.

    low, high: limits of a number, inclusive. A text with `low=1` must not be empty.
    """
    options = {} if factory is MISSING else {"default_factory": factory}
    if default is not MISSING:
        options["default"] = default
    limits = {name: value for name, value in (("low", low), ("high", high)) if value is not None}
    return field(metadata={"description": description, **limits}, **options)


class Rule(TypedDict, total=False):
    """One rule of an experiment's `settings`: for the variants that `when` picks, settings of the room and these keys."""

    __pydantic_config__ = {"extra": "allow"}  # noqa: RUF012  # pyright: ignore[reportGeneralTypeIssues]
    when: dict[str, Value | list[Value]]
    seeds: int
    datasets: list[str]
    folders: list[str]
    device: Device
    tier: Tier
    threads: int
    tuned: dict[str, str]


RESERVED = frozenset(Rule.__annotations__)
"""The keys of a rule that are not settings of the room."""


@dataclass
class DataConfig:
    """Where datasets come from."""

    __pydantic_config__ = STRICT
    mirror: str | None = key(
        "A folder that holds the imports (w5a.mat, w8a, waveform.mat, ...), tried before their URLs; the recorded hash decides. "
        "The environment variable DESCENT_MIRROR, where set, is used when this is empty.",
        None,
    )
    timeout: float = key("Seconds that one import's URL is waited for.", 10.0, low=0.1, high=3600)


@dataclass
class TrackingConfig:
    """The MLflow mirror."""

    __pydantic_config__ = STRICT
    uri: str | None = key(
        "The MLflow tracking server or database. Empty: the environment variable MLFLOW_TRACKING_URI, else an SQLite file under "
        "the results folder.",
        None,
    )


@dataclass
class StudyConfig:
    """config/config.yaml: what to run and where things go. Any key can be given as `--config key=value`."""

    __pydantic_config__ = STRICT
    scale: Scale = key(
        "smoke: every code path in seconds; study: minutes a paper, honest verdicts; paper: the papers' own setup.",
        "study",
    )
    papers: str | list[str] = key("`all`, or the papers to run: zoflat,rpg.", "all")
    tier: Tier = key("extended adds the secondary sweeps that do not fit the study's budget.", "core")
    seeds: Literal["verdict", "dev"] = key(
        "verdict: seeds from 1000, those that verdicts are computed on; dev: seeds from 500, for developing (their results and "
        "reports go to folders of their own).",
        "verdict",
    )
    bench: bool = key(
        "Measure the cost of steps anew (the `bench` jobs) instead of using the stored measurements.", False
    )
    retry_imports: bool = key("Try the URLs of absent imports before the jobs are planned.", False)
    results: str = key(
        "The folder of records, logs and the MLflow store, relative to the checkout unless absolute.", "results", low=1
    )
    reports: str = key(
        "The folder of the published reports, relative to the checkout unless absolute.", "reports", low=1
    )
    budget: float = key("CPU-seconds that the study may take in all, every paper together.", 3000.0, low=0)
    data: DataConfig = key("Where datasets come from.", factory=DataConfig)
    tracking: TrackingConfig = key("The MLflow mirror.", factory=TrackingConfig)

    @property
    def label(self) -> str:
        """The folder of a run under results/ and reports/: the scale, and the seeds where they are not the verdicts'."""
        return self.scale if self.seeds == "verdict" else f"{self.scale}-{self.seeds}"


@dataclass
class NeedConfig:
    """Another experiment whose jobs this one reads."""

    __pydantic_config__ = STRICT
    experiment: str = key("The experiment that is needed.")
    where: dict[str, Value] = key(
        "Only its jobs with these axis values (or `method`); `{axis}` stands for this variant's own.", factory=dict
    )


@dataclass
class SelectConfig:
    """What a `select` experiment chooses."""

    __pydantic_config__ = STRICT
    of: str = key("The experiment whose records are compared (its seeds are the tuning seeds).", low=1)
    metric: str = key("The metric, read at the last step and averaged over the seeds.", low=1)
    best: Literal["max", "min"] = key("Whether the largest or the smallest mean is the best.")
    over: list[str] = key(
        "The axes that form the grid; the method and the other axes are the groups that each get a choice."
    )


@dataclass
class ScaleConfig:
    """One experiment at one scale."""

    __pydantic_config__ = STRICT
    seeds: int = key(
        "How many seeds; a rule in `settings` may say otherwise for some variants.", 1, low=1, high=MOST_SEEDS
    )
    settings: list[Rule] = key("Rules that come after the experiment's own.", factory=list)
    skip: list[dict[str, Value | list[Value]]] = key(
        "Variants left out at this scale: each entry maps axes (or `method`) to a value or a list.", factory=list
    )
    vary: dict[str, Axis] = key("Axes whose values differ at this scale.", factory=dict)
    methods: list[str] | None = key("The methods at this scale, when not all.", None)
    not_run: str | None = key("Why the experiment is not run at this scale; shown where its claims are.", None)
    seeds_from: Literal["verdict", "fresh", "again"] | None = key("At this scale alone: see the experiment's.", None)


@dataclass
class ExperimentConfig:
    """One experiment of a paper."""

    __pydantic_config__ = STRICT
    title: str = key("A few words, with the paper's figure or table.", low=1)
    about: str = key("What is run, for the report.", "")
    kind: Literal["train", "select", "bench", "analyse"] = key(
        "train: the room's `run`; analyse: the same, for work that needs more than the training packages; select: choose from "
        "tuning records; bench: measured time, only on request.",
        "train",
    )
    methods: list[str] = key("The methods and baselines that take part.", factory=list)
    vary: dict[str, Axis] = key(
        "The setting axes, columns of the records: a list of values, or a list a method (methods not named have no such axis).",
        factory=dict,
    )
    split: list[str] | None = key(
        "The axes (or `method`, or `seed`) that separate jobs; variants that agree on them share a job, as one tensor program. "
        "By default the method and every axis.",
        None,
    )
    settings: list[Rule] = key(
        "Rules, later ones override: an optional `when` (axis or `method` or `scale` -> value or list), then settings of the room, or "
        "`seeds`, `datasets`, `folders`, `device`, `tier`, `threads`, `tuned`.",
        factory=list,
    )
    scales: dict[Scale, ScaleConfig] = key(
        "What differs at each scale; a scale that is not named is not run.", factory=dict
    )
    datasets: list[str] = key("Datasets that its jobs read; `{axis}` stands for the variant's value.", factory=list)
    packages: list[str] = key(
        "Python packages beyond the environment that its jobs import (an optional extra); where one is absent the jobs are not run, "
        "and say so.",
        factory=list,
    )
    folders: list[str] = key(
        "Settings that name a folder which the user has to supply (a checkpoint, a dataset that may not be distributed); where it "
        "is absent the jobs are not run, and say so.",
        factory=list,
    )
    device: Device = key(
        "auto: the rule asks for a GPU, and the job runs on the CPU where there is none (and says so); cpu: a GPU does not help; cuda: refused without one.",
        "cpu",
    )
    tier: Tier = key("extended: run only with `--config tier=extended`.", "core")
    threads: int = key("Threads of a job; part of its bytes.", 1, low=1, high=MOST_THREADS)
    seeds_from: Literal["verdict", "fresh", "again", "tuning"] = key(
        "fresh: seeds from 2000, for an experiment whose claims were changed after the seeds from 1000 had been seen; "
        "again: seeds from 3000, after those from 2000 had been seen as well; "
        "tuning: seeds from 200, which no verdict is computed on.",
        "verdict",
    )
    needs: dict[str, NeedConfig] = key("Name -> another experiment whose jobs must be done first.", factory=dict)
    select: SelectConfig | None = key("For kind `select`.", None)


@dataclass
class Reported:
    """A number that the paper reports, kept beside ours."""

    __pydantic_config__ = STRICT
    what: str = key("What was measured, and where the paper shows it.")
    value: str = key("The number as the paper gives it.")
    tag: str = key("Where we have it from: paper, fig (read by eye), code, review.")


@dataclass
class PaperConfig:
    """config/papers/<slug>.yaml: one paper."""

    __pydantic_config__ = STRICT
    paper: str = key("The slug: also the name of the file and of the room's package.")
    title: str = key("The paper's title.", low=1)
    authors: str = key("Its authors.", low=1)
    source: str = key("Where it can be read: arXiv number, venue.", low=1)
    summary: str = key("What the paper says, in plain words.", low=1)
    notes: list[str] = key(
        "What a reader must know of this reproduction: departures, disclosures, what was not available.", factory=list
    )
    package: str | None = key("The Python package of the room; by default descent.papers.<slug>.", None)
    budget: dict[Scale, float] = key("CPU-seconds of a whole run at each scale.", factory=dict)
    experiments: dict[str, ExperimentConfig] = key("The experiments.", factory=dict)
    claims: dict[str, Any] = key("The claims; docs/claims.md says how they are written.", factory=dict)
    world: list[dict[str, Any]] = key(
        "What the numbers that the claims read might be, for the dry run (`descent dry-run`); docs/claims.md says how it is written.",
        factory=list,
    )
    reported: list[Reported] = key("Numbers that the paper reports.", factory=list)
