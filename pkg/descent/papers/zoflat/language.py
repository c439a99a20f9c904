"""Fig. 3: fine-tuning a pretrained language model with ZO and with gradient descent; its Hessian's trace on the way.

ZO is MeZO (mezo.py), gradient descent runs without dropout and without clipping (the official GD path has both, its ZO
path neither; so both methods descend one objective here). Rows R are seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.errors import SettingError
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.core.settings import check
from descent.core.streams import Streams
from descent.papers.zoflat import last_layer, roberta
from descent.papers.zoflat.curvature import difference_traces, hutchinson
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.mezo import Direction, buffered, regenerating
from descent.papers.zoflat.settings import SETTINGS
from descent.toolbox.counter import normals, signs, subkey, words


class Model(Protocol):
    """What fine-tuning needs of a language model with d parameters, rows (R, d)."""

    layout: Layout
    examples: int

    def loss(self, x: Tensor, batch: Any = None) -> Tensor: ...

    def gradient(self, x: Tensor, batch: Any = None) -> Tensor: ...

    def parts(self) -> Any: ...

    def accuracy(self, x: Tensor) -> Tensor: ...


class State(NamedTuple):
    x: Tensor  # (R, d) parameters, overwritten by every step
    step: Tensor  # () int64, steps taken: keys the probes


class Start(NamedTuple):
    """What the methods of a job share: the model, its pretrained parameters and their metrics."""

    model: Model
    x: Tensor  # (R, d)
    keys: Tensor  # (R,) int64, keys of the probes
    metrics: dict[str, Tensor]


def run(job: Job, context: Context) -> Records:
    records = Records()
    starts: dict[tuple, Start] = {}
    for variant in job.variants:
        p = variant.params
        key = (
            variant.seeds,
            *(p[k] for k in ("encoder", "checkpoint_dir", "micro_batch", "first_probes", "directions", "delta")),
        )
        if key not in starts:
            starts = {key: _start(variant, context)}  # one at a time
        _fine_tune(starts[key], variant, context, records)
    return records


def _start(variant: Variant, context: Context) -> Start:
    p = variant.params
    build = roberta.from_checkpoint if p["encoder"] == "roberta" else last_layer.from_arrays
    model, x = build(context.needs["encodings"].arrays, variant, context.device)
    keys = [context.streams.entropy("probe", seed) % 2**63 for seed in variant.seeds]
    keys = torch.tensor(keys, device=context.device)
    # The estimate at the start is the noisiest of all: more probes.
    return Start(model, x, keys, metrics(model, x, subkey(keys, 0), p["first_probes"], p["directions"], p["delta"]))


def _fine_tune(start: Start, variant: Variant, context: Context, records: Records) -> None:
    p, model = variant.params, start.model
    records.add(variant, "parameters", np.full(len(variant.seeds), model.layout.size))
    points = {t for t in measured(p["measured"]) if t <= p["steps"]}
    if 0 in points:
        for metric, value in start.metrics.items():
            records.add(variant, metric, value)

    def measure(state: State) -> dict[str, Tensor]:
        return metrics(model, state.x, subkey(start.keys, state.step), p["probes"], p["directions"], p["delta"])

    step, draw = _method(model, variant, context)
    state = State(start.x.clone(), torch.zeros((), dtype=torch.int64, device=context.device))
    _, trace = iterate(
        context, variant.key, state, lambda s, noise: State(step(s.x, noise), s.step + 1),
        steps=p["steps"], block=p["block"], draw=draw, measure=measure, at=points - {0},
    )  # fmt: skip
    for metric, value in trace.values.items():
        records.add(variant, metric, value, step=trace.steps)


def metrics(model: Model, x: Tensor, key: Tensor, probes: int, directions: int, delta: float) -> dict[str, Tensor]:
    """Everything that is recorded of x (R, d); key (R,): see `traces`."""
    with torch.no_grad():
        own = {"train_loss": model.loss(x), "test_accuracy": model.accuracy(x)}
    return own | traces(model, x, key, probes, directions, delta)


def traces(model: Model, x: Tensor, key: Tensor, probes: int, directions: int, delta: float) -> dict[str, Tensor]:
    """Every estimate of Tr H at x (R, d), from keys (R,): Hutchinson's and the two by differences of losses."""
    size = model.layout.size
    bits = [words(subkey(key, 1, block), size) for block in range(-(-probes // 64))]
    exact = hutchinson(model.parts(), x, lambda i: signs(bits[i // 64], i % 64, x.dtype), probes)
    draws = (normals(subkey(key, 2, i), size, x.dtype) for i in range(directions))
    official, symmetric = difference_traces(model.loss, x, draws, delta)
    found = {"trace": exact, "trace_official": official, "trace_symmetric": symmetric}
    return {f"{n}{part}": v for n, e in found.items() for part, v in (("", e.mean), ("_stderr", e.stderr))}


def _method(model: Model, variant: Variant, context: Context) -> tuple[Callable, Callable | None]:
    """`step(x, noise)` and the noise's `draw` of a variant."""
    p, streams, seeds = variant.params, context.streams, variant.seeds
    batches = Batches(streams, seeds, model.examples, p["batch"])
    if variant.method == "gd":
        check("gd", SETTINGS, step_size=p["step_size"])

        def descend(x: Tensor, direction: Direction) -> Tensor:
            return x.sub_(clipped(model.gradient(x, direction.batch), p["clip_norm"]), alpha=p["step_size"])

        return descend, lambda k, count: Direction(None, batches.draw(k * p["block"], count))
    tuning = {"step_size": p["step_size"], "smoothing": p["smoothing"]}
    if p["regenerate"]:

        def draw(k: int, count: int) -> Direction:
            per_seed = [streams.numpy("direction", s, k).integers(2**62, size=count).tolist() for s in seeds]
            return Direction(iter(zip(*per_seed, strict=True)), batches.draw(k * p["block"], count))

        inner = regenerating(model.loss, model.layout, **tuning)
        # The seeds stay on the host, where the generator is told them: no step reads one back from the device.
        return lambda x, d: inner(x, Direction(next(d.source), d.batch)), draw

    def draw_normals(k: int, count: int) -> Direction:
        u = streams.normal("direction", seeds, (count, model.layout.size), k, dtype=torch.float32)
        return Direction(u.transpose(0, 1), batches.draw(k * p["block"], count))

    return buffered(model.loss, **tuning), draw_normals


def clipped(gradient: Tensor, longest: float) -> Tensor:
    """(R, d), each row scaled down to the length `longest` if it is longer; 0: as it is."""
    if longest == 0:
        return gradient
    return gradient * (longest / (gradient.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)


def measured(text: str) -> set[int]:
    """`0,50,100:300:50` -> {0, 50, 100, 150, 200, 250, 300}. Raises SettingError."""
    points: set[int] = set()
    for part in text.split(","):
        try:
            first, last, distance = (int(n) for n in (part.split(":") if ":" in part else (part, part, 1)))
            points |= set(range(first, last + 1, distance))
        except ValueError:
            raise SettingError(
                f"language: `measured` must hold numbers and first:last:distance, separated by commas, got {part.strip()!r}"
            ) from None
    return points


class Batches(NamedTuple):
    """Minibatches: every seed shuffles the examples anew each epoch and walks through them; what is left over is dropped."""

    streams: Streams
    seeds: Sequence[int]
    examples: int
    size: int  # 0, or at least `examples`: the whole set

    def draw(self, first: int, count: int) -> Tensor | None:
        """(count, R, size) indices for the steps first, first + 1, ...; None when the loss is on the whole set."""
        if self.size == 0 or self.size >= self.examples:
            return None
        an_epoch = self.examples // self.size
        batches = np.empty((count, len(self.seeds), self.size), dtype=np.int64)
        for row, seed in enumerate(self.seeds):
            orders: dict[int, np.ndarray] = {}
            for i in range(count):
                epoch, at = divmod(first + i, an_epoch)
                if epoch not in orders:
                    orders[epoch] = self.streams.numpy("minibatch", seed, epoch).permutation(self.examples)
                batches[i, row] = orders[epoch][at * self.size : (at + 1) * self.size]
        return torch.from_numpy(batches)
