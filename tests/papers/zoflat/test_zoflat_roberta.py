"""RoBERTa at the paper's scale, on a tiny random checkpoint in the published layout that the test writes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from zoflat_plain import plain_gelu, plain_layer, plain_norm

from descent.core.context import Need
from descent.core.errors import DataError
from descent.core.job import Job, Variant
from descent.core.settings import with_defaults
from descent.papers.zoflat import fewshot, roberta
from descent.papers.zoflat.room import ROOM
from descent.runner.run import perform

pytest.importorskip("tokenizers", reason="prompts are tokenised where `tokenizers` is installed")

WORDS = [
    "terrible",
    "great",
    "bad",
    "okay",
    "good",
    "Description",
    "Entity",
    "Expression",
    "Human",
    "Location",
    "Number",
]
LAYERS, HEADS, HIDDEN, INNER = 2, 2, 8, 12


def word_pieces() -> tuple[dict[str, int], list[str]]:
    """A byte-level vocabulary in which the prompts' words are single tokens, with the merges that build them."""
    from tokenizers import pre_tokenizers

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = []
    for word in (*WORDS, "It", "was"):
        built = "Ġ"
        for letter in word:
            merges.append(f"{built} {letter}")
            built += letter
            tokens.append(built)
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}, list(dict.fromkeys(merges))


@pytest.fixture
def checkpoint(tmp_path):
    """A folder like roberta-large's, small: config.json, vocab.json, merges.txt and model.safetensors."""
    folder = tmp_path / "roberta"
    folder.mkdir()
    vocabulary, merges = word_pieces()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = {
        "model_type": "roberta", "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": HIDDEN,
        "layer_norm_eps": 1e-5, "pad_token_id": 1, "hidden_act": "gelu", "vocab_size": len(vocabulary),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", random_parameters(len(vocabulary)))
    return folder


def random_parameters(vocabulary: int) -> dict[str, np.ndarray]:
    """As published: `roberta.` before the encoder's names, and entries that are not parameters of ours."""
    sizes = {"word": vocabulary, "position": 40, "token_type": 1}
    shapes = {f"roberta.embeddings.{kind}_embeddings.weight": (n, HIDDEN) for kind, n in sizes.items()}
    for i in range(LAYERS):
        at = f"roberta.encoder.layer.{i}."
        for name, shape in {
            "attention.self.query": (HIDDEN, HIDDEN), "attention.self.key": (HIDDEN, HIDDEN),
            "attention.self.value": (HIDDEN, HIDDEN), "attention.output.dense": (HIDDEN, HIDDEN),
            "intermediate.dense": (INNER, HIDDEN), "output.dense": (HIDDEN, INNER),
            "attention.output.LayerNorm": (HIDDEN,), "output.LayerNorm": (HIDDEN,),
        }.items():  # fmt: skip
            shapes[f"{at}{name}.weight"], shapes[f"{at}{name}.bias"] = shape, shape[:1]
    for name, shape in {
        "roberta.embeddings.LayerNorm": (HIDDEN,),
        "lm_head.layer_norm": (HIDDEN,),
        "lm_head.dense": (HIDDEN, HIDDEN),
    }.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, shape[:1]
    shapes |= {"lm_head.bias": (vocabulary,), "roberta.pooler.dense.weight": (HIDDEN, HIDDEN)}
    rng = np.random.default_rng(3)
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def write_safetensors(path, arrays):
    from safetensors.numpy import save_file

    save_file(arrays, str(path))


@pytest.fixture
def texts(tmp_path):
    """LM-BFF's `original` folder with a few lines a task."""
    folder = tmp_path / "original"
    for task in ("SST-2", "sst-5", "trec"):
        (folder / task).mkdir(parents=True)
    lines = [f"film {i} was {'great' if i % 2 else 'bad'}\t{i % 2}" for i in range(30)]
    for split in ("train", "dev"):
        (folder / "SST-2" / f"{split}.tsv").write_text("sentence\tlabel\n" + "\n".join(lines) + "\n")
    for task, classes in (("sst-5", 5), ("trec", 6)):
        rows = "\n".join(f'{i % classes},"what, is text {i} ?"' for i in range(48))
        for split in ("train", "test"):
            (folder / task / f"{split}.csv").write_text(rows + "\n")
    return folder


def settings(checkpoint, texts, task="sst2", **changes):
    return {
        "task": task, "shots": 3, "data_seed": 42, "tokens": 24, "text_dir": str(texts), "checkpoint_dir": str(checkpoint),
        **changes,
    }  # fmt: skip


def plain_logits(p, ids, at, words):
    """One prompt without padding, in loops: published formulas, one head and one query at a time."""
    p = {name.removeprefix("roberta."): value.astype(np.float64) for name, value in p.items()}
    x = np.array([
        p["embeddings.word_embeddings.weight"][token]
        + p["embeddings.position_embeddings.weight"][t + 2]
        + p["embeddings.token_type_embeddings.weight"][0]
        for t, token in enumerate(ids)
    ])  # fmt: skip
    x = plain_norm(x, p["embeddings.LayerNorm.weight"], p["embeddings.LayerNorm.bias"], 1e-5)
    for i in range(LAYERS):
        prefix = f"encoder.layer.{i}."
        own = {name.removeprefix(prefix): value for name, value in p.items() if name.startswith(prefix)}
        x = plain_layer(x, np.ones(len(x), dtype=bool), own, HEADS, 1e-5)
    h = plain_gelu(p["lm_head.dense.weight"] @ x[at] + p["lm_head.dense.bias"])
    h = plain_norm(h, p["lm_head.layer_norm.weight"], p["lm_head.layer_norm.bias"], 1e-5)
    return np.array([p["embeddings.word_embeddings.weight"][w] @ h + p["lm_head.bias"][w] for w in words])


@pytest.mark.parametrize("task", ["sst2", "trec"])
def test_prompts_are_the_papers(checkpoint, texts, task):
    arrays = fewshot.tokenised_prompts(settings(checkpoint, texts, task))
    names = {i: token for token, i in json.loads((checkpoint / "vocab.json").read_text()).items()}
    row = [names[i] for i in arrays["train_ids"][0][arrays["train_mask"][0]]]
    assert row[0] == "<s>" and row[-1] == "</s>" and row[arrays["train_at"][0]] == "<mask>"
    text = "".join(row)
    if task == "sst2":
        assert text.startswith("<s>film") and text.endswith("ĠItĠwas<mask>.</s>"), text
    else:
        assert text.startswith("<s><mask>:Ġwhat"), text
    assert len(arrays["words"]) == len(fewshot.TASKS[task].words)
    assert [names[w] for w in arrays["words"]] == [f"Ġ{w}" for w in fewshot.TASKS[task].words]


def test_a_long_sentence_is_cut_and_its_prompt_is_not(checkpoint):
    tokenizer = fewshot.byte_level_bpe(checkpoint)
    task = fewshot.TASKS["sst2"]
    ids = fewshot.prompt(tokenizer, task, "x" * 200, 20)
    assert len(ids) == 20 and tokenizer.token_to_id("<mask>") in ids
    assert len(fewshot.prompt(tokenizer, task._replace(sentence_tokens=4), "x" * 200, 128)) == 4 + 6


def test_sampling_is_the_published_script_s():
    """numpy's global legacy generator, seeded, shuffling the lines themselves; pandas' sample for large test sets."""
    import pandas as pd

    lines = [(f"text {i}", i % 3) for i in range(50)]
    expected = list(lines)
    state = np.random.get_state()
    np.random.seed(42)
    np.random.shuffle(expected)
    np.random.set_state(state)
    by_label = {}
    for line in expected:
        by_label.setdefault(line[1], []).append(line)
    examples = [fewshot.Example(*line) for line in lines]
    many = [fewshot.Example(str(i), 0) for i in range(1200)]
    train, tests = fewshot.sample(examples, many, 4, 42)
    assert [tuple(e) for e in train] == [line for group in by_label.values() for line in group[:4]]
    sampled = pd.DataFrame({"text": [e.text for e in many]}).sample(n=1000, random_state=42)
    assert [e.text for e in tests] == sampled["text"].tolist()
    assert fewshot.sample(examples, many[:900], 4, 42)[1] == many[:900]


def test_logits_equal_plain_loops_with_and_without_padding(checkpoint, texts):
    arrays = fewshot.tokenised_prompts(settings(checkpoint, texts))
    model, x = built(checkpoint, arrays)
    logits = model.logits(model.layout.split(x[0]), model.test)
    published = random_parameters(len(json.loads((checkpoint / "vocab.json").read_text())))
    assert not arrays["test_mask"].all(), "some prompts are padded"
    for i in (0, 7, 12):
        ids = arrays["test_ids"][i][arrays["test_mask"][i]]
        expected = plain_logits(published, ids, arrays["test_at"][i], arrays["words"])
        assert_close(logits[i].double(), torch.from_numpy(expected), rtol=0, atol=1e-4)


def built(checkpoint, arrays, seeds=(500,), micro_batch=4):
    variant = Variant("zo", {}, {"checkpoint_dir": str(checkpoint), "micro_batch": micro_batch}, seeds)
    return roberta.from_checkpoint(arrays, variant, torch.device("cpu"))


def test_pieces_change_nothing(checkpoint, texts):
    """Loss, gradient and accuracy with a forward pass a few prompts at a time, with minibatches a row."""
    arrays = fewshot.tokenised_prompts(settings(checkpoint, texts))
    (one, x), (many, _) = (built(checkpoint, arrays, (500, 501), micro) for micro in (100, 4))
    x = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    batch = torch.tensor([[0, 1, 2, 3, 4], [5, 4, 3, 2, 1]])
    for chosen in (None, batch):
        assert_close(many.loss(x, chosen), one.loss(x, chosen))
        assert_close(many.gradient(x, chosen), one.gradient(x, chosen), rtol=1e-4, atol=1e-6)
        leaf = x.clone().requires_grad_()
        assert_close(one.gradient(x, chosen), torch.autograd.grad(one.loss(leaf, chosen).sum(), leaf)[0])
    assert_close(many.accuracy(x), one.accuracy(x))
    assert_close(sum(part(x) for part in many.parts()), one.loss(x))
    assert many.loss(x)[0] != many.loss(x)[1]


def test_both_checkpoint_formats_are_read_and_every_parameter_is_trained(checkpoint):
    shape, parameters = roberta.read_checkpoint(checkpoint)
    assert shape == (LAYERS, HEADS, 1e-5, 1)
    published = random_parameters(len(json.loads((checkpoint / "vocab.json").read_text())))
    ours = {n for n in published if "pooler" not in n}
    assert {n if n.startswith("lm_head") else f"roberta.{n}" for n in parameters} == ours
    (checkpoint / "model.safetensors").unlink()
    torch.save({n: torch.from_numpy(a) for n, a in published.items()}, checkpoint / "pytorch_model.bin")
    assert_close(roberta.read_checkpoint(checkpoint)[1], parameters, rtol=0, atol=0)


def perform_both(checkpoint, texts, task, methods=("gd", "zo"), **changes):
    """The encode job and the language job of a task, as the configuration would resolve them."""
    given = settings(checkpoint, texts, task) | {
        "encoder": "roberta", "steps": 4, "block": 2, "measured": "0,2,4", "probes": 2, "first_probes": 3, "directions": 2,
        "step_size": 1e-3, "smoothing": 1e-3, "micro_batch": 5, "batch": 8, **changes,
    }  # fmt: skip

    def job(experiment, method):
        table = ROOM.allowed(experiment, method)
        params = with_defaults(table, table, {k: v for k, v in given.items() if k in table})
        variant = Variant(method, {}, params, (500, 501))
        return Job("zoflat", experiment, "all", "paper", "train", f"descent.papers.zoflat.{experiment}", (), (variant,))

    encodings = {"encodings": Need(None, perform(job("encode", "encode"), data={}).arrays)}
    first, *rest = (job("language", method) for method in methods)
    work = replace(first, variants=(*first.variants, *(v for j in rest for v in j.variants)))
    return perform(work, data={}, needs=encodings).frame(work)


@pytest.mark.parametrize("task", ["sst2", "trec"])
def test_the_experiment_runs_on_a_local_checkpoint(checkpoint, texts, task):
    frame = perform_both(checkpoint, texts, task, regenerate=True)
    assert (frame["status"] == "ok").all() and set(frame["step"]) == {0, 2, 4}
    assert set(frame["method"]) == {"gd", "zo"} and set(frame["seed"]) == {500, 501}
    loss = frame.query("metric == 'train_loss'").pivot(index=["method", "seed"], columns="step", values="value")
    assert (loss[0] == loss[0].iloc[0]).all() and (loss[4] != loss[0]).all()


class PlainRoberta:
    """torch's own transformer layers under RoBERTa's embeddings and head, float64, parameters a flat vector."""

    def __init__(self, checkpoint, arrays):
        self.parameters = {n: v.double() for n, v in roberta.read_checkpoint(checkpoint)[1].items()}
        self.arrays = arrays
        self.start = torch.cat([v.flatten() for v in self.parameters.values()])

    def scores(self, flat, split, rows):
        sizes = [v.numel() for v in self.parameters.values()]
        p = {n: part.view(v.shape) for (n, v), part in zip(self.parameters.items(), flat.split(sizes), strict=True)}
        ids, mask, at = (torch.from_numpy(self.arrays[f"{split}_{part}"][rows]) for part in ("ids", "mask", "at"))

        def norm(x, name):
            return torch.nn.functional.layer_norm(x, (HIDDEN,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-5)

        places = torch.where(mask, torch.cumsum(mask, 1) + 1, 1)
        x = p["embeddings.word_embeddings.weight"][ids] + p["embeddings.position_embeddings.weight"][places]
        x = norm(x + p["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        plain = torch.nn.TransformerEncoderLayer(
            HIDDEN, HEADS, INNER, dropout=0.0, activation="gelu", batch_first=True, dtype=torch.float64
        )
        for i in range(LAYERS):
            at_layer = f"encoder.layer.{i}."
            given = {
                f"self_attn.in_proj_{part}": torch.cat(
                    [p[f"{at_layer}attention.self.{n}.{part}"] for n in ("query", "key", "value")]
                )
                for part in ("weight", "bias")
            }
            for theirs, ours in (("self_attn.out_proj", "attention.output.dense"), ("norm1", "attention.output.LayerNorm"),
                                 ("linear1", "intermediate.dense"), ("linear2", "output.dense"), ("norm2", "output.LayerNorm")):  # fmt: skip
                given |= {f"{theirs}.{part}": p[f"{at_layer}{ours}.{part}"] for part in ("weight", "bias")}
            x = torch.func.functional_call(plain, given, (x,), {"src_key_padding_mask": ~mask})
        h = x[range(len(x)), at] @ p["lm_head.dense.weight"].T + p["lm_head.dense.bias"]
        h = norm(torch.nn.functional.gelu(h), "lm_head.layer_norm")
        words = self.arrays["words"]
        return h @ p["embeddings.word_embeddings.weight"][words].T + p["lm_head.bias"][words]

    def loss(self, flat, rows):
        labels = torch.from_numpy(self.arrays["train_labels"][rows])
        return torch.nn.functional.cross_entropy(self.scores(flat, "train", rows), labels)


@pytest.mark.parametrize("method", ["gd", "zo"])
def test_the_experiment_equals_a_plain_loop(checkpoint, texts, method):
    """Minibatches of four of six prompts, an epoch's order drawn anew, what is left over dropped; ZO's direction from its seed tensor by
    tensor; gradient descent's length cut at 0.5; loss on the whole set and accuracy on the tests at steps 0, 2 and 4."""
    from descent.core.streams import Streams

    frame = perform_both(
        checkpoint, texts, "sst2", (method,), regenerate=True, batch=4, step_size=0.05, smoothing=0.01, clip_norm=0.5
    )
    plain, streams = PlainRoberta(checkpoint, fewshot.tokenised_prompts(settings(checkpoint, texts))), Streams("zoflat")
    sizes = [v.shape for v in plain.parameters.values()]
    for seed in (500, 501):
        x, losses, right = plain.start, {}, {}
        for t in range(5):
            losses[t] = plain.loss(x, np.arange(6)).item()
            labels = plain.arrays["test_labels"]
            right[t] = float((plain.scores(x, "test", np.arange(len(labels))).argmax(1).numpy() == labels).mean())
            rows = streams.numpy("minibatch", seed, t).permutation(6)[:4]
            if method == "gd":
                leaf = x.detach().requires_grad_()
                (g,) = torch.autograd.grad(plain.loss(leaf, rows), leaf)
                x = x - 0.05 * g * min(1.0, 0.5 / g.norm().item())
            else:
                generator = torch.Generator().manual_seed(
                    int(streams.numpy("direction", seed, t // 2).integers(2**62, size=2)[t % 2])
                )
                u = torch.cat([torch.randn(size, generator=generator).flatten() for size in sizes]).double()
                x = x - 0.05 * (plain.loss(x + 0.01 * u, rows) - plain.loss(x - 0.01 * u, rows)) / 0.02 * u
        for metric, expected in (("train_loss", losses), ("test_accuracy", right)):
            own = frame[(frame["seed"] == seed) & (frame["metric"] == metric)].set_index("step")["value"].to_dict()
            assert own == pytest.approx({t: expected[t] for t in (0, 2, 4)}, rel=2e-3, abs=2e-4), metric
        assert abs(losses[4] - losses[0]) > 0.01


def test_regenerated_and_stored_directions_are_both_to_be_had(checkpoint, texts):
    """Other streams, so other numbers; both descend from the same start."""
    stored, drawn = (
        perform_both(checkpoint, texts, "sst2", ("zo",), regenerate=r, steps=2, measured="0,2") for r in (False, True)
    )
    assert stored.query("step == 0")["value"].equals(drawn.query("step == 0")["value"])
    assert not stored.query("step == 2")["value"].equals(drawn.query("step == 2")["value"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda c, t: (c / "config.json").unlink(), "config.json cannot be read"),
        (lambda c, t: (c / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
        (lambda c, t: (c / "vocab.json").unlink(), "no usable vocab.json and merges.txt"),
        (lambda c, t: (c / "config.json").write_text('{"model_type": "bert"}'), "describes a bert model"),
        (lambda c, t: (t / "SST-2" / "dev.tsv").unlink(), "dev.tsv is missing"),
        (lambda c, t: (t / "SST-2" / "train.tsv").write_text("sentence\tlabel\nno label\n"), "is not the file"),
    ],
)
def test_a_missing_or_wrong_file_is_named_in_one_sentence(checkpoint, texts, damage, message):
    damage(checkpoint, texts)
    with pytest.raises(DataError, match=message) as error:
        perform_both(checkpoint, texts, "sst2")
    assert "\n" not in str(error.value)
