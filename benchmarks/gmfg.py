"""gmfg: one outer iteration of PG-GMFG for all seeds, graphons and players in one batch, against the plain time loop a run.

The plain loop is NumPy with the players as a vector: a forward and a backward sweep over the N steps in time for every gradient,
once for each seed and graphon, as the specification writes it. Ours: recursions by composing neighbours, and each gradient of the
intercepts one matrix product. Both do the same 10 slope steps, 10 intercept steps and population update; the results are compared.
Process CPU time, one thread, rivals interleaved, warmed up. There is no official code to time against.

    python benchmarks/gmfg.py [--seeds 10] [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from descent.core.streams import Streams
from descent.papers.gmfg import pg
from descent.papers.gmfg.instances import initial_intercepts, initial_slopes, instance
from descent.papers.gmfg.policy_gradient import started
from descent.papers.gmfg.settings import GRAPHON_NAMES

A, B, Ab, Q, R, H, QT, HT = 0.3, 1.0, 0.4, 1.0, 0.5, 0.8, 1.0, 0.8
TARGET = 20


def plain(K, G, Z, W, mu0, inner=10, eta=0.3):
    """One outer iteration of one run; K (N,), G (N, M), Z (N + 1, M), W (M, M), mu0 (M,)."""
    N = len(K)
    dt = 1 / N
    for _ in range(inner):
        E, P = np.empty(N), QT
        for k in range(N - 1, -1, -1):
            F = 1 + dt * (A + B * K[k])
            E[k] = 2 * (R * K[k] + B * F * P)
            P = dt * (Q + R * K[k] ** 2) + F**2 * P
        K = K - eta * E
    for _ in range(inner):
        mu = np.empty_like(Z)
        mu[0] = mu0
        for k in range(N):
            mu[k + 1] = (1 + dt * (A + B * K[k])) * mu[k] + dt * (B * G[k] + Ab * Z[k])
        lam, g = 2 * QT * (mu[N] - HT * Z[N]), np.empty_like(G)
        for k in range(N - 1, -1, -1):
            u = K[k] * mu[k] + G[k]
            g[k] = 2 * R * u + B * lam
            lam = dt * (2 * Q * (mu[k] - H * Z[k]) + 2 * R * K[k] * u) + (1 + dt * (A + B * K[k])) * lam
        G = G - eta * g
    Z, mu = np.empty_like(Z), mu0
    Z[0] = W @ mu
    for k in range(N):
        mu = (1 + dt * (A + B * K[k])) * mu + dt * (B * G[k] + Ab * Z[k])
        Z[k + 1] = W @ mu
    return K, G, Z


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    N, M, seeds, streams = 100, 50, range(500, 500 + options.seeds), Streams("gmfg")
    game, players, _ = instance(streams, seeds, {"intervals": N, "players": M}, GRAPHON_NAMES)
    K, G = initial_slopes(streams, seeds, N), initial_intercepts(streams, seeds, N, M)
    state = started(game, players, K, G.expand(-1, -1, -1, len(GRAPHON_NAMES), -1).contiguous())
    step = pg(game, players).step
    kernels, means = players.kernel.numpy(), players.start[:, 0].numpy()
    runs = [(s, g) for s in range(len(seeds)) for g in range(len(GRAPHON_NAMES))]

    def every_run():
        k, g, z = (x.numpy() for x in state)
        return [plain(k[s, :, 0, 0], g[s, :, 0, i], z[s, :, 0, i], kernels[i], means[s, i]) for s, i in runs]

    ours, theirs = step(state), every_run()
    apart = max(
        np.abs(a - b).max()
        for (s, i), (k, g, z) in zip(runs, theirs, strict=True)
        for a, b in ((ours.K[s, :, 0, 0].numpy(), k), (ours.G[s, :, 0, i].numpy(), g), (ours.Z[s, :, 0, i].numpy(), z))
    )
    times = {"batched": [], "plain": []}
    for _ in range(options.repeats):
        for name, call in (("batched", lambda: step(state)), ("plain", every_run)):
            began = time.process_time()
            call()
            times[name].append(time.process_time() - began)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    ratios = np.array(times["plain"]) / np.array(times["batched"])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"gmfg: one outer iteration of {len(runs)} runs, N = {N}, M = {M}; {options.repeats} repeats; commit {commit or '?'}"
    )
    print(f"{platform.system()} {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}, one thread")
    print(f"{'':22}{'CPU seconds (median)':>22}{'least':>10}{'largest':>10}{'a run':>12}")
    for name, label in (("plain", "plain time loop"), ("batched", "one batch (ours)")):
        values = times[name]
        print(
            f"{label:22}{medians[name]:22.4f}{min(values):10.4f}{max(values):10.4f}{1e3 * medians[name] / len(runs):9.3f} ms"
        )
    print(
        f"ratio {np.median(ratios):.1f} (from {ratios.min():.1f} to {ratios.max():.1f}); results apart by at most {apart:.1e}"
    )
    if apart > 1e-10:
        print("the two do not agree")
        return 1
    return 0 if np.median(ratios) >= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
