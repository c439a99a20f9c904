"""Each experiment on a tiny job: what it records equals a plain loop written here, one seed at a time, in float64 autograd."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from descent.core.context import Need
from descent.core.job import Job, Variant
from descent.core.streams import Streams
from descent.data import load
from descent.papers.eprop.room import ROOM
from descent.runner.run import perform

SEEDS = (3, 4)
TINY = {
    "units": 9, "batch": 8, "updates": 30, "every": 10, "block": 20, "lr": 5e-3, "target_error": 1.05, "loose_error": 1.3,
    "splits": 4, "half": 4, "components": 3, "recordings": "reach_generated", "penalty": 5.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return {"reach_generated": load("reach_generated")}


def params_of(experiment, method="eprop", **own):
    allowed = ROOM.allowed(experiment, method)
    assert set(own) <= set(allowed)
    return {name: setting.default for name, setting in allowed.items()} | own


def job_of(experiment, variants, axes=()):
    return Job("eprop", experiment, "all", "smoke", "train", ROOM.experiments[experiment].module, axes, tuple(variants))


def frame_of(experiment, variants, data, axes=(), **options):
    job = job_of(experiment, variants, axes)
    records = perform(job, data=data, **options)
    return records.frame(job), records


def series(frame, metric, seed, **where):
    rows = frame[(frame["metric"] == metric) & (frame["seed"] == seed)]
    for name, value in where.items():
        rows = rows[rows[name] == value]
    return rows.sort_values("step")["value"].to_numpy()


# The reach, by a loop


def start(seed, N, I, O, gain):  # noqa: E741
    """Initial parameters, float64, with gradients."""
    s = Streams("eprop")
    W = torch.randn(N, N, generator=s.torch("recurrent", seed)).double() * 1.5 * gain / math.sqrt(N)
    U = torch.randn(N, I, generator=s.torch("input", seed)).double() / math.sqrt(I)
    V = (torch.rand(O, N, generator=s.torch("readout", seed)).double() * 2 - 1) / math.sqrt(N)
    F = (torch.rand(O, N, generator=s.torch("feedback", seed)).double() * 2 - 1) / math.sqrt(N)
    zeros = [torch.zeros(n, dtype=torch.float64) for n in (N, O, N)]
    p = dict(zip("WUbVca", (W, U, zeros[0], V, zeros[1], zeros[2]), strict=True))
    return {name: x.requires_grad_() for name, x in p.items()}, F


def run_network(p, x, alpha, phi, rule, F=None):
    """Rates and outputs of one trial x (T, I)."""
    a, rates, outputs = p["a"], [], []
    h = phi(a)
    for t in range(len(x)):
        cut = rule in ("eprop", "rflo") or (rule == "tbptt" and (len(x) - t) % 10 == 0)
        a = a + alpha * (-a + p["W"] @ (h.detach() if cut else h) + p["U"] @ x[t] + p["b"])
        h = phi(a)
        y = p["V"] @ h + p["c"]
        if F is not None:
            y = p["V"] @ h.detach() + p["c"] + F @ h - (F @ h).detach()
        rates.append(h)
        outputs.append(y)
    return torch.stack(rates), torch.stack(outputs)


def trial(data, direction, cue, hold, length, stride):
    bump = [0.05, 0.1, 0.2, 0.35, 0.65, 0.8, 0.9, 0.95] + [1.0] * 7 + [0.95, 0.9, 0.8, 0.65, 0.35, 0.2, 0.1, 0.05]
    x, target, mask = np.zeros((length, 3)), np.zeros((length, 2)), np.ones(length)
    end = cue + 23 + hold
    for t in range(length):
        if cue <= t < cue + 23:
            x[t, 0] = bump[t - cue] * math.sin(math.radians(45 * direction))
            x[t, 1] = bump[t - cue] * math.cos(math.radians(45 * direction))
        x[t, 2] = 1 if t < end - 8 else bump[15 + t - (end - 8)] if t < end else 0
        if 0 <= t - (end - 10) < 51:
            target[t] = [data[name][direction, 70 + t - (end - 10)] for name in ("shoulderangle", "elbowangle")]
        mask[t] = t < end + 41
    return (torch.tensor(part[::stride]) for part in (x, target, mask))


def trials_of(seed, k, count, batch):
    """Stratified trials: (count, batch) direction, cue, hold."""
    u = Streams("eprop").numpy("trials", seed, k).random((count, batch, 4))
    n = batch // 8
    found = []
    for draws in u:
        own = []
        for direction in range(8):
            part = draws[direction * n : (direction + 1) * n]
            for i, place in enumerate(np.argsort(part[:, 3])):
                own.append((direction, int((place + part[i, 1]) / n * 20), int((i + part[i, 2]) / n * 60)))
        found.append(own)
    return found


def procrustes(x, y):
    x, y = x - x.mean(0), y - y.mean(0)
    cosine = np.linalg.svd(x.T @ y, compute_uv=False).sum() / (np.linalg.norm(x) * np.linalg.norm(y))
    return math.acos(min(cosine, 1)) / (math.pi / 2)


PHI = {"retanh": lambda a: torch.relu(torch.tanh(a)), "tanh": torch.tanh}


def reach_by_a_loop(data, seed, rule, *, lr, gain=1.0, activation="retanh", updates=30, N=9, batch=8, alpha=0.4):
    """Error and distances at updates 0, 10, 20, 30, and the activity at each."""
    p, F = start(seed, N, 3, 2, gain)
    feedback = F if rule in ("fa", "rflo") else None
    optimiser, r = torch.optim.Adam(list(p.values()), lr=lr), TINY["penalty"]
    rates = np.moveaxis(data["firing_rate"], 0, 2)  # time, direction, unit
    y = np.concatenate([rates[40::4, d] for d in range(8)])
    found = {"error": [], "distance": [], "unshifted_distance": [], "cka_distance": [], "activity": []}

    def look():
        with torch.no_grad():
            wrong = around = 0
            tests = [list(trial(data, d, 25, 45, 168, 4)) for d in range(8)]
            every = torch.cat([t[m == 1] for _, t, m in tests])
            rows, earlier = [], []
            for x, target, mask in tests:
                h, out = run_network(p, x, alpha, PHI[activation], rule)
                wrong = wrong + ((out - target)[mask == 1] ** 2).sum(0)
                around = around + ((target - every.mean(0))[mask == 1] ** 2).sum(0)
                rows.append(h[21:42].numpy())  # samples 84, 88 .. 164
                earlier.append(h[13:34].numpy())  # 32 samples before
            X = np.concatenate(rows)
            found["error"].append((wrong / around).mean().item())
            found["distance"].append(procrustes(X, y))
            found["unshifted_distance"].append(procrustes(np.concatenate(earlier), y))
            xc, yc = X - X.mean(0), y - y.mean(0)
            alike = np.linalg.norm(xc.T @ yc) ** 2 / (np.linalg.norm(xc.T @ xc) * np.linalg.norm(yc.T @ yc))
            found["cka_distance"].append(1 - alike)
            found["activity"].append(X)

    look()
    blocks = [(0, 20), (1, 10)]
    done = 0
    for k, count in blocks:
        for own in trials_of(seed, k, count, batch):
            main = entries = energy = 0
            for direction, cue, hold in own:
                x, target, mask = trial(data, direction, cue, hold, 144, 4)
                h, out = run_network(p, x, alpha, PHI[activation], rule, feedback)
                main = main + ((out - target)[mask == 1] ** 2).sum()
                entries += 2 * mask.sum().item()
                energy = energy + h.square().mean() / batch
            main = main / entries
            optimiser.zero_grad()
            (main + r * energy).backward()
            optimiser.step()
            if r * energy >= main / 2:
                r *= 2 / 3
            done += 1
            if done % 10 == 0:
                look()
    return {name: np.array(values) for name, values in found.items()}


CASES = [
    ("rules", "bptt", {}, {}),
    ("rules", "eprop", {}, {}),
    ("gains", "eprop", {"gain": 1.5}, {"gain": 1.5}),
    ("tanh", "bptt", {"activation": "tanh"}, {"activation": "tanh"}),
    ("others", "rflo", {}, {}),
    ("others", "fa", {}, {}),
    ("others", "tbptt", {}, {}),
    ("rates", "eprop", {"lr": 1e-2}, {"lr": 1e-2}),
]


@pytest.mark.parametrize(("experiment", "method", "setting", "loop"), CASES, ids=lambda case: str(case))
def test_reach_equals_a_plain_loop(data, experiment, method, setting, loop):
    seed = 4
    variant = Variant(method, {}, params_of(experiment, method, **TINY | setting), SEEDS)
    frame, records = frame_of(experiment, [variant], data)
    want = reach_by_a_loop(data["reach_generated"], seed, method, **{"lr": TINY["lr"]} | loop)
    for metric in ("error", "distance", "unshifted_distance", "cka_distance"):
        got = series(frame, metric, seed)
        assert got == pytest.approx(want[metric], abs=2e-3, rel=2e-3), metric
    # At theta: the first evaluation at or under it, interpolated in the logarithm of the running minimum.
    errors, steps = series(frame, "error", seed), [0, 10, 20, 30]
    for theta, metric, curve in ((1.05, "matched_distance", "distance"), (1.3, "loose_distance", "distance"),
                                 (1.05, "matched_cka_distance", "cka_distance")):  # fmt: skip
        (row,) = frame[(frame["metric"] == metric) & (frame["seed"] == seed)].itertuples()
        best, value = np.minimum.accumulate(errors), series(frame, curve, seed)
        i = next((i for i in range(4) if best[i] <= theta), None)
        if i is None:
            assert row.status == "censored"
            continue
        share = (math.log(best[i - 1]) - math.log(theta)) / (math.log(best[i - 1]) - math.log(best[i])) if i else 1
        assert row.value == pytest.approx(value[i - 1] * (1 - share) + value[i] * share if i else value[0], abs=1e-9)
        if metric == "matched_distance":
            assert series(frame, "updates_needed", seed)[0] == steps[i]
            kept = records.arrays[f"activity_{method}"][SEEDS.index(seed)]
            X = want["activity"][i] - want["activity"][i].mean(0)
            _, sizes, _ = np.linalg.svd(X)
            assert np.linalg.norm(kept, axis=0) == pytest.approx(sizes[:3], rel=1e-2)
            assert series(frame, "dimensions", seed)[0] == pytest.approx(
                (sizes**2).sum() ** 2 / (sizes**4).sum(), rel=2e-2
            )


def test_seeds_in_parts_and_alone_agree(data):
    variants = [Variant("eprop", {}, params_of("rules", **TINY | {"stack": stack}), SEEDS) for stack in (0, 1)]
    whole, parts = (frame_of("rules", [v], data)[0] for v in variants)
    assert whole["value"].to_numpy(float) == pytest.approx(parts["value"].to_numpy(float), abs=1e-4, nan_ok=True)
    alone, _ = frame_of("rules", [Variant("eprop", {}, params_of("rules", **TINY), (4,))], data)
    for metric in ("error", "distance"):
        assert series(alone, metric, 4) == pytest.approx(series(whole, metric, 4), abs=1e-4)


def test_baselines_share_starts_and_gains_a_program(data):
    variants = [
        Variant(m, {"gain": g}, params_of("gains", m, **TINY | {"gain": g}), SEEDS)
        for m in ("bptt", "eprop")
        for g in (0.5, 1.5)
    ]
    frame, _ = frame_of("gains", variants, data, axes=("gain",))
    for seed in SEEDS:
        for gain in (0.5, 1.5):
            first = [series(frame, "distance", seed, method=m, gain=gain) for m in ("bptt", "eprop")]
            assert first[0][0] == first[1][0] and first[0][-1] != first[1][-1]
    single, _ = frame_of("gains", variants[3:], data, axes=("gain",))
    assert series(single, "distance", 3) == pytest.approx(
        series(frame, "distance", 3, method="eprop", gain=1.5), abs=1e-4
    )


class Broken(Exception):
    pass


class Kept:
    """A checkpoint in memory that breaks the run at its n-th save."""

    def __init__(self, breaks_at=None):
        self.parts, self.saves, self.breaks_at = {}, 0, breaks_at

    def load(self, name):
        return self.parts.get(name)

    def save(self, name, value, *, force=False):
        self.parts[name] = value()
        self.saves += 1
        if self.saves == self.breaks_at:
            raise Broken


@pytest.mark.parametrize("breaks_at", [1, 4, 5])
def test_killed_and_resumed_gives_the_same_bytes(data, breaks_at):
    variants = [Variant(m, {}, params_of("rules", m, **TINY | {"stack": 1}), SEEDS) for m in ("bptt", "eprop")]
    want, _ = frame_of("rules", variants, data)
    kept = Kept(breaks_at)
    with pytest.raises(Broken):
        frame_of("rules", variants, data, checkpoint=kept)
    got, _ = frame_of("rules", variants, data, checkpoint=kept)
    assert got.equals(want)


def test_a_network_that_never_gets_there_is_censored(data):
    variant = Variant("eprop", {}, params_of("rules", **TINY | {"target_error": 1e-6}), SEEDS)
    frame, records = frame_of("rules", [variant], data)
    for metric in ("matched_distance", "updates_needed", "normalised_distance", "dimensions", "matched_cka_distance"):
        assert set(frame[frame["metric"] == metric]["status"]) == {"censored"}
    assert np.isnan(records.arrays["activity_eprop"]).all()


# The recordings against themselves


def test_references_by_plain_svds(data):
    own = {"recordings": "reach_generated", "splits": 3, "half": 7, "stride": 4, "data_from": 40}
    frame, _ = frame_of(
        "references", [Variant("recordings", {}, params_of("references", "recordings", **own), SEEDS)], data
    )
    rates = np.moveaxis(data["reach_generated"]["firing_rate"], 0, 2)[40::4]  # time, direction, unit
    y = np.concatenate([rates[:, d] for d in range(8)])
    mean = np.concatenate([rates.mean(1)] * 8)
    for seed in SEEDS:
        assert series(frame, "baseline", seed)[0] == pytest.approx(procrustes(mean, y), abs=1e-9)
        random = Streams("eprop").numpy("halves", seed)
        d1, d3 = [], []
        for _ in range(3):
            order = random.permutation(y.shape[1])
            one, two = order[:7], order[7:14]
            d1.append(procrustes(y[:, two], y[:, one]))
            d3.append(procrustes(mean[:, two], y[:, one]))
        assert series(frame, "noise_floor", seed)[0] == pytest.approx(np.mean(d1), abs=1e-9)
        assert series(frame, "average_floor", seed)[0] == pytest.approx(np.mean(d3), abs=1e-9)


@pytest.mark.parametrize("planted", [0.0, 0.3, 0.8])
def test_planted_distances_are_found(data, planted):
    own = {"recordings": "reach_generated", "planted": planted}
    frame, _ = frame_of("planted", [Variant("recordings", {}, params_of("planted", "recordings", **own), SEEDS)], data)
    assert series(frame, "distance", 3)[0] == pytest.approx(planted, abs=1e-6)
    assert (series(frame, "cka_distance", 4)[0] > 0.01) == (planted > 0.2)


# Mante and the toy


@pytest.mark.parametrize("rule", ["bptt", "eprop"])
def test_mante_equals_a_plain_loop(rule):
    own = {"units": 8, "updates": 6, "every": 3, "block": 4, "lr": 2e-2, "alpha": 0.3, "fixation": 2, "stimulus": 3, "delay": 1,
           "decision": 2, "target_accuracy": 0.4}  # fmt: skip
    frame, _ = frame_of("mante", [Variant(rule, {}, params_of("mante", rule, **own), SEEDS)], {})
    seed = 3
    p, _ = start(seed, 8, 9, 3, 1.0)
    optimiser, r = torch.optim.Adam(list(p.values()), lr=2e-2), 10.0
    levels = (-0.5, -0.17, -0.06, 0.06, 0.17, 0.5)
    trials = [(c, m, k) for c in range(2) for m in levels for k in levels]
    want = {"loss": [], "decision_accuracy": []}
    for update in range(7):
        loss = energy = right = 0
        for c, m, k in trials:
            x = np.zeros((8, 9))
            x[:6, 0], x[:6, 5 + c], x[:, 8] = 1, 1, 1
            x[2:5, 1:5] = [(1 - m) / 2, (1 + m) / 2, (1 - k) / 2, (1 + k) / 2]
            x = torch.tensor(x / np.linalg.norm(x, axis=1, keepdims=True))
            kind = torch.tensor([0] * 6 + [2 if (m, k)[c] > 0 else 1] * 2)
            h, out = run_network(p, x, 0.3, PHI["retanh"], rule)
            loss = loss + torch.nn.functional.cross_entropy(out, kind) / 72
            energy = energy + h.square().mean() / 72
            right += (out[6:].argmax(-1) == kind[6:]).double().mean().item() / 72
        if update % 3 == 0:
            want["loss"].append(loss.item())
            want["decision_accuracy"].append(right)
        optimiser.zero_grad()
        (loss + r * energy).backward()
        optimiser.step()
        if r * energy >= loss / 2:
            r *= 2 / 3
    for metric, values in want.items():
        assert series(frame, metric, seed) == pytest.approx(values, abs=1e-3), metric
    reached = [step for step, value in zip((0, 3, 6), want["decision_accuracy"], strict=True) if value >= 0.4]
    got = frame[(frame["metric"] == "updates_needed") & (frame["seed"] == seed)].iloc[0]
    assert got["value"] == (reached[0] if reached else np.inf) and got["status"] == ("ok" if reached else "censored")


def test_toy_equals_a_plain_loop():
    starts = (0.3, 1.1)
    variants = [
        Variant(m, {"start": w}, params_of("toy", m, start=w, lr=0.02, updates=40, every=20, block=40), (1,))
        for m in ("bptt", "eprop")
        for w in starts
    ]
    frame, _ = frame_of("toy", variants, {}, axes=("start",))
    for m in ("bptt", "eprop"):
        for w0 in starts:
            w, path = w0, [w0]
            for n in range(1, 41):
                h, g, e = 1.0, 0.0, 0.0
                for t in range(2, 6):
                    e = h + w * e if m == "bptt" else h  # dh_t / dw, with or without the past's
                    h = w * h
                    g += (h - 0.8 ** (t - 1)) * e
                w -= 0.02 * g
                if n % 20 == 0:
                    path.append(w)
            assert series(frame, "weight", 1, method=m, start=w0) == pytest.approx(path, abs=1e-12)
            assert series(frame, "weight_gap", 1, method=m, start=w0)[0] == pytest.approx(abs(w - 0.8), abs=1e-12)


def test_toy_slopes_worked_out():
    from descent.papers.eprop.toy import scalar_slope

    w = torch.tensor([0.5, 0.8], dtype=torch.float64)
    assert scalar_slope("eprop", w, 0.8, 5).tolist() == pytest.approx([-0.6351375, 0.0], abs=1e-9)
    assert scalar_slope("bptt", w, 0.8, 5).tolist() == pytest.approx([-1.1538, 0.0], abs=5e-5)


# Dynamics


def test_dynamics_pairs_networks_of_different_seeds():
    from descent.papers.eprop.alignment import dynamical_distance, linear_dynamics

    rng = np.random.default_rng(0)
    arrays = {
        f"activity_{m}": rng.standard_normal((3, 8 * 12, 4)).cumsum(1).astype(np.float32) for m in ("bptt", "eprop")
    }
    arrays["activity_eprop"][2] = np.nan  # never reached theta
    gains = {
        f"activity_{m}_gain={g}": rng.standard_normal((3, 8 * 12, 4)).astype(np.float32)
        for m in ("bptt", "eprop")
        for g in (0.5, 1.5)
    }
    own = {"delays": 2, "rank": 3, "alignment_steps": 20}
    variants = [Variant(m, {}, params_of("dynamics", m, **own), (7, 8, 9)) for m in ("bptt", "eprop")]
    import pandas as pd

    needs = {"trained": Need(pd.DataFrame(), arrays), "gains": Need(pd.DataFrame(), gains)}
    frame, records = frame_of("dynamics", variants, {}, needs=needs)
    dsa = frame[frame["metric"] == "dynamics_to_bptt"]
    within = dsa[dsa["method"] == "bptt"]
    assert sorted(zip(within["seed"], within["step"], strict=True)) == [
        (i, j) for i in (7, 8, 9) for j in (7, 8, 9) if i != j
    ]
    ways = within.set_index(["seed", "step"])["value"]
    assert ways[7, 9] == ways[9, 7]
    across = dsa[dsa["method"] == "eprop"]
    assert sorted(zip(across["seed"], across["step"], strict=True)) == [
        (i, j) for i in (7, 8, 9) for j in (7, 8, 9) if i != j
    ]
    assert set(across[across["seed"] == 9]["status"]) == {"undefined"} and set(
        across[across["seed"] != 9]["status"]
    ) == {"ok"}
    A = {
        m: linear_dynamics(torch.tensor(arrays[f"activity_{m}"][:2]).double().reshape(2, 8, 12, 4), delays=2, rank=3)
        for m in ("bptt", "eprop")
    }
    for i, j, methods, rows in ((0, 1, ("bptt", "bptt"), within), (1, 0, ("eprop", "bptt"), across)):
        want = dynamical_distance(A[methods[0]][i : i + 1], A[methods[1]][j : j + 1], steps=20).item()
        got = rows[(rows["seed"] == 7 + i) & (rows["step"] == 7 + j)]["value"].item()
        assert got == pytest.approx(want, abs=1e-6)
    same = frame[frame["metric"] == "dynamics_of_one_start"]
    assert set(same["method"]) == {"eprop"} and list(same["seed"]) == [7, 8, 9]
    assert list(same["status"]) == ["ok", "ok", "undefined"]
    want = dynamical_distance(A["eprop"], A["bptt"], steps=20)
    assert same["value"].to_numpy(float)[:2] == pytest.approx(want.numpy(), abs=1e-6)
    assert records.arrays["map_distances"].shape == (18, 18)
    assert list(records.arrays["map_networks"])[::3] == [
        "bptt",
        "bptt_gain=0.5",
        "bptt_gain=1.5",
        "eprop",
        "eprop_gain=0.5",
        "eprop_gain=1.5",
    ]
