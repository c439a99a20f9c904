"""A first world from records (of dev seeds, or of seeds that will not judge): what each reading of the claims was like there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from descent.claims.operands.recorded import RecordsSource
from descent.claims.operands.tabled import LostCells, Table, grid
from descent.claims.read.claim import TypedClaim
from descent.claims.read.operands import Operand
from descent.claims.table import CENSORED, DIVERGED, OK, UNDEFINED
from descent.claims.worlds import kind_of, written

DIGITS = 4


def rules_from(claims: Mapping[str, TypedClaim], source: RecordsSource) -> list[dict[str, Any]]:
    """`world:` rules, one for each reading and setting that the claims read and the records have. Criteria are not looked at."""
    found: dict[str, dict[str, Any]] = {}
    for claim in claims.values():
        for quantities in claim.quantities.values():
            for quantity in quantities:
                rows = quantity.model.replicate == "record" or quantity.kind.unit == "block"
                tables: dict[str, Table] = {}
                try:
                    for name in sorted(quantity.model.operands, key=lambda n: n in quantity.levels):
                        operand = quantity.model.operands[name]
                        tables[name] = source.table(
                            operand, tables if name in quantity.levels else {}, rows and operand.read == "all"
                        )
                except LostCells:
                    continue
                shared = correlation(tables)
                for name, table in tables.items():
                    for rule in _rules(quantity.model.operands[name], table):
                        rule |= {"correlation": shared} if shared is not None and rule.get("law") != "exact" else {}
                        found.setdefault(repr(sorted((k, v) for k, v in rule.items() if k in _WHAT)), rule)
    return list(found.values())


_WHAT = ("experiment", "metric", "method", "where", "reading")


def _rules(operand: Operand, table: Table) -> list[dict[str, Any]]:
    rules = []
    for c, setting in enumerate(grid(operand.across)):
        value, rank = table.cells.value[0, :, c], table.cells.rank[0, :, c]
        where = {k: v for k, v in {**operand.where, **setting}.items() if k != "method"}
        method = operand.method or {**operand.where, **setting}.get("method")
        rule: dict[str, Any] = {"experiment": operand.experiment, "metric": operand.metric, "method": method}
        rule |= {"where": where} if where else {}
        rule |= {
            "reading": written(operand) if isinstance(written(operand), dict) else kind_of(operand),
            **law_of(value[(rank == OK) & np.isfinite(value)], operand.exact),
        }
        for name, code in (("censored", CENSORED), ("diverged", DIVERGED), ("undefined", UNDEFINED)):
            if share := float((rank == code).mean()) if len(rank) else 0.0:
                rule[name] = round(share, DIGITS)
        if operand.read == "all":
            rule["records"] = max(1, len(value) // max(1, len({key[0] for key in table.keys})))
        rules.append(rule)
    return rules


def correlation(tables: Mapping[str, Table]) -> float | None:
    """How alike a seed's numbers are across operands and settings, None where there is one."""
    keys = [set(table.keys) for table in tables.values() if not table.exact]
    common = sorted(set.intersection(*keys)) if keys else []
    if len(common) < 4:
        return None
    columns = []
    for table in tables.values():
        if not table.exact:
            at = [table.keys.index(key) for key in common]
            columns += list(table.cells.value[0, at].T)
    kept = [c for c in columns if np.isfinite(c).all() and np.ptp(c) > 0]
    if len(kept) < 2:
        return None
    r = np.corrcoef(kept)
    return float(np.round(np.clip(r[~np.eye(len(r), dtype=bool)].mean(), 0.0, 1.0), 10))


def law_of(values: np.ndarray, exact: bool = False) -> dict[str, Any]:
    """A law with the mean and spread of these numbers."""
    if not len(values):
        return {"mean": 0.0}
    mean, sd = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if set(np.unique(values)) <= {0.0, 1.0} and not exact:
        return {"mean": _short(mean), "law": "binary"}
    if exact or sd == 0:
        return {"mean": _short(mean), "law": "exact"}
    if (values > 0).all():
        logs = np.log(values)
        return {
            "mean": _short(float(np.exp(logs.mean()))),
            "spread": _short(float(logs.std(ddof=1))),
            "law": "lognormal",
        }
    return {"mean": _short(mean), "sd": _short(sd)}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
