"""wdro: evaluations of the sampled dual and its gradient a second, against skwdro 1.1.1, plain PyTorch and the floor.

One evaluation: value and gradient in (theta, lam) of F^{eps,m} on all of diabetes (442 x 10), m draws a datum, importance draws
made anew. (a) skwdro's own loss and autograd, one fit at a time, for as many repeats as there are rows (needs skwdro:
`pip install skwdro==1.1.1` in a development environment; skipped with the reason where it is absent). (b) the same as a competent author
writes it in plain PyTorch: rows as a batch axis, autograd. (c) the floor: the normals and the two matrix products with them.
Process CPU time, one thread, interleaved, warmed up; results of (b) and ours are compared.

    python benchmarks/wdro.py [--seeds 10] [--samples 16] [--repeats 9]
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
from descent.data import load
from descent.papers.wdro.instances import problem_of
from descent.papers.wdro.point import Point
from descent.papers.wdro.sampling import sampled

RADIUS, SIGMA, EPSILON = 0.1, 0.3, 0.01


def plain(problem, weight, lam, noise, epsilon):
    """(b): shifted draws by their closed centre, autograd through the softmax; rows (S,) share nothing."""
    w, price = weight.clone().requires_grad_(), lam.clone().requires_grad_()
    with torch.no_grad():
        norm2 = w.square().sum(1)
        r = w @ problem.features.T - problem.labels
        centre = (r / (price + epsilon / (2 * SIGMA**2) - norm2)[:, None])[..., None] * w[:, None]  # (S, n, d)
        s = (1 / SIGMA**2 + 2 * price / epsilon).rsqrt()
        move = centre[:, :, None] + s[:, None, None, None] * noise
        cost = move.square().sum(-1)
        corr = noise.square().sum(-1) / 2 - cost / (2 * SIGMA**2) + noise.shape[-1] * (s / SIGMA).log()[:, None, None]
        x = problem.features[None, :, None] + move
    loss = (torch.einsum("snmd,sd->snm", x, w) - problem.labels[None, :, None]).square()
    inside = torch.logsumexp((loss - price[:, None, None] * cost) / epsilon + corr, 2) - np.log(noise.shape[2])
    value = price * RADIUS**2 + epsilon * inside.mean(1)
    gw, gl = torch.autograd.grad(value.sum(), (w, price))
    return value.detach(), gw, gl


def official(problem, samples):
    """(a): skwdro's dual loss on the same data as a callable that does one evaluation; raises ImportError where it is absent."""
    from skwdro.torch import robustify

    net = torch.nn.Linear(problem.dimension, 1, bias=False).double()
    loss = robustify(
        torch.nn.MSELoss(reduction="none"), net, torch.tensor(RADIUS, dtype=torch.float64), problem.features, problem.labels[:, None],
        cost_spec="t-NC-2-2", n_samples=samples, seed=0, epsilon=EPSILON, sigma=SIGMA, imp_samp=True,
    )  # fmt: skip
    y = problem.labels[:, None]

    def evaluate():
        loss.zero_grad()
        value = loss(problem.features, y, reset_sampler=True)
        value.backward()
        return value

    return evaluate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds, m, streams = range(500, 500 + options.seeds), options.samples, Streams("wdro")
    settings = {"problem": "diabetes", "rows": 0, "radius": RADIUS, "deviation": SIGMA}
    problem = problem_of(settings, {"diabetes": load("diabetes")})
    S, (n, d) = len(seeds), problem.features.shape
    weight = 0.1 * streams.normal("bench", seeds, (d,))
    lam = torch.linspace(3, 6, S, dtype=torch.float64)
    point = Point(weight[:, None], torch.zeros(S, 1, dtype=torch.float64), lam[:, None])
    x, y, epsilon = (
        problem.features.expand(S, n, d),
        problem.labels.expand(S, n),
        torch.tensor([EPSILON], dtype=torch.float64),
    )
    count = iter(range(10**9))

    def draw():
        return streams.normal("draws", seeds, (n, 1, m, d), next(count))

    def ours():
        return sampled(problem, point, x, y, draw(), epsilon, "shifted")

    def vectorised():
        return plain(problem, weight, lam, draw()[:, :, 0], EPSILON)

    def floor():
        flat = draw().reshape(S, n * m, d)
        along = flat @ weight[..., None]
        return along.transpose(1, 2) @ flat

    noise = streams.normal("check", seeds, (n, 1, m, d))
    mine, theirs = (
        sampled(problem, point, x, y, noise, epsilon, "shifted"),
        plain(problem, weight, lam, noise[:, :, 0], EPSILON),
    )
    apart = max(
        (mine.value[:, 0] - theirs[0]).abs().max().item(),
        (mine.gradient.weight[:, 0] - theirs[1]).abs().max().item(),
        (mine.gradient.lam[:, 0] - theirs[2]).abs().max().item(),
    )
    baselines = {"ours": (ours, S), "plain PyTorch (b)": (vectorised, S), "floor (c)": (floor, S)}
    try:
        baselines["skwdro (a)"] = (official(problem, m), 1)
    except ImportError as error:
        print(f"(a) skipped: skwdro is not installed here ({error})")
    times = {name: [] for name in baselines}
    for round_ in range(options.repeats + 1):
        for name, (call, rows) in baselines.items():
            began = time.process_time()
            for _ in range(5):
                call()
            if round_:  # the first warms up
                times[name].append((time.process_time() - began) / 5 / rows)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"wdro: value and gradient on {n} x {d}, m = {m}, {S} rows in one batch (skwdro: one); commit {commit or '?'}"
    )
    print(
        f"{platform.system()} {platform.machine()}, torch {torch.__version__}, one thread, {options.repeats} interleaved blocks"
    )
    print(f"{'':20}{'ms an evaluation':>18}{'least':>10}{'largest':>10}{'ratio to ours':>24}")
    base = np.array(times["ours"])
    for name, values in times.items():
        ratio = np.array(values) / base
        print(
            f"{name:20}{1e3 * np.median(values):18.3f}{1e3 * min(values):10.3f}{1e3 * max(values):10.3f}"
            f"{np.median(ratio):12.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        )
    print(f"ours and (b) apart by at most {apart:.1e}")
    return 0 if apart < 1e-8 else 1


if __name__ == "__main__":
    raise SystemExit(main())
