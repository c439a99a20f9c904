"""Checking claims against the experiments they read, before anything is trained: names, not numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from descent.claims.model import Claim, Instance, Operand
from descent.core.errors import nearest

BUILT_IN = ("seed", "step", "method")


def reference_faults(
    claims: Mapping[str, Claim],
    experiments: Mapping[str, Mapping[str, Any]],
    metrics: Iterable[str] | None = None,
    where: str = "config/papers/x.yaml",
) -> list[str]:
    """One sentence for every name that a claim uses and the paper does not have; empty when all is well.

    experiments: name -> {"methods": [...], "axes": {axis: [values] or None}}; None for values that are not known.
    metrics: the metrics that the room declares.
    """
    metrics = None if metrics is None else list(metrics)
    found: dict[str, None] = {}
    for claim in claims.values():
        for check in claim.checks.values():
            for instance in check.instances:
                for name, operand in instance.values.items():
                    if operand.constant is None:
                        path = f"{where}: claims.{claim.name}.checks.{check.name}.values.{name}"
                        found.update(dict.fromkeys(_operand(operand, path, experiments, metrics)))
                found.update(dict.fromkeys(_best(instance, f"{where}: claims.{claim.name}.checks.{check.name}")))
    return list(found)


def _operand(operand: Operand, path: str, experiments: Mapping, metrics: list[str] | None) -> Iterable[str]:
    if operand.experiment not in experiments:
        yield (f"{path}.experiment must be one of {', '.join(experiments)}, got {operand.experiment!r}"
               f"{nearest(operand.experiment, experiments)}")  # fmt: skip
        return
    card = experiments[operand.experiment]
    methods, axes = list(card.get("methods", ())), dict(card.get("axes", {}))
    read = [operand.metric, operand.at.watch, operand.at.weights, operand.smooth.of if operand.smooth else None]
    for metric in filter(None, read):
        if metrics is not None and metric not in metrics:
            yield f"{path} reads the metric `{metric}`, which the room does not declare{nearest(metric, metrics)}"
    named = {"method": [operand.method]} if operand.method is not None else {}
    wanted = {**named, **{axis: _listed(v) for axis, v in operand.where.items()}, **operand.across}
    for axis, values in wanted.items():
        if axis == "method":
            known: Any = methods
        elif axis in ("seed", "step"):
            continue
        elif axis not in axes:
            yield f"{path} names the axis `{axis}`, which {operand.experiment} does not have{nearest(axis, axes)}"
            continue
        else:
            known = axes[axis]
        for value in values if known is not None else ():
            if value is not None and not any(_same(value, other) for other in known):
                yield (f"{path} names {axis} {value!r}, which {operand.experiment} does not run{nearest(value, map(str, known))}"
                       f"; there are {', '.join(map(str, known))}")  # fmt: skip


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _same(one: Any, other: Any) -> bool:
    try:
        return one == other or abs(float(one) - float(other)) <= 1e-9 * abs(float(other))
    except (TypeError, ValueError):
        return str(one) == str(other)


def _best(instance: Instance, path: str) -> Iterable[str]:
    """`best: name` of a vector across settings must name one of them."""
    if instance.predicate is None or len(instance.statistic) != 1 or "" not in instance.statistic:
        return
    across = [o.across for o in instance.values.values() if o.across]
    labels = [str(value) for axes in across[:1] for values in axes.values() for value in values]
    for condition in instance.predicate.conditions:
        if condition.word == "best" and condition.name not in labels:
            yield f"{path}.predicate.best names no setting, got {condition.name!r}{nearest(condition.name, labels)}"
