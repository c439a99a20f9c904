"""Every experiment on a tiny job against a plain loop written here from the method's description: which step each method takes, at
which settings, on which draws, and what is recorded when. Nothing of the room is used but the job under test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_zoflat_experiments import job, linear_job, small, toy_job, variant
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from descent.core.context import Need
from descent.core.streams import Streams
from descent.runner.run import perform
from descent.toolbox.counter import normals, signs, subkey, words

STREAMS = Streams("zoflat")
__all__ = ["small"]  # a fixture


def own(frame, method, seed, metric, **axes):
    """step -> value."""
    rows = frame[(frame["method"] == method) & (frame["seed"] == seed) & (frame["metric"] == metric)]
    for name, value in axes.items():
        rows = rows[rows[name] == value]
    return dict(zip(rows["step"], rows["value"], strict=True))


# The test function


def explicit_direction(y, z, seven):
    """(u_y, u_z) in R^n x R^n that have the drawn coordinates in the plane of y and z, and beyond it the drawn lengths."""
    y1, y2, z1, z2, cross, beyond_y, beyond_z = seven
    e1 = y / np.linalg.norm(y)
    e2 = z - (z @ e1) * e1
    e2 = e2 / np.linalg.norm(e2)
    beyond = np.random.default_rng(0).standard_normal((2, len(y)))
    basis = np.linalg.qr(np.stack([e1, e2, *beyond]).T)[0]
    f1, f2 = basis[:, 2], basis[:, 3]
    u_y = y1 * e1 + y2 * e2 + np.sqrt(beyond_y) * f1
    return u_y, z1 * e1 + z2 * e2 + cross * f1 + np.sqrt(beyond_z) * f2


@pytest.mark.parametrize("seed", [500, 501])
def test_toy(seed):
    """ZO by two losses, DD by the gradient, GD, in R^8; blocks of seven steps; ZO's losses at its last five steps."""
    work = toy_job()
    frame = perform(work).frame(work)
    start = STREAMS.normal("start", (seed,), (8,))[0].numpy()
    drawn = []
    for k, count in enumerate([7] * 8 + [4]):
        generator = STREAMS.numpy("direction", seed, k)
        drawn += list(np.concatenate([generator.standard_normal((5, count)), [generator.chisquare(2, count)], [generator.chisquare(1, count)]]).T)  # fmt: skip

    def f(y, z):
        return (y @ z - 1) ** 2 / 2

    for method, smoothing, eta, steps in (
        ("gd", None, 0.05, 30),
        ("dd", None, 0.01, 60),
        ("zo", 0.3, 0.01, 60),
        ("zo", 0.1, 0.01, 60),
    ):
        y, z = start[:4].copy(), start[4:].copy()
        losses, traces = {0: f(y, z)}, {0: y @ y + z @ z}
        for t in range(steps):
            r = y @ z - 1
            if method == "gd":
                y, z = y - eta * r * z, z - eta * r * y
            else:
                u, v = explicit_direction(y, z, drawn[t])
                c = r * (z @ u + y @ v)
                if method == "zo":
                    c = (f(y + smoothing * u, z + smoothing * v) - f(y - smoothing * u, z - smoothing * v)) / (
                        2 * smoothing
                    )
                y, z = y - eta * c * u, z - eta * c * v
            losses[t + 1], traces[t + 1] = f(y, z), y @ y + z @ z
        axes = {"smoothing": smoothing} if method == "zo" else {}
        got_loss, got_trace = (own(frame, method, seed, metric, **axes) for metric in ("train_loss", "trace"))
        assert got_loss == pytest.approx({t: losses[t] for t in got_loss}, rel=1e-6, abs=1e-12), (method, smoothing)
        assert got_trace == pytest.approx({t: traces[t] for t in got_trace}, rel=1e-9)
        assert set(got_loss) == set(got_trace) | set(range(steps - 4, steps + 1)) and {0, 1, 20, steps} <= set(
            got_trace
        )
        assert len(got_trace) < 14, "a log grid of nine points, the start and the reference step"


# The linear models


def lifted(toy_data, w):
    """Both splits standardised by the training rows, lifted, standardised again, with a column of ones."""
    (train, test), _ = toy_data
    scale = train.std(0)
    scale[scale == 0] = 1
    a, b = (((x - train.mean(0)) / scale) @ w for x in (train, test))
    return [np.hstack([np.ones((len(x), 1)), (x - a.mean(0)) / a.std(0)]) for x in (a, b)]


class PlainModel:
    def __init__(self, kind, toy_data, w):
        self.kind, (self.x, self.x_test), (_, (self.y, self.y_test)) = kind, lifted(toy_data, w), toy_data

    def mean_loss(self, m):
        return np.mean(np.maximum(0, 1 - m) ** 2) if self.kind == "svm" else np.mean(np.log1p(np.exp(-m)))

    def loss(self, w):
        return self.mean_loss(self.y * (self.x @ w))

    def gradient(self, w):
        m = self.y * (self.x @ w)
        pull = -2 * np.maximum(0, 1 - m) if self.kind == "svm" else -1 / (1 + np.exp(m))
        return self.x.T @ (pull * self.y) / len(m)

    def metrics(self, w):
        score, score_test = self.x @ w, self.x_test @ w
        m, p = self.y * score, 1 / (1 + np.exp(-score))
        curvature = 2.0 * (m < 1) if self.kind == "svm" else p * (1 - p)
        return {
            "train_loss": self.loss(w), "trace": np.mean(curvature * (self.x**2).sum(1)),
            "train_accuracy": np.mean((score >= 0) == (self.y > 0)),
            "test_loss": self.mean_loss(self.y_test * score_test),
            "test_accuracy": np.mean((score_test >= 0) == (self.y_test > 0)),
        }  # fmt: skip


def plain_run(model, method, w, directions, eta, *, smoothing=None, radius=None):
    """Metrics at every step."""
    found = [model.metrics(w)]
    for u in directions:
        if method == "gd":
            w = w - eta * model.gradient(w)
        elif method == "sam":
            g = model.gradient(w)
            w = w - eta * model.gradient(w + radius * g / (np.linalg.norm(g) + 1e-12))
        elif method == "dd":
            w = w - eta * (model.gradient(w) @ u) * u
        else:
            w = w - eta * (model.loss(w + smoothing * u) - model.loss(w - smoothing * u)) / (2 * smoothing) * u
        found.append(model.metrics(w))
    return found


def draws_of(seed, size, steps, block):
    return np.concatenate(
        [STREAMS.normal("direction", (seed,), (min(block, steps - first), size), k)[0].numpy()
         for k, first in enumerate(range(0, steps, block))]
    )  # fmt: skip


def widened(small_draws, toy_data, w):
    """Normals (T, 1 + 6) of the reduced model as weights (T, 10) that the data cannot tell from them: A w' = L g."""
    (train, _), _ = toy_data
    scale = train.std(0)
    scale[scale == 0] = 1
    x = (train - train.mean(0)) / scale
    a = w / (x @ w).std(0)
    m = a @ a.T
    back = a.T @ np.linalg.solve(m, np.linalg.cholesky(m))
    return np.hstack([small_draws[:, :1], small_draws[:, 1:] @ back.T])


@pytest.mark.parametrize("kind", ["svm", "logistic"])
@pytest.mark.parametrize("path", ["cholesky", "lift", "explicit"])
def test_linear_models(kind, path, small, toy_data):
    """All four methods, both seeds, every recorded metric at every recorded step, from all ten weights."""
    work = linear_job(model=kind, path=path)
    frame = perform(work, data=small).frame(work)
    assert set(frame["step"]) >= {0, 1, 2, 3, 4, 5, 38, 39, 40} and len(set(frame["step"])) < 41
    for seed in (500, 501):
        w = STREAMS.numpy("lift", seed).standard_normal((6, 9))
        model = PlainModel(kind, toy_data, w)
        size = 7 if path == "cholesky" else 10
        start, directions = 0.1 * STREAMS.normal("start", (seed,), (size,)).numpy(), draws_of(seed, size, 40, 7)
        if path == "cholesky":
            start, directions = widened(start, toy_data, w), widened(directions, toy_data, w)
        for method, tuning in (("gd", {}), ("zo", {"smoothing": 0.05}), ("dd", {}), ("sam", {"radius": 0.1})):
            plain = plain_run(model, method, start[0], directions, 1e-2, **tuning)
            for metric in plain[0]:
                got = own(frame, method, seed, metric)
                assert got == pytest.approx({t: plain[t][metric] for t in got}, rel=1e-6, abs=1e-9), (method, metric)


def test_grid(small, toy_data):
    """The factors multiply ZO's two settings and nothing else."""
    scaled = variant("grid", "zo", model="svm", data="small", features=9, steps=9, step_size=0.01, smoothing=0.2,
                     step_factor=2.0, smoothing_factor=0.5, path="explicit", block=4)  # fmt: skip
    work = job("grid", scaled)
    frame = perform(work, data=small).frame(work)
    w = STREAMS.numpy("lift", 500).standard_normal((6, 9))
    start = 0.1 * STREAMS.normal("start", (500,), (10,))[0].numpy()
    plain = plain_run(PlainModel("svm", toy_data, w), "zo", start, draws_of(500, 10, 9, 4), 0.02, smoothing=0.1)
    got = own(frame, "zo", 500, "trace")
    assert got == pytest.approx({t: plain[t]["trace"] for t in got}, rel=1e-9) and max(got) == 9


# The language model


class PlainClassifier(nn.Module):
    """torch's own transformer layer and a linear head on its first token."""

    def __init__(self, arrays, seed):
        super().__init__()
        p = {
            name.removeprefix("layer/"): torch.from_numpy(a).double()
            for name, a in arrays.items()
            if name.startswith("layer/")
        }
        self.names = [*p, "head.weight", "head.bias"]
        hidden, inner = p["intermediate.dense.weight"].shape[::-1]
        self.heads, self.eps, self.hidden, self.inner = int(arrays["heads"]), float(arrays["eps"]), hidden, inner
        self.data = {
            split: tuple(torch.from_numpy(arrays[f"{seed}/{split}/{part}"]) for part in ("hidden", "mask", "labels"))
            for split in ("train", "test")
        }
        feature = self.features(p, *(torch.from_numpy(arrays[f"prompts/{part}"]) for part in ("hidden", "mask")))
        centred = feature - feature.mean(0)
        head = centred / centred.norm(dim=1, keepdim=True)
        p |= {"head.weight": head, "head.bias": torch.zeros(2, dtype=torch.float64)}
        self.shapes = [p[name].shape for name in self.names]
        self.start = torch.cat([p[name].flatten() for name in self.names])

    def features(self, p, x, mask):
        layer = nn.TransformerEncoderLayer(
            self.hidden, self.heads, self.inner, dropout=0.0, activation="gelu", layer_norm_eps=self.eps, batch_first=True, dtype=torch.float64
        )  # fmt: skip
        given = {
            "self_attn.in_proj_weight": torch.cat([p[f"attention.self.{n}.weight"] for n in ("query", "key", "value")]),
            "self_attn.in_proj_bias": torch.cat([p[f"attention.self.{n}.bias"] for n in ("query", "key", "value")]),
        }
        for theirs, ours in (("self_attn.out_proj", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"),
                             ("linear1", "intermediate.dense"), ("linear2", "output.dense"), ("norm2", "output.LayerNorm")):  # fmt: skip
            given |= {f"{theirs}.{part}": p[f"{ours}.{part}"] for part in ("weight", "bias")}
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
            return torch.func.functional_call(layer, given, (x.double(),), {"src_key_padding_mask": ~mask})[:, 0]

    def scores(self, flat, split):
        parts = flat.split([shape.numel() for shape in self.shapes])
        p = {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        return self.features(p, *self.data[split][:2]) @ p["head.weight"].T + p["head.bias"]

    def loss(self, flat):
        logs = self.scores(flat, "train").log_softmax(-1)
        return -logs[range(len(logs)), self.data["train"][2]].mean()

    def gradient(self, flat):
        leaf = flat.detach().requires_grad_()
        return torch.autograd.grad(self.loss(leaf), leaf)[0]

    def metrics(self, flat, step, seed, probes, directions, delta):
        key = subkey(torch.tensor(STREAMS.entropy("probe", seed) % 2**63), step)
        bits, base, forms, one, two = words(subkey(key, 1, 0), len(flat)), self.loss(flat), [], [], []
        leaf = flat.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(self.loss(leaf), leaf, create_graph=True)
        for i in range(probes):
            v = signs(bits, i, torch.float64)
            forms.append(float(v @ torch.autograd.grad(gradient, leaf, v, retain_graph=True)[0]))
        for i in range(directions):
            u = normals(subkey(key, 2, i), len(flat)).double()
            above, below = float(self.loss(flat + delta * u) - base), float(self.loss(flat - delta * u) - base)
            one.append(2 * above / delta**2)
            two.append((above + below) / delta**2)
        right = (self.scores(flat, "test").argmax(-1) == self.data["test"][2]).double().mean()
        found = {"train_loss": float(base), "test_accuracy": float(right)}
        for name, values in (("trace", forms), ("trace_official", one), ("trace_symmetric", two)):
            found |= {name: np.mean(values), f"{name}_stderr": np.std(values, ddof=1) / len(values) ** 0.5}
        return found


@pytest.fixture(scope="module")
def language_arrays():
    from descent.data import load
    from descent.data.presence import present

    if not present("movie_snippets").on_disk:
        pytest.skip("dataset movie_snippets is not fetched: make data")
    data = load("movie_snippets")
    work = job("encode", variant("encode", "encode", encoder="tiny", shots=3, tests=8, tokens=9))
    done = perform(work, data={"movie_snippets": data})
    return data, done.frame(work), done.arrays


def test_encode(language_arrays):
    """Strong ratings only, the class its sign; the first three of each class in the seed's order train, its last eight test."""
    data, frame, arrays = language_arrays
    kept = [(text, rating > 0) for text, rating in zip(data.texts, data["ratings"], strict=True) if abs(rating) >= 1.5]
    for seed in (500, 501):
        order = STREAMS.numpy("split", seed).permutation(len(kept))
        chosen = [kept[i] for i in order]
        train = [c for c in chosen if not c[1]][:3] + [c for c in chosen if c[1]][:3]
        for split, texts in (("train", train), ("test", chosen[-8:])):
            lengths = [min(len(text.split()), 7) + 2 for text, _ in texts]
            assert arrays[f"{seed}/{split}/mask"].sum(1).tolist() == lengths
            assert arrays[f"{seed}/{split}/labels"].tolist() == [int(positive) for _, positive in texts]
            if split == "train":
                assert own(frame, "encode", seed, "tokens") == {0: pytest.approx(np.mean(lengths))}


CASES = {
    "gd": ("gd", {"step_size": 0.3}),
    "gd, clipped": ("gd", {"step_size": 0.3, "clip_norm": 0.2}),
    "zo": ("zo", {}),
    "zo, regenerated": ("zo", {"regenerate": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_language(case, language_arrays):
    """Six steps in blocks of two from the zero-shot head; metrics at 0, 2, 5 and 6, five probes at the start and three later."""
    method, changes = CASES[case]
    given = {"encoder": "tiny", "steps": 6, "block": 2, "measured": "0,2,5,6", "probes": 3, "first_probes": 5, "directions": 2,
             "delta": 0.05, "step_size": 0.01, "smoothing": 0.02, **changes}  # fmt: skip
    work = job("language", variant("language", method, **given))
    arrays = language_arrays[2]
    frame = perform(work, needs={"encodings": Need(None, arrays)}).frame(work)
    for seed in (500, 501):
        model = PlainClassifier(arrays, seed)
        x, size = model.start, len(model.start)
        assert own(frame, method, seed, "parameters") == {0: size}
        recorded = {0: model.metrics(x, 0, seed, 5, 2, 0.05)}
        for t in range(6):
            if method == "gd":
                g = model.gradient(x)
                longest = changes.get("clip_norm")
                x = x - 0.3 * (g * min(1, longest / float(g.norm())) if longest else g)
            else:
                if changes:
                    source = int(STREAMS.numpy("direction", seed, t // 2).integers(2**62, size=2)[t % 2])
                    generator = torch.Generator().manual_seed(source)
                    u = torch.cat(
                        [torch.randn(shape, generator=generator).flatten() for shape in model.shapes]
                    ).double()
                else:
                    u = STREAMS.normal("direction", (seed,), (2, size), t // 2, dtype=torch.float32)[0, t % 2].double()
                with torch.no_grad():
                    x = x - 0.01 * (model.loss(x + 0.02 * u) - model.loss(x - 0.02 * u)) / 0.04 * u
            if t + 1 in (2, 5, 6):
                recorded[t + 1] = model.metrics(x, t + 1, seed, 3, 2, 0.05)
        assert (x - model.start).norm() > 0.02, "it moved"
        for metric in recorded[0]:
            got = own(frame, method, seed, metric)
            expected = {t: values[metric] for t, values in recorded.items()}
            scale = max(abs(v) for v in expected.values())
            assert got == pytest.approx(expected, rel=5e-3, abs=5e-3 * scale), metric
