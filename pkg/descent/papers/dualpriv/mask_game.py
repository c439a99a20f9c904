"""The mask game: what the choice of blocks alone tells about one record.

Two worlds that differ in one record; the attacker sees only which blocks were kept. Chosen after the noise the mask tells
nothing beyond epsilon; chosen before it, it tells all, and the audit must find that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.core.streams import Streams
from descent.papers.dualpriv.blocks import contiguous_blocks, largest, scores
from descent.privacy.audit import tpr_fpr_bound
from descent.privacy.gaussian import gaussian_epsilon

MASKS = {"noisy_mask": True, "clean_mask": False}
"""The two sides of the game: is the mask a function of the noisy update?"""

_TRIALS_AT_ONCE = 2000


def mask_game(generator: torch.Generator, trials: int, noise_std: float, after_noise: bool) -> tuple[int, int]:
    """How often block 0 is kept, in `trials` trials with the record and in as many without it.

    Four blocks of 100 coordinates, a mean on one coordinate each: 1 with the record and 0 without it in block 0, 5 in
    blocks 1 and 2, 0.5 in block 3; three are kept.
    """
    blocks = contiguous_blocks([100] * 4)
    kept = []
    for present in (1.0, 0.0):
        clean = torch.zeros(400, dtype=torch.float32)
        clean[::100] = torch.tensor([present, 5.0, 5.0, 0.5], dtype=torch.float32)
        seen = 0
        for start in range(0, trials, _TRIALS_AT_ONCE):
            count = min(_TRIALS_AT_ONCE, trials - start)
            update = clean.expand(count, -1)
            if after_noise:
                update = update + noise_std * torch.randn(count, 400, generator=generator, dtype=torch.float32)
            seen += int(largest(scores(blocks, update), 0.75)[:, 0].sum())
        kept.append(seen)
    return kept[0], kept[1]


def run(job: Job, context: Any) -> Records:
    """Counts and bounds, seed by seed."""
    records = Records()
    for variant in job.variants:
        nominal = gaussian_epsilon(variant.params["noise"], variant.params["delta"])
        records.add(variant, "nominal_epsilon", np.full(len(variant.seeds), nominal))
        for metric, values in _game(variant, context.streams).items():
            records.add(variant, metric, np.array(values, dtype=float))
    return records


def _game(variant: Variant, streams: Streams) -> dict[str, list[float]]:
    p = variant.params
    trials = p["trials"]
    games = [mask_game(streams.torch("mask game", s), trials, p["noise"], MASKS[variant.method]) for s in variant.seeds]
    return {
        "kept_with_record": [with_it for with_it, _ in games],
        "kept_without_record": [without for _, without in games],
        "game_trials": [float(trials)] * len(games),
        "epsilon_lower_bound": [tpr_fpr_bound(with_it, trials, without, trials) for with_it, without in games],
        "epsilon_cap": [tpr_fpr_bound(trials, trials, 0, trials)] * len(games),
    }
