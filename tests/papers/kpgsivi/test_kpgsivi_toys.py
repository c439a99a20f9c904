"""The planar experiments against a plain loop: one seed at a time, autograd, torch.optim, NumPy."""

import math

import pytest
import torch
from kpgsivi_plain import BASE, F64, LOSSES, SEEDS, STREAMS, draw, expect, job_of, sample, sliced, train, values

from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.measures import Sliced
from descent.papers.kpgsivi.targets import Banana, multimodal, x_shaped
from descent.runner.run import perform


def density(twin, z, latents):
    """log of the mean over latents of q(z | eps)."""
    with torch.no_grad():
        return torch.logsumexp(twin.log_q(z, latents), dim=1) - math.log(len(latents))


@pytest.mark.parametrize("method", LOSSES)
@pytest.mark.parametrize("name", ["banana", "multimodal"])
def test_toys(method, name):
    p = {"target": name, **({"warm_up": 3, "log_variance": 0.0} if name == "multimodal" else {})}
    job = job_of("toys", (method, p))
    records, p = perform(job), BASE | p
    target = {"banana": Banana, "multimodal": multimodal}[name](dtype=F64)
    lines = draw("directions", 0, p["directions"], 2).numpy()

    def exact(purpose, seed, n):
        coins = torch.rand((n,), generator=STREAMS.torch(f"{purpose} kinds", seed)).double()
        return target.sample(draw(purpose, seed, n, 2)[None], coins[None])[0]

    seen = {step: [] for step in (1, 3, 6)}
    final = []
    for seed in SEEDS:
        latents, eta = draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 2)
        for step, twin in train(method, target, p, seed):
            if step in seen:
                z = sample(twin, latents, eta)
                seen[step].append(
                    (
                        sliced(z.numpy(), exact("truth", seed, 60).numpy(), lines),
                        float((z[:, 0] < 0).double().mean()),
                        float(twin.sigma.detach().log().mean()),
                    )
                )
        points = exact("points of the divergence", seed, 20)
        forward = (target.log_prob(points[None])[0] - density(twin, points, draw("components", seed, 30, 3))).mean()
        reverse = (
            density(twin, z[:20], draw("reverse components", seed, 25, 3)) - target.log_prob(z[None, :20])[0]
        ).mean()
        floor = sliced(exact("floor", seed, 60).numpy(), exact("truth", seed, 60).numpy(), lines)
        final.append((float(forward), float(reverse), floor))
    for step, rows in seen.items():
        for metric, wanted in zip(("sliced", "left_share", "log_scale"), zip(*rows, strict=True), strict=True):
            expect(records, job, metric, wanted, step)
    assert sorted(set(values(records, job, "sliced")["step"])) == [1, 3, 6]
    for metric, wanted in zip(
        ("forward_divergence", "reverse_divergence", "floor"), zip(*final, strict=True), strict=True
    ):
        expect(records, job, metric, wanted, 6)


def test_kpgis_is_given_its_settings_and_reports_itself():
    from descent.core.tree import tree_map
    from descent.papers.kpgsivi.importance import kpgis
    from descent.papers.kpgsivi.problem import Problem

    own = {"share_low": 0.2, "share_high": 0.6, "proposal_width": 5, "slots": 0.9, "later_slots": 0.5, "latents": 4}
    job = job_of("toys", ("kpgis", {"target": "banana", **own}))
    records = perform(job)
    problem = Problem(Banana(), Family(3, 6, 2), SEEDS, STREAMS)
    method = kpgis(problem, batch=6, step_size=0.02, beta2=0.99, decay=0.5, decay_every=2, warm_up=0, **own)
    state = method.init(problem.start(-1.0))
    for k, count in ((0, 4), (1, 2)):
        noise = method.draw(k, count)
        for i in range(count):
            with torch.no_grad():
                state, info = method.step(state, tree_map(lambda x, i=i: x[i], noise))
    for metric in ("bandwidth", "share", "effective", "overflow"):
        expect(records, job, metric, getattr(info, metric), 6, tolerance=1e-6)
    scale = problem.family.scale(state.params)[:, 0].log().mean(-1)
    expect(records, job, "log_scale", scale, 6, tolerance=1e-6)


@pytest.mark.parametrize(
    ("made", "floor", "tolerance"), [(Banana, 0.11, 0.05), (multimodal, 0.05, 0.02), (x_shaped, 0.06, 0.025)]
)
def test_equal_samples_of_a_target_are_a_floor_apart(made, floor, tolerance):
    """4000 points against 4000 along 200 directions, four times."""
    target = made()
    normals = STREAMS.normal("two samples", (500, 501, 502, 503), (8000, 2), dtype=torch.float32)
    coins = torch.rand(4, 8000, generator=torch.Generator().manual_seed(1))
    z = target.sample(normals, coins)
    apart = Sliced(z[:, :4000], draw("directions", 0, 200, 2).float())(z[:, 4000:])
    assert float(apart.mean()) == pytest.approx(floor, abs=tolerance)
