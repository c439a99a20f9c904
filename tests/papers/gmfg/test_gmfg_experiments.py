"""Every experiment as a tiny job against plain loops in NumPy: starts, games, schedules, step sizes, what is recorded and when.

The loops are gmfg_reference.py's, written from docs/papers/gmfg.md; nothing here calls the room but to run the job and to draw normals.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gmfg_reference import Reference

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.core.streams import Streams
from descent.papers.gmfg import equilibria, estimates, inner, model_free, outer
from descent.papers.gmfg.room import ROOM

STREAMS = Streams("gmfg")
CONTEXT = Context(torch.device("cpu"), STREAMS, {})
SEEDS = (500, 501, 502)
N, M = 6, 4
PLACES = (np.arange(M) + 0.5) / M
GRAPHONS = {
    "constant": lambda x, y: 0.5 + 0 * x * y,
    "minmax": lambda x, y: np.minimum(x, y) * (1 - np.maximum(x, y)),
    "unifatt": lambda x, y: 1 - np.maximum(x, y),
    "threshold": lambda x, y: np.where(np.isclose(x + y, 1), 0.5, (x + y < 1) * 1.0),
    "cosine": lambda x, y: 0.5 * (1 + np.cos(2 * np.pi * (x - y))),
    "sbm": lambda x, y: np.where((x < 0.5) == (y < 0.5), 0.8, 0.2),
    "powerlaw": lambda x, y: 0.25 * (x * y) ** -0.25,
}


def job(experiment: str, *variants: tuple[str, dict, dict], seeds=SEEDS) -> Job:
    """Variants (method, setting, params), defaults filled in as the plan does."""
    made = []
    for method, setting, params in variants:
        allowed = ROOM.allowed(experiment, method)
        full = with_defaults(allowed, allowed, {"intervals": N, "players": M, **setting, **params})
        made.append(Variant(method, setting, full, tuple(seeds), {}, tuple(ROOM.methods[method].settings)))
    axes = tuple(variants[0][1])
    return Job("gmfg", experiment, "all", "smoke", "train", ROOM.experiments[experiment].module, axes, tuple(made))


def curve(frame, metric, seed, **axes):
    """(steps, values) of one seed."""
    rows = frame[(frame["metric"] == metric) & (frame["seed"] == seed)]
    for name, value in axes.items():
        rows = rows[rows[name] == value]
    rows = rows.sort_values("step")
    return rows["step"].tolist(), rows["value"].to_numpy()


def starts(seed, steps=N, players=M):
    """K0 ~ N(-1, .5^2), G0 ~ N(0, .5^2), mu0 = c0 + c1 sin + c2 cos with c ~ N(1, .25), N(1, .25), N(0, .25) (variances)."""
    draw = lambda purpose, shape: STREAMS.numpy(purpose, seed).standard_normal(shape)  # noqa: E731
    K = -1 + 0.5 * draw("slopes", (steps,)).reshape(steps, 1, 1)
    G = 0.5 * draw("intercepts", (steps, players)).reshape(steps, 1, players)
    c, x = 0.5 * draw("means", 3), (np.arange(players) + 0.5) / players
    return K, G, (1 + c[0] + (1 + c[1]) * np.sin(2 * np.pi * x) + c[2] * np.cos(2 * np.pi * x))[None]


def slope_star(r: Reference):
    """K* by Newton-like descent to rounding."""
    K = np.zeros((r.N, 1, 1))
    for _ in range(80):
        K = K - 0.6 * r.slope_gradient(K)
    return K


def response(r: Reference, K, Z, mu0):
    """The best intercepts under the slope K: the gradient is affine in them, the same matrix for every player."""
    zero = np.zeros((r.N, 1, mu0.shape[1]))
    at_zero, columns = r.intercept_gradient(K, zero, Z, mu0), []
    for t in range(r.N):
        unit = zero.copy()
        unit[t] = 1
        columns.append((r.intercept_gradient(K, unit, Z, mu0) - at_zero)[:, 0, 0])
    return -np.linalg.solve(np.stack(columns, 1), at_zero[:, 0])[:, None]


def equilibrium(r: Reference, W, mu0):
    K = slope_star(r)
    Z = np.zeros((r.N + 1, 1, mu0.shape[1]))
    for _ in range(40):
        G = response(r, K, Z, mu0)
        Z = r.population(K, G, W, mu0)
    return K, G, Z


def sizes(r: Reference, x):
    """sqrt(dt / M sum x^2) over the first N times; for slopes M = 1."""
    return math.sqrt(r.dt / x.shape[-1] * (x[: r.N] ** 2).sum())


def kernel(name, players=M):
    x = (np.arange(players) + 0.5) / players
    return GRAPHONS[name](x[:, None], x[None]) / players


def descents(r, K, G, Z, mu0, k, g, size_k, size_g, vanilla=False, naive=False):
    """k slope steps, then g intercept steps; Z frozen."""
    for _ in range(k):
        E, v = r.slope_gradient(K), r.covariance(K)[:-1]
        if naive:
            mu, gG = r.mean(K, G, Z, mu0)[:-1], r.intercept_gradient(K, G, Z, mu0)
            E = E + (gG * mu).mean(-1, keepdims=True) / v
        K = K - size_k * (E * v if vanilla else E)
    for _ in range(g):
        G = G - size_g * r.intercept_gradient(K, G, Z, mu0)
    return K, G


def by_method(method, r, K, G, Z, W, mu0):
    """One population update of a method, at its own settings."""
    dt = r.dt
    if method in ("picard", "damped"):
        K = slope_star(r)
        G = response(r, K, Z, mu0)
        new = r.population(K, G, W, mu0)
        return K, G, new if method == "picard" else 0.5 * Z + 0.5 * new
    counts = {"single": (1, 1)}.get(method, (4, 3))
    size = 3.0 * dt if method == "unscaled" else 0.3
    slope = {"naive": 0.05}.get(method, size)
    K, G = descents(r, K, G, Z, mu0, *counts, slope, size, method == "vanilla", method == "naive")
    return K, G, r.population(K, G, W, mu0)


METHODS = ("pg", "vanilla", "unscaled", "picard", "single", "damped", "naive")


@pytest.mark.parametrize("method", METHODS)
def test_baselines_are_plain_loops_from_the_same_start(method):
    own = {"pg": {}, "vanilla": {}, "unscaled": {}, "naive": {"slope_step_size": 0.05}}
    counts = {"slope_steps": 4, "intercept_steps": 3} if method in own else {}
    made = job("baselines", (method, {}, {"updates": 3, "tolerance": 0.3, **counts, **own.get(method, {})}))
    frame = outer.run(made, CONTEXT).frame(made)
    r, W = Reference(N=N), kernel("unifatt")
    for seed in SEEDS:
        K, G, mu0 = starts(seed)
        best = equilibrium(r, W, mu0)
        Z = r.population(K, G, W, mu0)
        want = {name: [] for name in ("K_error", "G_error", "Z_error", "Z_distance")}
        for k in range(4):
            if k:
                K, G, Z = by_method(method, r, K, G, Z, W, mu0)
            for name, now, end in (("K_error", K, best[0]), ("G_error", G, best[1]), ("Z_error", Z, best[2])):
                want[name].append(sizes(r, now - end) / sizes(r, end))
            want["Z_distance"].append(sizes(r, Z - best[2]))
        for name, values in want.items():
            steps, got = curve(frame, name, seed)
            assert steps == [0, 1, 2, 3]
            np.testing.assert_allclose(got, values, atol=1e-10, rtol=1e-8, err_msg=name)
        below = [i for i, x in enumerate(want["Z_error"]) if x < 0.3]
        count = curve(frame, "updates_needed", seed)[1][0]
        assert count == (below[0] if below else np.inf)
        each = {"picard": 0, "damped": 0, "single": 2}.get(method, 7)
        grads = frame[(frame["metric"] == "gradient_steps_needed") & (frame["seed"] == seed)]["value"].to_numpy()
        assert (len(grads) == 0) if each == 0 else (grads[0] == each * count)


@pytest.mark.parametrize("experiment", ["graphons", "rates"])
def test_every_graphon_has_its_own_population_and_the_shared_slope(experiment):
    inner_steps = {"graphons": 10, "rates": 40}[experiment]
    p = {"updates": 2, "slope_steps": inner_steps, "intercept_steps": inner_steps}
    made = job(experiment, *[("pg", {"graphon": name}, p) for name in GRAPHONS], seeds=SEEDS[:2])
    frame, r = outer.run(made, CONTEXT).frame(made), Reference(N=N)
    for name in GRAPHONS:
        W = kernel(name)
        for seed in SEEDS[:2]:
            K, G, mu0 = starts(seed)
            best, end = equilibrium(r, W, mu0), r.bilevel(K, G, W, mu0, 2, inner=inner_steps)
            for metric, now, star in zip(("K_error", "G_error", "Z_error"), end, best, strict=True):
                assert curve(frame, metric, seed, graphon=name)[1][-1] == pytest.approx(
                    sizes(r, now - star) / sizes(r, star), rel=1e-6, abs=1e-10
                )
            # rho: the factor of exact best response and population update, by power iteration on differences of Z.
            Z, gone = np.random.default_rng(0).standard_normal((N + 1, 1, M)), []
            for _ in range(60):
                G0 = response(r, best[0], Z, 0 * mu0)
                new = r.population(best[0], G0, W, 0 * mu0)
                gone.append(np.linalg.norm(new) / np.linalg.norm(Z))
                Z = new / np.linalg.norm(new)
            assert curve(frame, "rho", seed, graphon=name)[1][0] == pytest.approx(
                np.prod(gone[-6:]) ** (1 / 6), rel=2e-3
            )
            break


@pytest.mark.parametrize(("coupling", "tracking", "drift"), [("weak", 0.8, 0.4), ("strong", 2.5, 2.0)])
def test_the_coupling_is_h_ht_and_the_drift(coupling, tracking, drift):
    p = {"updates": 2, "tracking": tracking, "peer_drift": drift}
    made = job("coupling", ("pg", {"coupling": coupling, "graphon": "threshold"}, p), seeds=SEEDS[:1])
    frame = outer.run(made, CONTEXT).frame(made)
    one = lambda x: np.array([[x]])  # noqa: E731
    r, W = Reference(N=N, H=one(tracking), HT=one(tracking), Ab=one(drift)), kernel("threshold")
    K, G, mu0 = starts(SEEDS[0])
    ends = [r.population(K, G, W, mu0)] + [r.bilevel(K, G, W, mu0, k)[2] for k in (1, 2)]
    distances = curve(frame, "Z_distance", SEEDS[0])[1]
    # The equilibrium is the fixed point; where the update expands, it is found by solving, not by iterating.
    Ks = slope_star(r)
    answer = lambda Z: r.population(Ks, response(r, Ks, Z, mu0), W, mu0).ravel()  # noqa: E731
    base, units = answer(np.zeros((N + 1, 1, M))), np.eye((N + 1) * M)
    linear = np.stack([answer(u.reshape(N + 1, 1, M)) - base for u in units], 1)
    star = np.linalg.solve(np.eye(len(base)) - linear, base).reshape(N + 1, 1, M)
    np.testing.assert_allclose(distances, [sizes(r, Z - star) for Z in ends], rtol=1e-6)


@pytest.mark.parametrize("method", ["pg", "vanilla", "unscaled"])
def test_the_inner_loops_alone_are_plain_descents_with_the_population_frozen(method):
    experiment = {"unscaled": "frequency"}.get(method, "best_response")
    p = {"slope_cap": 12, "intercept_cap": 9, "points": 1000, "tolerance": 0.05}
    setting = {"intervals": N} if experiment == "frequency" else {}
    made = job(experiment, (method, setting, p))
    frame = inner.run(made, CONTEXT).frame(made)
    r, W = Reference(N=N), kernel("unifatt")
    size = 3.0 / N if method == "unscaled" else 0.3
    for seed in SEEDS:
        K, G, mu0 = starts(seed)
        best = equilibrium(r, W, mu0)
        slopes, intercepts = [], []
        for _ in range(13):
            slopes.append(sizes(r, K - best[0]) / sizes(r, best[0]))
            K, _ = descents(r, K, G, best[2], mu0, 1, 0, size, size, method == "vanilla")
        for _ in range(10):
            intercepts.append(sizes(r, G - best[1]) / sizes(r, best[1]))
            _, G = descents(r, best[0], G, best[2], mu0, 0, 1, size, size)
        for metric, values, needed in (
            ("K_error", slopes, "slope_steps_needed"),
            ("G_error", intercepts, "intercept_steps_needed"),
        ):
            steps, got = curve(frame, metric, seed)
            assert steps == list(range(len(values)))
            np.testing.assert_allclose(got, values, atol=1e-10, rtol=1e-7)
            below = [i for i, x in enumerate(values) if x < 0.05]
            assert curve(frame, needed, seed)[1][0] == (below[0] if below else np.inf)


@pytest.mark.parametrize("method", ["pg", "vanilla"])
def test_noise_levels_start_and_move_with_the_same_intensity(method):
    levels, p = (
        (0.2, 1.5),
        {"start_variance": None, "intercept_cap": 0, "slope_cap": 6, "points": 1000, "tolerance": 0.4},
    )
    made = job("noise", *[(method, {"noise": level}, p) for level in levels])
    frame = inner.run(made, CONTEXT).frame(made)
    assert set(frame["metric"]) == {"K_error", "slope_steps_needed"}
    one = lambda x: np.array([[x]])  # noqa: E731
    for level in levels:
        r = Reference(N=N, D=one(level), v0=one(level**2))
        best = slope_star(r)
        for seed in SEEDS:
            K, G, mu0 = starts(seed)
            want = []
            for _ in range(7):
                want.append(sizes(r, K - best) / sizes(r, best))
                K, _ = descents(
                    r, K, G, 0 * r.population(K, G, kernel("unifatt"), mu0), mu0, 1, 0, 0.3, 0.3, method == "vanilla"
                )
            steps, got = curve(frame, "K_error", seed, noise=level)
            assert steps == list(range(7))
            np.testing.assert_allclose(got, want, atol=1e-10, rtol=1e-7)


def test_a_logarithmic_grid_keeps_both_ends_and_counts_on_every_step():
    made = job(
        "noise",
        (
            "vanilla",
            {"noise": 0.5},
            {"start_variance": None, "intercept_cap": 0, "slope_cap": 200, "points": 6, "tolerance": 1e-3},
        ),
    )
    frame = inner.run(made, CONTEXT).frame(made)
    steps, _ = curve(frame, "K_error", SEEDS[0])
    assert steps[0] == 0 and steps[1] == 1 and steps[-1] == 200 and len(steps) <= 7
    r = Reference(N=N, D=np.array([[0.5]]), v0=np.array([[0.25]]))
    K, best, count = starts(SEEDS[0])[0], slope_star(r), 0
    while sizes(r, K - best) / sizes(r, best) >= 1e-3:
        K, count = K - 0.3 * r.slope_gradient(K) * r.covariance(K)[:-1], count + 1
    assert curve(frame, "slope_steps_needed", SEEDS[0])[1][0] == count


def test_the_model_free_schedule_with_exact_gradients_in_place_of_estimates(monkeypatch):
    """Steps, step sizes (halved after ten, a third after twenty), preconditioning, what is recorded; and that no key comes twice."""
    levels, r, W, used = (0.1, 1.0), Reference(N=N), kernel("unifatt"), []
    mu = {seed: starts(seed)[2] for seed in SEEDS}
    spread = 0.7

    def each(function, K, *rest):
        rows = [
            [function(s, K[v, i].numpy(), *(x[v, i].numpy() for x in rest)) for i, s in enumerate(SEEDS)]
            for v in range(len(levels))
        ]
        return torch.from_numpy(np.array(rows))

    def slopes(w, K, keys, particles, radius, chunks):
        used.append(keys)
        assert (particles, radius) == (16, 0.1)
        E = each(lambda s, k: r.slope_gradient(k), K)
        return E * spread, torch.full_like(E, spread)

    def intercepts(w, K, G, Z, keys, particles, radius, chunks):
        used.append(keys)
        return each(lambda s, k, g, z: r.intercept_gradient(k, g, z, mu[s]), K, G, Z)

    def crowd(w, K, G, keys, particles):
        used.append(keys)
        return each(lambda s, k, g: r.population(k, g, W, mu[s]), K, G)

    monkeypatch.setattr(model_free, "slope_estimate", slopes)
    monkeypatch.setattr(model_free, "intercept_estimate", intercepts)
    for module in (model_free, estimates):
        monkeypatch.setattr(module, "simulated_population", crowd)
    p = {"updates": 2, "slope_steps": 3, "intercept_steps": 21, "slope_step_size": 0.15}
    made = job("sampling", *[("sampled", {"noise": level, "particles": 16}, p) for level in levels])
    frame = estimates.run(made, CONTEXT).frame(made)
    for seed in SEEDS:
        K, G, mu0 = starts(seed)
        best, Z = equilibrium(r, W, mu0), r.population(K, G, W, mu0)
        want = []
        for _ in range(2):
            for _ in range(3):
                K = K - 0.15 * r.slope_gradient(K)
            for size in [0.3] * 10 + [0.15] * 10 + [0.1]:
                G = G - size * r.intercept_gradient(K, G, Z, mu0)
            Z = r.population(K, G, W, mu0)
            want.append([sizes(r, a - b) / sizes(r, b) for a, b in zip((K, G, Z), best, strict=True)])
        for level in levels:
            for i, metric in enumerate(("K_error", "G_error", "Z_error")):
                steps, got = curve(frame, metric, seed, noise=level)
                assert steps == [1, 2]
                np.testing.assert_allclose(got, [row[i] for row in want], atol=1e-9, rtol=1e-7)
    assert len(used) == 1 + 2 * (3 + 21 + 1)
    assert len(set(torch.stack(used).flatten().tolist())) == len(used) * len(SEEDS), "random numbers came twice"


def test_the_noise_levels_share_random_numbers_and_differ_in_d_and_in_nothing_else():
    made = job(
        "sampling",
        *[
            ("sampled", {"noise": d, "particles": 8}, {"updates": 1, "slope_steps": 1, "intercept_steps": 1})
            for d in (1e-9, 1.0)
        ],
    )
    drawn = []
    original = model_free._cost

    def watched(game, x, xi, policy, z=None):
        drawn.append((game.noise.flatten().tolist(), tuple(xi.shape)))
        return original(game, x, xi, policy, z)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_free, "_cost", watched)
        frame = estimates.run(made, CONTEXT).frame(made)
    assert all(noise == [1e-9, 1.0] for noise, _ in drawn) and {shape[:4] for _, shape in drawn} == {(3, M, N, 8)}
    quiet, loud = (curve(frame, "G_error", SEEDS[0], noise=d)[1] for d in (1e-9, 1.0))
    assert quiet != loud


def test_equilibria_record_the_oracle_of_the_default_start():
    made = job("equilibria", *[("oracle", {"graphon": name}, {}) for name in ("unifatt", "sbm")], seeds=(500,))
    records = equilibria.run(made, CONTEXT)
    frame, r, mu0 = records.frame(made), Reference(N=N), (1 + np.sin(2 * np.pi * PLACES))[None]
    for name in ("unifatt", "sbm"):
        K, G, Z = equilibrium(r, kernel(name), mu0)
        want = {
            "K_norm": sizes(r, K),
            "G_norm": sizes(r, G),
            "Z_norm": sizes(r, Z),
            "cost": r.cost(K, G, Z, mu0).mean(),
        }
        for metric, value in want.items():
            assert curve(frame, metric, 500, graphon=name)[1][0] == pytest.approx(value, rel=1e-9)
        np.testing.assert_allclose(records.arrays[f"Z_{name}"], Z[:, 0], atol=1e-10)
        np.testing.assert_allclose(records.arrays[f"G_{name}"], G[:, 0], atol=1e-10)
