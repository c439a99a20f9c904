"""The public bases: pre-trains small LLaVAs on public scenes, one a seed, and keeps them for every other job.

Recorded beside it: what the base answers in the public domain with all tokens and with pruned ones, before any private
training, and how well CLS's attention finds the digit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from descent.core.iterate import iterate
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.dualpriv import model, pretraining
from descent.papers.dualpriv.pretraining import Scenes
from descent.papers.dualpriv.scenes import QUESTIONS
from descent.papers.dualpriv.tokens import digit_recall, prune
from descent.papers.dualpriv.world import TASKS, World

BLOCK = 20
SHOWN = 3  # public scenes kept for the figure


def run(job: Job, context: Any) -> Records:
    """One variant; each of its seeds is a base of its own, trained on the same public scenes."""
    records = Records()
    [variant] = job.variants
    params, streams, device = variant.params, context.streams, context.device
    sizes = model.Sizes(
        canvas=params["canvas"], width=params["width"], heads=params["heads"], layers=params["decoder_layers"]
    )
    task = params["task"]
    digits = context.data["digits"]
    public = World(sizes, task, {}, digits, streams, device).scenes("public", params["public_records"], private=False)
    scenes = Scenes(
        *(torch.from_numpy(z).to(device) for z in (public.patches, public.text, public.answer, public.digit))
    )
    found = []
    for base, seed in enumerate(variant.seeds):
        w = _trained(context, params, sizes, scenes, TASKS[task][1], seed)
        world = World(sizes, task, pretraining.named(sizes, w), digits, streams, device, base)
        _examine(records, variant, world, params, seed)
        found.append(w)
        if base == 0:
            with torch.no_grad():
                shown = model.encode(sizes, world.weights, scenes.patches[:SHOWN])
            records.array("shown patches", public.patches[:SHOWN])
            records.array("shown attention", shown.attention)
    records.array("base", torch.stack(found))
    records.array("sizes", np.array(sizes))
    return records


def _trained(context: Any, params, sizes: model.Sizes, scenes: Scenes, rope: str, seed: int) -> torch.Tensor:
    """The weights of one base, flat."""
    streams = context.streams
    draw = pretraining.batches(
        lambda k: streams.numpy("public batches", seed, k),
        params["public_records"],
        params["base_batch"],
        params["base_steps"],
        BLOCK,
        params["base_step_size"],
    )
    start = pretraining.flat(model.initial_parameters(sizes, streams.torch("base", seed)))
    state, _ = iterate(
        context,
        f"pre-training {seed}",
        pretraining.start(start.to(context.device)),
        pretraining.pretraining(sizes, scenes, rope),
        steps=params["base_steps"],
        block=BLOCK,
        draw=draw,
    )
    return state.w


def _examine(records: Records, variant, world: World, params, seed: int) -> None:
    """Accuracy on public questions about images of the test pool, with all tokens and with fewer."""
    test = world.split("test", params["test_records"], private=False)
    questions, kind = TASKS[world.task]
    found = {}
    with torch.no_grad():
        for way, tokens in {"full": None, "pruned": "cls", "random": "random"}.items():
            visual = test.encoded.hidden
            if tokens:
                score = world.token_score(test, tokens)
                visual = prune(visual, score, params["dominant"], params["contextual"])
            visual = model.project(world.weights, visual)
            right = model.answer_logits(world.sizes, world.weights, visual, test.text, kind).argmax(-1) == test.answer
            right = right.to(torch.float32)
            found[f"public_accuracy_{way}"] = right.mean()
            for question in questions:
                asked = (test.text[:, 2] == QUESTIONS[question]).to(right.dtype)
                found[f"public_{question}_accuracy_{way}"] = right @ asked / asked.sum().clamp(min=1)
        for way in ("cls", "random"):
            found[f"digit_recall_{way}"] = digit_recall(world.token_score(test, way), test.on_digit, params["dominant"])
        digit = model.digit_logits(world.sizes, world.weights, test.encoded.hidden).argmax(-1)
        found["public_accuracy_cls"] = (digit == test.digit).to(torch.float32).mean()
    values = torch.stack([value.double() for value in found.values()]).cpu()  # all at once
    for metric, value in zip(found, values, strict=True):
        records.add(variant, metric, value.reshape(1), step=params["base_steps"], seeds=[seed])
