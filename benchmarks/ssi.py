"""ssi: what a chain-step costs, against plain batched NumPy, the official way and the floor. `python benchmarks/ssi.py`.

Attention on two tokens with positional encoding, fresh noise included, for the reduced simulator and the d-dimensional one.
(a) the official way: one chain in R^d at a time, gradients by autograd (its Python dataset left out, which favours it).
(b) the same algorithm as a competent author writes it in plain NumPy: chains as the last axis, all noise of a block at once, no waste;
and the same again with NumPy's fastest generator in place of its default.
(c) the floor: the random numbers, a normal in place of each chi-square, and the step's products alone, no slope, nothing else.
Process CPU time of one thread, interleaved, each call after one that is not timed, as block follows block in a run; median and
range over repeats, nanoseconds a chain and step; ratios are medians over the rounds.

    python benchmarks/ssi.py [--dimension 1000] [--repeats 9]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from descent.core.context import Context
from descent.core.job import Variant
from descent.core.streams import Streams
from descent.papers.ssi.cost import workload
from descent.runner.allocator import keep_freed_memory

RATE, OMEGA, LEVEL = 0.2, 0.5, 1 / (1 + math.exp(-2.0))
BLOCK = 1000  # steps a call of the reduced simulator; the d-dimensional one: as given


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def teacher(z0, z1):
    return tuple((1 - OMEGA) * sigmoid(a * (a - b)) + OMEGA * LEVEL for a, b in ((z0, z1), (z1, z0)))


def slopes(s0, s1, t0, t1):
    gap = s0 - s1
    p0, p1 = sigmoid(s0 * gap), sigmoid(-s1 * gap)
    b0, b1 = 2 * (p0 - t0) * p0 * (1 - p0), 2 * (p1 - t1) * p1 * (1 - p1)
    common = b0 * s0 - b1 * s1
    return b0 * gap + common, -b1 * gap - common


def reduced_numpy(d: int, chains: int, rng: np.random.Generator) -> Callable[[], object]:
    kappa = RATE / d

    def call():
        m, e = np.full(chains, 0.3), np.full(chains, 0.3)
        z, chi = rng.standard_normal((BLOCK, 3, 2, chains)), rng.chisquare(d - 3, (BLOCK, chains))
        goals = teacher(z[:, 0, 0], z[:, 0, 1])
        for t in range(BLOCK):
            (a0, a1), (b0, b1), (c0, c1) = z[t]
            r = np.sqrt(1 - m * m - e * e)
            s0, s1 = m * a0 + e * (b0 + 1) + r * c0, m * a1 + e * (b1 - 1) + r * c1
            g0, g1 = slopes(s0, s1, goals[0][t], goals[1][t])
            m = m - kappa * (g0 * a0 + g1 * a1)
            e = e - kappa * (g0 * (b0 + 1) + g1 * (b1 - 1))
            r = r - kappa * (g0 * c0 + g1 * c1)
            norm = np.sqrt(m * m + e * e + r * r + kappa * kappa * (g0 * g0 + g1 * g1) * chi[t])
            m, e = m / norm, e / norm
        return m, e

    return call


def reduced_floor(chains: int) -> Callable[[], object]:
    rng = torch.Generator().manual_seed(0)
    w, a = np.full((3, 1, chains), 0.5), np.full((2, chains), 0.1)
    field, moved = np.empty((3, 2, chains)), np.empty((3, 2, chains))

    def call():
        z = torch.randn(BLOCK, 3, 2, chains, generator=rng).numpy()
        torch.randn(BLOCK, chains, generator=rng)
        for t in range(BLOCK):
            np.multiply(w, z[t], out=field)
            np.exp(a, out=a)
            np.multiply(a, z[t], out=moved)
            np.log(a, out=a)

    return call


def direct_numpy(d: int, chains: int, steps: int) -> Callable[[], object]:
    rng, root = np.random.default_rng(0), math.sqrt(d)

    def call():
        w = np.zeros((chains, d))
        w[:, :3] = 0.3 * root, 0.3 * root, math.sqrt(0.82) * root
        for _ in range(steps):
            x = rng.standard_normal((chains, 2, d))
            x *= 1 / root
            z = root * x[..., 0]
            x[:, 0, 1] += 1 / root
            x[:, 1, 1] -= 1 / root
            s = (x @ w[..., None])[..., 0]
            a = np.stack(slopes(s[:, 0], s[:, 1], *teacher(z[:, 0], z[:, 1])), 1)
            w -= RATE * (a[:, None] @ x)[:, 0]
            w *= root / np.linalg.norm(w, axis=1, keepdims=True)
        return w

    return call


def direct_floor(d: int, chains: int, steps: int) -> Callable[[], object]:
    rng, w, a = torch.Generator().manual_seed(0), torch.ones(chains, d, 1), torch.ones(chains, 1, 2)

    def call():
        for _ in range(steps):
            x = torch.randn(chains, 2, d, generator=rng)
            torch.bmm(x, w)
            torch.bmm(a, x)

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the study's jobs do; it serves NumPy as well
    d, context = options.dimension, Context(torch.device("cpu"), Streams("ssi"), {})
    base = {"dimension": d, "rate": RATE, "omega": OMEGA, "width": 1.0, "loss": "sq"}

    def ours(method: str, chains: int, steps: int) -> Callable[[], object]:
        params = {**base, "chains": chains, "chunk": steps}
        return workload(Variant(method, {}, params, (500,), takes=("dimension", "rate")), context)

    rows: dict[str, tuple[Callable[[], object], int]] = {}
    for chains in (288, 576, 1728):  # 24 seeds x 12 omegas, both losses of them, and what the study's transition has
        count = chains * BLOCK
        rows[f"reduced, {chains} chains"] = ours("sgd", chains, BLOCK), count
        for name, kind in (("", np.random.PCG64), (", SFC64", np.random.SFC64)):
            rows[f"reduced, {chains} chains (b) NumPy{name}"] = (
                reduced_numpy(d, chains, np.random.Generator(kind(0))),
                count,
            )
        rows[f"reduced, {chains} chains (c) floor"] = reduced_floor(chains), count
    rows["direct, 24 chains"] = ours("direct", 24, 20), 480
    rows["direct, 24 chains (b) NumPy"] = direct_numpy(d, 24, 20), 480
    rows["direct, 24 chains (c) floor"] = direct_floor(d, 24, 20), 480
    rows["direct, 1 chain (a) official way"] = ours("autograd", 1, 50), 50
    spent: dict[str, list[float]] = {name: [] for name in rows}
    with torch.no_grad():
        for _ in range(options.repeats):
            for name, (call, count) in rows.items():
                call()
                began = time.process_time()
                call()
                spent[name].append((time.process_time() - began) / count * 1e9)
    print(
        f"{platform.machine()}, torch {torch.__version__}, NumPy {np.__version__}, d = {d}, {options.repeats} repeats"
    )
    for name, values in spent.items():
        own = spent.get(name.split(" (")[0], spent["direct, 24 chains"])
        ratio = statistics.median(theirs / ours for theirs, ours in zip(values, own, strict=True))
        value, low, high = statistics.median(values), min(values), max(values)
        print(f"{name:42s} {value:10.1f} ns ({low:.1f} to {high:.1f}) {ratio:8.2f} x ours")


if __name__ == "__main__":
    main()
