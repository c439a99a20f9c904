"""Reading `claims:`: YAML mapping -> typed claims, or one ConfigError with every fault in it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from descent.claims.expression import RESERVED, Expression, ExpressionError
from descent.claims.faults import Faults
from descent.claims.kinds import two_samples
from descent.claims.model import ORIGINS, TAGS, VERDICT_RULES, Check, Claim, Family, Instance, Rule
from descent.claims.parse_decisions import read_estimator, read_predicate, spelled
from descent.claims.parse_rules import read_rule
from descent.claims.parse_values import read_operand, read_scalar_map, read_substitute
from descent.core.errors import ConfigError, listed, nearest

CLAIM_KEYS = (
    "statement", "tag", "source", "origin", "headline", "paper_value", "figure", "note", "scales", "elsewhere",
    "checks", "rules",
)  # fmt: skip
CHECK_KEYS = (
    "about", "values", "statistic", "estimator", "predicate", "over", "control", "family", "among", "substitute",
    "scales", "unit",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read_claims(mapping: Any, where: str) -> dict[str, Claim]:
    """See `model.parse_claims`."""
    faults = Faults(where)
    claims = {}
    for name, raw in faults.mapping(mapping, "claims").items():
        claims[name] = _claim(str(name), raw, f"claims.{name}", faults)
    if faults.found:
        raise ConfigError(faults.found)
    return claims


def _claim(name: str, raw: Any, path: str, faults: Faults) -> Claim:
    raw = faults.mapping(raw, path, CLAIM_KEYS, ("statement", "headline", "checks"))
    origin = faults.choice(raw.get("origin", "paper"), f"{path}.origin", ORIGINS)
    checks = {
        check: _check(str(check), body, f"{path}.checks.{check}", faults)
        for check, body in faults.mapping(raw.get("checks", {}), f"{path}.checks").items()
    }
    _disjoint_families(checks, path, faults)
    text = {key: faults.text(raw.get(key), f"{path}.{key}") for key in
            ("statement", "source", "paper_value", "figure", "note", "elsewhere")}  # fmt: skip
    headline, headline_where = _headline(raw.get("headline"), checks, f"{path}.headline", faults)
    return Claim(
        name=name, headline=headline, headline_where=headline_where, checks=checks, origin=origin,
        rules=_rules(raw.get("rules"), checks, origin, f"{path}.rules", faults),
        tag=faults.choice(raw["tag"], f"{path}.tag", TAGS) if raw.get("tag") is not None else None,
        scales=_scales(raw.get("scales"), f"{path}.scales", faults),
        **{**text, "statement": text["statement"] or ""},
    )  # fmt: skip


def _scales(raw: Any, path: str, faults: Faults) -> tuple[str, ...] | None:
    if raw is None:
        return None
    scales = [raw] if isinstance(raw, str) else raw
    if not isinstance(scales, list) or not scales or not all(isinstance(scale, str) for scale in scales):
        faults.add(path, f"must be a list of scale names such as [study, paper], got {raw!r}")
        return None
    return tuple(scales)


def _headline(raw: Any, checks: Mapping[str, Check], path: str, faults: Faults) -> tuple[str, dict]:
    """The headline: a check's name, or {check: name, axis: value} for one of its instances."""
    chosen: dict[str, Any] = {}
    if isinstance(raw, Mapping):
        chosen = {k: v for k, v in raw.items() if k != "check"}
        raw = raw.get("check")
    if raw is None or not checks:
        return str(raw), chosen
    if raw not in checks:
        faults.add(
            path, f"names no check of this claim, got {raw!r}{nearest(raw, checks)}; checks: {', '.join(checks)}"
        )
    elif chosen and not any(all(i.where.get(k) == v for k, v in chosen.items()) for i in checks[raw].instances):
        faults.add(path, f"picks no instance of `{raw}`: {chosen!r} is not among its `over`")
    return str(raw), chosen


def _rules(raw: Any, checks: Mapping[str, Check], origin: str, path: str, faults: Faults) -> dict[str, Rule]:
    if raw is None and origin == "report-only":
        return {}
    if raw is None:
        faults.add(path, "is missing; needed: reproduced, and where the spec has them partly and not_reproduced")
        return {}
    raw = faults.mapping(raw, path, VERDICT_RULES, ("reproduced",))
    rules = {word: read_rule(raw[word], f"{path}.{word}", checks, faults) for word in VERDICT_RULES if word in raw}
    return {word: rule for word, rule in rules.items() if rule is not None}


def _disjoint_families(checks: Mapping[str, Check], path: str, faults: Faults) -> None:
    """One family, one method of correction."""
    methods: dict[str, str] = {}
    for check in checks.values():
        for instance in check.instances:
            if instance.family and methods.setdefault(instance.family.name, instance.family.method) != (
                instance.family.method
            ):
                faults.add(f"{path}.checks.{check.name}.family", f"`{instance.family.name}` is corrected in two ways")


# -- checks -----------------------------------------------------------------------------------------------------------


def _check(name: str, raw: Any, path: str, faults: Faults) -> Check:
    raw = faults.mapping(raw, path, CHECK_KEYS, ("values",))
    if not _NAME.match(name):
        faults.add(path, "must be named by letters, digits and underscores")
    control = raw.get("control", False)
    if not isinstance(control, bool):
        faults.add(f"{path}.control", f"must be true or false, got {control!r}")
    cells = _expand(raw.get("over"), f"{path}.over", faults)
    body = {key: value for key, value in raw.items() if key not in ("over", "control", "scales")}
    instances = tuple(_instance(_fill(body, cell), cell, path, faults) for cell in cells)
    scales = _scales(raw.get("scales"), f"{path}.scales", faults)
    return Check(name, instances, "over" in raw, control is True, scales, raw.get("predicate") is None)


def _expand(over: Any, path: str, faults: Faults) -> list[dict[str, Any]]:
    """`over`: {axis: [values]} gives every combination, [{axis: value, ...}, ...] the listed ones."""
    if over is None:
        return [{}]
    if isinstance(over, list) and over and all(isinstance(cell, Mapping) and cell for cell in over):
        if len({tuple(cell) for cell in over}) > 1:
            faults.add(path, "must give the same axes in the same order in every entry")
        return [dict(cell) for cell in over]
    if isinstance(over, Mapping) and over and all(isinstance(v, list) and v for v in over.values()):
        return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]
    faults.add(path, f"must be {{axis: [values]}} or a list of {{axis: value}}, got {over!r}")
    return [{}]


def _fill(raw: Any, cell: Mapping[str, Any]) -> Any:
    """`raw` with the templates {axis} written out; a text that is nothing but a template keeps the value's type."""
    if isinstance(raw, Mapping):
        return {_fill(key, cell): _fill(value, cell) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_fill(value, cell) for value in raw]
    if not isinstance(raw, str) or "{" not in raw:
        return raw
    for axis, value in cell.items():
        if raw == f"{{{axis}}}":
            return value
        raw = raw.replace(f"{{{axis}}}", str(value))
    return raw


def _instance(raw: Mapping[str, Any], cell: Mapping[str, Any], path: str, faults: Faults) -> Instance:
    values_raw = faults.mapping(raw.get("values", {}), f"{path}.values")
    if not values_raw and "values" in raw:
        faults.add(f"{path}.values", "must name at least one operand")
    unit = raw.get("unit", ["seed"])
    values = {str(k): read_operand(v, f"{path}.values.{k}", faults, unit) for k, v in values_raw.items()}
    for name in values:
        if not _NAME.match(name) or name in RESERVED:
            faults.add(
                f"{path}.values.{name}", "must be named by letters, digits and underscores, and not as a function"
            )
        for axis in values[name].across:
            if axis in values:
                faults.add(
                    f"{path}.values.{name}.across.{axis}", "is the name of an operand as well; rename the operand"
                )
    _thresholds_know_their_operands(values, path, faults)
    known = _known_names(values)
    among = _expression(raw.get("among"), f"{path}.among", known, faults, condition=True)
    estimator, predicate = _decision(raw, values, known, path, faults)
    statistic, groups = _statistic(raw, values, known, estimator, path, faults)
    for condition in predicate.conditions if predicate else ():
        labels = [label for label in statistic if label]
        if condition.word == "best" and labels and condition.name not in labels:
            faults.add(f"{path}.predicate.best", f"names no label of the statistic, got {condition.name!r}"
                       f"{nearest(condition.name, labels)}; labels: {', '.join(labels)}")  # fmt: skip
    return Instance(
        where=dict(cell), about=faults.text(raw.get("about"), f"{path}.about") or "", values=values,
        statistic=statistic, groups=groups, estimator=estimator, predicate=predicate,
        family=_family(raw.get("family"), f"{path}.family", faults), among=among,
        substitute=read_substitute(raw.get("substitute"), f"{path}.substitute", faults),
    )  # fmt: skip


def _decision(raw: Mapping, values: Mapping, known: list[str], path: str, faults: Faults) -> tuple:
    """Estimator and predicate; a predicate on every unit needs no estimator of its own."""
    predicate_raw, estimator_raw = raw.get("predicate"), raw.get("estimator")
    predicate_raw = spelled(predicate_raw)
    on_units = isinstance(predicate_raw, Mapping) and predicate_raw.get("on") in ("every_unit", "fraction")
    if estimator_raw is None:
        if not on_units:
            faults.add(f"{path}.estimator", "is missing; e.g. {mean: t}, or a predicate with `on: every_unit`")
            return None, None
        estimator_raw = {"exact": "value"}
    estimator = read_estimator(estimator_raw, f"{path}.estimator", faults)
    for role in estimator.options.get("roles", ()) if estimator else ():
        if role not in values:
            faults.add(f"{path}.values", f"must name the operand `{role}`, which {{audit: {estimator.variety}}} reads")
    for option in ("groups", "x"):
        given = estimator.options.get(option) if estimator else None
        for expression in given if isinstance(given, tuple) else (given,) if given is not None else ():
            _known(expression, f"{path}.estimator.{option}", known, faults)
    if predicate_raw is None:  # a number that is only reported
        return estimator, None
    predicate = read_predicate(predicate_raw, f"{path}.predicate", estimator, faults)
    return estimator, predicate


def _statistic(
    raw: Mapping, values: Mapping, known: list[str], estimator: Any, path: str, faults: Faults
) -> tuple[dict[str, Expression], tuple[Expression, ...]]:
    """(label -> expression, groups). One operand is its own statistic; several without one are a labelled vector."""
    given = raw.get("statistic")
    if estimator and two_samples(estimator.kind, estimator.variety):
        if given is not None:
            faults.add(f"{path}.statistic", f"has no meaning for {{{estimator.kind}: {estimator.variety}}}, which compares "
                       "two samples; write expressions into `groups`")  # fmt: skip
        groups = estimator.options.get("groups") or tuple(Expression(name) for name in values)
        if raw.get("among") is not None:
            faults.add(f"{path}.among", "has no meaning for two independent samples")
        if len(groups) != 2:
            faults.add(f"{path}.estimator.groups", f"must name the two samples, since there are {len(values)} operands")
        return {}, groups
    if estimator and estimator.kind == "audit":
        if given is not None:
            faults.add(f"{path}.statistic", "has no meaning for an audit, which reads operands of fixed names")
        return {}, ()
    if given is None:
        one = len(values) == 1
        return {"" if one else name: Expression(name) for name in values if _NAME.match(name)}, ()
    entries = given if isinstance(given, Mapping) else {"": given}
    read = {str(label): _expression(text, f"{path}.statistic{label and f'.{label}'}", known, faults)
            for label, text in entries.items()}  # fmt: skip
    return {label: expression for label, expression in read.items() if expression is not None}, ()


def _known_names(values: Mapping) -> list[str]:
    return [*values, *dict.fromkeys(axis for operand in values.values() for axis in operand.across)]


def _expression(raw: Any, path: str, known: list[str], faults: Faults, *, condition: bool = False) -> Expression | None:
    if raw is None:
        return None
    if not isinstance(raw, (str, int, float)) or isinstance(raw, bool):
        faults.add(path, f"must be an expression such as `zo / gd`, got {raw!r}")
        return None
    try:
        expression = Expression(raw, condition=condition)
    except ExpressionError as fault:
        faults.add(path, f"cannot be read: {fault}")
        return None
    _known(expression, path, known, faults)
    return expression


def _known(expression: Expression, path: str, known: list[str], faults: Faults) -> None:
    for name in expression.names:
        if name not in known:
            faults.add(path, f"names `{name}`, which is no operand{nearest(name, known)}; operands: {', '.join(known)}")


def _thresholds_know_their_operands(values: Mapping, path: str, faults: Faults) -> None:
    """A crossing level may read the other operands, but not in a circle."""
    needs = {name: operand.at.threshold.names if operand.at.threshold else () for name, operand in values.items()}
    for name, others in needs.items():
        spot = f"{path}.values.{name}.at"
        for other in others:
            if other not in values:
                faults.add(spot, f"names `{other}`, which is no operand{nearest(other, values)}; "
                           f"operands: {listed(values)}")  # fmt: skip
    done: set[str] = set()
    while ready := {n for n, others in needs.items() if n not in done and done.issuperset(others)}:
        done |= ready
    circle = [name for name in needs if name not in done and all(other in values for other in needs[name])]
    if circle:
        faults.add(f"{path}.values", f"wait for each other's levels in a circle: {', '.join(circle)}")


def _family(raw: Any, path: str, faults: Faults) -> Family | None:
    if raw is None or isinstance(raw, str):
        return Family(raw) if raw else None
    raw = read_scalar_map(raw, path, ("name", "method"), faults, required=("name",))
    method = faults.choice(raw.get("method", "holm"), f"{path}.method", ("holm", "bonferroni"))
    return Family(str(raw.get("name")), method)
