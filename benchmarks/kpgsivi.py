"""kpgsivi: a step of KPG and of KSIVI for several seeds, against the official code's way and a plain vectorised one.

(a) as the official code does it: a seed at a time, torch.nn and autograd, kernels from differences [B, B, d], the regression's score
    from [n, B, d] products, torch.median;
(b) as a competent author would write it: seeds as an axis of baddbmm, Gram matrices, the score in two products, autograd, torch.median;
(c) the floor: the step's random numbers and arithmetic alone, without autograd, in buffers made before, nothing kept or reported.
(a) to (c) draw from one generator; ours from a stream a seed, in blocks as the study does. All do Adam's step, (b) and (c) fused.
Ours: (b) with the adjoints written out, exact order statistics by NumPy's selection, flat parameters. Process CPU time, one thread, all
interleaved, warmed up. All compute the same gradient, which is compared.

    python benchmarks/kpgsivi.py [--seeds 8] [--repeats 20] [--block 10]
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

TARGET = 1.5  # ours over the floor, the median over the six cases


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


class Floor:
    """A step's arithmetic in buffers of its own, with nothing around it."""

    def __init__(self, method: str, target, family: Family, params: Tensor, batch: int):
        self.method, self.target, self.family, self.batch = method, target, family, batch
        self.params = params.clone().requires_grad_()
        self.params.grad = torch.zeros_like(params)
        self.adam = torch.optim.Adam([self.params], lr=1e-3, fused=True)
        S, sizes = len(params), (family.latent, family.hidden, family.hidden, family.dim)
        self.eps, self.eta = torch.empty(S, 2 * batch, family.latent), torch.empty(S, 2 * batch, family.dim)
        self.x = [self.eps, *(torch.empty(S, 2 * batch, n) for n in sizes[1:])]
        self.back = [torch.empty(S, 2 * batch if method == "ksivi" else batch, n) for n in sizes[1:]]
        self.square, self.inner, self.slope = (torch.empty(S, batch, batch) for _ in range(3))
        self.d = torch.empty(S, batch, family.dim)

    def __call__(self) -> None:
        B, S = self.batch, len(self.eps)
        self.eps.normal_()
        self.eta.normal_()
        with torch.no_grad():
            layers = list(self.family.network.layers(self.params))
            for i, (weight, bias) in enumerate(layers):
                torch.bmm(self.x[i], weight.mT, out=self.x[i + 1]).add_(bias)
                if i < 2:
                    self.x[i + 1].relu_()
            sigma = (self.params[:, None, -self.family.dim :] / 2).exp()
            z = self.x[-1].addcmul_(sigma, self.eta)
            here, there = z[:, :B], z[:, B:]
            torch.bmm(here, there.mT, out=self.square).mul_(-2)
            self.square.add_(here.square().sum(-1, keepdim=True)).add_(there.square().sum(-1)[:, None]).clamp_min_(0)
            flat = self.square.view(S, -1).numpy()
            median = torch.from_numpy(np.partition(flat, flat.shape[1] // 2, axis=1)[:, flat.shape[1] // 2])
            rate = (math.log(B + 1) / median)[:, None, None]
            if self.method == "ksivi":
                force = self.target.score(z).addcdiv_(self.eta, sigma)
                torch.bmm(force[:, :B], force[:, B:].mT, out=self.inner)
                torch.mul(self.square, -rate, out=self.slope).exp_()
                by_force = torch.cat([self.slope @ force[:, B:], self.slope.mT @ force[:, :B]], dim=1)
                self.inner.mul_(self.slope)
                (self.inner * self.square).sum((1, 2))
                pulled = torch.cat([self.inner @ there, self.inner.mT @ here], dim=1)
                slope, rows = pulled.add_(self.target.score_pull(z, by_force)), slice(None)
            else:
                self.square.mul_(-rate).exp_()
                torch.bmm(self.square, self.target.score(there).addcdiv_(self.eta[:, B:], sigma), out=self.d)
                slope, rows = self.d, slice(None, B)
            at = self.params.shape[1] - self.family.dim
            self.params.grad[:, at:] = (slope * self.eta[:, rows]).sum(1)
            for i, (weight, _) in reversed(list(enumerate(layers))):
                below, above = weight.shape[2], weight.shape[1]
                at -= above
                self.params.grad[:, at : at + above] = slope.sum(1)
                at -= above * below
                grad = self.params.grad[:, at : at + above * below].view(S, above, below)
                grad.copy_(torch.bmm(slope.mT, self.x[i][:, rows]))
                if i:
                    slope = torch.bmm(slope, weight, out=self.back[i - 1]).mul_(self.x[i][:, rows] > 0)
        self.adam.step()


def compare(method: str, case: str, seeds: int, repeats: int, block: int) -> tuple[dict[str, list[float]], float]:
    """CPU seconds of a step in every way, and how far their gradients are apart (relative)."""
    target, family, batch = CASES[case]
    problem = Problem(target, family, tuple(range(500, 500 + seeds)), Streams("kpgsivi"))
    built = {"kpg": kpg, "ksivi": ksivi}[method](problem, batch=batch, step_size=1e-3)
    state = built.init(problem.start(-2.0))
    blocks = iter(range(10**6))

    def numbers() -> tuple[Tensor, Tensor]:
        return torch.randn(seeds, 2 * batch, family.latent), torch.randn(seeds, 2 * batch, family.dim)

    def ours():
        now, noise = state, built.draw(next(blocks), block)
        with torch.no_grad():
            for i in range(block):
                now, _ = built.step(now, tree_map(lambda x, i=i: x[i], noise))

    together = state.params.clone().requires_grad_()
    fused = torch.optim.Adam([together], lr=1e-3, fused=True)

    def by_plain():
        for _ in range(block):
            together.grad = plain(method, target, family, together, *numbers(), batch)
            fused.step()

    apart_params = [row.clone().requires_grad_() for row in state.params]
    each = [torch.optim.Adam([row], lr=1e-3) for row in apart_params]

    def by_official():
        for row, adam, eps, eta in zip(apart_params, each, *numbers(), strict=True):
            row.grad = official(method, target, family, row.detach(), eps, eta, batch)
            adam.step()

    bare = Floor(method, target, family, state.params, batch)

    def floor():
        for _ in range(block):
            bare()

    n = tree_map(lambda x: x[0], built.draw(0, 1))
    with torch.no_grad():
        mine = built.step(state, n)[0].moments.first * 10
    theirs = plain(method, target, family, state.params, n.latents, n.eta, batch)
    slow = torch.stack(
        [official(method, target, family, *row, batch) for row in zip(state.params, n.latents, n.eta, strict=True)]
    )
    apart = max(float((mine - x).norm() / x.norm()) for x in (theirs, slow))
    ways = {"ours": (ours, block), "plain": (by_plain, block), "official": (by_official, 1), "floor": (floor, block)}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(repeats + 2):
        for name, (call, steps) in ways.items():
            began = time.process_time()
            call()
            if i >= 2:
                times[name].append((time.process_time() - began) / steps)
    return times, apart


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--block", type=int, default=10)
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
    gains, above, agree = [], [], True
    for case in CASES:
        for method in ("kpg", "ksivi"):
            times, apart = compare(method, case, options.seeds, options.repeats, options.block)
            ms = {name: 1e3 * float(np.median(values)) for name, values in times.items()}
            ratios = ms["plain"] / ms["ours"], ms["official"] / ms["ours"], ms["ours"] / ms["floor"]
            gains.append(ratios[0])
            above.append(ratios[2])
            agree &= apart < 1e-3
            print(
                f"{case + ' ' + method:18}{ms['ours']:9.2f}{ms['plain']:11.2f}{ms['official']:14.2f}{ms['floor']:11.2f}"
                f"{ratios[0]:9.2f}{ratios[1]:9.2f}{ratios[2]:9.2f}{apart:10.1e}"
            )
    print(f"median gain over (b): {np.median(gains):.2f}; median distance to the floor: {np.median(above):.2f}")
    if not agree:
        print("the gradients do not agree")
    return 0 if agree and np.median(above) <= TARGET else 1


if __name__ == "__main__":
    raise SystemExit(main())
