"""A paper's world: what the numbers that its claims read might be, so that the claims can be judged before anything is run.

A rule gives the mean, the spread between seeds and the rate of failures of one reading; the engine draws D worlds at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError, model_validator
from scipy import special, stats

from descent.claims.expression import Expression, ExpressionError
from descent.claims.operands.planned import MetricInfo, Planned, same
from descent.claims.operands.recorded import direct, shared, transformed
from descent.claims.operands.tabled import Key, Table, grid, planned_seeds, spot, wanted
from descent.claims.read.messages import sentences
from descent.claims.read.operands import Crossing, Fit, Operand, Window
from descent.claims.read.strict import Finite, Scalar, Strict, doc
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED, Cells
from descent.core.errors import ConfigError

Rate = Annotated[float, Field(ge=0, le=1)]
COMMON = 0.5  # correlation of a seed's numbers where a rule says nothing


class WorldRule(Strict):
    """What one reading is like; of several rules that fit, the last holds."""

    experiment: str = doc("The experiment.")
    metric: str = doc("The metric.")
    method: str | list[str] | None = doc("The method, or several; all by default.", default=None)
    where: dict[str, Scalar | list[Scalar]] = doc(
        "Setting axes and their value, or several; all by default.", default_factory=dict
    )
    reading: Literal["last", "first", "step", "window", "crossing", "fit", "all"] | dict[str, Any] | None = doc(
        "Only where it is read like this: a kind of reading, or `read` as the operand has it; every reading by default.",
        default=None,
    )
    mean: Finite | str = doc(
        "Mean of the reading (median where lognormal, probability where binary), also arithmetic over the axes."
    )
    sd: Finite = doc("Standard deviation between seeds.", default=0.0, ge=0)
    spread: Finite = doc("Standard deviation of the logarithm, where lognormal.", default=0.0, ge=0)
    law: Literal["normal", "lognormal", "binary", "binomial", "exact"] = doc(
        "How it varies; binomial: hits of `size` trials.", default="normal"
    )
    size: int = doc("Trials of a binomial.", default=1, gt=0)
    records: int = doc("Records a seed, where each is a replicate.", default=30, gt=0)
    correlation: Annotated[float, Field(ge=0, le=1)] = doc(
        "With the seed's common part, which methods and settings share.", default=COMMON
    )
    common: str | None = doc(
        "The experiment whose seeds' common part it shares, where streams are shared and as many seeds are planned; its own by default.",
        default=None,
    )
    censored: Rate = doc("Rate at which a level is never reached.", default=0.0)
    diverged: Rate = doc("Rate of divergence.", default=0.0)
    undefined: Rate = doc("Rate of undefined values.", default=0.0)
    note: str | None = doc("Where the numbers come from.", default=None)

    @model_validator(mode="after")
    def _sound(self) -> WorldRule:
        if self.spread and self.law != "lognormal":
            raise ValueError("`spread` goes with `law: lognormal`; a normal has `sd`")
        if isinstance(self.mean, str):
            try:
                Expression(self.mean)
            except ExpressionError as fault:
                raise ValueError(str(fault)) from None
        return self

    def fits(self, operand: Operand, setting: Mapping[str, Any]) -> bool:
        """Whether the rule speaks of this operand at this setting."""
        if (self.experiment, self.metric) != (operand.experiment, operand.metric):
            return False
        if self.reading not in (None, kind_of(operand), written(operand)):
            return False
        asked = wanted(operand, setting)
        own = {**({"method": self.method} if self.method is not None else {}), **self.where}
        return all(axis in asked and _meet(asked[axis], values) for axis, values in own.items())

    def level(self, operand: Operand, setting: Mapping[str, Any]) -> float:
        """The mean at this setting."""
        if not isinstance(self.mean, str):
            return float(self.mean)
        expression, asked = Expression(self.mean), wanted(operand, setting)
        try:
            cells = {name: Cells.exact(float(asked[name])) for name in expression.names}
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                f"`{self.mean}` needs a number for each of {', '.join(expression.names)} at {spot(operand, setting)}"
            ) from None
        return float(expression.evaluate(cells).value[0])


def _meet(asked: Any, known: Any) -> bool:
    one, other = (v if isinstance(v, list) else [v] for v in (asked, known))
    return any(same(a, b) for a in one for b in other)


def kind_of(operand: Operand) -> str:
    """How an operand is read: last, first, step, window, crossing, fit or all."""
    how = operand.read
    return (
        how
        if isinstance(how, str)
        else "step"
        if isinstance(how, int)
        else {Window: "window", Crossing: "crossing", Fit: "fit"}[type(how)]
    )


def written(operand: Operand) -> Any:
    """`read` as the operand has it."""
    how = operand.read
    return how if isinstance(how, (str, int)) else how.model_dump(exclude_unset=True)


def parse_world(raw: Any, where: str) -> list[WorldRule]:
    """The rules of `world:`. Raises ConfigError, a sentence a fault."""
    try:
        return TypeAdapter(list[WorldRule]).validate_python(raw)
    except ValidationError as error:
        raise ConfigError(dict.fromkeys(sentences(error, raw, where, "world"))) from None


class WorldSource:
    """Draws of a world, in the judge's form. draws: D. Numbers are keyed by what they are: the same for every claim."""

    def __init__(self, rules: Sequence[WorldRule], planned: Planned, draws: int, key: int = 0):
        self.rules, self.planned, self.draws, self._key = rules, planned, draws, key
        self._tables: dict[str, Table] = {}

    def table(self, operand: Operand, levels: Mapping[str, Table], rows: bool) -> Table:
        """See `tabled.Source`. Raises ConfigError where the world says nothing of the operand."""
        name = f"{operand!r} {rows}"
        if name not in self._tables:
            self._tables[name] = self._make(operand, rows)
        return self._tables[name]

    def _make(self, operand: Operand, rows: bool) -> Table:
        seeds = planned_seeds(self.planned, operand)
        settings = grid(operand.across)
        chosen = [self._rule(operand, setting) for setting in settings]
        keys = _keys(operand, seeds, rows, max(rule.records for rule in chosen))
        shape = (self.draws, len(keys), len(settings))
        value, rank = np.empty(shape), np.zeros(shape, np.uint8)
        for c, (setting, rule) in enumerate(zip(settings, chosen, strict=True)):
            value[..., c], rank[..., c] = self._column(operand, setting, rule, keys)
        info = self.planned.metrics.get(operand.metric, MetricInfo())
        value, rank = transformed(operand, info, value, rank)
        resolution = (
            operand.resolution if operand.resolution is not None else info.resolution if direct(operand) else 0.0
        )
        axes = {axis: np.array([cell[axis] for cell in settings], object) for axis in operand.across}
        table = Table(keys, Cells(value, rank), axes, np.full(shape, resolution / 2))
        return shared(table) if operand.exact else table

    def _rule(self, operand: Operand, setting: Mapping[str, Any]) -> WorldRule:
        for rule in reversed(self.rules):
            if rule.fits(operand, setting):
                return rule
        raise ConfigError(f"the world says nothing of {spot(operand, setting)}, read as {kind_of(operand)}")

    def _column(self, operand, setting, rule: WorldRule, keys: tuple[Key, ...]) -> tuple[np.ndarray, np.ndarray]:
        """(D, n) numbers and statuses of one setting."""
        n, mean = len(keys), rule.level(operand, setting)
        common = self._normal(f"common {rule.common or operand.experiment}", keys)
        what = f"{operand.experiment} {operand.metric} {sorted(wanted(operand, setting).items(), key=str)} {kind_of(operand)} {operand.read!r}"
        z = np.sqrt(rule.correlation) * common + np.sqrt(1 - rule.correlation) * self._normal(what, keys)
        if rule.law == "exact":
            value = np.full((self.draws, n), mean)
        elif rule.law == "normal":
            value = mean + rule.sd * z
        elif rule.law == "lognormal":
            value = mean * np.exp(rule.spread * z)
        elif rule.law == "binary":
            value = (special.ndtr(z) < mean).astype(float)
        else:
            value = stats.binom.ppf(special.ndtr(z), rule.size, mean)
        u = special.ndtr(self._normal(f"fate {what}", keys))
        edges = np.cumsum([rule.censored, rule.diverged, rule.undefined])
        rank = np.select([u < edges[0], u < edges[1], u < edges[2]], [CENSORED, DIVERGED, UNDEFINED], OK).astype(
            np.uint8
        )
        return np.where(rank == CENSORED, np.inf, np.where(rank > CENSORED, np.nan, value)), rank

    def _normal(self, what: str, keys: tuple[Key, ...]) -> np.ndarray:
        """(D, n) standard normals of this name."""
        digest = hashlib.sha256(f"{self._key} {what}".encode()).digest()[:8]
        return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "big"))).standard_normal(
            (self.draws, len(keys))
        )


def _keys(operand: Operand, seeds: tuple[int, ...], rows: bool, records: int) -> tuple[Key, ...]:
    if operand.pairs is not None:
        return tuple((a, b) for a in seeds for b in seeds if a < b)
    return (
        tuple((seed, step) for seed in seeds for step in range(records)) if rows else tuple((seed,) for seed in seeds)
    )
