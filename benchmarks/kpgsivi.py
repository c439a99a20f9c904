"""kpgsivi: a step of KPG and of KSIVI for several seeds, against the official code's way and a plain vectorised one.

(a) as the official code does it: a seed at a time, torch.nn and autograd, kernels from differences [B, B, d], the regression's score
    from [n, B, d] products, torch.median;
(b) as a competent author would write it: seeds as an axis of baddbmm, Gram matrices, the score in two products, autograd, torch.median;
(c) the floor: the step's random numbers and matrix products alone.
All but the floor draw their numbers and do Adam's step.
Ours: (b) with the adjoints written out, exact order statistics by NumPy's selection, flat parameters. Process CPU time, one thread, all
interleaved, warmed up. All compute the same gradient, which is compared.

    python benchmarks/kpgsivi.py [--seeds 8] [--repeats 20]
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import subprocess
import time
from itertools import pairwise

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn

from descent.core.streams import Streams
from descent.core.tree import tree_map
from descent.papers.kpgsivi import Banana, Diffusion, Family, LogisticRegression, Problem, kpg, ksivi
from descent.papers.kpgsivi.targets import OBSERVED
from descent.runner.allocator import keep_freed_memory

TARGET = 1.0  # ours against (b), the median over the six cases: no slower than a competent plain version


def regression(seed: int = 0) -> LogisticRegression:
    """400 rows of 22 features: the shape of waveform."""
    make = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 22, generator=make)
    return LogisticRegression(x, (x[:, 0] + torch.randn(400, generator=make) > 0).float())


CASES = {
    "plane": (Banana(), Family(3, 50, 2), 64),
    "regression": (regression(), Family(10, 100, 22), 100),
    "diffusion": (Diffusion(OBSERVED), Family(100, 128, 100, -12.0), 64),
}


def modules(family: Family, flat: Tensor) -> tuple[nn.Sequential, nn.Parameter]:
    """One seed's network as torch.nn."""
    sizes = (family.latent, family.hidden, family.hidden, family.dim)
    net = nn.Sequential(*(part for n, m in pairwise(sizes) for part in (nn.Linear(n, m), nn.ReLU())))[:-1]
    for linear, (weight, bias) in zip(net[::2], family.network.layers(flat[None]), strict=True):
        linear.weight.data, linear.bias.data = weight[0].clone(), bias[0, 0].clone()
    return net, nn.Parameter(flat[-family.dim :].clone())


def official_score(target, z: Tensor) -> Tensor:
    """grad log p (B, d) with the regression's [n, B, d] products."""
    if isinstance(target, LogisticRegression):
        right = torch.sigmoid((target.features[:, None] * z[None]).sum(-1))
        return ((target.labels[:, None] - right)[..., None] * target.features[:, None]).sum(
            0
        ) - target.prior_precision * z
    return target.score(z[None])[0]


def official(method: str, target, family: Family, flat: Tensor, latents: Tensor, eta: Tensor, batch: int) -> Tensor:
    """One seed's gradient."""
    net, log_variance = modules(family, flat)
    sigma = torch.exp(log_variance.clamp_min(family.floor) / 2)
    z, other = (net(latents[p]) + sigma * eta[p] for p in (slice(None, batch), slice(batch, None)))
    if method == "kpg":
        other = other.detach()
    differences = z[:, None] - other[None]
    squares = differences.square().sum(-1)
    if method == "kpg":
        squares = squares.detach()
    h2 = 0.5 * squares.flatten().median() / math.log(batch + 1)
    k = torch.exp(-squares / (2 * h2))
    if method == "kpg":
        force = (-eta[batch:] / sigma - official_score(target, other)).detach()
        loss = ((k[..., None] * force[None]).mean(1) * z).sum(-1).mean()
    else:
        f, g = official_score(target, z) + eta[:batch] / sigma, official_score(target, other) + eta[batch:] / sigma
        loss = ((f[:, None] * g[None]).sum(-1) * k).mean()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in (*net.parameters(), log_variance)])


def plain(method: str, target, family: Family, params: Tensor, latents: Tensor, eta: Tensor, batch: int) -> Tensor:
    """All seeds' gradients (S, P), autograd over batched products."""
    params = params.detach().requires_grad_()
    x, layers = latents, list(family.network.layers(params))
    for i, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, x, weight.mT)
        x = torch.relu(x) if i < len(layers) - 1 else x
    sigma = torch.exp(params[:, None, -family.dim :].clamp_min(family.floor) / 2)
    points = x + sigma * eta
    z, other = points[:, :batch], points[:, batch:]
    if method == "kpg":
        other = other.detach()
    squares = (z.square().sum(-1)[..., None] + other.square().sum(-1)[:, None] - 2 * z @ other.mT).clamp_min(0)
    if method == "kpg":
        squares = squares.detach()
    h2 = 0.5 * squares.flatten(1).median(-1).values / math.log(batch + 1)
    k = torch.exp(-squares / (2 * h2[:, None, None]))
    if method == "kpg":
        with torch.no_grad():
            d = k @ (-eta[:, batch:] / sigma - target.score(other)) / batch
        loss = (d * z).sum() / batch
    else:
        force = target.score(points) + eta / sigma
        loss = ((force[:, :batch] @ force[:, batch:].mT) * k).mean((1, 2)).sum()
    return torch.autograd.grad(loss, params)[0]


def products(family: Family, batch: int, seeds: int) -> list[tuple[Tensor, Tensor]]:
    """Operands of a KPG step's matrix products."""
    sizes = (family.latent, family.hidden, family.hidden, family.dim)
    pairs = []
    for n, m in pairwise(sizes):
        pairs += [
            (torch.randn(seeds, 2 * batch, n), torch.randn(seeds, n, m)),
            (torch.randn(seeds, m, batch), torch.randn(seeds, batch, n)),
        ]
        pairs += [(torch.randn(seeds, batch, m), torch.randn(seeds, m, n))]
    gram = torch.randn(seeds, batch, family.dim)
    return [*pairs, (gram, gram.mT), (torch.randn(seeds, batch, batch), gram)]


def compare(method: str, case: str, seeds: int, repeats: int) -> tuple[dict[str, list[float]], float]:
    """CPU seconds of every way, and how far their gradients are apart (relative)."""
    target, family, batch = CASES[case]
    problem = Problem(target, family, tuple(range(500, 500 + seeds)), Streams("kpgsivi"))
    built = {"kpg": kpg, "ksivi": ksivi}[method](problem, batch=batch, step_size=1e-3)
    state = built.init(problem.start(-2.0))
    blocks = iter(range(10**6))
    m, d = family.latent, family.dim

    def noise():
        return tree_map(lambda x: x[0], built.draw(next(blocks), 1))

    kept = products(family, batch, seeds)

    def floor():
        torch.randn(seeds, 2 * batch, m + d)
        for a, b in kept:
            torch.bmm(a, b)

    def ours():
        with torch.no_grad():
            return built.step(state, noise())[0]

    together = state.params.clone().requires_grad_()
    fused = torch.optim.Adam([together], lr=1e-3, fused=True)

    def by_plain():
        n = noise()
        together.grad = plain(method, target, family, together, n.latents, n.eta, batch)
        fused.step()

    apart_params = [row.clone().requires_grad_() for row in state.params]
    each = [torch.optim.Adam([row], lr=1e-3) for row in apart_params]

    def by_official():
        n = noise()
        for row, adam, eps, eta in zip(apart_params, each, n.latents, n.eta, strict=True):
            row.grad = official(method, target, family, row.detach(), eps, eta, batch)
            adam.step()

    n = noise()
    with torch.no_grad():
        mine = built.step(state, n)[0].moments.first * 10
    theirs = plain(method, target, family, state.params, n.latents, n.eta, batch)
    slow = torch.stack(
        [official(method, target, family, *row, batch) for row in zip(state.params, n.latents, n.eta, strict=True)]
    )
    apart = max(float((mine - x).norm() / x.norm()) for x in (theirs, slow))
    ways = {"ours": ours, "plain": by_plain, "official": by_official, "floor": floor}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(repeats + 2):
        for name, call in ways.items():
            began = time.process_time()
            call()
            if i >= 2:
                times[name].append(time.process_time() - began)
    return times, apart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(
        f"kpgsivi: one step of {options.seeds} seeds, ms of CPU time, median of {options.repeats}; commit {commit or '?'}"
    )
    print(f"{platform.system()} {platform.machine()}, torch {torch.__version__}, numpy {np.__version__}, one thread")
    print(
        f"{'':18}{'ours':>9}{'(b) plain':>11}{'(a) official':>14}{'(c) floor':>11}{'b/ours':>9}{'a/ours':>9}{'ours/c':>9}{'apart':>10}"
    )
    gains, agree = [], True
    for case in CASES:
        for method in ("kpg", "ksivi"):
            times, apart = compare(method, case, options.seeds, options.repeats)
            ms = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
            ratios = ms["plain"] / ms["ours"], ms["official"] / ms["ours"], ms["ours"] / ms["floor"]
            gains.append(ratios[0])
            agree &= apart < 1e-3
            print(
                f"{case + ' ' + method:18}{ms['ours']:9.2f}{ms['plain']:11.2f}{ms['official']:14.2f}{ms['floor']:11.2f}"
                f"{ratios[0]:9.2f}{ratios[1]:9.2f}{ratios[2]:9.2f}{apart:10.1e}"
            )
    print(f"median gain over (b): {np.median(gains):.2f}")
    if not agree:
        print("the gradients do not agree")
    return 0 if agree and np.median(gains) >= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
