"""Audits of one step of the mechanisms alone, where an attacker is strongest: every record takes part, one step.

Canaries: m random unit gradients U_j, each in the sum with probability 1/2; the attacker sees the noisy (and, with
mechanism 2, pruned) update, scores <update, U_j>, and guesses "in" for the highest and "out" for the lowest scores
(one-run audit, Steinke et al. 2023). The mask game: two worlds that differ in one record; the attacker sees only which
blocks were kept. Chosen after the noise the mask tells nothing beyond epsilon; chosen before it, it tells all.

Negative controls must be caught: no noise under a claimed budget, and the mask chosen before the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.core.streams import Streams
from descent.papers.dualpriv.blocks import BlockMap, block_map, contiguous_blocks, largest, masked, scores
from descent.papers.dualpriv.decoder import Shape
from descent.papers.dualpriv.lora import layout
from descent.papers.dualpriv.plans import PLANS
from descent.privacy.audit import one_run_bound, one_run_correct, tpr_fpr_bound
from descent.privacy.gaussian import gaussian_epsilon

MASKS = {"noisy_mask": True, "clean_mask": False}
"""The two sides of the mask game: is the mask a function of the noisy update?"""

_TRIALS_AT_ONCE = 2000


class Canaries(NamedTuple):
    """m gradients of norm 1 and the coins that say which are in; both stay inside the job."""

    directions: Tensor  # (m, p)
    included: np.ndarray  # (m,) bool


def canaries(streams: Streams, seed: int, count: int, size: int) -> Canaries:
    """`count` uniform directions in R^size. Methods and noise levels share them."""
    directions = torch.randn(count, size, generator=streams.torch("gradient canaries", seed))
    included = streams.numpy("canary coins", seed).random(count) < 0.5
    return Canaries(torch.nn.functional.normalize(directions, dim=-1), included)


def audited_update(found: Canaries, noise: Tensor, noise_std: float, blocks: BlockMap, keep: float) -> Tensor:
    """What is released: the noisy sum (p,), its smaller blocks dropped when keep < 1."""
    total = torch.from_numpy(found.included.astype(np.float32)) @ found.directions + noise_std * noise
    return masked(blocks, total[None], largest(scores(blocks, total[None]), keep))[0]


def mask_game(generator: torch.Generator, trials: int, noise_std: float, after_noise: bool) -> tuple[int, int]:
    """How often block 0 is kept, in `trials` trials with the record and in as many without it.

    Four blocks of 100 coordinates, a mean on one coordinate each: 1 with the record and 0 without it in block 0, 5 in
    blocks 1 and 2, 0.5 in block 3; three are kept.
    """
    blocks = contiguous_blocks([100] * 4)
    kept = []
    for present in (1.0, 0.0):
        clean = torch.zeros(400)
        clean[::100] = torch.tensor([present, 5.0, 5.0, 0.5])
        seen = 0
        for start in range(0, trials, _TRIALS_AT_ONCE):
            count = min(_TRIALS_AT_ONCE, trials - start)
            update = clean.expand(count, -1)
            if after_noise:
                update = update + noise_std * torch.randn(count, 400, generator=generator)
            seen += int(largest(scores(blocks, update), 0.75)[:, 0].sum())
        kept.append(seen)
    return kept[0], kept[1]


def run(job: Job, context: Any) -> Records:
    """Counts and bounds, seed by seed; neither canaries nor coins are recorded."""
    records = Records()
    audited = [variant for variant in job.variants if variant.method not in MASKS]
    found = dict(zip([v.key for v in audited], _one_runs(audited, context.streams), strict=True))
    found |= {v.key: _game(v, context.streams) for v in job.variants if v.method in MASKS}
    for variant in job.variants:
        records.add(variant, "nominal_epsilon", np.full(len(variant.seeds), _nominal(variant)))
        for metric, values in found[variant.key].items():
            records.add(variant, metric, np.array(values, dtype=float))
    return records


def _nominal(variant: Variant) -> float:
    p = variant.params
    if variant.method == "no_noise":
        return p["claimed"]
    return gaussian_epsilon(p["noise"], p["delta"])


def _one_runs(variants: Sequence[Variant], streams: Streams) -> list[dict[str, list[float]]]:
    """Of each variant the counts and bounds, seed by seed. Variants share a seed's canaries, which are drawn once."""
    adapter = layout(Shape())
    blocks = block_map(adapter)
    rows: list[dict[str, list[float]]] = [{} for _ in variants]
    for seed in dict.fromkeys(seed for variant in variants for seed in variant.seeds):
        drawn: dict[int, Canaries] = {}
        noise = torch.randn(adapter.size, generator=streams.torch("audit noise", seed))
        for row, variant in zip(rows, variants, strict=True):
            if seed not in variant.seeds:
                continue
            p, plan = variant.params, PLANS[variant.method]
            m, r = p["canaries"], p["guesses"]
            if m not in drawn:
                drawn[m] = canaries(streams, seed, m, adapter.size)
            found = drawn[m]
            std = p["noise"] if plan.noisy else 0.0
            update = audited_update(found, noise, std, blocks, p["keep"] if plan.blocks and plan.noisy else 1.0)
            right = one_run_correct((found.directions @ update).numpy(), found.included, r)
            bound = one_run_bound(right, r, m, p["delta"])
            counted = {"audit_correct": right, "audit_guesses": r, "audit_canaries": m, "epsilon_lower_bound": bound}
            for metric, value in counted.items():
                row.setdefault(metric, []).append(float(value))
    return rows


def _game(variant: Variant, streams: Streams) -> dict[str, list[float]]:
    p = variant.params
    trials = p["trials"]
    games = [mask_game(streams.torch("mask game", s), trials, p["noise"], MASKS[variant.method]) for s in variant.seeds]
    return {
        "kept_with_record": [with_it for with_it, _ in games],
        "kept_without_record": [without for _, without in games],
        "game_trials": [float(trials)] * len(games),
        "epsilon_lower_bound": [tpr_fpr_bound(with_it, trials, without, trials) for with_it, without in games],
    }
