"""guesscheck: guesses a second against the same done plainly, and accepted guesses' worth a second against literal guessing.

    python benchmarks/guesscheck.py [--repeats 20]

First table, guesses of one seed on the linear task, random numbers included:
  official  the authors' way: batched products of tiny matrices, residuals by broadcasting, test losses of every guess
  plain     the same by a careful author: batched products, residuals as one matrix product, test losses of hits only
  ours      candidates as the last axis: products as fused multiply-adds over contiguous rows; test losses of every guess
  fan-out   ours with eight last layers tried on each prefix (each guess has the prior's law; errors by prefix)
  floor     the random numbers of a guess, and its residuals' matrix product, nothing else
Second table, independent accepted guesses a CPU-second where hits are rare:
  literal     ours, times the acceptance probability that the accelerated sampler estimates
  importance  width 40 at the paper's tolerance 0.02: the posterior's variance over the estimate's, over time (more than the
              effective size of the weights, since what is not measured is integrated in closed form)
  subset      depth 2 and 10, normalised, at the paper's tolerance 0.0035: effective size (pooled over four seeds) over time

Process CPU time, one thread, ways interleaved, warmed up; medians of repeats and the range of their ratios. The claim of
speed is ours against plain; official and floor say what that is worth.
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
from descent.core.tree import tree_map
from descent.papers.guesscheck import guessing, importance, subset
from descent.papers.guesscheck.cost import official, plain
from descent.papers.guesscheck.factorisation import Network
from descent.papers.guesscheck.problem import Task, instance

STREAMS, SEEDS = Streams("guesscheck"), (500, 501, 502, 503)
CASES = {
    "k = 5, d = 2": (Network(5, 5, 2, 5), 0.02),
    "k = 5, d = 10, normalised": (Network(5, 5, 10, 5, normalised=True), 0.0035),
    "k = 40, d = 2": (Network(5, 5, 2, 40), 0.02),
}
BATCH = 4096


def world(seeds):
    double = instance(STREAMS, seeds, task="sensing", rank=1, measurements=15)
    return double, Task(*(x.float() for x in double))


def ways(network, tolerance):
    """A callable a way, each making BATCH guesses."""
    _, task = world(SEEDS[:1])
    generator = torch.Generator().manual_seed(1)
    method = guessing.guessing(task, network, STREAMS, SEEDS[:1], tolerance=tolerance, batch=BATCH)
    fanned = guessing.guessing(task, network, STREAMS, SEEDS[:1], tolerance=tolerance, batch=BATCH, fan_out=8)
    blocks = iter(range(10**9))
    held = torch.cat([task.seen[0], task.unseen[0]])

    def ours(method=method):
        noise = tree_map(lambda x: x[0], method.draw(next(blocks), 1))
        return method.step(method.init(), noise)

    def floor():
        z = torch.randn(sum(network.sizes), BATCH, generator=generator)
        return held @ z[-25:]

    return {
        "official": lambda: official(task, network, BATCH, tolerance, generator),
        "plain": lambda: plain(task, network, BATCH, tolerance, generator),
        "ours": ours,
        "fan-out": lambda: ours(fanned),
        "floor": floor,
    }


def timed(calls, repeats):
    """Seconds (repeats,) a call of each, interleaved."""
    for call in calls.values():
        call(), call()
    spent = {name: np.zeros(repeats) for name in calls}
    for i in range(repeats):
        for name, call in calls.items():
            began = time.process_time()
            call()
            spent[name][i] = time.process_time() - began
    return spent


def weighted(network, tolerance, draws=4000):
    """Accepted guesses' worth a CPU-second of importance sampling, a seed's mean, and log10 of the acceptance probability."""
    double, _ = world(SEEDS)
    method = importance.importance(double, network, STREAMS, SEEDS, tolerance=tolerance, batch=500)
    began, state = time.process_time(), method.init()
    for k in range(draws // 500):
        state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
    spent = (time.process_time() - began) / len(SEEDS)
    found = importance.posterior(state)
    worth = (_variance(network, tolerance) / found.standard_error.square()).mean().item()
    return worth / spent, found.log10_acceptance.mean().item()


def _variance(network, tolerance):
    """(S,) variance of the test loss of accepted guesses."""
    state, count = _run(network, tolerance, 96, 2), 4 * 96
    return (state.square / count).mean(1) - (state.error / count).mean(1).square()


def _run(network, tolerance, chains, replicates):
    """A finished state of subset simulation."""
    _, task = world(SEEDS)
    method = subset.subset(task, network, STREAMS, SEEDS, tolerance=tolerance, chains=chains, replicates=replicates)
    state = method.init()
    for k in range(100):
        state, _ = method.step(state, tree_map(lambda x: x[0], method.draw(k, 1)))
        if bool(subset.finished(state, burn_in=2, kept=4).all()):
            break
    return state


def chained(network, tolerance, chains=96, replicates=12):
    """The same of subset simulation; the variance between runs is pooled over seeds, since each has few."""
    began = time.process_time()
    state = _run(network, tolerance, chains, replicates)
    spent = (time.process_time() - began) / len(SEEDS)
    errors = state.error / (4 * chains)
    inside = (state.square / (4 * chains)).mean() - errors.square().mean()
    pooled = replicates * inside / errors.var(1).mean()
    found, _ = subset.posterior(state, chains=chains, records=4)
    return pooled.item() / spent, found.log10_acceptance.mean().item()


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"guesscheck: {platform.system()} {platform.machine()}, torch {torch.__version__}, one thread, commit {commit or '?'}"
    )
    print(
        f"{'':28}{'official':>12}{'plain':>12}{'ours':>12}{'fan-out':>12}{'floor':>12}   million guesses a CPU-second; ours / plain (range)"
    )
    rates = {}
    for name, (network, tolerance) in CASES.items():
        spent = timed(ways(network, tolerance), options.repeats)
        million = {way: BATCH / np.median(t) / 1e6 for way, t in spent.items()}
        ratio = spent["plain"] / spent["ours"]
        rates[name] = million["ours"] * 1e6
        print(f"{name:28}" + "".join(f"{million[w]:12.3f}" for w in ("official", "plain", "ours", "fan-out", "floor"))
              + f"   {np.median(ratio):.1f} ({ratio.min():.1f} to {ratio.max():.1f}); floor / ours {million['floor'] / million['ours']:.1f}")  # fmt: skip
    print(
        f"{'':28}{'log10 P(fit)':>14}{'literal':>12}{'accelerated':>14}   accepted guesses' worth a CPU-second; ratio"
    )
    for name, run, network, tolerance, rate in (
        ("importance, k = 40", weighted, Network(5, 5, 2, 40), 0.02, rates["k = 40, d = 2"]),
        ("subset, k = 5, d = 2", chained, Network(5, 5, 2, 5, normalised=True), 0.0035, rates["k = 5, d = 2"]),
        ("subset, k = 5, d = 10", chained, Network(5, 5, 10, 5, normalised=True), 0.0035, rates["k = 5, d = 10, normalised"]),
    ):  # fmt: skip
        worth, log10 = run(network, tolerance)
        literal = rate * 10**log10
        print(f"{name:28}{log10:14.2f}{literal:12.3g}{worth:14.3g}   {worth / literal:.3g}")


if __name__ == "__main__":
    main()
