"""RoBERTa with its masked-language-model head, all parameters trainable, from a checkpoint in the usual folder layout.

Post-layer-norm, GELU, positions counted from pad + 1, decoder tied to the word embeddings; no dropout, no pooler. The
logits of a prompt are those of the label words at its mask. Axes: R rows (runs), N prompts, T tokens, H hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu

from descent.core.errors import DataError
from descent.core.job import Variant
from descent.papers.zoflat.flatten import Layout
from descent.papers.zoflat.transformer import dense, layer, norm


class Shape(NamedTuple):
    layers: int
    heads: int
    eps: float
    pad: int


class Prompts(NamedTuple):
    ids: Tensor  # (N, T) int64
    mask: Tensor  # (N, T) bool, True at real tokens
    at: Tensor  # (N,) int64, where the mask is
    labels: Tensor  # (N,) int64


class PromptRoberta:
    """The model as methods see it: rows of a flat parameter tensor (R, d). micro: prompts a forward pass holds."""

    def __init__(self, layout: Layout, shape: Shape, words: Tensor, train: Prompts, test: Prompts, *, micro: int):
        self.layout, self.shape, self.words, self.train, self.test, self.micro = (
            layout,
            shape,
            words,
            train,
            test,
            micro,
        )
        self.examples = len(train.labels)

    def logits(self, p: Mapping[str, Tensor], prompts: Prompts) -> Tensor:
        """(N, classes) under the parameters p."""
        positions = prompts.mask.cumsum(1) * prompts.mask + self.shape.pad
        words = p["embeddings.word_embeddings.weight"]
        x = words[prompts.ids] + p["embeddings.token_type_embeddings.weight"][0]
        x = norm(x + p["embeddings.position_embeddings.weight"][positions], p, "embeddings.LayerNorm", self.shape.eps)
        for i in range(self.shape.layers):
            x = layer(x, prompts.mask, p, f"encoder.layer.{i}.", heads=self.shape.heads, eps=self.shape.eps)
        # Only the mask's own vector is decoded, and only into the label words.
        at = x.gather(1, prompts.at[:, None, None].expand(-1, 1, x.shape[-1]))[:, 0]
        h = norm(gelu(dense(at, p, "lm_head.dense")), p, "lm_head.layer_norm", self.shape.eps)
        return h @ words[self.words].T + p["lm_head.bias"][self.words]

    def _pieces(self, batch: Tensor | None) -> list[Prompts]:
        """The training prompts, or those of the indices `batch` (n,), a forward pass at a time."""
        chosen = self.train if batch is None else Prompts(*(part[batch] for part in self.train))
        return [Prompts(*parts) for parts in zip(*(part.split(self.micro) for part in chosen), strict=True)]

    def _piece(self, x: Tensor, piece: Prompts, total: int) -> Tensor:
        """A piece's share of the mean cross-entropy at x (d,)."""
        return cross_entropy(self.logits(self.layout.split(x), piece), piece.labels, reduction="sum") / total

    def loss(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        """(R,) mean cross-entropy; batch: (R, n) indices of training prompts, all by default."""
        losses = []
        for row in range(len(x)):
            pieces = self._pieces(None if batch is None else batch[row])
            total = sum(len(piece.labels) for piece in pieces)
            losses.append(torch.stack([self._piece(x[row], piece, total) for piece in pieces]).sum())
        return torch.stack(losses)

    def gradient(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        """(R, d), a piece at a time."""
        found = torch.zeros_like(x)
        for row in range(len(x)):
            pieces = self._pieces(None if batch is None else batch[row])
            total = sum(len(piece.labels) for piece in pieces)
            for piece in pieces:
                leaf = x[row].detach().requires_grad_()
                with torch.enable_grad():
                    found[row] += torch.autograd.grad(self._piece(leaf, piece, total), leaf)[0]
        return found

    def parts(self) -> list[Any]:
        """Losses (R, d) -> (R,) that add up to `loss`, a piece each."""
        return [
            lambda x, piece=piece: torch.stack([self._piece(row, piece, self.examples) for row in x])
            for piece in self._pieces(None)
        ]

    def accuracy(self, x: Tensor) -> Tensor:
        """(R,) on the test prompts."""
        right = []
        for row in x:
            p = self.layout.split(row)
            pieces = [Prompts(*parts) for parts in zip(*(part.split(self.micro) for part in self.test), strict=True)]
            right.append(torch.cat([self.logits(p, q).argmax(1) == q.labels for q in pieces]).to(x.dtype).mean())
        return torch.stack(right)


def from_checkpoint(
    arrays: Mapping[str, np.ndarray], variant: Variant, device: torch.device
) -> tuple[PromptRoberta, Tensor]:
    """The model of `checkpoint_dir` on the task's prompts (see fewshot.py), and its start (R, d), a row a seed."""
    folder = Path(variant.params["checkpoint_dir"])
    shape, parameters = read_checkpoint(folder)
    layout = Layout.of(parameters)
    train, test = (
        Prompts(*(torch.from_numpy(arrays[f"{split}_{part}"]).to(device) for part in Prompts._fields))
        for split in ("train", "test")
    )
    words = torch.from_numpy(arrays["words"]).to(device)
    model = PromptRoberta(layout, shape, words, train, test, micro=variant.params["micro_batch"])
    start = layout.join(parameters).to(device).expand(len(variant.seeds), -1).clone()
    return model, start


def read_checkpoint(folder: Path) -> tuple[Shape, dict[str, Tensor]]:
    """config.json and model.safetensors (or pytorch_model.bin) of a RoBERTa for masked language modelling.

    Raises DataError when a file is missing, the model is another one, or a parameter is absent.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise DataError(
            f"{folder}/config.json cannot be read ({error}); `checkpoint_dir` must be a roberta-large folder"
        ) from None
    if config.get("model_type") != "roberta" or config.get("hidden_act", "gelu") != "gelu":
        raise DataError(
            f"{folder}/config.json describes a {config.get('model_type')} model, it must be a RoBERTa with GELU"
        )
    shape = Shape(
        config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"], config["pad_token_id"]
    )
    tensors = {name.removeprefix("roberta."): value for name, value in _tensors(folder).items()}
    wanted = list(parameter_names(shape.layers))
    if missing := [name for name in wanted if name not in tensors]:
        raise DataError(
            f"{folder} lacks the parameter {missing[0]}: is it a checkpoint with its masked-language-model head?"
        )
    return shape, {name: tensors[name].to(torch.float32) for name in wanted}


def _tensors(folder: Path) -> dict[str, Tensor]:
    if (folder / "model.safetensors").is_file():
        from descent.data.formats import read_safetensors

        arrays = read_safetensors((folder / "model.safetensors").read_bytes())
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    if (folder / "pytorch_model.bin").is_file():
        return torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    raise DataError(f"{folder} has neither model.safetensors nor pytorch_model.bin")


def parameter_names(layers: int) -> Sequence[str]:
    """Every trainable parameter, in the order in which a direction is drawn for it."""
    dense = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    dense += ("attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm")
    embeddings = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    names = ["embeddings.LayerNorm", *(f"encoder.layer.{i}.{name}" for i in range(layers) for name in dense)]
    names += ["lm_head.dense", "lm_head.layer_norm"]
    return [*embeddings, *(f"{name}.{part}" for name in names for part in ("weight", "bias")), "lm_head.bias"]
