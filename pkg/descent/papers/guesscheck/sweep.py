"""Every experiment: test loss of Guess & Check, of the prior alone and of gradient descent over widths or depths.

A seed is a target and its measurements, shared by all widths, depths, activations and methods: comparisons are paired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby
from typing import Any

from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.core.streams import Streams
from descent.core.tree import on_device
from descent.papers.guesscheck import gradient_descent, two_layers
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import Task, generalisation_loss, instance, training_loss
from descent.papers.guesscheck.sampled import Run, network_of, record_guess_check, record_prior
from descent.toolbox.capture import captured

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


def _groups(job: Job, methods: Collection[str], free: tuple[str, ...]) -> list[list[Variant]]:
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
    """Gradient descent of all the variants and their seeds as one batch. deep: whether the experiment is over depths."""
    way = gradient_descent if deep else two_layers
    variants.sort(key=lambda v: way.order(network_of(v.params)))
    first, networks = variants[0], [network_of(v.params) for v in variants]
    own = {**first.own, "start_scale": [v.params["start_scale"] for v in variants]}
    run = DESCENTS[first.method](_task(first, context, tasks), networks, deep, context.streams, first.seeds, **own)
    trace = run.trace(context, first.method)
    for i, variant in enumerate(variants):
        records.add_trace(variant, trace, slice(i * len(first.seeds), (i + 1) * len(first.seeds)))


def gd_momentum(
    task: Task, networks: Sequence[Network], deep: bool, streams: Streams, seeds: Sequence[int], *, step_size: float,
    momentum: float, start_scale: Sequence[float], steps: int, points: int,
) -> Run:  # fmt: skip
    """Gradient descent from a small start on the seeds' tasks (float64), all networks as one batch, losses measured on a
    logarithmic grid of steps. Rows run over networks, seeds within.

    deep: over depths; else all networks have two layers. networks: in the `order` of either way. start_scale: one a network.
    """
    way, rows = gradient_descent if deep else two_layers, [network for network in networks for _ in seeds]
    task = Task(*(x.float().repeat(len(networks), *[1] * (x.dim() - 1)) for x in task))
    method = way.descent(task, rows, step_size=step_size, momentum=momentum)
    scales = [scale for scale in start_scale for _ in seeds]
    start = way.start(rows, streams, [*seeds] * len(networks), scales, like=task.labels)
    output = gradient_descent.output(rows, task.labels) if deep else two_layers.output(rows)
    return Run(
        Method(method.init, captured(method.step)), method.init(start), steps, STEPS_A_BLOCK, losses(task, output),
        log_grid(steps, points),
    )  # fmt: skip


def gd(
    task: Task, networks: Sequence[Network], deep: bool, streams: Streams, seeds: Sequence[int], *, step_size: float,
    start_scale: Sequence[float], steps: int, points: int,
) -> Run:  # fmt: skip
    """`gd_momentum` without momentum: the official code's optimiser."""
    return gd_momentum(
        task, networks, deep, streams, seeds,
        step_size=step_size, momentum=0.0, start_scale=start_scale, steps=steps, points=points,
    )  # fmt: skip


DESCENTS = {"gd": gd, "gd_momentum": gd_momentum}


def losses(task: Task, output: Callable[[Any], Tensor]) -> Callable[..., dict[str, Tensor]]:
    """Both losses of the networks, (B,). output: the products (B, m, m') of a state."""

    def measure(state: Any, info: Any) -> dict[str, Tensor]:
        product = output(state)[..., None]
        return {
            "error": generalisation_loss(task, product)[:, 0],
            "training_loss": training_loss(task, product)[:, 0],
        }

    return measure
