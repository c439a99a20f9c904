"""Records and claims made by hand, for the tests of the claims engine."""

import numpy as np
import pandas as pd

from descent.claims.judge import judge


def rows(experiment, metric, values, *, method="m", step=0, status=None, first_seed=1000, **setting):
    """One record a value, seeds counted from first_seed; a value that is not finite is diverged unless status says so."""
    values = np.atleast_1d(np.asarray(values, float))
    status = status or ["ok" if np.isfinite(v) else "diverged" for v in values]
    status = [status] * len(values) if isinstance(status, str) else status
    return [
        {"paper": "demo", "experiment": experiment, "method": method, **setting, "seed": first_seed + i, "step": step,
         "metric": metric, "value": v, "status": s}
        for i, (v, s) in enumerate(zip(values, status, strict=True))
    ]  # fmt: skip


def curve(experiment, metric, steps, values, *, seed=1000, method="m", status="ok", **setting):
    """One unit's series."""
    status = [status] * len(steps) if isinstance(status, str) else status
    return [
        {"paper": "demo", "experiment": experiment, "method": method, **setting, "seed": seed, "step": int(k),
         "metric": metric, "value": float(v), "status": s}
        for k, v, s in zip(steps, values, status, strict=True)
    ]  # fmt: skip


def frames(*parts):
    """experiment -> DataFrame."""
    table = pd.DataFrame([row for part in parts for row in part])
    axes = [c for c in table if c not in ("value", "status")]
    unused = {name: [c for c in axes if part[c].isna().all()] for name, part in table.groupby("experiment")}
    return {name: part.drop(columns=unused[name]).reset_index(drop=True) for name, part in table.groupby("experiment")}


def claim(checks, reproduced=None, **more):
    """A claim of the checks; by default reproduced when all hold, not when any fails."""
    head = {"statement": "s", "headline": next(iter(checks)), "checks": checks}
    asked = [name for name, check in checks.items() if check.get("predicate") is not None]
    if not asked and reproduced is None:
        return {**head, "origin": "report-only", **more}
    rules = {
        "reproduced": reproduced or {"all": asked},
        "not_reproduced": {"any": [{"fails": name} for name in asked]},
    }
    return {**head, "rules": rules, **more}


def operand(experiment="x", metric="v", **more):
    return {"experiment": experiment, "metric": metric, **more}


def judged(checks, records, *, scale="study", missing=None, **more):
    """The one ClaimResult of a claim made of `checks`."""
    paper = {"paper": "demo", "claims": {"c1": claim(checks, **more)}}
    return judge(paper, records, scale=scale, missing=missing)[0]


def checked(check, records, **more):
    """The CheckResult of a single check."""
    return judged({"only": check}, records, **more).checks[0]


def estimated(values, estimator, predicate=None, status=None, **check):
    """The CheckResult of one operand whose units have these values."""
    body = {"values": {"v": operand()}, "estimator": estimator, **check}
    if predicate is not None:
        body["predicate"] = predicate
    return checked(body, frames(rows("x", "v", values, status=status)))
