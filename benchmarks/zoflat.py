"""What a step costs here, and in the plain loop that one would write first. `python benchmarks/zoflat.py [--quick]`

Same data, same law, float64 (language model: float32), one thread, process CPU time, rivals interleaved, medians:

linear   ZO on the SVM, a5a, D = 10000. Ours: the exact reduction, five seeds side by side, metrics at about 270 of 10000 steps
         (their share is included). Plain: numpy, one seed, the dense 6414 x 10001 matrix, two losses a step, and train and
         test metrics at every step, as the official code does.
toy      ZO on the test function, n = 100. Ours: 10 seeds x 4 variants in one program. Plain: numpy, one trajectory, two losses
         a step, loss and trace at every step.
language ZO on MiniLM's last layer. Ours: [CLS] alone, the direction kept. Plain: the whole layer, the direction regenerated for
         each of four sweeps. Random texts: only shapes matter.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from descent.core.streams import Streams
from descent.data import load
from descent.papers.zoflat.bilinear import Bilinear, direction
from descent.papers.zoflat.features import standardiser
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import shift_
from descent.papers.zoflat.last_layer import Inputs, LastLayer
from descent.papers.zoflat.lifted import LiftedModel, lift
from descent.papers.zoflat.losses import LOSSES
from descent.papers.zoflat.mezo import Direction, buffered
from descent.papers.zoflat.transformer import layer
from descent.papers.zoflat.two_point import random_walk, zo

STREAMS = Streams("zoflat")
SEEDS = tuple(range(500, 505))


def timed(call: Callable[[], object]) -> float:
    """CPU seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def interleaved(ours: Callable[[], object], plain: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median CPU seconds of each."""
    ours(), plain()
    pairs = [(timed(ours), timed(plain)) for _ in range(repeats)]
    return tuple(float(np.median(column)) for column in zip(*pairs, strict=True))


def linear(repeats: int) -> None:
    data = load("a5a")
    raw, labels = (
        [data.dense(s) for s in ("train", "test")],
        [data[f"{s}_labels"].astype(float) for s in ("train", "test")],
    )
    mean, scale = standardiser(raw[0])
    size = (raw[0].shape[1], 10_000)

    def build() -> LiftedModel:
        draws = (torch.from_numpy(STREAMS.numpy("lift", s).standard_normal(size)) for s in SEEDS)
        lifted = lift(torch.from_numpy((raw[0] - mean) / scale), draws, cholesky=True)
        return LiftedModel(tuple(raw), tuple(labels), LOSSES["svm"], lifted)

    def build_dense() -> list[np.ndarray]:
        w = STREAMS.numpy("lift", SEEDS[0]).standard_normal(size)
        train, test = ((x - mean) / scale @ w for x in raw)
        centre, spread = train.mean(0), train.std(0)
        for x in (train, test):
            x -= centre
            x /= spread
        return [np.hstack([np.ones((len(x), 1)), x]) for x in (train, test)]

    held: list = []
    setup, setup_dense = timed(lambda: held.append(build())), timed(lambda: held.append(build_dense()))
    model, (x, x_test) = held
    method = zo(model, step_size=1e-4, smoothing=0.05)
    start = model.images(0.1 * STREAMS.normal("start", SEEDS, (model.draws,))[None])
    block, measured = 500, 270 / 10_000
    state = {"w": model.vector(*(part[0] for part in start)), "k": 0}

    def ours() -> None:
        """A block of 500 steps with its noise, and its share of the metrics."""
        noise = STREAMS.normal("direction", SEEDS, (block, model.draws), state["k"])
        w = state["w"]
        for b, z in zip(*model.images(noise.transpose(0, 1)), strict=True):
            w = method.update(w, model.vector(b, z))
        for _ in range(round(block * measured)):
            model.measure(w)
        state.update(w=model.vector(*w.weights), k=state["k"] + 1)

    rng = np.random.default_rng(0)
    plain_state = {"w": 0.1 * rng.standard_normal(10_001)}
    y, y_test = labels
    norms = np.einsum("nd,nd->n", x, x)

    def loss(w: np.ndarray) -> float:
        return float(np.mean(np.maximum(0, 1 - y * (x @ w)) ** 2))

    def plain() -> tuple:
        """One step and its metrics."""
        w = plain_state["w"]
        u = rng.standard_normal(len(w))
        c = (loss(w + 0.05 * u) - loss(w - 0.05 * u)) / 0.1
        w = plain_state["w"] = w - 1e-4 * c * u
        m, m_test = y * (x @ w), y_test * (x_test @ w)
        found = np.mean(np.maximum(0, 1 - m) ** 2), 2 / len(y) * norms[m < 1].sum(), np.mean(m >= 0)
        return *found, np.mean(np.maximum(0, 1 - m_test) ** 2), np.mean(m_test >= 0)

    fast, slow = interleaved(ours, plain, repeats)
    row("linear, a step of one seed", fast / block / len(SEEDS), slow)
    total, total_dense = setup / len(SEEDS) + 10_000 * fast / block / len(SEEDS), setup_dense + 10_000 * slow
    row("linear, 10000 steps of one seed with setup", total, total_dense)


def toy(repeats: int) -> None:
    n, seeds, block = 100, tuple(range(500, 510)), 500
    problem = Bilinear()
    method = random_walk(problem, 1e-3, torch.tensor([0.0, 0.1, 0.05, 0.01], dtype=torch.float64)[:, None])
    state = {"x": STREAMS.normal("start", seeds, (2 * n,)).expand(4, 10, -1).clone(), "k": 0}

    def ours() -> None:
        noise = direction(STREAMS.normal("direction", seeds, (block, 2 * n), state["k"]).transpose(0, 1).contiguous())
        x = state["x"]
        for u in zip(*noise, strict=True):
            x = method.update(x, type(noise)(*u))
        state.update(x=x, k=state["k"] + 1)

    rng = np.random.default_rng(0)
    plain_state = {"y": rng.standard_normal(n), "z": rng.standard_normal(n)}

    def f(y: np.ndarray, z: np.ndarray) -> float:
        return (y @ z - 1) ** 2 / 2

    def plain() -> list:
        y, z = plain_state["y"], plain_state["z"]
        found = []
        for _ in range(block):
            u, v = rng.standard_normal(n), rng.standard_normal(n)
            c = (f(y + 0.1 * u, z + 0.1 * v) - f(y - 0.1 * u, z - 0.1 * v)) / 0.2
            y, z = y - 1e-3 * c * u, z - 1e-3 * c * v
            found.append((f(y, z), y @ y + z @ z))
        plain_state.update(y=y, z=z)
        return found

    fast, slow = interleaved(ours, plain, repeats)
    row("toy, a step of one trajectory", fast / block / 40, slow / block)


def language(repeats: int) -> None:
    hidden, inner, batch, tokens = 384, 1536, 32, 32
    shapes = {f"attention.self.{name}.weight": (hidden, hidden) for name in ("query", "key", "value")}
    shapes |= {"attention.output.dense.weight": (hidden, hidden), "intermediate.dense.weight": (inner, hidden)}
    shapes |= {"output.dense.weight": (hidden, inner), "attention.output.LayerNorm.weight": (hidden,)}
    shapes |= {"output.LayerNorm.weight": (hidden,), "head.weight": (2, hidden)}
    shapes |= {name.replace("weight", "bias"): shape[:1] for name, shape in shapes.items()}
    layout = Layout(shapes)
    draw = torch.Generator().manual_seed(0)
    x = 0.05 * torch.randn(1, layout.size, generator=draw)
    cached = Inputs(
        torch.randn(1, batch, tokens, hidden, generator=draw),
        torch.ones(1, batch, tokens, dtype=torch.bool),
        torch.arange(batch)[None] % 2,
    )
    model = LastLayer(layout, cached, cached, heads=12, eps=1e-12)
    step = buffered(model.loss, step_size=2e-3, smoothing=1e-2)
    mine, other = x.clone(), [t.clone() for t in layout.split(x[0]).values()]

    def ours() -> None:
        with torch.no_grad():
            step(mine, Direction(torch.randn(1, layout.size, generator=draw)))

    def whole() -> torch.Tensor:
        p = dict(zip(layout.shapes, other, strict=True))
        h = layer(cached.hidden[0], cached.mask[0], p, "", heads=12, eps=1e-12)[:, 0]
        return cross_entropy(h @ p["head.weight"].T + p["head.bias"], cached.labels[0])

    def plain() -> None:
        seed = int(torch.randint(2**62, (), generator=draw))
        with torch.no_grad():
            shift_(other, seed, 1e-2)
            above = whole()
            shift_(other, seed, -2e-2)
            below = whole()
            shift_(other, seed, 1e-2)
            shift_(other, seed, -2e-3 * (above - below) / 2e-2)

    fast, slow = interleaved(ours, plain, repeats)
    row("language, a step", fast, slow)


def row(what: str, ours: float, plain: float) -> None:
    print(f"{what:45} {1e3 * ours:14.4f} {1e3 * plain:14.3f} {plain / ours:11.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three repeats instead of ten")
    repeats = 3 if parser.parse_args().quick else 10
    torch.set_num_threads(1)
    print(f"{'CPU milliseconds, one thread':45} {'ours':>14} {'plain':>14} {'ratio':>11}")
    toy(repeats)
    language(repeats)
    linear(repeats)
