"""gmfg: one outer iteration of PG-GMFG for all seeds, graphons and players in one batch, against plain NumPy and the floor.

(a) a time loop a run: forward and backward sweeps over the N steps in time, once for each seed and graphon, players as a vector (there is no
official code; this is the algorithm line by line). (b) the same as a competent author writes it in plain NumPy: seeds, graphons and
players as axes of one array, everything that needs no order in time done at once, products into place. (c) the floor: the least that ten
composed intercept steps need, which is four matrix products to compose them, one on all players, and a pass there and back in time. All do
the same 10 slope steps, 10 intercept steps and population update; (a), (b) and ours are compared. Ours runs in the graphons' eigenvectors as
coordinates, as a run does from its start to its end. Process CPU time, one thread, interleaved, each call after one that is not timed;
ratios are medians over the rounds.

    python benchmarks/gmfg.py [--seeds 10] [--repeats 15]
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
from descent.runner.allocator import keep_freed_memory

A, B, Ab, Q, R, H, QT, HT = 0.3, 1.0, 0.4, 1.0, 0.5, 0.8, 1.0, 0.8
TARGET = 2  # against (b)


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


def vectorised(K, G, Z, W, mu0, inner=10, eta=0.3):
    """(b): K (S, N), G (S, N, g, M), Z (S, N + 1, g, M), W (g, M, M), mu0 (S, g, M); time leads inside."""
    S, N = K.shape
    dt = 1 / N
    K, G, Z = K.T.copy(), np.moveaxis(G, 1, 0).copy(), np.moveaxis(Z, 1, 0).copy()
    for _ in range(inner):
        F, E, P = 1 + dt * (A + B * K), np.empty_like(K), np.full(S, QT)
        price, square = dt * (Q + R * K * K), F * F
        for k in range(N - 1, -1, -1):
            E[k] = P
            P = price[k] + square[k] * P
        K = K - eta * 2 * (R * K + B * F * E)
    slope = K[..., None, None]
    F = 1 + dt * (A + B * slope)
    mu, lam = np.empty_like(Z), np.empty_like(Z)
    mu[0] = mu0
    pulled, tracked = dt * Ab * Z[:-1], 2 * dt * Q * H * Z[:-1]
    for _ in range(inner):
        np.multiply(G, dt * B, out=mu[1:])
        mu[1:] += pulled
        for k in range(N):
            mu[k + 1] += F[k] * mu[k]
        u = slope * mu[:-1]
        u += G
        u *= 2 * R
        np.multiply(u, dt * slope, out=lam[:-1])
        lam[:-1] += 2 * dt * Q * mu[:-1]
        lam[:-1] -= tracked
        lam[N] = 2 * QT * (mu[N] - HT * Z[N])
        for k in range(N - 1, -1, -1):
            lam[k] += F[k] * lam[k + 1]
        u += B * lam[1:]
        G -= eta * u
    turned = np.ascontiguousarray(W.transpose(0, 2, 1))
    now = np.ascontiguousarray(mu0.transpose(1, 0, 2))  # (g, S, M): one product a graphon
    push, closed = np.ascontiguousarray(G.transpose(0, 2, 1, 3)) * (dt * B), F[:, None, :, 0]
    Z = np.empty((N + 1, *now.shape))
    for k in range(N):
        np.matmul(now, turned, out=Z[k])
        now = closed[k] * now + push[k] + dt * Ab * Z[k]
    np.matmul(now, turned, out=Z[N])
    return K.T, np.moveaxis(G, 0, 1), Z.transpose(2, 0, 1, 3)


def floor(S, N, g, M):
    """(c): a callable of the products alone."""
    square, wide = torch.ones(S, N, N, dtype=torch.float64), torch.ones(S, N, g * M, dtype=torch.float64)
    factor, path = torch.ones(S, 1, dtype=torch.float64), torch.zeros(N, S, g * M, dtype=torch.float64)

    def call():
        for _ in range(4):  # a polynomial of degree nine
            square @ square
        square @ wide
        for _ in range(2):  # the mean, the adjoint
            for k in range(1, N):
                torch.addcmul(path[k], factor, path[k - 1], out=path[k])

    return call


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the study's jobs do; it serves NumPy as well
    N, M, seeds, streams = 100, 50, range(500, 500 + options.seeds), Streams("gmfg")
    game, players, _ = instance(streams, seeds, {"intervals": N, "players": M}, GRAPHON_NAMES)
    K, G = initial_slopes(streams, seeds, N), initial_intercepts(streams, seeds, N, M)
    state = started(game, players, K, G.expand(-1, -1, -1, len(GRAPHON_NAMES), -1).contiguous())
    turned, step = state._replace(G=players.into(state.G), Z=players.into(state.Z)), pg(game, players.modes()).update
    kernels, means = players.kernel.numpy(), players.start[:, 0].numpy()
    runs = [(s, g) for s in range(len(seeds)) for g in range(len(GRAPHON_NAMES))]

    def every_run():
        k, g, z = (x.numpy() for x in state)
        return [plain(k[s, :, 0, 0], g[s, :, 0, i], z[s, :, 0, i], kernels[i], means[s, i]) for s, i in runs]

    ours, theirs = step(turned), every_run()
    ours = ours._replace(G=players.back(ours.G), Z=players.back(ours.Z))
    apart = max(
        np.abs(a - b).max()
        for (s, i), (k, g, z) in zip(runs, theirs, strict=True)
        for a, b in ((ours.K[s, :, 0, 0].numpy(), k), (ours.G[s, :, 0, i].numpy(), g), (ours.Z[s, :, 0, i].numpy(), z))
    )
    arrays = state.K[..., 0, 0].numpy(), state.G[:, :, 0].numpy(), state.Z[:, :, 0].numpy()
    together = vectorised(*arrays, kernels, means)
    apart = max(
        apart,
        *(
            np.abs(a - b.numpy()).max()
            for a, b in zip(together, (ours.K[..., 0, 0], ours.G[:, :, 0], ours.Z[:, :, 0]), strict=True)
        ),
    )
    calls = {
        "one batch (ours)": lambda: step(turned),
        "(a) a time loop a run": every_run,
        "(b) vectorised NumPy": lambda: vectorised(*arrays, kernels, means),
        "(c) floor": floor(len(seeds), N, len(GRAPHON_NAMES), M),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.repeats):
        for name, call in calls.items():
            call()  # an update follows an update: caches and memory are warm
            began = time.process_time()
            call()
            times[name].append(time.process_time() - began)
    ours_each = np.array(times["one batch (ours)"])
    against = {
        name: np.median(np.array(values) / ours_each) for name, values in times.items()
    }  # of each round, in turn
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"gmfg: one outer iteration of {len(runs)} runs, N = {N}, M = {M}; {options.repeats} repeats; commit {commit or '?'}"
    )
    print(f"{platform.system()} {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}, one thread")
    for name, values in times.items():
        print(
            f"{name:24}{1e3 * np.median(values):10.2f} ms ({1e3 * min(values):.2f} to {1e3 * max(values):.2f}) {against[name]:8.2f} x ours"
        )
    print(f"results apart by at most {apart:.1e}")
    if apart > 1e-10:
        print("they do not agree")
        return 1
    gained = against["(b) vectorised NumPy"]
    print(f"asked: {TARGET} x (b); measured: {gained:.2f} x" + ("" if gained >= TARGET else ", which ends with code 1"))
    return 0 if gained >= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
