"""ssi: what a chain-step costs, reduced against d-dimensional. `python benchmarks/ssi.py [--dimension 1000]`.

Attention on two tokens with positional encoding. Times are process CPU time of one thread, warmed up, rivals
interleaved, noise included; the median over repeats, per chain and step. Every rival runs at the batch that suits it:
the reduced simulator has 288 chains, the d-dimensional one 1 (the official loop) and 24. The official code does more
than our rival `autograd`: a Python dataset on top, one chain at a time.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch

from descent.core.context import Context
from descent.core.job import Variant
from descent.core.streams import Streams
from descent.papers.ssi.cost import workload

RIVALS = {  # name: (method, chains, steps of a measurement)
    "reduced, 288 chains": ("sgd", 288, 1000),
    "reduced, 24 chains": ("sgd", 24, 1000),
    "direct, closed form, 24 chains": ("direct", 24, 10),
    "direct, autograd, 24 chains": ("autograd", 24, 10),
    "direct, closed form, 1 chain": ("direct", 1, 100),
    "direct, autograd, 1 chain": ("autograd", 1, 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimension", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    context = Context(torch.device("cpu"), Streams("ssi"), {})
    costs = measure(context, options.dimension, options.repeats)
    reduced = costs["reduced, 288 chains"]
    print(f"{platform.machine()}, torch {torch.__version__}, d = {options.dimension}, {options.repeats} repeats")
    for name, cost in costs.items():
        print(f"{name:32s} {cost * 1e6:9.3f} us a chain-step {cost / reduced:8.1f} x")


def measure(context: Context, dimension: int, repeats: int) -> dict[str, float]:
    """Median CPU seconds of one step of one chain, by rival."""
    base = {"dimension": dimension, "rate": 0.2, "omega": 0.5, "width": 1.0, "loss": "sq"}
    calls = {
        name: workload(Variant(method, {}, {**base, "chains": chains, "chunk": steps}, (500,)), context)
        for name, (method, chains, steps) in RIVALS.items()
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for call in calls.values():
            call()
        for _ in range(repeats):
            for name, call in calls.items():
                began = time.process_time()
                call()
                _, chains, steps = RIVALS[name]
                spent[name].append((time.process_time() - began) / (chains * steps))
    return {name: statistics.median(values) for name, values in spent.items()}


if __name__ == "__main__":
    main()
