"""What the tests of the experiments share: a tiny job, its records, and a plain loop of a method's steps (autograd, torch.optim)."""

import math

import kpgsivi_slow as slow
import numpy as np
import pandas as pd
import pytest
import torch

from descent.core.context import Need
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.papers.kpgsivi.family import Family
from descent.papers.kpgsivi.room import ROOM
from descent.papers.kpgsivi.targets import LogisticRegression

F32, F64 = torch.float32, torch.float64
STREAMS = Streams("kpgsivi")
SEEDS = (500, 501)
BASE = {
    "latent": 3, "hidden": 6, "log_variance": -1.0, "floor": -20.0, "batch": 6, "latents": None, "beta2": 0.99,
    "kernel": "gaussian",
    "median_every": 1, "steps": 6, "block": 4, "points": 2, "evaluated": 60, "directions": 5, "divergence_points": 20,
    "components": 30, "reverse_components": 25, "kept_points": 10, "step_size": 0.02, "decay": 0.5, "decay_every": 2,
    "warm_up": 0, "path_steps": 10, "observations": 2, "density_points": 50, "left": 0.8, "distance": 2.0,
    "from_start": False, "rows": 1,
}  # fmt: skip


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


def regression(seed=1):
    random = np.random.default_rng(seed)
    made = {}
    for part, n in (("train", 30), ("test", 20)):
        x = random.normal(size=(n, 5))
        made[f"{part}_features"], made[f"{part}_labels"] = x, (x[:, 0] + random.normal(size=n) > 0).astype(np.uint8)
    return {"waveform": made}


def regression_target(data):
    data = data["waveform"]
    return LogisticRegression(torch.tensor(data["train_features"]), torch.tensor(data["train_labels"]).double())
