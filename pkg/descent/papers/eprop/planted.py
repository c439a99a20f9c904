"""A known answer: activity made from the recordings so that its distance to them is known beforehand.

X = cos(angle) Y Q + sin(angle) Z with a random rotation Q, and Z orthogonal to Y's columns and of its size, has D(X, Y) =
angle / (pi / 2), whatever Q and Z. The procedure must find it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job
from descent.core.records import Records
from descent.papers.eprop.reach_task import recorded
from descent.papers.eprop.similarity import centred, cka, procrustes


def planted(y: Tensor, distance: float, random: np.random.Generator) -> Tensor:
    """(P, q) activity at Procrustes distance `distance` from y (P, q), shifted and rotated; needs P > 2 q + 1."""
    y = centred(y)
    P, q = y.shape
    noise = centred(torch.as_tensor(random.standard_normal((P, q))).to(y.dtype))
    basis, _ = torch.linalg.qr(y)
    noise = noise - basis @ (basis.mT @ noise)
    noise = noise * (y.norm() / noise.norm())
    turn, _ = torch.linalg.qr(torch.as_tensor(random.standard_normal((q, q))).to(y.dtype))
    angle = distance * math.pi / 2
    return 5 + 3 * (math.cos(angle) * y @ turn + math.sin(angle) * noise)


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        p = variant.params
        rates = recorded(context.data[p["recordings"]], np.arange(p["data_from"], 121, p["stride"]))
        y = torch.as_tensor(rates).flatten(0, 1)
        made = [planted(y, p["planted"], context.streams.numpy("planted", seed)) for seed in variant.seeds]
        records.add(variant, "distance", torch.stack([procrustes(x, y) for x in made]))
        records.add(variant, "cka_distance", torch.stack([1 - cka(x, y) for x in made]))
    return records
