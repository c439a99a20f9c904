"""pfedsop: training rounds of FedAvg and pFedSOP on the digits, three ways and the floor, in one run.

(a) One nn.Module a client, autograd, torch.optim.SGD, a loop over clients and seeds: the structure of the usual federated code (our own
    stand-in: the paper has no public code), without data loading and evaluation.
(b) The plain vectorised baseline: all clients and seeds as rows, torch.func.vmap(grad(functional_call)), minibatches by indexing.
(c) The floor: the six products of a step on tensors that lie ready, and nothing else.
Ours is the study's step. All do T = 20 steps with batches of 10 for 5 participants on the same minibatches; results are compared.
Process CPU time, one thread, interleaved, warmed up.

    python benchmarks/pfedsop.py [--seeds 10] [--repeats 7]
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import subprocess
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.data import load
from descent.papers.pfedsop import fedavg, pfedsop
from descent.papers.pfedsop.problem import world

PARAMS = {
    "data": "digits", "images": 0, "partition": "dirichlet-0.1", "clients": 20, "participants": 5, "least": 20, "model": "mlp",
    "hidden": 64, "rounds": 60, "every": 3, "local_steps": 20, "batch": 10, "target": 0.85,
}  # fmt: skip
LR = 0.01


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def as_module(v: torch.Tensor) -> dict[str, torch.Tensor]:
    """A row of ours as torch's parameters (output first)."""
    W, b, V, c = v.split([4096, 64, 640, 10], -1)
    return {
        "0.weight": W.unflatten(-1, (64, 64)).mT,
        "0.bias": b,
        "2.weight": V.unflatten(-1, (64, 10)).mT,
        "2.bias": c,
    }


def as_row(p: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([p["0.weight"].mT.flatten(-2), p["0.bias"], p["2.weight"].mT.flatten(-2), p["2.bias"]], -1)


def loop_over_clients(found, shared, drawn, counts):
    """(a): FedAvg's round, seed by seed and client by client. shared: a module a seed."""
    labels = torch.from_numpy(found.pool.labels)
    for s, model in enumerate(shared):
        total, ends = 0, []
        for j, i in enumerate(drawn.clients[s].tolist()):
            own = copy.deepcopy(model)
            optimizer = torch.optim.SGD(own.parameters(), lr=LR)
            for t in range(20):
                rows = drawn.index[s, t, j].long()
                optimizer.zero_grad()
                nn.functional.cross_entropy(own(found.x[rows]), labels[rows]).backward()
                optimizer.step()
            ends.append((counts[s][i], own.state_dict()))
            total += counts[s][i]
        model.load_state_dict({n: sum(w / total * e[n] for w, e in ends) for n in ends[0][1]})
    return shared


def vectorised(found, g, drawn, weights):
    """(b): the same with all models as rows. g: name -> (S, *shape); weights (S, m)."""
    model, labels = net(), torch.from_numpy(found.pool.labels)

    def loss(p, x, y):
        return nn.functional.cross_entropy(functional_call(model, p, (x,)), y)

    step = vmap(grad(loss))
    seeds, members = weights.shape
    rows = {n: v[:, None].expand(-1, members, *v.shape[1:]).flatten(0, 1) for n, v in g.items()}
    for t in range(20):
        index = drawn.index[:, t].flatten(0, 1).long()
        slopes = step(rows, found.x[index], labels[index])
        rows = {n: v - LR * slopes[n] for n, v in rows.items()}
    return {
        n: (weights.view(seeds, members, *[1] * (v.dim() - 1)) * v.unflatten(0, (seeds, members))).sum(1)
        for n, v in rows.items()
    }


def floor(rows: int):
    """(c): products of a step, in place, on tensors that lie ready, in the same parts."""
    parts = []
    size = -(-rows // -(-rows // 40))
    for _ in range(-(-rows // size)):
        W, V = torch.randn(size, 64, 64) * 0.1, torch.randn(size, 64, 10) * 0.1
        parts.append((W, V, torch.randn(size, 10, 64), torch.empty(size, 10, 64), torch.empty(size, 10, 10)))

    def run():
        for W, V, x, h, z in parts:
            for _ in range(20):
                torch.bmm(x, W, out=h)
                torch.bmm(h, V, out=z)
                back = torch.bmm(z, V.mT)
                V.baddbmm_(h.mT, z, alpha=-1e-9)
                W.baddbmm_(x.mT, back, alpha=-1e-9)

    return run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = world(Streams("pfedsop"), {"digits": load("digits")}, range(500, 500 + options.seeds), PARAMS)
    federation = found.federation(1, LR)
    draws = [tree_map(lambda x: x[0], federation.rounds.draw(k, 1)) for k in range(3)]
    counts = [[len(own) for own in seed] for seed in found.clients.train]
    averaged, second = fedavg(federation), pfedsop(federation, step_size=10.0, rho=100.0)
    start = averaged.init()
    weights = federation.shares(draws[0])[..., 0]
    state = second.init()
    with torch.no_grad():
        for k in range(2):
            state, _ = second.step(state, draws[k])

    def modules():
        made = [net() for _ in range(options.seeds)]
        for model, v in zip(made, start.shared, strict=True):
            model.load_state_dict({n: p.clone() for n, p in as_module(v).items()})
        return made

    @torch.no_grad()
    def ours():
        return averaged.step(start, draws[0])[0].shared

    @torch.no_grad()
    def ours_second():
        return second.step(state, draws[2])[0].shared

    calls = {
        "a": lambda: loop_over_clients(found, modules(), draws[0], counts),
        "b": lambda: vectorised(found, as_module(start.shared), draws[0], weights),
        "c": floor(options.seeds * 5),
        "fedavg": ours,
        "pfedsop": ours_second,
    }
    want = ours()
    loops = torch.stack([as_row({n: p.detach() for n, p in m.named_parameters()}) for m in calls["a"]()])
    apart = max((want - loops).abs().max().item(), (want - as_row(calls["b"]())).abs().max().item())
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(options.repeats):
        for name, call in calls.items():
            began = time.process_time()
            call()
            times[name].append(time.process_time() - began)
    median = {name: float(np.median(values)) for name, values in times.items()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"pfedsop: a training round of {options.seeds} seeds, 5 participants each; {options.repeats} repeats; commit {commit or '?'}"
    )
    print(
        f"{platform.system()} {platform.machine()}, torch {torch.__version__}, one thread; results apart by at most {apart:.1e}"
    )
    labels = {
        "a": "(a) one module a client, autograd (stand-in)", "b": "(b) vmap over all rows", "c": "(c) floor: the products alone",
        "fedavg": "ours, FedAvg", "pfedsop": "ours, pFedSOP",
    }  # fmt: skip
    print(f"{'':46}{'CPU ms (median)':>16}{'least':>9}{'largest':>9}{'over FedAvg':>13}")
    for name, label in labels.items():
        values = np.array(times[name])
        ratio = np.median(values / np.array(times["fedavg"]))
        print(f"{label:46}{1e3 * median[name]:16.1f}{1e3 * values.min():9.1f}{1e3 * values.max():9.1f}{ratio:13.2f}")
    return int(apart > 1e-5)


if __name__ == "__main__":
    raise SystemExit(main())
