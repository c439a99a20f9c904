"""Every experiment as a tiny job against a plain loop over one chain, written from docs/papers/ssi.md in Python's own numbers.

The loops draw the job's own normals and chi-squares (by purpose, tile and key) and share nothing else with the room: targets and their
signs, rates, levels, which network moves which vector, what is recorded and when.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from descent.core.context import Context, Need
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.core.streams import Streams
from descent.papers.ssi import encoding, equations, exponent, gain, law, trajectory, transition
from descent.papers.ssi.chi_square import ChiSquare
from descent.papers.ssi.room import ROOM

STREAMS = Streams("ssi")
SEEDS = (500, 501, 502)
BLOCK = 100


def context(**needs) -> Context:
    return Context(torch.device("cpu"), STREAMS, {}, needs)


def job(experiment: str, *variants: tuple[str, dict]) -> Job:
    made = []
    for method, params in variants:
        allowed = ROOM.allowed(experiment, method)
        params = {"block": BLOCK, "chunk": 20, **params} if "block" in allowed else params
        made.append(
            Variant(method, {}, with_defaults(allowed, allowed, params), SEEDS, takes=ROOM.methods[method].settings)
        )
    return Job("ssi", experiment, "all", "smoke", "train", ROOM.experiments[experiment].module, (), tuple(made))


def noise(seed, key, d, columns, tokens, steps, per_token=False):
    """(z (steps, columns, tokens), chi (steps, tokens or 1)) of the blocks in turn: the seed's place in its tile of eight."""
    z, chi = [], []
    for block in range(-(-steps // BLOCK)):
        g = STREAMS.torch("noise", seed // 8, *key, block)
        z.append(
            torch.randn((BLOCK, columns, tokens, 8), generator=g, dtype=torch.float32)[..., seed % 8].double().numpy()
        )
        x = torch.randn((BLOCK, tokens if per_token else 1, 8), generator=g, dtype=torch.float32).numpy()
        ChiSquare(d - columns).turn(x.reshape(-1), STREAMS.numpy("rejection", seed // 8, *key, block))
        chi.append(x[..., seed % 8].astype(float))
    return np.concatenate(z)[:steps], np.concatenate(chi)[:steps]


def target_of(name, z):
    L = len(z)
    h = [(x * x - 1) / math.sqrt(2) for x in z]
    return {
        "linear": sum(z) / math.sqrt(L), "single": math.sqrt(L) * z[0], "quadratic": sum(h) / math.sqrt(L), "quadratic_sum": sum(h),
        "difference": z[0] - z[-1], "square_difference": h[0] - h[-1],
    }[name]  # fmt: skip


def network(s, y, activation):
    """a_l, the same for every token."""
    u = sum(s) / math.sqrt(len(s))
    slope = (max(u, 0) - y) * (u > 0) if activation == "relu" else (u * u - y) * 2 * u
    return slope / math.sqrt(len(s))


def trace(s, y):
    """a_l of f = L^-1/2 tr softmax(s s^T) by central differences."""

    def loss(s):
        total = 0.0
        for i in range(len(s)):
            e = [math.exp(s[i] * x - s[i] ** 2) for x in s]
            total += e[i] / sum(e)
        return (total / math.sqrt(len(s)) - y) ** 2 / 2

    h, found = 1e-5, []
    for k in range(len(s)):
        up, down = list(s), list(s)
        up[k] += h
        down[k] -= h
        found.append((loss(up) - loss(down)) / (2 * h))
    return found


def chain(method, seed, key, d, lr, L, target, steps, start, level, activation="relu"):
    """(first passage, overlaps after every step)."""
    z, chi = noise(seed, key, d, 2, L, steps, method == "plain")
    kappa, path, passed = lr / d, [], math.inf
    m, r = ([start] * L, [math.sqrt(1 - start**2)] * L) if method == "plain" else (start, math.sqrt(1 - start**2))
    for t in range(steps):
        zs, v = list(z[t, 0]), list(z[t, 1])
        y = target_of(target, zs)
        if method == "plain":
            a = network([m[i] * zs[i] + r[i] * v[i] for i in range(L)], y, activation)
            m1 = [m[i] - kappa * a * zs[i] for i in range(L)]
            r1 = [r[i] - kappa * a * v[i] for i in range(L)]
            o = [(kappa * a) ** 2 * chi[t, i] for i in range(L)]
            c = math.sqrt(L / sum(m1[i] ** 2 + r1[i] ** 2 + o[i] for i in range(L)))
            m, r = [c * x for x in m1], [c * math.sqrt(r1[i] ** 2 + o[i]) for i in range(L)]
            path.append(math.sqrt(sum(x * x for x in m) / L))
        else:
            s = [m * zs[i] + r * v[i] for i in range(L)]
            a = trace(s, y) if method == "trace" else [network(s, y, activation)] * L
            m1 = m - kappa * sum(a[i] * zs[i] for i in range(L))
            r1 = r - kappa * sum(a[i] * v[i] for i in range(L))
            norm = math.sqrt(m1**2 + r1**2 + kappa**2 * sum(x * x for x in a) * chi[t, 0])
            m = m1 / norm
            r = math.sqrt(1 - m * m)
            path.append(abs(m))
        if path[-1] >= level and passed == math.inf:
            passed = t + 1
    return passed, path


def values(frame, metric, method, **where):
    rows = frame[(frame["metric"] == metric) & (frame["method"] == method)]
    return rows.sort_values(["seed", "step"])["value"].to_numpy()


CASES = [  # target, method, lengths, activation, rate, its scaling as (setting, factor of L), start and level over root d
    ("linear", "tied", (2, 4), "relu", 0.5, ("one", lambda L: 1)),
    ("linear", "plain", (2, 3), "relu", 0.5, ("length", lambda L: L)),
    ("single", "tied", (3,), "relu", 0.5, ("one", lambda L: 1)),
    ("single", "plain", (3, 1), "relu", 0.5, ("root", lambda L: math.sqrt(L))),
    ("quadratic", "plain", (2,), "relu", 0.8, ("one", lambda L: 1)),
    ("quadratic", "trace", (3,), "square", 0.5, ("one", lambda L: 1)),
    ("quadratic", "plain", (3,), "square", 0.4, ("one", lambda L: 1)),
    ("quadratic_sum", "tied", (4, 2), "relu", 0.3, ("root", lambda L: math.sqrt(L))),
    ("quadratic_sum", "plain", (3,), "relu", 0.3, ("one", lambda L: 1)),
    ("difference", "plain", (2,), "relu", 0.5, ("one", lambda L: 1)),
    ("difference", "tied", (2,), "relu", 0.5, ("one", lambda L: 1)),
    ("square_difference", "plain", (2,), "relu", 0.5, ("one", lambda L: 1)),
]


@pytest.mark.parametrize(("target", "method", "lengths", "activation", "rate", "scaling"), CASES)
def test_first_passages_and_curves_of_networks(target, method, lengths, activation, rate, scaling):
    """One job with all lengths: padding, dropping and batching, against one chain of its own length."""
    d, steps = 40, 200
    p = {
        "target": target,
        "activation": activation,
        "dimension": d,
        "rate": rate,
        "start": 1,
        "level": 2,
        "steps": steps,
        "rate_scaling": scaling[0],
    }
    experiment = "square" if method == "trace" else "gain"
    made = job(experiment, *[(method, {**p, "length": L}) for L in lengths])
    times = values(gain.run(made, context()).frame(made), "time", method)
    curved = job(
        experiment, *[(method, {**p, "length": L, "points": 4, "level_unit": "one", "level": 0.5}) for L in lengths]
    )
    frame = gain.run(curved, context()).frame(curved)
    curves, reached = values(frame, "overlap", method), values(frame, "reached", method)
    at = sorted(set(frame[frame["metric"] == "overlap"]["step"]))
    assert at[0] == 0 and at[-1] == steps
    want, passed, path = [], [], []
    for seed in SEEDS:
        for L in lengths:
            key, lr = (target, L, d), rate * scaling[1](L)
            time, overlaps = chain(method, seed, key, d, lr, L, target, steps, d**-0.5, 2 * d**-0.5, activation)
            want.append((seed, time))
            passed.append((seed, any(x >= 0.5 for x in overlaps)))
            path.append((seed, [d**-0.5, *overlaps]))
    # Records of a seed may come in any order of the lengths.
    for seed in SEEDS:
        own = sorted(t for s, t in want if s == seed)
        i = SEEDS.index(seed) * len(lengths)
        assert sorted(times[i : i + len(lengths)]) == own, (seed, method)
        assert sorted(reached[i : i + len(lengths)]) == sorted(float(x) for s, x in passed if s == seed)
    if target in ("linear", "single"):
        assert any(math.isfinite(t) for _, t in want), "the case would show no passage"
    if len(lengths) == 1:
        picked = [[overlaps[t] for t in at] for _, overlaps in path]
        np.testing.assert_allclose(curves.reshape(len(SEEDS), -1), picked, atol=1e-8 if method == "trace" else 1e-11)


@pytest.mark.parametrize(("order", "decay", "factor"), [(1, "one", 1.0), (2, "log", math.log(36)), (3, "root", 6.0)])
def test_times_of_products_and_the_flow_s_own(order, decay, factor):
    d, steps, rate, level = 36, 600, 1.2, {1: 0.5, 2: 0.5, 3: 0.36}[order]  # three factors hardly leave their start
    p = {"order": order, "dimension": d, "rate": rate, "rate_decay": decay, "start": 2, "level": level, "steps": steps}
    made = job("exponent", ("sgd", p), ("escape", p))
    frame = exponent.run(made, context()).frame(made)
    lr, want = rate / factor, []
    for seed in SEEDS:
        z, chi = noise(seed, (order, d), d, 2, 3, steps)
        m, passed = 2 / math.sqrt(d), math.inf
        for t in range(steps):
            r, v = math.sqrt(1 - m * m), z[t, 1]
            s = [m * z[t, 0, i] + r * v[i] for i in range(order)]
            gap = math.prod(s) - math.prod(z[t, 0, i] for i in range(order))
            a = [gap * math.prod(s[:i] + s[i + 1 :]) for i in range(order)]
            m1 = m - lr / d * sum(a[i] * z[t, 0, i] for i in range(order))
            r1 = r - lr / d * sum(a[i] * v[i] for i in range(order))
            m = m1 / math.sqrt(m1**2 + r1**2 + (lr / d) ** 2 * sum(x * x for x in a) * chi[t, 0])
            if abs(m) >= level:
                passed = t + 1
                break
        want.append(passed)
    assert values(frame, "time", "sgd").tolist() == want and any(map(math.isfinite, want))
    grid = np.linspace(2 / math.sqrt(d), level, 20001)
    integral = np.trapezoid(1 / ((1 - grid**2) * order * grid ** (order - 1)), grid)
    np.testing.assert_allclose(values(frame, "time", "escape"), d / lr * integral, rtol=1e-6)


def attention(s, z, omega, width, fro):
    """(a_1, a_2) of the attention matrix against the positional-semantic teacher."""
    sg = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    p = sg(s[0] ** 2 - s[0] * s[1]), sg(s[1] ** 2 - s[0] * s[1])
    P = [(1 - omega) * sg(z[i] ** 2 - z[0] * z[1]) + omega * sg(2 * width**2) for i in (0, 1)]
    D = [P[i] - p[i] for i in (0, 1)]
    b = [-2 * D[i] * p[i] * (1 - p[i]) / (math.sqrt(2 * (D[0] ** 2 + D[1] ** 2)) if fro else 1) for i in (0, 1)]
    return b[0] * (2 * s[0] - s[1]) - b[1] * s[1], b[1] * (2 * s[1] - s[0]) - b[0] * s[0]


def encoded(seed, key, d, lr, steps, m, e, slope, positional=True):
    """(m, e) after every step of one vector on two tokens, with the opposite encoding +p, -p or without any."""
    columns = 3 if positional else 2
    z, chi = noise(seed, key, d, columns, 2, steps)
    kappa, path, r = lr / d, [], math.sqrt(1 - m * m - e * e)
    for t in range(steps):
        zs, v = z[t, 0], z[t, -1]
        q = z[t, 1] if positional else (0.0, 0.0)
        s = [m * zs[0] + e * q[0] + r * v[0] + e, m * zs[1] + e * q[1] + r * v[1] - e]
        a = slope(s, zs)
        m1 = m - kappa * (a[0] * zs[0] + a[1] * zs[1])
        e1 = e - kappa * (a[0] * (q[0] + 1) + a[1] * (q[1] - 1)) if positional else 0.0
        r1 = r - kappa * (a[0] * v[0] + a[1] * v[1])
        norm = math.sqrt(m1**2 + e1**2 + r1**2 + kappa**2 * (a[0] ** 2 + a[1] ** 2) * chi[t, 0])
        m, e = m1 / norm, e1 / norm
        r = math.sqrt(1 - m * m - e * e)
        path.append((m, e))
    return path


def test_a_transition_of_one_setting_is_that_row_of_many():
    one = {
        "dimension": 30,
        "rate": 0.6,
        "width": 1.0,
        "loss": "sq",
        "steps": 100,
        "begin": "normal",
        "records": 10,
        "tail": 3,
    }
    many = job("transition", *[("sgd", {**one, "omega": omega}) for omega in (0.3, 0.8)])
    alone = job("transition", ("sgd", {**one, "omega": 0.8}))
    whole, own = (transition.run(made, context()).frame(made) for made in (many, alone))
    np.testing.assert_array_equal(
        values(whole, "m_final", "sgd").reshape(len(SEEDS), 2)[:, 1], values(own, "m_final", "sgd").ravel()
    )


@pytest.mark.parametrize(
    ("loss", "begin", "width"), [("sq", "normal", 1.0), ("fro", "normal", 0.8), ("fro", "zero", 1.0)]
)
def test_where_attention_ends_is_the_mean_of_its_last_records(loss, begin, width):
    d, steps, rate = 30, 200, 0.6
    omegas = (0.3, 0.8)
    made = job("transition", *[("sgd", {"dimension": d, "rate": rate, "omega": w, "width": width, "loss": loss, "steps": steps, "begin": begin,
                                        "records": 10, "tail": 3}) for w in omegas])  # fmt: skip
    frame = transition.run(made, context()).frame(made)
    got = {
        name: values(frame, name, "sgd").reshape(len(SEEDS), len(omegas))
        for name in ("m_final", "e_final", "positional")
    }
    for i, seed in enumerate(SEEDS):
        ends = []
        for omega in omegas:
            key = (str(omega), d)
            m, e = (
                STREAMS.numpy("start", seed, *key).standard_normal(2) / math.sqrt(d)
                if begin == "normal"
                else (0.0, 0.0)
            )
            path = encoded(
                seed, key, d, rate, steps, m, e, lambda s, z, w=omega: attention(s, z, w, width, loss == "fro")
            )
            tail = [path[t - 1] for t in (160, 180, 200)]
            ends.append((np.mean([abs(x) for x, _ in tail]), np.mean([abs(y) for _, y in tail])))
        for name, column in (
            ("m_final", [x for x, _ in ends]),
            ("e_final", [y for _, y in ends]),
            ("positional", [float(y > x) for x, y in ends]),
        ):
            np.testing.assert_allclose(sorted(got[name][i]), sorted(column), atol=1e-10, err_msg=name)


def test_the_deviation_is_taken_from_the_flow_that_it_names():
    d, rate, time, records = 40, 0.5, 5.0, 5
    p = {
        "dimension": d,
        "rate": rate,
        "omega": 0.5,
        "loss": "sq",
        "start_m": 0.2,
        "start_e": 0.1,
        "time": time,
        "records": records,
    }
    at = [80, 160, 240, 320, 400]
    flows = {f"flow_{r}": np.column_stack([np.arange(1.0, 6), np.full((5, 2), c)]) for r, c in ((0.0, 0.3), (0.5, 0.7))}
    made = job("trajectory", ("sgd", p))
    frame = trajectory.run(made, context(equations=Need(None, flows))).frame(made)
    for i, seed in enumerate(SEEDS):
        path = encoded(seed, (d, str(rate)), d, rate, 400, 0.2, 0.1, lambda s, z: attention(s, z, 0.5, 1.0, False))
        points = np.array([path[t - 1] for t in at])
        np.testing.assert_allclose(values(frame, "m", "sgd").reshape(3, 5)[i], points[:, 0], atol=1e-10)
        np.testing.assert_allclose(values(frame, "e", "sgd").reshape(3, 5)[i], points[:, 1], atol=1e-10)
        for metric, centre in (("deviation", 0.3), ("deviation_noise", 0.7)):
            want = math.sqrt(((points - centre) ** 2).sum(1).mean() / 2)
            assert values(frame, metric, "sgd")[i] == pytest.approx(want, abs=1e-10)


def test_trace_attention_with_and_without_an_encoding():
    d, rate, steps = 30, 0.4, 200
    p = {"dimension": d, "rate": rate, "start": 1, "steps": steps, "points": 3}
    made = job("encoding", ("attention_pe", p), ("attention", p))
    frame = encoding.run(made, context()).frame(made)
    slope = lambda s, z: trace(s, (z[0] - z[1]) / math.sqrt(2))  # noqa: E731
    at = sorted(set(frame["step"]))
    for method, e0 in (("attention_pe", d**-0.5), ("attention", 0.0)):
        got = [values(frame, name, method).reshape(3, -1) for name in ("m", "e")]
        for i, seed in enumerate(SEEDS):
            path = [(d**-0.5, e0), *encoded(seed, (), d, rate, steps, d**-0.5, e0, slope, positional=e0 > 0)]
            np.testing.assert_allclose(got[0][i], [abs(path[t][0]) for t in at], atol=1e-7)
            np.testing.assert_allclose(got[1][i], [abs(path[t][1]) for t in at], atol=1e-7)


def test_both_simulators_of_the_law_check():
    d, rate, omega = 12, 0.7, 0.4
    p = {
        "dimension": d,
        "rate": rate,
        "omega": omega,
        "loss": "sq",
        "start_m": 0.3,
        "start_e": 0.2,
        "steps": 40,
        "at": 20,
    }
    made = job("law", ("direct", p), ("sgd", p))
    frame = law.run(made, context()).frame(made)
    for i, seed in enumerate(SEEDS):
        path = encoded(seed, (), d, rate, 40, 0.3, 0.2, lambda s, z: attention(s, z, omega, 1.0, False))
        np.testing.assert_allclose(values(frame, "m", "sgd").reshape(3, 2)[i], [path[19][0], path[39][0]], atol=1e-10)
        np.testing.assert_allclose(values(frame, "e", "sgd").reshape(3, 2)[i], [path[19][1], path[39][1]], atol=1e-10)
        w = np.zeros(d)
        w[:3] = 0.3, 0.2, math.sqrt(1 - 0.13)
        w *= math.sqrt(d)
        ends = []
        for block in range(2):
            drawn = torch.randn((20, 2, d), generator=STREAMS.torch("tokens", seed, block), dtype=torch.float32)
            for x in drawn.double().numpy() / math.sqrt(d):
                p1 = np.eye(d)[1] / math.sqrt(d)
                seen = x[0] + p1, x[1] - p1
                a = attention([seen[0] @ w, seen[1] @ w], x[:, 0] * math.sqrt(d), omega, 1.0, False)
                w = w - rate * (a[0] * seen[0] + a[1] * seen[1])
                w *= math.sqrt(d) / np.linalg.norm(w)
            ends.append(w[:2] / math.sqrt(d))
        np.testing.assert_allclose(values(frame, "m", "direct").reshape(3, 2)[i], [x[0] for x in ends], atol=1e-10)
        np.testing.assert_allclose(values(frame, "e", "direct").reshape(3, 2)[i], [x[1] for x in ends], atol=1e-10)


def test_the_equations_are_the_flow_and_the_flow_with_the_drift_of_noise():
    """Euler steps of dm/dtau = -[R_m - m (m R_m + e R_e)] - (lr/2) V m on the same nodes, slopes by differences of R."""
    n, rate, h = 5, 1.0, 0.01
    made = job("equations", *[(m, {"omega": 0.5, "start_m": 0.15, "start_e": 0.15, "time": 4.0, "records": 2, "nodes": n, **own})
                              for m, own in (("flow", {}), ("flow_noise", {"rate": rate}))])  # fmt: skip
    records = equations.run(made, context())
    frame = records.frame(made)
    x, w = np.polynomial.hermite_e.hermegauss(n)
    w = w / w.sum()
    z1, z2, u1, u2 = np.meshgrid(x, x, x, x, indexing="ij")
    weight = np.einsum("i,j,k,l->ijkl", w, w, w, w)
    sg = lambda t: 1 / (1 + np.exp(-t))  # noqa: E731
    goal = [0.5 * sg(a * (a - b)) + 0.5 * sg(2.0) for a, b in ((z1, z2), (z2, z1))]

    def fields(m, e):
        return m * z1 + math.sqrt(1 - m * m) * u1 + e, m * z2 + math.sqrt(1 - m * m) * u2 - e

    def risk(m, e):
        s1, s2 = fields(m, e)
        return (((goal[0] - sg(s1 * (s1 - s2))) ** 2 + (goal[1] - sg(s2 * (s2 - s1))) ** 2) * weight).sum()

    def noise_of(m, e):
        s1, s2 = fields(m, e)
        p1, p2 = sg(s1 * (s1 - s2)), sg(s2 * (s2 - s1))
        b1, b2 = -2 * (goal[0] - p1) * p1 * (1 - p1), -2 * (goal[1] - p2) * p2 * (1 - p2)
        return (((b1 * (2 * s1 - s2) - b2 * s2) ** 2 + (b2 * (2 * s2 - s1) - b1 * s1) ** 2) * weight).sum()

    def speed(m, e, lr):
        rm, re = (risk(m + 1e-5, e) - risk(m - 1e-5, e)) / 2e-5, (risk(m, e + 1e-5) - risk(m, e - 1e-5)) / 2e-5
        radial, drift = m * rm + e * re, lr / 2 * noise_of(m, e)
        return -rm + m * radial - drift * m, -re + e * radial - drift * e

    for method, lr in (("flow", 0.0), ("flow_noise", rate)):
        m = e = 0.15
        found = []
        for k in range(400):
            a, b = speed(m, e, lr)
            c, d = speed(m + h / 2 * a, e + h / 2 * b, lr)
            m, e = m + h * c, e + h * d
            if (k + 1) % 200 == 0:
                found.append((m, e))
        np.testing.assert_allclose(values(frame, "m", method).reshape(3, 2)[0], [m for m, _ in found], atol=2e-6)
        np.testing.assert_allclose(values(frame, "e", method).reshape(3, 2)[0], [e for _, e in found], atol=2e-6)
        np.testing.assert_allclose(records.arrays[f"flow_{lr}"], np.column_stack([[2.0, 4.0], found]), atol=2e-6)
