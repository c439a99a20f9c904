"""Mass between modes, from a pre-trained and from a cold start, and the arithmetic of a step."""

import numpy as np
import pandas as pd
import pytest
from kpgsivi_plain import BASE, F64, SEEDS, draw, expect, job_of, sample, trained

from descent.core.context import Need
from descent.papers.kpgsivi.targets import two_modes
from descent.runner.run import perform


@pytest.mark.parametrize("method", ["kpg", "ksivi", "bsivi"])
def test_pretraining_and_blindness(method):
    pre = {"target": "two_modes", "left": 0.5, "latents": 9, "warm_up": 3}
    before = job_of("pretrain", *(("bsivi", {**pre, "distance": a}) for a in (2.0, 3.0)), axes=("distance",))
    first = perform(before)
    after = job_of(
        "blindness", *((method, {"target": "two_modes", "distance": a}) for a in (2.0, 3.0)), axes=("distance",)
    )
    records = perform(after, needs={"pretrain": Need(pd.DataFrame(), first.arrays)})
    for a in (2.0, 3.0):
        shares, starts = [], []
        for seed in SEEDS:
            p = BASE | pre
            twin = trained("bsivi", two_modes(0.5, [a], dtype=F64), p, seed)
            latents, eta = draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 2)
            starts.append(float((sample(twin, latents, eta)[:, 0] < 0).double().mean()))
            twin = trained(method, two_modes(0.8, [a], dtype=F64), BASE, seed, copy_of=twin)
            shares.append(float((sample(twin, latents, eta)[:, 0] < 0).double().mean()))
        expect(first, before, "left_share", starts, 6, distance=a)
        expect(records, after, "left_share", shares, 6, distance=a)
        expect(records, after, "weight_error", abs(np.array(shares) - 0.8), 6, distance=a)


def test_cold_starts_need_nothing():
    job = job_of("cold", ("kpg", {"target": "two_modes", "from_start": True}), axes=("distance",))
    wanted = []
    for seed in SEEDS:
        twin = trained("kpg", two_modes(0.8, [2.0], dtype=F64), BASE, seed)
        z = sample(twin, draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 2))
        wanted.append(float((z[:, 0] < 0).double().mean()))
    expect(perform(job), job, "left_share", wanted, 6)


def test_work_counts_the_products_of_a_step():
    """KPG: 2 B points forward, B backward (weights; and inputs but for the first layer), one Gram matrix, one product with it."""
    job = job_of("work", ("kpg", {"target": "banana"}), seeds=(500,))
    m, H, d, B = 3, 6, 2, 6
    layers = m * H + H * H + H * d
    backward = layers + (H * H + H * d)
    banana = B * d * d  # the straightened coordinates times the precision
    wanted = 2 * (2 * B * layers + B * backward + B * B * d + B * B * d + banana)
    expect(perform(job), job, "work", [wanted], 1, tolerance=1e-9)
