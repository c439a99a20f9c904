"""A Bayesian neural network on small regressions: KSIVI's own example; the official KPG code has none.

A tenth of the rows is held out, a tenth of the others fits the start (Adam on squared errors): every seed has a split of its own, every
method the same start. Where KSIVI's code takes minibatches, all rows enter every score here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.fitting import evenly, fit, mean_log_scale, normals
from descent.papers.kpgsivi.neural_target import NeuralRegression
from descent.papers.kpgsivi.optimiser import Optimiser, State, lost
from descent.papers.kpgsivi.optimiser import start as at_start
from descent.papers.kpgsivi.problem import Problem


class Split(NamedTuple):
    """Standardised rows of every seed; a seed's mean and deviation are those of its training rows."""

    features: Tensor  # (S, n, p)
    labels: Tensor  # (S, n)


class Report(NamedTuple):
    diverged: Tensor  # (S,)


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        one(variant, context, records)
    return records


def splits(variant: Variant, context: Context) -> tuple[Split, Split, Split, Tensor]:
    """(training, start, test) rows, and (S,) the deviation of the labels; on the device."""
    data = context.data[variant.params["data"]]
    x, y = np.asarray(data["features"], float), np.asarray(data["target"], float)
    parts: list[list[tuple[np.ndarray, np.ndarray]]] = [[], [], []]
    scales = []
    for seed in variant.seeds:
        order = context.streams.numpy("split", seed).permutation(len(y))
        held = len(y) // 10
        kept = (len(y) - held) // 10
        test, start, train = order[:held], order[held : held + kept], order[held + kept :]
        middle, spread = x[train].mean(0), x[train].std(0)
        level, scale = y[train].mean(), y[train].std()
        scales.append(scale)
        for part, rows in zip(parts, (train, start, test), strict=True):
            part.append(((x[rows] - middle) / np.where(spread > 0, spread, 1.0), (y[rows] - level) / scale))
    made = [
        Split(*(torch.tensor(np.stack(z), dtype=torch.float32).to(context.device) for z in zip(*part, strict=True)))
        for part in parts
    ]
    return *made, torch.tensor(scales, dtype=torch.float32).to(context.device)  # type: ignore[return-value]


def one(variant: Variant, context: Context, records: Records) -> None:
    """Fit one variant and record it."""
    p, seeds = variant.params, variant.seeds
    train, first, test, scale = splits(variant, context)
    precision = float(np.exp(p["log_noise_precision"])) * scale.square()  # of standardised labels
    target = NeuralRegression(*train, precision, float(np.exp(p["log_prior_precision"])), p["width"])
    family = Family(p["latent"], p["hidden"], target.dim, p["floor"])
    problem = Problem(target, family, seeds, context.streams)
    start = fitted_start(problem, first, p, context, f"start of {variant.key}")
    latents = normals(context, "evaluated latents", seeds, p["evaluated"], family.latent)
    eta = normals(context, "evaluated", seeds, p["evaluated"], family.dim)

    def measure(params: Tensor) -> dict[str, Tensor]:
        z = family.sample(params, latents, eta)
        off = target.predicted(z, test.features).mean(1) - test.labels
        return {
            "test_error": off.square().mean(-1).sqrt() * scale,
            "log_likelihood": target.log_predictive(z, *test) - scale.log(),  # of labels in their own unit
            "log_scale": mean_log_scale(family, params),
        }

    _, trace = fit(context, variant.key, variant, problem, start, measure, evenly(p["steps"], p["points"]))
    records.add_trace(variant, trace)


def fitted_start(problem: Problem, rows: Split, p: Mapping[str, Any], context: Context, name: str) -> Tensor:
    """Parameters (S, P), on the host: Adam (.01) on the squared error of draws of the family on `rows`."""
    count, family = rows.labels.shape[1], problem.family
    errors = NeuralRegression(*rows, torch.full_like(rows.labels[:, 0], 2 / count), 0.0, p["width"])
    optimiser = Optimiser(step_size=0.01)
    m = family.latent

    def draw(k: int, steps: int) -> Tensor:
        return problem.normals("start of the network", k, steps, p["batch"], m + family.dim)

    def step(state: State, noise: Tensor) -> tuple[State, Report]:
        points = family.points(state.params, noise[..., :m].contiguous(), noise[..., m:].contiguous())
        slope = -errors.score(points.z) / p["batch"]
        new = State(*optimiser.move(state, family.pull(state.params, points, slope)))
        return new, Report(lost(new.params))

    state = at_start(problem.start(p["log_variance"]).to(context.device))
    state, _ = iterate(context, name, state, Method(at_start, step, draw), steps=p["start_steps"], block=10)
    return state.params.cpu()
