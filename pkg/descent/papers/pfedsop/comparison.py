"""E1, E2, E4 and E5: methods on one partition after another; all seeds, clients and grid values of a method in one batch.

Everything that is compared shares the seed's partition, start, participants and minibatches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.pfedsop.methods import SECOND_ORDER, built
from descent.papers.pfedsop.problem import WORLD, World, world
from descent.papers.pfedsop.second_order import Info

GRID = (
    "local_step_size", "step_size", "rho", "sharpness", "proximal", "attraction", "inner_step_size", "head_step_size",
)  # fmt: skip
"""Settings in which variants of one batch may differ."""
OBSERVED = ("angle", "mix", "update_norm", "step_length", "drift")
"""What is recorded of a round of pFedSOP."""
DRAWN = "dirichlet-0.1"
"""The partition whose angles and update lengths are kept one by one, for the figures."""


def run(job: Job, context: Context) -> Records:
    """Records, after every `every` rounds and before the first: `accuracy`, `client_mean`, `client_low`, and exactly what
    was spent, `samples` and `sent`. Once a run: `aulc`, `rounds_to_target`, `samples_each` (sample-gradients a participation).
    Of pFedSOP and its variations also means over the participants of a round.
    """
    records = Records()
    for variants in together(job.variants, lambda v: [v.params[name] for name in WORLD]):
        found = world(context.streams, context.data, variants[0].seeds, variants[0].params, context.device)
        _keep_labels(records, found, variants[0])
        for own in together(variants, lambda v: [v.method, *(v.params[n] for n in sorted(v.params) if n not in GRID)]):
            _train(found, own, context, records)
    return records


def together(variants: Sequence[Variant], agree: Any) -> list[list[Variant]]:
    """Variants of the same seeds that agree on `agree(variant)`, in the order in which they come."""
    groups: dict[str, list[Variant]] = {}
    for variant in variants:
        groups.setdefault(repr((variant.seeds, agree(variant))), []).append(variant)
    return list(groups.values())


def own_settings(variants: Sequence[Variant]) -> dict[str, Any]:
    """The settings that the method's card lists: one value, or those of the grid where they may differ."""
    first = variants[0]
    found = {}
    for name in first.own:
        values = [v.params[name] for v in variants]
        found[name] = values if name in GRID else values[0]
    return found


def _train(found: World, variants: list[Variant], context: Context, records: Records) -> None:
    first = variants[0]
    params = first.params
    federation = found.federation(len(variants), [v.params["local_step_size"] for v in variants])
    points = range(0, params["rounds"] + 1, params["every"])
    like = federation.zeros(federation.members)
    method = built(first.method, federation, tuple(points)[1:], **own_settings(variants))

    def measure(state: Any, info: Any) -> dict[str, Tensor]:
        values = found.tests.accuracies(found.network, state.personal)
        values |= {"samples": state.cost.samples, "sent": state.cost.sent}
        return values | diagnostics(info, like) if first.method in SECOND_ORDER else values

    name = " ".join([first.method, *(f"{n}={params[n]}" for n in ("data", "partition", "model"))])
    _, trace = iterate(
        context, name, method.init(), method, steps=params["rounds"], block=1, measure=measure, at=points
    )
    for g, variant in enumerate(variants):
        _record(variant, trace, slice(g * found.tests.seeds, (g + 1) * found.tests.seeds), records)
    if first.method == "pfedsop" and params["partition"] == DRAWN and len(variants) == 1:
        for metric in ("angle", "update_norm", "drift"):
            records.array(f"{metric} {params['data']}", trace.values[f"each_{metric}"][1:])


def diagnostics(info: Info | None, like: Tensor) -> dict[str, Tensor]:
    """Means over the participants that made a step, and each participant's own value; NaN where there is none.

    like (F, m): the shape and kind of a value a participant. info: None before the first round.
    """
    nothing = torch.full_like(like, torch.nan)
    if info is None:
        return {f"{each}{name}": nothing[:, 0] if not each else nothing for name in OBSERVED for each in ("", "each_")}
    found = {}
    for name in OBSERVED:
        own = torch.where(info.warm, getattr(info, name), nothing)
        found |= {name: own.nanmean(1), f"each_{name}": own}
    return found


def _record(variant: Variant, trace: Trace, rows: slice, records: Records) -> None:
    params = variant.params
    for metric in ("accuracy", "client_mean", "client_low", "samples", "sent"):
        records.add(variant, metric, trace.values[metric][:, rows], step=trace.steps)
    if variant.method in SECOND_ORDER:
        for metric in OBSERVED:
            values = trace.values[metric][1:, rows]
            status = np.where(np.isfinite(values), "ok", "undefined")
            records.add(variant, metric, values, step=trace.steps[1:], status=status)
    accuracy = trace.values["accuracy"][1:, rows]
    records.add(variant, "aulc", accuracy.mean(0))
    reached, status = first_reached(accuracy, trace.steps[1:], params["target"])
    records.add(variant, "rounds_to_target", reached, status=status)
    records.add(
        variant, "samples_each", trace.values["samples"][-1, rows] / (params["rounds"] * params["participants"])
    )


def first_reached(accuracy: np.ndarray, steps: np.ndarray, target: float) -> tuple[np.ndarray, list[str]]:
    """The first of `steps` at which each column of accuracy (T, S) is at least `target`, and its status.

    Never: infinite and `censored`, or NaN and `diverged` where an accuracy is no number.
    """
    there = accuracy >= target
    never, broken = ~there.any(0), ~np.isfinite(accuracy).all(0)
    first = steps[there.argmax(0)].astype(float)
    values = np.where(~never, first, np.where(broken, np.nan, np.inf))
    return values, np.where(~never, "ok", np.where(broken, "diverged", "censored")).tolist()


def _keep_labels(records: Records, found: World, variant: Variant) -> None:
    """How many samples of each class each client of the first seed holds, train and test: (K, C)."""
    labels, classes = found.pool.labels, found.y.shape[1]
    parts = zip(found.clients.train[0], found.clients.test[0], strict=True)
    table = [np.bincount(labels[np.concatenate(part)], minlength=classes) for part in parts]
    name = f"labels {variant.params['data']} {variant.params['partition']}"
    if name not in records.arrays:
        records.array(name, np.stack(table))
