"""The recordings against themselves: the condition average as a baseline, and the noise floor of random halves."""

from __future__ import annotations

import numpy as np
import torch

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.eprop.reach_task import DIRECTIONS, recorded
from descent.papers.eprop.similarity import centred, condition_average, half_distances, procrustes, random_halves


def run(job: Job, context: Context) -> Records:
    """One number a seed for the floors: the mean over its random halves. The baseline has no randomness."""
    records = Records()
    for variant in job.variants:
        p, seeds = variant.params, variant.seeds
        recordings = context.data[p["recordings"]]
        y = torch.as_tensor(recorded(recordings, np.arange(p["data_from"], 121, p["stride"]))).flatten(0, 1)
        records.add(variant, "baseline", procrustes(condition_average(y, DIRECTIONS), y).repeat(len(seeds)))
        left, sizes, _ = torch.linalg.svd(centred(y), full_matrices=False)
        records.array("recorded", (left * sizes)[:, : p["components"]].float())
        half, found = min(p["half"], y.shape[1] // 2), []
        for seed in seeds:
            halves = random_halves(context.streams.numpy("halves", seed), y.shape[1], half, p["splits"])
            one, two = halves[:, 0], halves[:, 1]
            average = condition_average(y, DIRECTIONS)
            found.append(tuple(half_distances(x, y, two, one).mean() for x in (y, average)))
        for metric, values in zip(("noise_floor", "average_floor"), zip(*found, strict=True), strict=True):
            records.add(variant, metric, torch.stack(values))
    return records
