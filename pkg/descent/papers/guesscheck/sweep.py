"""Every experiment: test loss of Guess & Check, of the prior alone and of gradient descent over widths or depths.

A seed is a target and its measurements, shared by all widths, depths, activations and methods: comparisons are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.core.tree import on_device
from descent.papers.guesscheck import gradient_descent, two_layers
from descent.papers.guesscheck.problem import Task, generalisation_loss, instance, training_loss
from descent.papers.guesscheck.sampled import network_of, record_guess_check, record_prior
from descent.toolbox.capture import captured

DESCENTS = ("gd", "gd_momentum")
STEPS_A_BLOCK = 1000


def run(job: Job, context: Context) -> Records:
    records = Records()
    tasks: dict[tuple, Task] = {}
    for variant in job.variants:
        if variant.method == "guess_check":
            record_guess_check(variant, _task(variant, context, tasks), context, records)
    for group in _groups(job, ["prior"], ("activation",)):
        record_prior(group, _task(group[0], context, tasks), context, records)
    for group in _groups(job, DESCENTS, ("activation", "depth", "start_scale", "width")):
        _descend(group, "depth" in job.axes, context, tasks, records)
    return records


def _groups(job: Job, methods: Sequence[str], free: tuple[str, ...]) -> list[list[Variant]]:
    """The variants of the methods that are one batch: method and seeds agree, and all settings but the free ones."""

    def program(variant: Variant) -> str:
        same = {name: value for name, value in variant.params.items() if name not in free}
        return f"{variant.method} {sorted(same.items(), key=str)} {variant.seeds}"

    found = sorted((v for v in job.variants if v.method in methods), key=program)
    return [list(group) for _, group in groupby(found, key=program)]


def _task(variant: Variant, context: Context, tasks: dict[tuple, Task]) -> Task:
    """The variant's tasks on the device, float64; made once a job."""
    p = variant.params
    key = p["task"], p["rank"], p["measurements"], variant.seeds
    if key not in tasks:
        host = instance(context.streams, variant.seeds, task=p["task"], rank=p["rank"], measurements=p["measurements"])
        tasks[key] = on_device(host, context.device)
    return tasks[key]


def _descend(variants: list[Variant], deep: bool, context: Context, tasks: dict[tuple, Task], records: Records) -> None:
    """Gradient descent of all the variants and their seeds as one batch; losses on a logarithmic grid of steps.

    deep: whether the experiment is over depths; else all networks have two layers.
    """
    way = gradient_descent if deep else two_layers
    variants.sort(key=lambda v: way.order(network_of(v.params)))
    p, seeds = variants[0].params, variants[0].seeds
    networks = [network_of(v.params) for v in variants for _ in seeds]
    task = Task(*(x.float().repeat(len(variants), *[1] * (x.dim() - 1)) for x in _task(variants[0], context, tasks)))
    method = way.descent(task, networks, step_size=p["step_size"], momentum=p.get("momentum", 0.0))
    scales = [v.params["start_scale"] for v in variants for _ in seeds]
    start = way.start(networks, context.streams, seeds * len(variants), scales, like=task.labels)
    output = gradient_descent.output(networks, task.labels) if deep else two_layers.output(networks)
    _, trace = iterate(
        context, variants[0].method, method.init(start), Method(method.init, captured(method.step)), steps=p["steps"],
        block=STEPS_A_BLOCK, measure=losses(task, output), at=log_grid(p["steps"], p["points"]),
    )  # fmt: skip
    for i, variant in enumerate(variants):
        records.add_trace(variant, trace, slice(i * len(seeds), (i + 1) * len(seeds)))


def losses(task: Task, output: Callable[[Any], Tensor]) -> Callable[..., dict[str, Tensor]]:
    """Both losses of the networks, (B,). output: the products (B, m, m') of a state."""

    def measure(state: Any, info: Any) -> dict[str, Tensor]:
        product = output(state)[..., None]
        return {
            "error": generalisation_loss(task, product)[:, 0],
            "training_loss": training_loss(task, product)[:, 0],
        }

    return measure
