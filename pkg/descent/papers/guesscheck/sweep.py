"""Every experiment: test loss of Guess & Check, of the prior alone and of gradient descent over widths or depths.

A seed is a target and its measurements, shared by all widths, depths, activations and methods: comparisons are paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import groupby

from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import iterate, log_grid
from descent.core.job import Job, Variant
from descent.core.method import Method
from descent.core.records import Records
from descent.core.tree import on_device
from descent.papers.guesscheck import gradient_descent
from descent.papers.guesscheck.problem import Task, generalisation_loss, instance, training_loss
from descent.papers.guesscheck.sampled import network_of, record_guess_check, record_prior
from descent.papers.guesscheck.settings import ACTIVATION_NAMES
from descent.toolbox.capture import captured

DESCENTS = ("gd", "gd_momentum")
STEPS_A_BLOCK = 1000


def run(job: Job, context: Context) -> Records:
    records = Records()
    tasks: dict[tuple, Task] = {}
    for variant in job.variants:
        if variant.method not in DESCENTS:
            record = record_guess_check if variant.method == "guess_check" else record_prior
            record(variant, _task(variant, context, tasks), context, records)
    rivals = sorted((v for v in job.variants if v.method in DESCENTS), key=_program)
    for _, group in groupby(rivals, key=_program):
        _descend(list(group), context, tasks, records)
    return records


def _task(variant: Variant, context: Context, tasks: dict[tuple, Task]) -> Task:
    """The variant's tasks on the device, float64; made once a job."""
    p = variant.params
    key = p["task"], p["rank"], p["measurements"], variant.seeds
    if key not in tasks:
        host = instance(context.streams, variant.seeds, task=p["task"], rank=p["rank"], measurements=p["measurements"])
        tasks[key] = on_device(host, context.device)
    return tasks[key]


def _program(variant: Variant) -> str:
    """Variants that agree on this are one batch: other activations, depths, starts, and widths within a factor of two."""
    free = ("activation", "depth", "start_scale", "width")
    same = {name: value for name, value in variant.params.items() if name not in free}
    size = int(math.log2(variant.params["width"])) // 2
    return f"{variant.method} {size} {sorted(same.items(), key=str)} {variant.seeds}"


def _descend(variants: list[Variant], context: Context, tasks: dict[tuple, Task], records: Records) -> None:
    """Gradient descent of all the variants and their seeds as one batch; losses on a logarithmic grid of steps."""
    variants.sort(key=lambda v: ACTIVATION_NAMES.index(v.params["activation"]))
    p, seeds = variants[0].params, variants[0].seeds
    networks = [network_of(v.params) for v in variants for _ in seeds]
    task = Task(*(x.float().repeat(len(variants), *[1] * (x.dim() - 1)) for x in _task(variants[0], context, tasks)))
    method = gradient_descent.descent(task, networks, step_size=p["step_size"], momentum=p.get("momentum", 0.0))
    scales = [v.params["start_scale"] for v in variants for _ in seeds]
    start = gradient_descent.start(networks, context.streams, seeds * len(variants), scales, like=task.labels)
    _, trace = iterate(
        context, f"{variants[0].method} {variants[0].params['width']}-{variants[-1].params['width']}", method.init(start),
        Method(method.init, captured(method.step)), steps=p["steps"], block=STEPS_A_BLOCK,
        measure=losses(task, networks), at=log_grid(p["steps"], p["points"]),
    )  # fmt: skip
    for i, variant in enumerate(variants):
        records.add_trace(variant, trace, slice(i * len(seeds), (i + 1) * len(seeds)))


def losses(task: Task, networks: list) -> Callable[..., dict[str, Tensor]]:
    """Both losses of the networks, (B,)."""
    output = gradient_descent.output(networks, task.labels)

    def measure(state: gradient_descent.State, info: gradient_descent.Info | None) -> dict[str, Tensor]:
        product = output(state.layers)[..., None]
        return {
            "error": generalisation_loss(task, product)[:, 0],
            "training_loss": training_loss(task, product)[:, 0],
        }

    return measure
