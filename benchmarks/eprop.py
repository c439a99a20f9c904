"""eprop: one update of stacked networks by the hand-written adjoint, against autograd and against a plain stacked adjoint.

For BPTT and e-prop, at study size (N = 100, B = 32, T = 36) and at the paper's (N = 200, B = 100, T = 300), one update, batch and Adam
included where a way has them:

official  the way of the official code: one nn.Module a network, a Python loop over steps, autograd (the sender detached for
          e-prop), torch.optim.Adam, batches built trial by trial
plain     what a competent author writes: runs stacked, gradients by the adjoint one step after the other, weight gradients added up
          step by step, batches by index arithmetic
ours      one product a step forwards, traces (e-prop) or one product a step backwards (BPTT), one product for all weight gradients
floor     the matrix products that no way can do without, on arrays that are there already

Ratios are of medians over interleaved repeats, process CPU time, one thread, warmed up; gradients are compared first.

    python benchmarks/eprop.py [--runs 8] [--repeats 7] [--sizes study,paper]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from descent.core.streams import Streams
from descent.data import load
from descent.papers.eprop import learner
from descent.papers.eprop.network import Parameters, initial
from descent.papers.eprop.reach_task import BUMP, RISE, Trials, reach, reach_task, trial_numbers
from descent.papers.eprop.start import start_numbers

SIZES = {
    "study": {"N": 100, "B": 32, "length": 144, "stride": 4, "alpha": 0.4, "cue": 20, "hold": 60, "stratified": True},
    "paper": {
        "N": 200,
        "B": 100,
        "length": 300,
        "stride": 1,
        "alpha": 0.1,
        "cue": 50,
        "hold": 150,
        "stratified": False,
    },
}
LR, PENALTY = 3e-4, 10.0


def trials_one_by_one(data, trials: Trials, run: int, length: int, stride: int):
    """(B, T, 3) inputs, targets and mask, as the official code builds them."""
    B = trials.direction.shape[1]
    x, y, mask = np.zeros((B, length, 3), "f4"), np.zeros((B, length, 2), "f4"), np.ones((B, length, 1), "f4")
    for b in range(B):
        direction, cue, hold = (int(part[run, b]) for part in trials)
        end = cue + len(BUMP) + hold
        bump = np.asarray(BUMP, "f4")
        x[b, cue : cue + len(BUMP), 0] = bump * math.sin(math.radians(45 * direction))
        x[b, cue : cue + len(BUMP), 1] = bump * math.cos(math.radians(45 * direction))
        x[b, :end, 2] = 1
        x[b, end - 8 : end, 2] = RISE[::-1]
        last = min(length, end + 41)
        y[b, end - 10 : last, 0] = data["shoulderangle"][direction, 70 : 70 + last - end + 10]
        y[b, end - 10 : last, 1] = data["elbowangle"][direction, 70 : 70 + last - end + 10]
        mask[b, end + 41 :] = 0
    return (torch.from_numpy(part[:, ::stride].copy()) for part in (x, y, mask))


class Cell(nn.Module):
    """A network as a module."""

    def __init__(self, p: Parameters, run: int, alpha: float, detach: bool):
        super().__init__()
        for name, part in p._asdict().items():
            self.register_parameter(name, nn.Parameter(part[run].clone()))
        self.alpha, self.detach = alpha, detach

    def forward(self, x):
        a = self.start.expand(x.shape[0], -1)
        h, outputs, rates = torch.relu(torch.tanh(a)), [], []
        for t in range(x.shape[1]):
            sender = h.detach() if self.detach else h
            a = a + self.alpha * (-a + sender @ self.W.T + x[:, t] @ self.U.T + self.b)
            h = torch.relu(torch.tanh(a))
            outputs.append(h @ self.V.T + self.c)
            rates.append(h)
        return torch.stack(outputs, 1), torch.stack(rates, 1)


def official(data, p, trials, size, rule):
    """A callable: one update of every run, one after the other; returns the gradients of W."""
    cells = [Cell(p, run, size["alpha"], rule == "eprop") for run in range(len(p.b))]
    optimisers = [torch.optim.Adam(cell.parameters(), lr=LR) for cell in cells]

    def update():
        found = []
        for run, (cell, optimiser) in enumerate(zip(cells, optimisers, strict=True)):
            x, y, mask = trials_one_by_one(data, trials, run, size["length"], size["stride"])
            output, rates = cell(x)
            main = ((output - y) * mask).square().sum() / (2 * mask.sum())
            optimiser.zero_grad()
            (main + PENALTY * rates.square().mean()).backward()
            found.append(cell.W.grad.clone())
            optimiser.step()
        return torch.stack(found)

    return update


def plain(tables, p, trials, size, rule):
    """A callable: the stacked adjoint, step by step, with a foreach Adam."""
    parameters = [part.clone() for part in p]
    optimiser = torch.optim.Adam(parameters, lr=LR, foreach=True)
    alpha = size["alpha"]

    def update():
        W, U, b, V, c, start = parameters
        batch = tables.batch(trials, size["length"], size["stride"])
        _K, T, B, _ = batch.x.shape
        a = start[:, None].expand(-1, B, -1)
        h = [torch.relu(torch.tanh(a))]
        outputs = []
        for t in range(T):
            a = a + alpha * (-a + h[-1] @ W.mT + batch.x[:, t] @ U.mT + b[:, None])
            h.append(torch.relu(torch.tanh(a)))
            outputs.append(h[-1] @ V.mT + c[:, None])
        output = torch.stack(outputs, 1)
        count = 2 * batch.mask.sum((1, 2))
        d = 2 * (output - batch.target) * batch.mask[..., None] / count.reshape(-1, 1, 1, 1)
        pull = 2 * PENALTY / (B * T * W.shape[-1])
        lam = torch.zeros_like(h[0])
        grads = [torch.zeros_like(part) for part in parameters]
        for t in range(T, 0, -1):
            slope = (1 - h[t] ** 2) * (h[t] > 0)
            back = (1 - alpha) * lam
            if rule == "bptt" and t < T:
                back = back + alpha * slope * (lam @ W)
            lam = slope * (d[:, t - 1] @ V + pull * h[t]) + back
            grads[0] += alpha * lam.mT @ h[t - 1]
            grads[1] += alpha * lam.mT @ batch.x[:, t - 1]
            grads[2] += alpha * lam.sum(1)
            grads[3] += d[:, t - 1].mT @ h[t]
            grads[4] += d[:, t - 1].sum(1)
        grads[5] = (1 - alpha) * lam.sum(1)
        if rule == "bptt":
            grads[5] += (alpha * (1 - h[0] ** 2) * (h[0] > 0) * (lam @ W)).sum(1)
        for part, grad in zip(parameters, grads, strict=True):
            part.grad = grad
        optimiser.step()
        return grads[0]

    return update


def ours(tables, p, trials, size, rule):
    """A callable: one step of the study's method; returns Adam's first moment of W, a tenth of the gradient."""
    task = reach_task(tables, None, length=size["length"], stride=size["stride"])
    method = learner(task, rule=rule, lr=LR, penalty=PENALTY, alpha=size["alpha"])
    state = method.init(p)

    def update():
        return method.step(state, trials)[0].mean.W * 10

    return update


def products(size, rule, runs):
    """A callable: the products alone. Forwards T of (B, N) x (N, N); backwards as many for BPTT; one for the gradient."""
    N, B, T = size["N"], size["B"], size["length"] // size["stride"]
    h, W = torch.rand(runs, B, N), torch.rand(runs, N, N)
    rates, lam = torch.rand(runs, T * B, N), torch.rand(runs, T * B, N)
    out = torch.empty_like(h)

    def update():
        for _ in range(T * (2 if rule == "bptt" else 1)):
            torch.bmm(h, W, out=out)
        return torch.bmm(lam.mT, rates)

    return update


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8, help="networks at study size; at the paper's size 1")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", default="study,paper")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, streams = load("reach_generated"), Streams("eprop")
    tables = reach(data)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"eprop: one update of a network; commit {commit or '?'}; {platform.system()} {platform.machine()}, torch {torch.__version__}, one thread"
    )
    for name in options.sizes.split(","):
        size, runs = SIZES[name], options.runs if name == "study" else 1
        seeds = range(500, 500 + runs)
        p = initial(start_numbers(streams, seeds, size["N"], 3, 2))
        draw = trial_numbers(
            streams,
            seeds,
            batch=size["B"],
            cue_delays=size["cue"],
            hold_delays=size["hold"],
            stratified=size["stratified"],
        )
        trials = Trials(*(part[0] for part in draw(0, 1)))
        for rule in ("bptt", "eprop"):
            ways = {
                "official": official(data, p, trials, size, rule), "plain": plain(tables, p, trials, size, rule),
                "ours": ours(tables, p, trials, size, rule), "floor": products(size, rule, runs),
            }  # fmt: skip
            with torch.no_grad():
                first = {"plain": ways["plain"](), "ours": ways["ours"]()}
            first["official"] = ways["official"]()
            apart = max((first[way] - first["official"]).norm() / first["official"].norm() for way in ("plain", "ours"))
            times = {way: [] for way in ways}
            for _ in range(options.repeats):
                for way, call in ways.items():
                    with torch.set_grad_enabled(way == "official"):
                        began = time.process_time()
                        call()
                        times[way].append((time.process_time() - began) / runs)
            ms = {way: 1e3 * float(np.median(values)) for way, values in times.items()}
            print(
                f"{name:6} {rule:6} N {size['N']:3}, B {size['B']:3}, T {size['length'] // size['stride']:3}, {runs} stacked: "
                + ", ".join(f"{way} {value:.2f} ms" for way, value in ms.items())
                + f"; official / ours {ms['official'] / ms['ours']:.1f}, plain / ours {ms['plain'] / ms['ours']:.1f}, ours / floor "
                f"{ms['ours'] / ms['floor']:.1f}; gradients apart by {apart:.0e}"
            )
            if apart > 1e-4:
                print("the ways do not agree")
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
