"""zoflat: what a step costs, against the official way, a competent batched baseline and the floor. `python benchmarks/zoflat.py [--quick]`

Same law, float64 (language model: float32), one thread, process CPU time, interleaved, warmed up. Noise is included everywhere.

toy      a step of ZO on the test function, n = 100, of one trajectory; 4 variants (DD, three smoothings) that share directions, 30 seeds.
         (a) the official script's way: one trajectory in NumPy, two losses a step, loss and trace at every step. (b) all variants and
         seeds as axes in NumPy, the slope in closed form, no metrics. (c) the floor of any walk on vectors: the normals alone.
         Ours runs on three numbers a row (docs/papers/zoflat.md), which (b) and (c) do not.
linear   a step of ZO on the SVM, a5a, D = 10000, of one seed; ours: five seeds, its share of the metrics (270 of 10000 steps) included.
         (a) the official way: two losses of the dense 6414 x 10001 matrix, train and test metrics at every step. (b) margins kept, one
         dense product with the direction a step, metrics at 270 steps. (c) for ours: normals, their image, one sparse product.
language a step of ZO on MiniLM's last layer, of one seed. (a) MeZO's way: the direction drawn anew for each of four sweeps, the whole
         layer. (b) the direction kept, restored and updated in one sweep, the whole layer. (c) the normals and the three sweeps.
         Random texts: only shapes matter.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from descent.core.streams import Streams
from descent.data import load
from descent.papers.zoflat.bilinear_reduced import Draw, ReducedBilinear, draws, reduced
from descent.papers.zoflat.features import standardiser
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import shift_
from descent.papers.zoflat.last_layer import Inputs, LastLayer
from descent.papers.zoflat.lifted import LiftedModel, lift
from descent.papers.zoflat.losses import LOSSES
from descent.papers.zoflat.mezo import Direction, buffered
from descent.papers.zoflat.transformer import layer
from descent.papers.zoflat.two_point import walks, zo

STREAMS = Streams("zoflat")


def interleaved(baselines: dict[str, tuple[Callable[[], object], float]], repeats: int) -> dict[str, np.ndarray]:
    """CPU seconds a step of one trajectory: each baseline is (a call, the steps times trajectories that it does)."""
    times: dict[str, list[float]] = {name: [] for name in baselines}
    for round_ in range(repeats + 1):
        for name, (call, share) in baselines.items():
            began = time.process_time()
            call()
            if round_:  # the first warms up
                times[name].append((time.process_time() - began) / share)
    return {name: np.array(values) for name, values in times.items()}


def toy() -> dict[str, tuple[Callable[[], object], float]]:
    n, seeds, block, smoothings = 100, tuple(range(500, 530)), 500, (None, 0.1, 0.05, 0.01)
    start = STREAMS.normal("start", seeds, (2 * n,)).expand(4, -1, -1).clone()
    problem = ReducedBilinear()
    method = walks(problem, step_size=1e-3, smoothings=smoothings)
    state = {"ours": reduced(start), "k": 0, "b": start.numpy().copy()}

    def ours() -> None:
        x = state["ours"]
        with torch.no_grad():
            for noise in zip(*draws(STREAMS, seeds, n, state["k"], block), strict=True):
                x = method.update(x, problem.seen(x, Draw(*noise)))
        state.update(ours=x, k=state["k"] + 1)

    def normals() -> np.ndarray:
        return STREAMS.normal("direction", seeds, (block, 2 * n), state["k"]).numpy()

    squared = np.array([(smoothing or 0.0) ** 2 for smoothing in smoothings])[:, None]

    def batched() -> None:
        x, u = state["b"], normals().transpose(1, 0, 2).copy()
        swapped = np.concatenate([u[..., n:], u[..., :n]], -1)
        products = np.einsum("tsn,tsn->ts", u[..., :n], u[..., n:])
        for t in range(block):
            residual = np.einsum("vsn,vsn->vs", x[..., :n], x[..., n:]) - 1
            c = np.einsum("vsn,sn->vs", x, swapped[t]) * (residual + squared * products[t])
            x -= (1e-3 * c)[..., None] * u[t]

    rng = np.random.default_rng(0)
    one = {"y": rng.standard_normal(n), "z": rng.standard_normal(n)}

    def f(y: np.ndarray, z: np.ndarray) -> float:
        return (y @ z - 1) ** 2 / 2

    def official() -> list:
        y, z, found = one["y"], one["z"], []
        for _ in range(block):
            u, v = rng.standard_normal(n), rng.standard_normal(n)
            c = (f(y + 0.1 * u, z + 0.1 * v) - f(y - 0.1 * u, z - 0.1 * v)) / 0.2
            y, z = y - 1e-3 * c * u, z - 1e-3 * c * v
            found.append((f(y, z), y @ y + z @ z))
        one.update(y=y, z=z)
        return found

    many = block * len(seeds) * len(smoothings)
    return {
        "ours": (ours, many),
        "(a) official": (official, block),
        "(b) batched": (batched, many),
        "(c) normals": (normals, many),
    }


def linear() -> dict[str, tuple[Callable[[], object], float]]:
    seeds = tuple(range(500, 505))
    data = load("a5a")
    raw = [data.dense(split) for split in ("train", "test")]
    labels = [data[f"{split}_labels"].astype(float) for split in ("train", "test")]
    mean, scale = standardiser(raw[0])
    size = (raw[0].shape[1], 10_000)
    drawn = (torch.from_numpy(STREAMS.numpy("lift", s).standard_normal(size)) for s in seeds)
    lifted = lift(torch.from_numpy((raw[0] - mean) / scale), drawn, cholesky=True)
    model = LiftedModel(tuple(raw), tuple(labels), LOSSES["svm"], lifted)
    method = zo(model, step_size=1e-4, smoothing=0.05)
    start = model.images(0.1 * STREAMS.normal("start", seeds, (model.draws,))[None])
    block, share = 500, 270 / 10_000
    state = {"w": model.vector(*(part[0] for part in start)), "k": 0}

    def images() -> object:
        return model.images(STREAMS.normal("direction", seeds, (block, model.draws), state["k"]).transpose(0, 1))

    def ours() -> None:
        w = state["w"]
        for b, z in zip(*images(), strict=True):
            w = method.update(w, model.vector(b, z))
        for _ in range(round(block * share)):
            model.measure(w)
        state.update(w=model.vector(*w.weights), k=state["k"] + 1)

    def floor() -> None:
        for b, z in zip(*images(), strict=True):
            model.train.margins(b, z)

    w = STREAMS.numpy("lift", seeds[0]).standard_normal(size)
    wide = [(x - mean) / scale @ w for x in raw]
    centre, spread = wide[0].mean(0), wide[0].std(0)
    x, x_test = (np.hstack([np.ones((len(part), 1)), (part - centre) / spread]) for part in wide)
    del wide
    y, y_test = labels
    norms, rng = np.einsum("nd,nd->n", x, x), np.random.default_rng(0)
    plain = {"w": 0.1 * rng.standard_normal(10_001)}
    plain["m"] = y * (x @ plain["w"])

    def loss(m: np.ndarray) -> float:
        return float(np.mean(np.maximum(0, 1 - m) ** 2))

    def metrics(m: np.ndarray, w: np.ndarray) -> tuple:
        m_test = y_test * (x_test @ w)
        return loss(m), 2 / len(y) * norms[m < 1].sum(), np.mean(m >= 0), loss(m_test), np.mean(m_test >= 0)

    def official() -> tuple:
        w, u = plain["w"], rng.standard_normal(10_001)
        c = (loss(y * (x @ (w + 0.05 * u))) - loss(y * (x @ (w - 0.05 * u)))) / 0.1
        w = w - 1e-4 * c * u
        return metrics(y * (x @ w), w)

    steps = 4

    def dense() -> None:
        for _ in range(steps):
            w, m, u = plain["w"], plain["m"], rng.standard_normal(10_001)
            dm = y * (x @ u)
            c = (loss(m + 0.05 * dm) - loss(m - 0.05 * dm)) / 0.1
            plain.update(w=w - 1e-4 * c * u, m=m - 1e-4 * c * dm)

    many = block * len(seeds)
    return {
        "ours": (ours, many),
        "(a) official": (official, 1),
        "(b) one product": (dense, steps),
        "(c) floor": (floor, many),
    }


def language() -> dict[str, tuple[Callable[[], object], float]]:
    hidden, inner, batch, tokens = 384, 1536, 32, 32
    shapes = {f"attention.self.{name}.weight": (hidden, hidden) for name in ("query", "key", "value")}
    shapes |= {"attention.output.dense.weight": (hidden, hidden), "intermediate.dense.weight": (inner, hidden)}
    shapes |= {"output.dense.weight": (hidden, inner), "attention.output.LayerNorm.weight": (hidden,)}
    shapes |= {"output.LayerNorm.weight": (hidden,), "head.weight": (2, hidden)}
    shapes |= {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items()}
    layout, draw = Layout(shapes), torch.Generator().manual_seed(0)
    x = 0.05 * torch.randn(1, layout.size, generator=draw)
    real = torch.ones(1, batch, tokens, dtype=torch.bool)
    cached = Inputs(torch.randn(1, batch, tokens, hidden, generator=draw), real, torch.arange(batch)[None] % 2)
    model = LastLayer(layout, cached, cached, heads=12, eps=1e-12)
    step = buffered(model.loss, step_size=2e-3, smoothing=1e-2)
    mine, other, kept, bare = x.clone(), [t.clone() for t in layout.split(x[0]).values()], x[0].clone(), x.clone()

    def whole(p: dict[str, torch.Tensor]) -> torch.Tensor:
        h = layer(cached.hidden[0], cached.mask[0], p, "", heads=12, eps=1e-12)[:, 0]
        return cross_entropy(h @ p["head.weight"].T + p["head.bias"], cached.labels[0])

    @torch.no_grad()
    def ours() -> None:
        step(mine, Direction(torch.randn(1, layout.size, generator=draw)))

    @torch.no_grad()
    def official() -> None:
        seed, p = int(torch.randint(2**62, (), generator=draw)), dict(zip(layout.shapes, other, strict=True))
        shift_(other, seed, 1e-2)
        above = whole(p)
        shift_(other, seed, -2e-2)
        below = whole(p)
        shift_(other, seed, 1e-2)
        shift_(other, seed, -2e-3 * (above - below) / 2e-2)

    @torch.no_grad()
    def stored() -> None:
        u = torch.randn(layout.size, generator=draw)
        above = whole(layout.split(kept.add_(u, alpha=1e-2)))
        below = whole(layout.split(kept.add_(u, alpha=-2e-2)))
        kept.addcmul_(u, 1e-2 - 2e-3 * (above - below) / 2e-2)

    @torch.no_grad()
    def floor() -> None:
        u = torch.randn(1, layout.size, generator=draw)
        for scale in (1e-2, -2e-2, 1e-2):
            bare.add_(u, alpha=scale)

    return {
        "ours": (ours, 1),
        "(a) official": (official, 1),
        "(b) kept": (stored, 1),
        "(c) normals, sweeps": (floor, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three blocks instead of nine")
    parser.add_argument("--only", choices=("toy", "linear", "language"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    repeats = 3 if options.quick else 9
    print(
        f"zoflat, commit {commit or '?'}; {platform.system()} {platform.machine()}, torch {torch.__version__}, one thread, {repeats} blocks"
    )
    print(
        f"{'CPU microseconds a step of one trajectory':44}{'median':>12}{'least':>12}{'largest':>12}{'over ours':>26}"
    )
    for build in (toy, language, linear):
        if options.only in (None, build.__name__):
            found = interleaved(build(), repeats)
            for name, values in found.items():
                ratio = values / found["ours"]
                print(
                    f"{f'{build.__name__}: {name}':44}{1e6 * np.median(values):12.3f}{1e6 * values.min():12.3f}{1e6 * values.max():12.3f}"
                    f"{np.median(ratio):10.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
                )


if __name__ == "__main__":
    main()
