"""The study's language model: MiniLM against plain loops, the one-query layer, MeZO's two forms, the loop."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from zoflat_plain import plain_layer, plain_norm

from descent.core.checkpoint import FileCheckpoint
from descent.core.context import Context, Need
from descent.core.errors import SettingError
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.core.streams import Streams
from descent.data.presence import present
from descent.papers.zoflat import encode, language, last_layer, snippets
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.in_place import directions
from descent.papers.zoflat.mezo import Direction, buffered, regenerating
from descent.papers.zoflat.room import ROOM
from descent.papers.zoflat.transformer import first_token, layer
from descent.runner.run import perform


def gaussian(seed: int, *shape: int, dtype=torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def small_layer(seed: int, hidden: int = 8, inner: int = 12) -> dict[str, torch.Tensor]:
    shapes = {f"attention.self.{n}": (hidden, hidden) for n in ("query", "key", "value")}
    shapes |= {"attention.output.dense": (hidden, hidden), "intermediate.dense": (inner, hidden)}
    shapes |= {"output.dense": (hidden, inner), "attention.output.LayerNorm": (hidden,), "output.LayerNorm": (hidden,)}
    return {
        f"{name}.{part}": gaussian(seed + 7 * i + j, *(shape if part == "weight" else shape[:1])) / 2
        for i, (name, shape) in enumerate(shapes.items())
        for j, part in enumerate(("weight", "bias"))
    }


def padded(batch: int, tokens: int) -> torch.Tensor:
    """Masks of different lengths, each with at least one real token."""
    return torch.arange(tokens)[None] < torch.arange(batch)[:, None] % tokens + 1


def test_whole_layer_equals_plain_loops():
    p, x, mask = small_layer(1), gaussian(2, 5, 4, 8), padded(5, 4)
    got = layer(x, mask, p, "", heads=2, eps=1e-5)
    numpy = {name: value.numpy() for name, value in p.items()}
    for i in range(5):
        expected = plain_layer(x[i].numpy(), mask[i].numpy(), numpy, 2, 1e-5)
        assert_close(got[i], torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


def test_one_query_equals_the_whole_layer_with_first_and_second_derivatives():
    """Rows have parameters and inputs of their own; values, gradients and Hessian-vector products agree."""
    rows, batch, tokens = 3, 4, 5
    layers = [small_layer(100 * r) for r in range(rows)]
    layout = Layout.of(layers[0])
    flat = torch.stack([layout.join(p) for p in layers]).requires_grad_()
    x, mask, weigh = (
        gaussian(3, rows, batch, tokens, 8),
        padded(batch, tokens).expand(rows, -1, -1),
        gaussian(4, rows, batch, 8),
    )

    def derivatives(outputs):
        value = (torch.tanh(outputs) * weigh).sum()
        (gradient,) = torch.autograd.grad(value, flat, create_graph=True)
        (product,) = torch.autograd.grad(gradient, flat, gaussian(5, *flat.shape))
        return value, gradient, product

    fast = derivatives(first_token(x, mask, layout.split(flat), heads=2, eps=1e-5))
    whole = [
        layer(x[r], mask[r], {n: v[r] for n, v in layout.split(flat).items()}, "", heads=2, eps=1e-5)[:, 0]
        for r in range(rows)
    ]
    assert_close(fast, derivatives(torch.stack(whole)), rtol=1e-9, atol=1e-10)


# MiniLM itself


@pytest.fixture(scope="session")
def minilm():
    if not present("minilm").available:
        pytest.skip(present("minilm").reason)
    pytest.importorskip("tokenizers")
    from descent.data import load

    context = Context(torch.device("cpu"), Streams("zoflat"), {"minilm": load("minilm")})
    return encode.minilm(context, 32)


@pytest.fixture(scope="session")
def movie_snippets():
    if not present("movie_snippets").on_disk:
        pytest.skip("dataset movie_snippets is not fetched: make data")
    from descent.data import load

    return load("movie_snippets")


def test_minilm_equals_plain_loops(minilm):
    """Two texts through all six layers in float64 numpy: the frozen five, and the last one at [CLS] only."""
    ids, real = minilm.tokens(["A thoughtful, moving film.", "dull"])
    assert ids[0, 0] == 101 and ids[1, :3].tolist() == [101, 10634, 102] and real.sum(1).tolist() == [8, 3]
    p = {name: value.double().numpy() for name, value in minilm.parameters.items()}
    frozen = encode.frozen_layers(torch.from_numpy(ids), torch.from_numpy(real), minilm.parameters, minilm)
    own = {n.removeprefix("encoder.layer.5."): v for n, v in minilm.parameters.items() if "layer.5." in n}
    h = first_token(
        frozen[None], torch.from_numpy(real)[None], {n: v[None] for n, v in own.items()}, heads=12, eps=1e-12
    )
    for i in range(2):
        x = p["embeddings.word_embeddings.weight"][ids[i]] + p["embeddings.position_embeddings.weight"][:32]
        x = x + p["embeddings.token_type_embeddings.weight"][0]
        x = plain_norm(x, p["embeddings.LayerNorm.weight"], p["embeddings.LayerNorm.bias"], 1e-12)
        for n in range(6):
            if n == 5:
                assert_close(frozen[i].double()[real[i]], torch.from_numpy(x[real[i]]), rtol=0, atol=2e-5)
            at = f"encoder.layer.{n}."
            x = plain_layer(x, real[i], {k.removeprefix(at): v for k, v in p.items() if k.startswith(at)}, 12, 1e-12)
        assert_close(h[0, i].double(), torch.from_numpy(x[0]), rtol=0, atol=2e-5)


@pytest.mark.parametrize(("seed", "first", "accuracy", "at_50"), [(0, 0.7212, 0.58, 0.0306), (1, 0.6769, None, None)])
def test_losses_of_an_independent_implementation(minilm, movie_snippets, seed, first, accuracy, at_50):
    """K = 16, the split of random.Random(seed): the zero-shot loss, and GD's at eta = 2e-2 after 50 steps."""
    texts = snippets.rated(movie_snippets.texts, movie_snippets["ratings"])
    assert np.bincount(texts.labels).tolist() == [3451, 3628]
    order = list(range(len(texts.labels)))
    random.Random(seed).shuffle(order)
    train, test = snippets.few_shot(texts.labels, np.array(order), 16, 300 if accuracy else 2)
    arrays = {"heads": np.array([12]), "eps": np.array([1e-12])}
    arrays |= {
        n.replace("encoder.layer.5.", "layer/"): v.numpy() for n, v in minilm.parameters.items() if "layer.5." in n
    }
    for name, chosen in (
        ("prompts", encode.PROMPTS),
        ("7/train", [texts.texts[i] for i in train]),
        ("7/test", [texts.texts[i] for i in test]),
    ):
        ids, real = minilm.tokens(chosen)
        hidden = encode.frozen_layers(torch.from_numpy(ids), torch.from_numpy(real), minilm.parameters, minilm)
        arrays |= {f"{name}/hidden": hidden.numpy(), f"{name}/mask": real}
    arrays |= {"7/train/labels": texts.labels[train], "7/test/labels": texts.labels[test]}
    model, x = last_layer.from_arrays(arrays, Variant("gd", {}, {}, (7,)), torch.device("cpu"))
    assert model.layout.size == 1_775_234
    assert model.loss(x).item() == pytest.approx(first, abs=6e-5)
    if accuracy is None:
        return
    assert model.accuracy(x).item() == pytest.approx(accuracy, abs=5e-3)
    for _ in range(50):
        x = x - 2e-2 * model.gradient(x)
    assert model.loss(x).item() == pytest.approx(at_50, abs=2e-4)


# MeZO


def quadratic(x: torch.Tensor, batch=None) -> torch.Tensor:
    return (
        0.1 * (x**2).sum(-1) + (x[:, 0] * x[:, 1]).cos() + (0 if batch is None else batch.to(x.dtype).sum(-1) * x[:, 2])
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_regenerating_and_buffered_forms_and_algorithm_1_give_one_trajectory(dtype, tolerance):
    """50 steps with the same seeds, two rows, and a batch that both losses of a step share."""
    layout = Layout({"a": (3, 2), "b": (5,)})
    start = gaussian(0, 2, layout.size, dtype=dtype)
    tuning = {"step_size": 0.02, "smoothing": 0.01}
    stored, kept = buffered(quadratic, **tuning), start.clone()
    drawn, again = regenerating(quadratic, layout, **tuning), start.clone()
    plain = start.clone()
    for t in range(50):
        seeds, batch = (3 * t, 3 * t + 1), torch.tensor([[t % 3, 1], [0, t % 2]])
        rows = [list(layout.split(row).values()) for row in start]
        u = torch.stack([torch.cat([z.flatten() for z in directions(s, r)]) for s, r in zip(seeds, rows, strict=True)])
        kept = stored(kept, Direction(u, batch))
        again = drawn(again, Direction(seeds, batch))
        c = (quadratic(plain + 0.01 * u, batch) - quadratic(plain - 0.01 * u, batch)) / 0.02
        plain = plain - 0.02 * c[:, None] * u
    assert (plain - start).abs().max() > 0.05, "it moved"
    assert_close(kept, plain, rtol=tolerance, atol=tolerance)
    assert_close(again, plain, rtol=tolerance, atol=tolerance)


def test_regenerating_form_holds_no_direction():
    """Its peak memory over the parameters is a few of its tensors; a direction would be fifty."""
    from descent.toolbox.memory import LiveStorages

    layout = Layout({str(i): (1000,) for i in range(50)})
    x = torch.zeros(1, layout.size)

    def loss(x, batch=None):
        return x.sum(-1)

    def peak(step, source):
        with LiveStorages(held=[x]) as memory:
            step(x, Direction(source()))
        return memory.peak - 4 * layout.size

    tuning = {"step_size": 0.1, "smoothing": 0.1}
    assert peak(regenerating(loss, layout, **tuning), lambda: [3]) < 3 * 4 * 1000
    assert peak(buffered(loss, **tuning), lambda: torch.ones_like(x)) >= 4 * layout.size


def test_bad_settings_are_refused_in_one_sentence():
    with pytest.raises(SettingError, match=r"zo: `smoothing` must lie in \(0, 10\], got 0"):
        buffered(quadratic, step_size=0.1, smoothing=0)
    with pytest.raises(SettingError, match=r"zo: `step_size` must lie in \(0, 10\], got -1"):
        regenerating(quadratic, Layout({"a": (1,)}), step_size=-1, smoothing=0.1)


# Splits and tokens


def test_few_shot_takes_the_first_of_each_class_and_the_last_of_all():
    texts = snippets.rated(["a", "b", "c", "d", "e"], np.array([1.5, -1.49, -1.5, 2.0, -3.0]))
    assert texts.texts == ("a", "c", "d", "e") and texts.labels.tolist() == [1, 0, 1, 0]
    train, test = snippets.few_shot(texts.labels, np.array([2, 0, 3, 1]), 1, 2)
    assert train.tolist() == [3, 2] and test.tolist() == [3, 1]


def test_hashed_tokens_are_framed_cut_and_padded():
    ids, real = snippets.hashed_tokens(["one", "one two three four five"], 5, 50)
    assert ids[0].tolist() == [snippets.CLS, ids[1, 1], snippets.SEP, 0, 0]
    assert ids[1, -1] == snippets.SEP and real[1].all() and real[0].tolist() == [True, True, True, False, False]
    assert ids.max() < 50


# The experiment, on a tiny random encoder


def variant(method: str, experiment: str = "language", seeds=(500, 501, 502), **changes) -> Variant:
    given = {
        "encoder": "tiny", "shots": 3, "tests": 8, "tokens": 9, "steps": 6, "block": 2, "measured": "0,2,5,6", "probes": 3,
        "first_probes": 5, "directions": 2, "step_size": 0.05, **({"smoothing": 0.02} if method == "zo" else {}), **changes,
    }  # fmt: skip
    table = ROOM.allowed(experiment, method)
    return Variant(method, {}, with_defaults(table, table, {k: v for k, v in given.items() if k in table}), seeds)


def job(experiment: str, *variants: Variant) -> Job:
    return Job("zoflat", experiment, "all", "smoke", "train", f"descent.papers.zoflat.{experiment}", (), variants)


@pytest.fixture(scope="module")
def encodings(movie_snippets):
    arrays = perform(job("encode", variant("encode", "encode")), data={"movie_snippets": movie_snippets}).arrays
    return {"encodings": Need(None, arrays)}


def test_every_seed_has_its_own_split_and_the_last_layer_is_kept_once(encodings):
    arrays = encodings["encodings"].arrays
    assert arrays["500/train/hidden"].shape == (6, 9, 32) and arrays["500/test/hidden"].shape == (8, 9, 32)
    assert not np.array_equal(arrays["500/train/hidden"], arrays["501/train/hidden"])
    assert arrays["500/train/labels"].tolist() == [0, 0, 0, 1, 1, 1]
    assert sum(name.startswith("layer/") for name in arrays) == 16


def test_both_methods_start_from_one_model_and_one_estimate(encodings):
    work = job("language", variant("gd"), variant("zo"))
    frame = perform(work, needs=encodings).frame(work)
    first = frame[frame["step"] == 0].pivot(index=["metric", "seed"], columns="method", values="value")
    assert (first["gd"] == first["zo"]).all()
    assert set(frame["step"]) == {0, 2, 5, 6} and (frame["status"] == "ok").all()


def test_traces_against_the_whole_hessian():
    """Hutchinson's number, and the symmetric difference's, on a small model whose Hessian autograd can form."""
    arrays = {f"layer/{name}": value.float().numpy() for name, value in small_layer(1).items()}
    arrays |= {"heads": np.array([2]), "eps": np.array([1e-5])}
    for i, (name, n) in enumerate((("prompts", 2), ("9/train", 6), ("9/test", 3))):
        arrays |= {f"{name}/hidden": gaussian(i, n, 4, 8).float().numpy(), f"{name}/mask": padded(n, 4).numpy()}
        arrays |= {f"{name}/labels": np.arange(n) % 2}
    model, x = last_layer.from_arrays(arrays, Variant("gd", {}, {}, (9,)), torch.device("cpu"))
    hessian = torch.func.hessian(lambda y: model.loss(y[None])[0])(x[0])
    found = language.traces(model, x, torch.tensor([3]), 400, 400, 0.02)
    for name in ("trace", "trace_symmetric"):
        assert abs(found[name] - hessian.trace()) < 4 * found[f"{name}_stderr"], name
        assert found[f"{name}_stderr"] < 0.4 * hessian.trace().abs(), name


def test_every_checkpoint_has_probes_of_its_own(encodings):
    """With steps too small to move, the loss stays and the estimates do not."""
    work = job("language", variant("gd", step_size=1e-12))
    frame = perform(work, needs=encodings).frame(work).query("seed == 500")
    late = frame[frame["step"] > 0]
    assert late.query("metric == 'train_loss'")["value"].nunique() == 1
    for metric in ("trace", "trace_symmetric"):
        assert late[late["metric"] == metric]["value"].nunique() == 3


@pytest.mark.parametrize("regenerate", [False, True])
def test_every_block_and_seed_has_directions_of_its_own(encodings, regenerate):
    zo = variant("zo", regenerate=regenerate)
    model, _ = last_layer.from_arrays(encodings["encodings"].arrays, zo, torch.device("cpu"))
    _, draw = language._method(model, zo, Context(torch.device("cpu"), Streams("zoflat"), {}))

    def sources(k):
        source = draw(k, 2).source
        return (
            [row.tolist()[:4] for step in source for row in step]
            if not regenerate
            else [s for step in source for s in step]
        )

    drawn = [*sources(0), *sources(1)]
    assert len(drawn) == 12 and len({str(source) for source in drawn}) == 12
    assert sources(1) == drawn[6:], "keyed by the block, whenever it is asked for"


@pytest.mark.parametrize("changes", [{}, {"regenerate": True}], ids=["buffered", "regenerating"])
def test_a_seed_does_not_notice_the_others_of_its_batch(encodings, changes):
    """Exactly the same numbers but for float32 rounding, on losses and Hutchinson's traces."""
    work = job("language", variant("zo", **changes))
    alone = job("language", replace(work.variants[0], seeds=(502,)))
    both = [perform(j, needs=encodings).frame(j).query("seed == 502") for j in (work, alone)]
    for metric in ("train_loss", "trace", "test_accuracy"):
        whole, part = (f[f["metric"] == metric]["value"].to_numpy() for f in both)
        np.testing.assert_allclose(whole, part, rtol=2e-3, atol=1e-4)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("changes", [{}, {"regenerate": True}], ids=["buffered", "regenerating"])
def test_killed_and_resumed_gives_the_same_bytes(encodings, changes, tmp_path):
    work = job("language", variant("gd"), variant("zo", **changes))
    whole = perform(work, needs=encodings).frame(work)
    saves = 0

    class Dying(FileCheckpoint):
        def save(self, *args, **kwargs):
            nonlocal saves
            super().save(*args, **kwargs)
            saves += 1
            if saves == 5:  # in ZO's second block: gradient descent is done, three blocks of two steps
                raise Killed

    with pytest.raises(Killed):
        perform(work, needs=encodings, checkpoint=Dying(tmp_path / "c", "k", every=0))
    resumed = perform(work, needs=encodings, checkpoint=FileCheckpoint(tmp_path / "c", "k", every=0))
    assert resumed.frame(work).equals(whole)


def test_minibatches_cover_an_epoch_and_do_not_depend_on_where_a_block_begins():
    batches = language.Batches(Streams("zoflat"), (7, 8), 10, 3)
    drawn = batches.draw(0, 7)
    assert drawn.shape == (7, 2, 3)
    epoch = drawn[:3, 0].flatten().tolist()
    assert len(set(epoch)) == 9 and set(epoch) <= set(range(10))
    assert drawn[:3, 0].flatten().tolist() != drawn[3:6, 0].flatten().tolist()
    assert torch.equal(torch.cat([batches.draw(0, 4), batches.draw(4, 3)]), drawn)
    assert language.Batches(Streams("zoflat"), (7,), 10, 0).draw(0, 3) is None
    assert language.Batches(Streams("zoflat"), (7,), 10, 10).draw(0, 3) is None
