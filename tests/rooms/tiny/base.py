"""A base that other jobs need: its array is the curvature of the world."""

import torch

from descent.core.records import Records


def run(job, context):
    records = Records()
    for variant in job.variants:
        scale = torch.ones(4) if variant.params["world"] == "round" else torch.logspace(0, -2, 4)
        records.array(f"scale_{variant.params['world']}", scale.double())
        records.add(variant, "scale", [scale.mean().double()] * len(variant.seeds))
    return records
