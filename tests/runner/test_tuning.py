"""tuning.py: the best mean of a grid; points that diverged cannot win and stay readable; axes that some methods lack."""

import json

import numpy as np
import pandas as pd
import pytest

from descent.core.errors import ConfigError
from descent.core.job import Job
from descent.runner.tuning import choose_best

SELECT = {"metric": "loss", "best": "min", "over": ["step_size"]}


def table(rows):
    """(method, step_size, rho, value) -> records of two tuning seeds."""
    return pd.DataFrame(
        [
            {"paper": "p", "experiment": "tuning", "method": method, "step_size": size, "rho": rho, "seed": seed, "step": 9,
             "metric": "loss", "value": value + 0.01 * (seed - 200), "status": "ok" if np.isfinite(value) else "diverged"}
            for method, size, rho, value in rows for seed in (200, 201)
        ]
    )  # fmt: skip


def job():
    return Job(
        "p", "choice", "all", "study", "select", "descent.runner.tuning", ("step_size", "rho"), (), select=SELECT
    )


def test_a_point_that_diverged_cannot_win_and_json_holds_the_choices():
    rows = [("gd", 0.1, 1.0, 0.5), ("gd", 0.3, 1.0, 0.2), ("gd", 0.9, 1.0, np.nan)]
    _, chosen = choose_best(job(), table(rows))
    assert json.loads(json.dumps(chosen, allow_nan=False)) == chosen
    assert chosen[0]["values"] == {"step_size": 0.3} and chosen[0]["group"] == {"method": "gd", "rho": 1.0}
    assert [point["score"] for point in chosen[0]["grid"]] == [pytest.approx(0.505), pytest.approx(0.205), None]


def test_an_axis_that_a_method_lacks_is_no_part_of_its_group():
    rows = [("prox", 0.1, 1.0, 0.5), ("prox", 0.3, 1.0, 0.4), ("gd", 0.1, np.nan, 0.3), ("gd", 0.3, np.nan, 0.6)]
    records, chosen = choose_best(job(), table(rows))
    assert {c["group"]["method"]: c["group"].get("rho") for c in chosen} == {"prox": 1.0, "gd": None}
    assert {c["group"]["method"]: c["values"]["step_size"] for c in chosen} == {"prox": 0.3, "gd": 0.1}
    assert json.dumps(chosen, allow_nan=False) and len(records.frame(job())) == 8


def test_a_group_whose_points_all_diverged_is_refused_in_a_sentence():
    with pytest.raises(ConfigError, match="widen the grid"):
        choose_best(job(), table([("gd", 0.1, 1.0, np.nan)]))
