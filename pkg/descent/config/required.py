"""What the records of a paper must hold, from the plan, for the judge."""

from __future__ import annotations

from descent.claims.operands.planned import Cell, Lost, MetricInfo, Planned
from descent.config.plan import Plan
from descent.core import declare


def must_exist(plan: Plan, slug: str, room: declare.Room) -> Planned:
    """What the records of a paper must hold, what is not run and why, as the judge's plain table."""
    cells: dict[str, list[Cell]] = {}
    for job in plan.of(slug):
        cells.setdefault(job.experiment, []).extend(Cell(v.method, v.setting, v.seeds) for v in job.variants)
    lost: dict[str, list[Lost]] = {}
    for missing in plan.missing:
        if missing.paper == slug:
            setting = {axis: value for axis, value in missing.setting.items() if value is not None}
            lost.setdefault(missing.experiment, []).append(Lost(missing.reason, missing.method, setting))
    metrics = {name: MetricInfo(m.better, getattr(m, "resolution", 0.0), m.unit) for name, m in room.metrics.items()}
    return Planned(cells, lost, metrics)
