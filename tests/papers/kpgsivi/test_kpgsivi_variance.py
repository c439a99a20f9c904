"""Spread of the gradient along a run: gradients by autograd one at a time, covariances by NumPy."""

import math
from itertools import pairwise

import kpgsivi_slow as slow
import numpy as np
import pytest
import torch
from kpgsivi_plain import BASE, F64, SEEDS, draw, expect, job_of, regression, regression_target, sample, twin_of, values

from descent.papers.kpgsivi.targets import Banana
from descent.runner.run import perform


@pytest.mark.parametrize("name", ["banana", "logistic"])
def test_variance(name):
    """Gradients by autograd one at a time; trace of the covariance by NumPy; squares of means free of noise."""
    p = {
        "target": name,
        "steps": 4,
        "spacing": 2,
        "block": 4,
        "replicates": 12,
        "pairs": 13,
        "paired_at": 2,
        "median_points": 9,
        "decay_every": 0,
    }
    data = regression()
    job = job_of("variance", ("kpg", p), ("asvgd", p))
    records, p = perform(job, data=data), BASE | p
    target = Banana(dtype=F64) if name == "banana" else regression_target(data)
    d, wanted = target.dim, {}
    for seed in SEEDS:
        twin = twin_of(p, d, seed)
        adam = torch.optim.Adam(twin.parameters(), lr=p["step_size"], betas=(0.9, 0.99))
        for number, (begin, end) in enumerate(pairwise((0, 1, 2, 4))):
            for i in range(end - begin):
                one, two = (
                    draw(purpose, seed, end - begin, 6, 3 + d, k=100_000 * number)[i]
                    for purpose in ("points", "auxiliary")
                )
                loss = slow.kpg_loss(twin, target, one[:, :3], one[:, 3:], two[:, :3], two[:, 3:])
                adam.zero_grad()
                loss.backward()
                adam.step()
            fresh = draw(f"median {end}", seed, 18, 3 + d)
            z = sample(twin, fresh[:, :3], fresh[:, 3:])
            h2 = slow.h_squared(slow.pairwise(z[:9], z[9:]), 6)
            repeats = 13 if end == 2 else 12
            ours, theirs = [], []
            for r in range(repeats):
                chunk, at = divmod(r, 10)
                noise = draw(f"repeats {end}", seed, min(10, repeats - 10 * chunk), 12, 3 + d, k=chunk)[at]
                here = twin.mu(noise[:6, :3]) + twin.sigma * noise[:6, 3:]
                there = sample(twin, noise[6:, :3], noise[6:, 3:])
                score = target.score(there[None])[0]
                with torch.no_grad():
                    k = torch.exp(-slow.pairwise(here, there) / (2 * h2))
                    force = (-noise[6:, 3:] / twin.sigma - score).detach()
                    a = k @ force / 6
                    b = (k[..., None] * ((there[None] - here[:, None]) / h2 - score[None])).mean(1)
                for slope, kept in ((a, ours), (b, theirs)):
                    grads = torch.autograd.grad(
                        (slope.detach() * here).sum(-1).mean(), twin.parameters(), retain_graph=True
                    )
                    kept.append(twin.flat(grads).numpy())
            ours, theirs = np.array(ours), np.array(theirs)
            found = wanted.setdefault(end, {})
            for method, x in (("kpg", ours), ("asvgd", theirs)):
                found.setdefault(("gradient_variance", method), []).append(x.var(0, ddof=1).sum())
            sigma = float(twin.sigma.detach().log().mean().exp())
            found.setdefault(("scale_over_bandwidth", "kpg"), []).append(sigma / math.sqrt(float(h2)))
            if end == 2:
                apart, middle = ours - theirs, (ours + theirs) / 2
                for metric, x in (("distance_squared", apart), ("gradient_squared", middle)):
                    # the mean of <x_r, x_s> over r != s
                    cross = (x.sum(0) ** 2).sum() - (x**2).sum()
                    found.setdefault((metric, "kpg"), []).append(cross / (repeats * (repeats - 1)))
                a, b = ours.mean(0), theirs.mean(0)
                found.setdefault(("cosine", "kpg"), []).append(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
                noise = theirs.var(0, ddof=1).sum() / repeats
                found.setdefault(("signal_to_noise", "kpg"), []).append(np.linalg.norm(b) / math.sqrt(noise))
                noise = apart.var(0, ddof=1).sum() / repeats
                found.setdefault(("distance_over_noise", "kpg"), []).append(((a - b) ** 2).sum() / noise)
    for step, found in wanted.items():
        for (metric, method), value in found.items():
            expect(records, job, metric, value, step, method, tolerance=5e-3)


def test_a_method_alone_records_what_both_together_do():
    p = {"target": "banana", "steps": 2, "spacing": 2, "replicates": 4, "pairs": 4, "paired_at": 0, "median_points": 9}
    both = job_of("variance", ("kpg", p), ("asvgd", p))
    alone = job_of("variance", ("asvgd", p))
    a = values(perform(both), both, "gradient_variance", "asvgd")["value"].tolist()
    assert a == values(perform(alone), alone, "gradient_variance", "asvgd")["value"].tolist()
