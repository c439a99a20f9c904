"""dualpriv: one private step of the study's decoder against Opacus and against DPZero's own loop.

    python benchmarks/dualpriv.py [--repeats 20] [--seeds 6]

Equal work: the same frozen decoder (2 layers, width 48, LoRA rank 4 on every linear map), the same batch of 128 records,
per-sample gradients, flat clipping, noise, SGD; results are compared before anything is timed. Opacus is its
`GradSampleModule` on a plain nn.Module of the same decoder, with its optimiser's rules; it computes every position of
every layer, as a module does. The paper's baseline pipeline is Opacus on all visual tokens; Dual-Priv is ours on pruned
ones. DPZero's loop perturbs the parameters in place from a seed and runs the module forward twice. (a) Opacus is the official
way, (b) "vectorised" what a competent author writes in plain PyTorch (vmap of grad), (c) "floor" the products and normals
that no exact step does without, nothing around them. Speed is claimed against (b).

Then each exact saving of ours is switched off by itself. Process CPU time, one thread, baselines interleaved, medians.
Needs: pip install --no-deps opacus==1.6.0 opt_einsum==3.4.0
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from descent.core.streams import Streams
from descent.papers.dualpriv import model
from descent.papers.dualpriv.cost import problem_of
from descent.papers.dualpriv.decoder import decode
from descent.papers.dualpriv.first_order import Noise, clipped_sum, dpsgd
from descent.papers.dualpriv.lora import adapted_linear, initial, sample_copies, split
from descent.papers.dualpriv.model import TEXT, Sizes
from descent.papers.dualpriv.problem import Problem
from descent.papers.dualpriv.zeroth_order import Noise as ZerothNoise
from descent.papers.dualpriv.zeroth_order import dpzero
from descent.privacy.ledger import Ledger

BATCH, RECORDS, SEED = 128, 2048, 500
FULL, PRUNED = 37, 13
RANK, ALPHA = 4, 8.0
CLIP = 1.0


class LoraLinear(nn.Module):
    """A frozen linear map with a LoRA adapter of two trainable linear maps."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias.clone())
        self.a = nn.Linear(weight.shape[1], RANK, bias=False)
        self.b = nn.Linear(RANK, weight.shape[0], bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias) + ALPHA / RANK * self.b(self.a(x))


class Decoder(nn.Module):
    """The study's decoder as a plain module: all positions of all layers. Takes (b, T, d), gives (b, vocabulary)."""

    def __init__(self, problem: Problem):
        super().__init__()
        self.shape, self.rotation = problem.layout.shape, problem.rotation
        self.names, maps = [], {}
        for g, group in enumerate(problem.layout.groups):
            parts = zip(
                group.names, problem.frozen.weights[g].split(group.outputs), problem.frozen.biases[g].split(group.outputs), strict=True
            )  # fmt: skip
            for name, weight, bias in parts:
                maps[f"{group.layer}_{name}"] = LoraLinear(weight, bias)
        self.maps = nn.ModuleDict(maps)
        self.norms = [tuple(z.clone() for z in pair) for pair in problem.frozen.norms]
        self.head = problem.frozen.head.clone()

    def rotate(self, z: Tensor) -> Tensor:
        count = len(self.rotation.cos)
        tail = z[..., -count:, :]
        first, second = tail.chunk(2, -1)
        turned = tail * self.rotation.cos + torch.cat([-second, first], -1) * self.rotation.sin
        return torch.cat([z[..., :-count, :], turned], -2)

    def forward(self, x: Tensor) -> Tensor:
        width, heads = self.shape.width, self.shape.heads
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
        for layer in range(self.shape.layers):
            m = lambda name, z, layer=layer: self.maps[f"{layer}_{name}"](z)  # noqa: E731
            h = functional.layer_norm(x, (width,), *self.norms[2 * layer])
            q, k, v = (m(name, h).unflatten(-1, (heads, -1)).transpose(1, 2) for name in "qkv")
            q, k = self.rotate(q), self.rotate(k)
            score = (q @ k.transpose(-1, -2)) / (width // heads) ** 0.5 + mask
            x = x + m("o", (score.softmax(-1) @ v).transpose(1, 2).flatten(2))
            h = functional.layer_norm(x, (width,), *self.norms[2 * layer + 1])
            x = x + m("f2", functional.gelu(m("f1", h)))
        return functional.linear(functional.layer_norm(x[:, -1], (width,), *self.norms[-1]), self.head)

    @torch.no_grad()
    def load(self, problem: Problem, theta: Tensor) -> None:
        """Put one row of theta (1, p) into the adapters."""
        for group, (a, b) in zip(problem.layout.groups, split(problem.layout, theta), strict=True):
            for n, name in enumerate(group.names):
                own = self.maps[f"{group.layer}_{name}"]
                own.a.weight.copy_(a[0, n * RANK : (n + 1) * RANK])
                own.b.weight.copy_(b[0, n].T)

    def ordered(self, problem: Problem) -> list[nn.Parameter]:
        """The adapters' matrices in theta's order (B transposed there)."""
        found = []
        for group in problem.layout.groups:
            found += [self.maps[f"{group.layer}_{name}"].a.weight for name in group.names]
            found += [self.maps[f"{group.layer}_{name}"].b.weight for name in group.names]
        return found


class Case:
    """One workload: a problem, adapters and a batch, for every baseline."""

    def __init__(self, visual: int, seeds: int):
        self.problem = problem_of(visual, RECORDS, RANK, ALPHA, torch.device("cpu"))
        self.ledger = Ledger.open(budget=3.0, delta=1e-5, records=RECORDS, batch=BATCH, steps=100, clip_norm=CLIP)
        streams = Streams("dualpriv")
        numbers = range(SEED, SEED + seeds)
        self.theta = initial(self.problem.layout, [streams.torch("adapter", s) for s in numbers])
        self.theta += 0.02 * streams.normal("moved", numbers, (self.problem.layout.size,), dtype=torch.float32)
        self.index = torch.stack(
            [torch.from_numpy(streams.numpy("b", s).integers(RECORDS, size=BATCH)) for s in numbers]
        )
        self.present = torch.ones(self.index.shape)
        self.normal = streams.normal("noise", numbers, (self.problem.layout.size,), dtype=torch.float32)

    def ours(self, keep: float = 1.0, rows: int = 1) -> Callable[[], Tensor]:
        method = dpsgd(self.problem, self.ledger, step_size=1.0, keep=keep)
        state = method.init(self.theta[:rows])
        noise = Noise(self.index[:rows], self.present[:rows], None, self.normal[:rows], self.theta[:rows, :0])

        def step() -> Tensor:
            with torch.no_grad():
                return method.update(state, noise).theta

        return step

    def opacus(self) -> Callable[[], Tensor]:
        from opacus.grad_sample import GradSampleModule

        plain = Decoder(self.problem)
        plain.load(self.problem, self.theta)
        wrapped = GradSampleModule(plain, loss_reduction="sum")
        parameters = plain.ordered(self.problem)
        train = self.problem.train
        noise = [z.view_as(p.T).T if p.shape[1] == RANK else z.view_as(p) for p, z in
                 zip(parameters, _pieces(self.problem, self.normal[:1]), strict=True)]  # fmt: skip

        def step() -> Tensor:
            for p in parameters:
                p.grad_sample = None
                p.grad = None
            index = self.index[0]
            functional.cross_entropy(wrapped(train.x[index]), train.answer[index], reduction="sum").backward()
            # opacus.optimizers.DPOptimizer: clip_and_accumulate, add_noise, scale_grad.
            norms = torch.stack([p.grad_sample.reshape(len(index), -1).norm(2, dim=-1) for p in parameters], 1).norm(
                2, dim=1
            )
            factor = (CLIP / (norms + 1e-6)).clamp(max=1.0)
            moved = []
            for p, z in zip(parameters, noise, strict=True):
                total = torch.einsum("i,i...", factor, p.grad_sample)
                update = (total + self.ledger.noise_std * z) / BATCH
                moved.append((p.detach() - update, p.shape[1] == RANK))
            return torch.cat([(w.T if turn else w).flatten() for w, turn in moved])[None]

        return step

    def vectorised(self) -> Callable[[], Tensor]:
        """The same step as a competent author writes it in plain PyTorch: vmap of grad over the module, one product to clip."""
        plain = Decoder(self.problem)
        plain.load(self.problem, self.theta)
        order = [name for p in plain.ordered(self.problem) for name, q in plain.named_parameters() if q is p]
        fixed = {name: p.detach() for name, p in plain.named_parameters()}
        turned = [fixed[name].shape[1] == RANK for name in order]
        train, normal = self.problem.train, self.normal[0]

        def loss(parameters: dict[str, Tensor], x: Tensor, answer: Tensor) -> Tensor:
            return functional.cross_entropy(functional_call(plain, parameters, (x[None],)), answer[None])

        per_sample = vmap(grad(loss), in_dims=(None, 0, 0))

        def step() -> Tensor:
            index = self.index[0]
            found = per_sample(fixed, train.x[index], train.answer[index])
            pieces = [
                found[n].mT.flatten(1) if turn else found[n].flatten(1) for n, turn in zip(order, turned, strict=True)
            ]
            gradients = torch.cat(pieces, 1)
            factor = (CLIP / (gradients.norm(dim=1) + 1e-6)).clamp(max=1.0)
            update = (factor @ gradients + self.ledger.noise_std * normal) / BATCH
            return self.theta[:1] - update

        return step

    def floor(self) -> Callable[[], object]:
        """Arithmetic that no exact step does without: every frozen and low-rank product once, forward and back (not back
        into the inputs), per-sample gradients, and the normals. No norms, activations or attention."""
        problem, jobs = self.problem, []
        tokens, layers = problem.train.x.shape[1], problem.layout.shape.layers
        for g, group in enumerate(problem.layout.groups):
            last = group.layer == layers - 1 and "k" not in group.names
            count, maps = 1 if last else tokens, len(group.names)
            x, y = torch.randn(BATCH * count, group.inputs), torch.randn(BATCH * count, maps * group.outputs)
            a, b = torch.randn(group.inputs, maps * RANK), torch.randn(maps * RANK, group.outputs)
            low = torch.randn(BATCH, count, maps * RANK)
            jobs.append((problem.frozen.weights[g], x, y, a, b, low, count, g > 0))
        normal, generator = torch.empty(problem.layout.size), torch.Generator().manual_seed(0)

        def step() -> None:
            with torch.no_grad():
                for weight, x, y, a, b, low, count, back in jobs:
                    x @ weight.T
                    x @ a
                    low.view(-1, low.shape[-1])[:, :RANK] @ b[:RANK]
                    if back:
                        y @ weight
                        low.view(-1, low.shape[-1]) @ a.T
                    low.mT @ x.view(BATCH, count, -1)
                    low[..., :RANK].mT @ y.view(BATCH, count, -1)
                normal.normal_(generator=generator)

        return step

    def our_zeroth(self) -> Callable[[], Tensor]:
        method = dpzero(self.problem, self.ledger, step_size=0.1)
        state = method.init(self.theta[:1])
        noise = ZerothNoise(self.index[:1], self.present[:1], None, self.normal[:1], torch.zeros(1))

        def step() -> Tensor:
            with torch.no_grad():
                return method.update(state, noise).theta

        return step

    def their_zeroth(self) -> Callable[[], Tensor]:
        """DPZero's loop: the direction regenerated from a seed at every pass over the parameters."""
        plain = Decoder(self.problem)
        plain.load(self.problem, self.theta)
        parameters = plain.ordered(self.problem)
        train = self.problem.train

        def perturb(scale: float) -> None:
            generator = torch.Generator().manual_seed(0)
            for p in parameters:
                p.add_(torch.randn(p.shape, generator=generator), alpha=scale)

        def losses() -> Tensor:
            index = self.index[0]
            return functional.cross_entropy(plain(train.x[index]), train.answer[index], reduction="none")

        def step() -> Tensor:
            with torch.no_grad():
                perturb(1e-3)
                above = losses()
                perturb(-2e-3)
                slope = ((above - losses()) / 2e-3).clamp(-CLIP, CLIP).sum() / BATCH
                perturb(1e-3)
                perturb(-0.1 * slope.item())
            return torch.cat([p.flatten() for p in parameters])

        return step

    def without(self, saving: str) -> Callable[[], Tensor]:
        """DP-SGD's gradient step on one row with one exact saving switched off ("" switches none off)."""
        problem, theta, index = self.problem, self.theta[:1], self.index[:1]
        train, shape = problem.train, problem.layout.shape
        generator = torch.Generator().manual_seed(1)
        sizes = Sizes()
        weights = model.initial_parameters(sizes, generator)
        hidden = torch.randn(RECORDS, train.x.shape[1] - TEXT, shape.width, generator=generator)
        first = problem.frozen.weights[0], problem.frozen.biases[0]
        frozen_qkv = functional.linear(train.normed, *first) if saving == "+ cached projections" else None

        def step() -> Tensor:
            copies = sample_copies(problem.layout, theta, BATCH)
            with torch.enable_grad():
                x = train.x[index]
                if saving == "projector":
                    with torch.no_grad():
                        model.project(weights, hidden[index])
                normed = None if saving == "first norm" else train.normed[index]
                linear = adapted_linear(problem.layout, problem.frozen, copies)
                if frozen_qkv is not None:
                    linear = _with_cached(linear, frozen_qkv[index], copies[0], problem.layout.scale)
                answered = x.shape[2] if saving == "last position" else 1
                logits = decode(shape, problem.frozen, linear, x, problem.rotation, normed=normed, answered=answered)
                loss = functional.cross_entropy(logits[0, :, -1], train.answer[index[0]], reduction="sum")
                gradients = torch.autograd.grad(loss, [leaf for pair in copies for leaf in pair])
            return clipped_sum([g.flatten(2) for g in gradients], CLIP)

        return step


def _with_cached(linear, cached: Tensor, pair: tuple[Tensor, Tensor], scale: float):
    """Group 0 from its cached frozen output plus the low-rank part, with per-sample copies as autograd sees them."""

    def group(g: int, x: Tensor) -> Tensor:
        if g:
            return linear(g, x)
        a, b = pair
        low = (x[0] @ a[0].transpose(-1, -2)) * scale
        parts = [u @ b[0][:, n] for n, u in enumerate(low.chunk(b.shape[2], -1))]
        return cached + torch.cat(parts, -1)[None]

    return group


def _pieces(problem: Problem, z: Tensor) -> list[Tensor]:
    return [z[0, b.start : b.start + b.size] for b in problem.layout.blocks]


def interleaved(baselines: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median process time of a call, seconds."""
    times: dict[str, list[float]] = {name: [] for name in baselines}
    for round_ in range(repeats + 3):
        for name, call in baselines.items():
            began = time.process_time()
            call()
            if round_ >= 3:
                times[name].append(time.process_time() - began)
    return {name: float(np.median(t)) for name, t in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", "Full backward hook is firing")
    full, pruned = Case(FULL, options.seeds), Case(PRUNED, options.seeds)
    for case in (full, pruned):
        for name, baseline in (("Opacus", case.opacus()), ("plain vectorised PyTorch", case.vectorised())):
            gap = (case.ours()() - baseline()).abs().max().item()
            assert gap < 2e-5, f"ours and {name} differ by {gap}"
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread, batch {BATCH}")
    baselines = {
        "opacus, all tokens": full.opacus(),
        "vectorised, all tokens": full.vectorised(),
        "floor, all tokens": full.floor(),
        "ours, all tokens": full.ours(),
        f"ours, all tokens, {options.seeds} seeds": full.ours(rows=options.seeds),
        "opacus, pruned": pruned.opacus(),
        "vectorised, pruned": pruned.vectorised(),
        "floor, pruned": pruned.floor(),
        "ours, pruned (Dual)": pruned.ours(keep=0.8),
        f"ours, pruned (Dual), {options.seeds} seeds": pruned.ours(keep=0.8, rows=options.seeds),
        "DPZero loop, all tokens": full.their_zeroth(),
        "our DPZero, all tokens": full.our_zeroth(),
    }
    seconds = interleaved(baselines, options.repeats)
    for name in seconds:
        if name.endswith("seeds"):
            seconds[name] /= options.seeds
    for name, value in seconds.items():
        print(f"{1e3 * value:8.1f} ms  {name}{' (a seed)' if name.endswith('seeds') else ''}")
    for tokens, name in (("all tokens", "ours, all tokens"), ("pruned", "ours, pruned (Dual)")):
        shares = ", ".join(
            f"{seconds[f'{baseline}, {tokens}'] / seconds[name]:.2f}x {baseline}"
            for baseline in ("opacus", "vectorised")
        )
        print(
            f"equal work, {tokens}: faster than {shares}; {seconds[name] / seconds[f'floor, {tokens}']:.2f} times the floor"
        )
    whole = seconds["opacus, all tokens"] / seconds["ours, pruned (Dual)"]
    print(f"Dual on pruned tokens against Opacus on all tokens: {whole:.2f}x (the tokens' part included)")
    ratio = seconds["DPZero loop, all tokens"] / seconds["our DPZero, all tokens"]
    print(f"zeroth order, equal work:      {ratio:.2f}x faster than DPZero's loop")
    print("exact savings, each alone (a gradient step on one seed without it / with all):")
    for name, case in (("all tokens", full), ("pruned", pruned)):
        savings = ("", "last position", "first norm", "projector", "+ cached projections")
        found = interleaved({s: case.without(s) for s in savings}, options.repeats)
        rows = ", ".join(f"{s} {found[s] / found['']:.2f}" for s in savings if s)
        print(f"  {name}: {1e3 * found['']:.1f} ms; {rows}")


if __name__ == "__main__":
    main()
