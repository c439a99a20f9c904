"""Accuracy of private fine-tuning on a real checkpoint: ScienceQA's records with images, LLaVA-1.5.

One record at a time with clipped gradients added up, which gives per-sample gradients without a copy of the adapter a
sample; the adapter and the sums are float32, the decoder runs in the checkpoint's type. One seed a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.dualpriv.blocks import block_map, largest, masked, scores
from descent.papers.dualpriv.decoder import decode, rope
from descent.papers.dualpriv.first_order import clipped_sum
from descent.papers.dualpriv.llava import Checkpoint, Record, embedded, encode, load_checkpoint, science_qa
from descent.papers.dualpriv.lora import Layout, adapted_linear, initial, layout, sample_copies
from descent.papers.dualpriv.methods import Recipe, ZerothOrder, recipe_of
from descent.papers.dualpriv.sampling import poisson_batches
from descent.papers.dualpriv.training import fusion_std, open_ledger, record_ledger
from descent.privacy.ledger import Ledger


class State(NamedTuple):
    theta: Tensor  # (1, p) float32
    step: int


class Noise(NamedTuple):
    """One step's batch (plain numbers: records lie on the host) and normals."""

    chosen: tuple[int, ...]
    normal: Tensor  # (1, p): the noise, or for DPZero the direction
    scalar: Tensor  # (1,): DPZero's noise


class Task(NamedTuple):
    checkpoint: Checkpoint
    layout: Layout
    records: Sequence[Record]


def logits_of(task: Task, theta: Tensor, record: Record, copies: Any = None) -> Tensor:
    """Logits (vocabulary,) of the answer."""
    checkpoint = task.checkpoint
    x = embedded(checkpoint, record)
    copies = copies or sample_copies(task.layout, theta.to(x.dtype), 1)
    table = rope(checkpoint.shape, torch.arange(x.shape[2], device=x.device))
    linear = adapted_linear(task.layout, checkpoint.frozen, copies)
    return decode(checkpoint.shape, checkpoint.frozen, linear, x, table)[0, 0, 0].float()


def _loss(logits: Tensor, record: Record) -> Tensor:
    target = torch.full((1,), record.answer, device=logits.device)
    return functional.cross_entropy(logits[None], target)


def gradient(task: Task, theta: Tensor, record: Record) -> list[Tensor]:
    """One record's gradient in pieces (1, 1, size), float32."""
    copies = sample_copies(task.layout, theta.to(task.checkpoint.embedding.dtype), 1)
    with torch.enable_grad():
        loss = _loss(logits_of(task, theta, record, copies), record)
        parts = torch.autograd.grad(loss, [leaf for pair in copies for leaf in pair])
    return [part.flatten(2).float() for part in parts]


def private_step(task: Task, recipe: Recipe, ledger: Ledger, state: State, noise: Noise) -> State:
    """DP-SGD, Dual-Priv or DPZero on the records that were drawn."""
    theta, lr = state.theta, recipe.step_size
    if isinstance(recipe, ZerothOrder):
        slope = ledger.noise_std * noise.scalar
        for i in noise.chosen:
            ends = [_loss(logits_of(task, theta + sign * recipe.probe * noise.normal, task.records[i]), task.records[i])
                    for sign in (1, -1)]  # fmt: skip
            difference = (ends[0] - ends[1]) / (2 * recipe.probe)
            slope = slope + difference.clamp(-ledger.clip_norm, ledger.clip_norm)
        return State(theta - lr * (slope / ledger.batch)[:, None] * noise.normal, state.step + 1)
    total = ledger.noise_std * noise.normal
    for i in noise.chosen:
        total = total + clipped_sum(gradient(task, theta, task.records[i]), ledger.clip_norm)
    update = total / ledger.batch
    if recipe.blocks:
        blocks = block_map(task.layout, theta.device)
        update = masked(blocks, update, largest(scores(blocks, update, recipe.blocks), recipe.keep))
    return State(theta - lr * update, state.step + 1)


def accuracy_of(task: Task, theta: Tensor, held_out: Sequence[Record]) -> float:
    """Share of records whose right letter is the likeliest of those offered."""
    right = 0
    with torch.no_grad():
        for record in held_out:
            offered = logits_of(task, theta, record)[torch.tensor(record.letters, device=theta.device)]
            right += int(record.letters[int(offered.argmax())] == record.answer)
    return right / max(len(held_out), 1)


def run(job: Job, context: Any) -> Records:
    """Each variant, seed by seed. Raises DataError when a folder is absent; nothing stands in for it."""
    records = Records()
    first = job.variants[0].params
    device = context.device
    checkpoint = load_checkpoint(
        first["checkpoint_dir"], device, torch.bfloat16 if device.type == "cuda" else torch.float32
    )
    private = science_qa(first["data_dir"], "train", first["most_records"])
    test = science_qa(first["data_dir"], "test", first["test_records"])
    for variant in job.variants:
        _train(records, context, checkpoint, variant, private, test)
    return records


def _train(records: Records, context: Any, checkpoint: Checkpoint, variant: Variant, private, test) -> None:
    recipe, p = recipe_of(variant), variant.params
    budget = (None, 0) if recipe.tokens == "all" else (recipe.dominant, recipe.contextual)
    context.say(f"{variant.key}: encoding {len(private)} private and {len(test)} test records")
    ledger = open_ledger(recipe, {**p, "records": len(private)})
    noise = {"fuse_std": fusion_std(ledger, recipe), "generator": context.streams.torch("fusion noise", 0, "llava")}
    # Noise on fused tokens of training records only, as in the study.
    kept, held_out = list(encode(checkpoint, private, *budget, **noise)), list(encode(checkpoint, test, *budget))
    task = Task(checkpoint, layout(checkpoint.shape, p["rank"], p["alpha"]), kept)
    found = []
    for seed in variant.seeds:
        theta = initial(task.layout, [context.streams.torch("adapter", seed)]).to(context.device)
        state, _ = iterate(
            context,
            f"{variant.key}, seed {seed}",
            State(theta, 0),
            lambda state, noise: private_step(task, recipe, ledger, state, noise),
            steps=p["steps"],
            block=1,
            draw=drawn(context.streams, seed, ledger, task.layout),
        )
        found.append(accuracy_of(task, state.theta, held_out) if bool(state.theta.isfinite().all()) else float("nan"))
    records.add(variant, "accuracy", found, step=p["steps"])
    record_ledger(records, variant, ledger)


def drawn(streams: Any, seed: int, ledger: Ledger, layout: Layout):
    """draw(k, count) for `iterate` with blocks of one step: an adapter's noise is large."""

    def draw(k: int, count: int) -> Noise:
        batch = poisson_batches(streams, (seed,), ledger.records, ledger.rate, k, count, 1)
        assert batch.counts is not None
        size = batch.counts.at(k)[0]
        normal = streams.normal("noise", (seed,), (count, layout.size), k, dtype=torch.float32).transpose(0, 1)
        scalar = streams.normal("scalar noise", (seed,), (count,), k).T.float()
        return Noise(tuple(int(i) for i in batch.index[0, 0, :size]), normal.contiguous(), scalar.contiguous())

    return draw
