"""Names in claims against what the paper has: experiments, methods, settings, metrics, figures, scales."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from descent.claims.operands.planned import same
from descent.claims.read.claim import TypedClaim
from descent.claims.read.operands import Crossing, Operand, Window
from descent.core.errors import nearest


@dataclass(frozen=True)
class ExperimentNames:
    """methods, and axis -> its values (None where they are not known)."""

    methods: Sequence[str] = ()
    axes: Mapping[str, Sequence[Any] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Names:
    """What a paper's claims may name. figures: None where they are not known."""

    experiments: Mapping[str, ExperimentNames]
    metrics: Sequence[str]
    figures: Sequence[str] | None = None
    scales: Sequence[str] = ("smoke", "study", "paper")


def reference_faults(claims: Mapping[str, TypedClaim], names: Names, where: str) -> list[str]:
    """One sentence for every name that a claim uses and the paper does not have; empty when all is well."""
    found: dict[str, None] = {}
    for claim in claims.values():
        path = f"{where}: claims.{claim.name}"
        figure = claim.model.figure
        if figure is not None and names.figures is not None and figure not in names.figures:
            found[f"{path}.figure names no figure of the room, got {figure!r}{nearest(figure, names.figures)}; "
                  f"figures: {', '.join(names.figures)}"] = None  # fmt: skip
        for key, item in [
            ("", claim.model),
            *((f".{kind}s.{name}", item) for name, (kind, item) in claim.looked_at().items()),
        ]:
            for scale in item.scales or ():
                if scale not in names.scales:
                    found[
                        f"{path}{key}.scales must be of {', '.join(names.scales)}, got {scale!r}{nearest(scale, names.scales)}"
                    ] = None
        for quantities in claim.quantities.values():
            for quantity in quantities:
                for name, operand in quantity.model.operands.items():
                    found.update(
                        dict.fromkeys(_operand(operand, f"{path}.estimates.{quantity.name}.operands.{name}", names))
                    )
    return list(found)


def _operand(operand: Operand, path: str, names: Names) -> Iterator[str]:
    if operand.experiment not in names.experiments:
        yield (f"{path}.experiment must be one of {', '.join(names.experiments)}, got {operand.experiment!r}"
               f"{nearest(operand.experiment, names.experiments)}")  # fmt: skip
        return
    card = names.experiments[operand.experiment]
    read = [operand.metric, operand.smooth.of if operand.smooth else None]
    read += [operand.read.watch] if isinstance(operand.read, Crossing) else []
    read += [operand.read.weights] if isinstance(operand.read, Window) else []
    for metric in filter(None, read):
        if metric not in names.metrics:
            yield f"{path} reads the metric `{metric}`, which the room does not declare{nearest(metric, names.metrics)}"
    named = {"method": [operand.method]} if operand.method is not None else {}
    wanted = {
        **named,
        **{axis: v if isinstance(v, list) else [v] for axis, v in operand.where.items()},
        **operand.across,
    }
    for axis, values in wanted.items():
        if axis != "method" and axis not in card.axes:
            yield f"{path} names the axis `{axis}`, which {operand.experiment} does not have{nearest(axis, card.axes)}"
            continue
        known = card.methods if axis == "method" else card.axes[axis]
        if known is None:
            continue
        for value in values:
            if not any(same(value, other) for other in known):
                yield (f"{path} names {axis} {value!r}, which {operand.experiment} does not run{nearest(value, map(str, known))}"
                       f"; there are {', '.join(map(str, known))}")  # fmt: skip
