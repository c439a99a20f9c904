"""What the claims of a paper may name, as its configuration and its room have it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from descent.config.model import PaperConfig
from descent.config.names import MEASURED, flat
from descent.core import declare

if TYPE_CHECKING:
    from descent.claims.read.references import Names


def claim_names(paper: PaperConfig, room: declare.Room) -> Names:
    """What the claims of a paper may name."""
    from descent.claims.read.references import ExperimentNames, Names

    experiments = {}
    for name, experiment in paper.experiments.items():
        source = paper.experiments.get(experiment.select.of) if experiment.select else experiment
        vary = [source.vary, *(scale.vary for scale in source.scales.values())] if source else []
        axes = {axis: [*dict.fromkeys(v for each in vary for v in flat(each.get(axis, ()))), None]
                for axis in (source.vary if source else ())}  # fmt: skip
        experiments[name] = ExperimentNames(source.methods if source else [], axes)
    return Names(
        experiments, [*room.metrics, *MEASURED], figure_names(paper.package or f"descent.papers.{paper.paper}")
    )


def figure_names(package: str) -> list[str] | None:
    """The figures that a room draws, read off its source: importing it would bring matplotlib. None where it has none."""
    spec = importlib.util.find_spec(f"{package}.figures")
    if spec is None or spec.origin is None:
        return None
    for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if any(isinstance(t, ast.Name) and t.id == "FIGURES" for t in targets) and isinstance(value, ast.Dict):
            keys = [k.value for k in value.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
            return keys if len(keys) == len(value.keys) else None
    return None
