"""Every experiment against a plain loop: one seed at a time, autograd, torch.optim, NumPy; settings, schedules and readings included."""

import math
from itertools import pairwise

import kpgsivi_slow as slow
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import logsumexp
from torch.testing import assert_close

from descent.core.context import Need
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.room import ROOM
from descent.papers.kpgsivi.targets import OBSERVED, Banana, Diffusion, LogisticRegression, multimodal, two_modes
from descent.runner.run import perform

F32, F64 = torch.float32, torch.float64
STREAMS = Streams("kpgsivi")
SEEDS = (500, 501)
BASE = {
    "latent": 3,
    "hidden": 6,
    "log_variance": -1.0,
    "floor": -20.0,
    "batch": 6,
    "latents": None,
    "beta2": 0.99,
    "kernel": "gaussian",
}
BASE |= {
    "steps": 6,
    "block": 4,
    "points": 2,
    "evaluated": 60,
    "directions": 5,
    "divergence_points": 20,
    "components": 30,
}
BASE |= {"reverse_components": 25, "kept_points": 10, "step_size": 0.02, "decay": 0.5, "decay_every": 2, "warm_up": 0}
BASE |= {
    "path_steps": 10,
    "observations": 2,
    "density_points": 50,
    "left": 0.8,
    "distance": 2.0,
    "from_start": False,
    "rows": 1,
}


def job_of(experiment, *variants, axes=("target",), seeds=SEEDS, datasets=None):
    made = []
    for method, params in variants:
        p = BASE | params
        setting = {axis: p[axis] for axis in axes}
        made.append(Variant(method, setting, p, seeds, takes=ROOM.methods[method].settings))
    return Job("kpgsivi", experiment, "all", "smoke", "train", ROOM.experiments[experiment].module, axes, tuple(made),
               datasets=datasets or {})  # fmt: skip


def values(records, job, metric, method=None, **where):
    frame = records.frame(job)
    frame = frame[frame["metric"] == metric]
    if method:
        frame = frame[frame["method"] == method]
    for name, value in where.items():
        frame = frame[frame[name] == value]
    return frame


def expect(records, job, metric, wanted, step, method=None, tolerance=2e-3, **where):
    rows = values(records, job, metric, method, **where)
    got = rows[rows["step"] == step].sort_values("seed")["value"].to_numpy()
    assert got == pytest.approx(np.asarray(wanted, float), rel=tolerance, abs=tolerance), metric


def draw(purpose, seed, *shape, k=None):
    key = () if k is None else (k,)
    return STREAMS.normal(purpose, (seed,), shape, *key, dtype=F32)[0].double()


def twin_of(p, dim, seed):
    family = Family(p["latent"], p["hidden"], dim, p["floor"])
    size = family.network.size
    flat = family.network.start(torch.rand(size, generator=STREAMS.torch("start", seed))[None])[0]
    return slow.Twin(family, torch.cat([flat, torch.full((dim,), p["log_variance"])]).double())


LOSSES = {
    "kpg": slow.kpg_loss,
    "asvgd": slow.asvgd_loss,
    "ksivi": slow.ksivi_loss,
    "sivi": slow.sivi_loss,
    "bsivi": slow.bsivi_loss,
}


def train(method, target, p, seed, until=None, copy_of=None):
    """A plain loop of the method's steps: yields (step, twin) after each."""
    twin = copy_of or twin_of(p, target.dim, seed)
    m, B = p["latent"], p["batch"]
    K = p["latents"] or B
    adam = torch.optim.Adam(twin.parameters(), lr=p["step_size"], betas=(0.9, p["beta2"]))
    for t in range(p["steps"]):
        k, i = divmod(t, p["block"])
        count = min(p["block"], p["steps"] - k * p["block"])
        points = draw("points", seed, count, B, m + target.dim, k=k)[i]
        if method in ("sivi", "bsivi"):
            numbers = points[:, :m], points[:, m:], draw("latents", seed, count, K, m, k=k)[i]
        else:
            other = draw("auxiliary", seed, count, K, m + target.dim, k=k)[i]
            numbers = points[:, :m], points[:, m:], other[:, :m], other[:, m:]
        heat = min(1.0, 0.1 + (t + 1) / p["warm_up"]) if p["warm_up"] else 1.0
        for group in adam.param_groups:
            group["lr"] = p["step_size"] * p["decay"] ** (t // p["decay_every"]) if p["decay_every"] else p["step_size"]
        loss = LOSSES[method](twin, target, *numbers, heat=heat)
        adam.zero_grad()
        loss.backward()
        adam.step()
        yield t + 1, twin


def trained(*arguments, **options):
    """The twin after the last step."""
    return [twin for _, twin in train(*arguments, **options)][-1]


def sample(twin, latents, eta):
    with torch.no_grad():
        return twin.mu(latents) + twin.sigma * eta


def sliced(x, y, lines):
    total = 0.0
    for line in lines:
        line = line / np.linalg.norm(line)
        total += ((np.sort(x @ line) - np.sort(y @ line)) ** 2).mean()
    return math.sqrt(total / len(lines))


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


def states_of(seed, chains, dim, snapshots=2):
    return np.random.default_rng(seed).normal(-0.8, 0.4, (snapshots, chains, dim)).astype(np.float32)


def need(**arrays):
    return {"truth": Need(pd.DataFrame(), arrays)}


def subsets(states, seed, n):
    half = states.shape[1] // 2
    pools = states[:, :half].reshape(-1, states.shape[-1]), states[:, half:].reshape(-1, states.shape[-1])
    picks = (
        STREAMS.numpy(f"{purpose} subset", seed).permutation(len(pool))[:n]
        for purpose, pool in zip(("truth", "floor"), pools, strict=True)
    )
    return [pool[pick].astype(float) for pool, pick in zip(pools, picks, strict=True)] + [pools[0].astype(float)]


@pytest.mark.parametrize("method", ["kpg", "ksivi"])
def test_diffusion(method):
    states = states_of(0, 80, 100)
    p = {"target": "diffusion", "path_steps": 100, "observations": 20, "log_variance": -3.0, "step_size": 0.002}
    job = job_of("diffusion", (method, p))
    records, p = perform(job, needs=need(**{"states diffusion": states})), BASE | p
    target = Diffusion(OBSERVED, dtype=F64)
    lines = draw("directions", 0, 5, 100).numpy()
    rows = {name: [] for name in ("sliced", "floor", "deviation_ratio", "mean_error", "path_error", "mll")}
    for seed in SEEDS:
        truth, floor, pool = subsets(states, seed, 60)
        twin = trained(method, target, p, seed)
        z = sample(twin, draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 100)).numpy()
        many = sample(twin, draw("density latents", seed, 50, 3), draw("density", seed, 50, 100)).numpy()
        gaps = (truth[:, None] - many[None]) / 0.01  # (N, n, d)
        kde = logsumexp(-0.5 * gaps**2, axis=1) - math.log(50 * 0.01 * math.sqrt(2 * math.pi))
        for name, value in {
            "sliced": sliced(z, truth, lines),
            "floor": sliced(floor, truth, lines),
            "deviation_ratio": (z.std(0, ddof=1) / pool.std(0, ddof=1)).mean(),
            "mean_error": (abs(z.mean(0) - pool.mean(0)) / pool.std(0, ddof=1)).mean(),
            "path_error": math.sqrt(((z.mean(0) - pool.mean(0)) ** 2).mean()),
            "mll": kde.sum(),
        }.items():
            rows[name].append(value)
    for name, wanted in rows.items():
        expect(records, job, name, wanted, 6)


def test_drawn_observations_follow_the_steeper_drift():
    """Another size than the official one: the path that defines the data drifts by beta u (1 - u^2)."""
    from descent.papers.kpgsivi.fitting import diffusion

    target = diffusion(STREAMS, 20, 4)
    random, u, path = STREAMS.numpy("path", 0, 20, 4), 0.0, []
    for noise in random.standard_normal(20):
        u += 10 * u * (1 - u**2) * 0.01 + math.sqrt(0.01) * noise
        path.append(u)
    wanted = np.array(path)[[4, 9, 14, 19]] + 0.1 * random.standard_normal(4)
    assert target.observed[4::5].tolist() == pytest.approx(wanted, abs=1e-6)
    assert target.dim == 20 and float(target.weight.sum()) == pytest.approx(400)


class Waveform(dict):
    pass


def regression(seed=1):
    random = np.random.default_rng(seed)
    made = Waveform()
    for part, n in (("train", 30), ("test", 20)):
        x = random.normal(size=(n, 5))
        made[f"{part}_features"], made[f"{part}_labels"] = x, (x[:, 0] + random.normal(size=n) > 0).astype(np.uint8)
    return {"waveform": made}


def regression_target(data):
    data = data["waveform"]
    return LogisticRegression(torch.tensor(data["train_features"]), torch.tensor(data["train_labels"]).double())


def test_logistic():
    data, states = regression(), states_of(2, 80, 5)
    p = {"target": "logistic"}
    job = job_of("logistic", ("kpg", p))
    records, p = perform(job, data=data, needs=need(**{"states logistic": states})), BASE | p
    target, lines = regression_target(data), draw("directions", 0, 5, 5).numpy()
    rows = {
        name: []
        for name in ("sliced", "floor", "correlation_slope", "correlation_error", "correlation_floor", "log_likelihood")
    }
    upper = np.triu_indices(5, 1)
    for seed in SEEDS:
        truth, floor, pool = subsets(states, seed, 60)
        twin = trained("kpg", target, p, seed)
        z = sample(twin, draw("evaluated latents", seed, 60, 3), draw("evaluated", seed, 60, 5)).numpy()
        want, got, other = (np.corrcoef(x.T)[upper] for x in (pool, z, floor))
        x, y = data["waveform"]["test_features"], data["waveform"]["test_labels"].astype(float)
        chance = 1 / (1 + np.exp(-z @ x.T))
        likelihood = np.where(y == 1, chance, 1 - chance).mean(0)
        for name, value in {
            "sliced": sliced(z, truth, lines),
            "floor": sliced(floor, truth, lines),
            "correlation_slope": (want * got).sum() / (want**2).sum(),
            "correlation_error": math.sqrt(((want - got) ** 2).mean()),
            "correlation_floor": (want * other).sum() / (want**2).sum(),
            "log_likelihood": np.log(likelihood).mean(),
        }.items():
            rows[name].append(value)
    for name, wanted in rows.items():
        expect(records, job, name, wanted, 6)


def test_truth_is_a_plain_hmc():
    p = {
        "target": "diffusion",
        "chains": 3,
        "transitions": 6,
        "truth_leapfrog": 2,
        "truth_step": 0.02,
        "spread": 0.3,
        "centre": -1.0,
        "snapshots": 2,
    }
    job = job_of("truth", ("hmc", p), seeds=(500,))
    records = perform(job)
    target = Diffusion(STREAMS_PATH(10, 2), 5, dtype=F64)
    z = -1.0 + 0.3 * draw("start of the truth", 500, 3, 10)
    accepted, kept = [], []
    # 4 transitions to the first snapshot (half of 6, and half of the rest), then 2; every piece has streams of its own
    for piece, count in ((0, 4), (1, 2)):
        momenta = draw("momenta of the truth", 500, count, 3, 10, k=1000 * piece)
        coins = torch.rand((count, 3), generator=STREAMS.torch("coins of the truth", 500, 1000 * piece)).double()
        for i in range(count):
            for chain in range(3):
                x, v = z[chain].clone(), momenta[i, chain]
                start = -float(target.log_prob(x[None, None])) + 0.5 * float(v @ v)
                v = v + 0.01 * target.score(x[None, None])[0, 0]
                for j in range(2):
                    x = x + 0.02 * v
                    v = v + (0.02 if j == 0 else 0.01) * target.score(x[None, None])[0, 0]
                end = -float(target.log_prob(x[None, None])) + 0.5 * float(v @ v)
                accepted.append(math.log(float(coins[i, chain])) < start - end)
                if accepted[-1]:
                    z[chain] = x
        kept.append(z.clone())
    assert_close(torch.from_numpy(records.arrays["states diffusion"]).double(), torch.stack(kept), atol=1e-3, rtol=1e-3)
    expect(records, job, "acceptance", [np.mean(accepted)], 6)


def STREAMS_PATH(steps, observations):
    """The observations of a diffusion that is not the official one."""
    random, u, path = STREAMS.numpy("path", 0, steps, observations), 0.0, []
    for noise in random.standard_normal(steps):
        u += 10 * u * (1 - u**2) * 0.01 + 0.1 * noise
        path.append(u)
    every = steps // observations
    return np.array(path)[every - 1 :: every] + 0.1 * random.standard_normal(observations)


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
