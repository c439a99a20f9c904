"""Fig. 2: ZO, GD, DD and SAM on over-parameterised SVM and logistic regression, seeds as columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.papers.zoflat.explicit import ExplicitModel
from descent.papers.zoflat.features import standardiser
from descent.papers.zoflat.gradient_descent import gd
from descent.papers.zoflat.lifted import LiftedModel, lift
from descent.papers.zoflat.losses import LOSSES
from descent.papers.zoflat.problem import Problem  # noqa: F401 (imports are in the source hash: it goes with the next change of code)
from descent.papers.zoflat.sharpness_aware import sam
from descent.papers.zoflat.two_point import dd, zo


class Noise(NamedTuple):
    """A step's share of a block."""

    weights: tuple[Tensor, ...]  # the direction's coordinates; empty for a deterministic method
    last: Iterator[bool]  # whether this step is its block's last one, step by step


def run(job: Job, context: Context) -> Records:
    records = Records()
    models: dict[tuple, LiftedModel | ExplicitModel] = {}
    for variant in job.variants:
        key = (variant.seeds, *(variant.params[k] for k in ("model", "data", "features", "rows", "path", "layout")))
        if key not in models:
            models = {key: build(variant, context)}  # one at a time: variants come grouped
        records.add_trace(variant, train(models[key], variant, context))
    return records


def build(variant: Variant, context: Context) -> LiftedModel | ExplicitModel:
    """The model of a variant, a lift a seed."""
    p = variant.params
    data = context.data[p["data"]]
    raw = tuple(_thinned(data.dense(split), p["rows"]) for split in ("train", "test"))
    labels = tuple(_thinned(data[f"{split}_labels"], p["rows"]) for split in ("train", "test"))
    inputs = raw[0].shape[1]
    path = p["path"] if p["path"] != "auto" else "cholesky" if p["features"] >= inputs else "lift"
    if path == "cholesky" and p["features"] < inputs:
        raise SettingError(f"convex: `features` must be at least {inputs} for `path: cholesky`, got {p['features']}")
    size = (inputs, p["features"])
    draws = (torch.from_numpy(context.streams.numpy("lift", s).standard_normal(size)) for s in variant.seeds)
    if path == "explicit":
        return ExplicitModel(raw, labels, LOSSES[p["model"]], tuple(draws), device=context.device)
    mean, scale = standardiser(raw[0])
    lifted = lift(torch.from_numpy((raw[0] - mean) / scale), draws, cholesky=path == "cholesky")  # pyright: ignore[reportArgumentType] (read once, in order)
    return LiftedModel(raw, labels, LOSSES[p["model"]], lifted, layout=p["layout"], device=context.device)


METHODS = {"zo": zo, "gd": gd, "dd": dd, "sam": sam}
FACTORS = {"step_size": "step_factor", "smoothing": "smoothing_factor"}
"""Settings that the grid experiment multiplies, and the setting that holds the factor."""


def _scaled(variant: Variant) -> dict[str, Any]:
    """The method's own settings, those of the grid times their factor."""
    factors = {name: variant.params.get(factor, 1.0) for name, factor in FACTORS.items()}
    return {name: value * factors[name] if name in factors else value for name, value in variant.own.items()}


def train(model: LiftedModel | ExplicitModel, variant: Variant, context: Context) -> Any:
    """The trace of one variant, its seeds side by side."""
    p, streams = variant.params, context.streams
    method: Method = METHODS[variant.method](model, **_scaled(variant))
    start = model.images(0.1 * streams.normal("start", variant.seeds, (model.draws,))[None])
    w = model.vector(*(x[0].to(context.device) for x in start))

    def draw(k: int, count: int) -> Noise:
        last = iter([False] * (count - 1) + [True])
        if variant.method not in ("zo", "dd"):
            return Noise((), last)
        normals = streams.normal("direction", variant.seeds, (count, model.draws), k)
        return Noise(model.images(normals.transpose(0, 1)), last)

    def step(w: Any, noise: Noise) -> Any:
        w = method.update(w, model.vector(*noise.weights) if noise.weights else None)
        # Margins that move along with w gather rounding: begin every block with fresh ones.
        return model.vector(*w.weights) if next(noise.last) else w

    return iterate(
        context, variant.key, w, step, steps=p["steps"], block=p["block"], draw=draw, measure=model.measure,
        at=measured(p["steps"], p["points"], p["dense_until"], p["final_points"]),
    )[1]  # fmt: skip


def measured(steps: int, points: int, dense_until: int, final_points: int) -> set[int]:
    """The steps at which metrics are taken: a log grid, the first ones, and an even grid over the last 5 %."""
    final = np.linspace(0.95 * steps, steps, final_points).round().astype(int).tolist()
    return {*log_grid(steps, points), *range(min(dense_until, steps) + 1), *final}


def _thinned(array: np.ndarray, rows: int) -> np.ndarray:
    """`rows` evenly spaced rows (0: all): a file sorted by class keeps both."""
    return array[np.linspace(0, len(array) - 1, min(rows, len(array))).astype(int)] if rows else array
