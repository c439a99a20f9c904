"""A real LLaVA-1.5 checkpoint and ScienceQA as the private data: local folders only, nothing is fetched.

The checkpoint's weights become this room's own decoder (`decoder.Frozen`), so the adapters, the per-sample gradients
and both mechanisms are those of the study. H and S are the vision tower's last but one hidden state and attention
(eager attention; row 0 is CLS); as in LLaVA, CLS itself is not given to the decoder.

Needs the package transformers (4.52 or later), imported when a checkpoint is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from descent.core.errors import DataError
from descent.papers.dualpriv.decoder import Frozen, Shape, groups
from descent.papers.dualpriv.tokens import prune

LETTERS = "ABCDEFGH"
_PROMPT = "USER: <image>\n{question}\n{options}\nAnswer with the option's letter. ASSISTANT:"


class Example(NamedTuple):
    """One record of ScienceQA that has an image."""

    image: Path
    prompt: str  # with `<image>` where the visual tokens go
    answer: int  # place of the right option
    options: int


class Record(NamedTuple):
    """A record as the decoder takes it, on the host."""

    hidden: Tensor  # (tokens, d_v): the patches kept of H, not yet projected
    before: Tensor  # (n,) text tokens before the image
    after: Tensor  # (m,) and after it
    answer: int  # token of the right letter
    letters: tuple[int, ...]  # tokens of all offered letters


class Checkpoint(NamedTuple):
    """What is used of a LLaVA-1.5 checkpoint; everything is frozen."""

    shape: Shape
    frozen: Frozen
    embedding: Tensor  # (vocabulary, d)
    tower: Callable[..., Any]
    project: Callable[[Tensor], Tensor]
    tokenizer: Any
    image_processor: Any


def load_checkpoint(folder: str | Path, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Checkpoint:
    """Read a local checkpoint folder. Raises DataError, one sentence, when it is absent or not a LLaVA-1.5."""
    folder = Path(folder)
    if not str(folder) or not (folder / "config.json").is_file():
        raise DataError(
            f"no local checkpoint: `checkpoint_dir` must be a folder with a LLaVA-1.5 model saved by transformers "
            f"(config.json, weights, processor), got {str(folder)!r}"
        )
    try:
        from transformers import AutoImageProcessor, AutoTokenizer, LlavaForConditionalGeneration
    except ImportError as error:
        raise DataError(
            f"a checkpoint is read by the package transformers, which cannot be imported ({error})"
        ) from None
    net = LlavaForConditionalGeneration.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", local_files_only=True
    )
    shape = _shape(net.config.text_config, folder)
    net = net.to(device=device).eval().requires_grad_(False)  # pyright: ignore[reportCallIssue]: a decorator hides self
    language = net.model.language_model
    return Checkpoint(
        shape,
        frozen_of(shape, language, net.lm_head.weight),
        language.embed_tokens.weight,
        net.model.vision_tower,
        net.model.multi_modal_projector,
        AutoTokenizer.from_pretrained(folder, local_files_only=True),
        AutoImageProcessor.from_pretrained(folder, local_files_only=True),
    )


def frozen_of(shape: Shape, language: Any, head: Tensor) -> Frozen:
    """The weights of transformers' Llama, stacked as `decode` takes them."""
    owners = dict.fromkeys("qkvo", "self_attn") | dict.fromkeys(("gate", "up", "down"), "mlp")

    def weight(layer: int, name: str) -> Tensor:
        return getattr(getattr(language.layers[layer], owners[name]), f"{name}_proj").weight

    weights = tuple(torch.cat([weight(g.layer, name) for name in g.names]) for g in groups(shape))
    norms = [z.weight for layer in language.layers for z in (layer.input_layernorm, layer.post_attention_layernorm)]
    return Frozen(weights, (None,) * len(weights), tuple((z, None) for z in (*norms, language.norm.weight)), head)


def _shape(text: Any, folder: Path) -> Shape:
    """The decoder's sizes. Raises DataError where this room's decoder would compute something else."""
    rope = getattr(text, "rope_parameters", None) or {"rope_theta": text.rope_theta, "rope_type": "default"}
    wanted = {
        "num_key_value_heads": (text.num_key_value_heads, text.num_attention_heads),
        "rms_norm_eps": (text.rms_norm_eps, 1e-5),
        "rope_theta": (rope["rope_theta"], 10000.0),
        "rope_type": (rope["rope_type"], "default"),
        "attention_bias": (bool(text.attention_bias), False),
        "hidden_act": (text.hidden_act, "silu"),
    }
    for name, (found, needed) in wanted.items():
        if found != needed:
            raise DataError(
                f"{folder}/config.json: only LLaVA-1.5's decoder is supported: `{name}` must be {needed}, got {found}"
            )
    return Shape(text.hidden_size, text.intermediate_size, text.num_attention_heads, text.num_hidden_layers, gated=True)


def science_qa(folder: str | Path, split: str, most: int | None = None) -> list[Example]:
    """The records of ScienceQA's `split` (train, val or test) that have an image, in the order of their ids.

    Raises DataError when problems.json or an image is absent.
    """
    path = Path(folder) / "problems.json"
    if not path.is_file():
        raise DataError(f"no local ScienceQA: `data_dir` must hold problems.json and images/, got {str(folder)!r}")
    problems = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for key in sorted(problems, key=int):
        problem = problems[key]
        if problem["split"] != split or not problem.get("image"):
            continue
        image = path.parent / "images" / split / key / problem["image"]
        if not image.is_file():
            raise DataError(f"{image} is missing: ScienceQA's images belong beside its problems.json")
        options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, problem["choices"], strict=False))
        prompt = _PROMPT.format(question=problem["question"].strip(), options=options)
        found.append(Example(image, prompt, int(problem["answer"]), len(problem["choices"])))
        if most is not None and len(found) == most:
            break
    return found


def encode(
    checkpoint: Checkpoint,
    examples: list[Example],
    dominant: int | None,
    contextual: int,
    batch: int = 8,
    *,
    fuse_std: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[Record]:
    """The records, encoded once. dominant: patches kept by CLS's attention; None keeps all. fuse_std: of the noise on the
    `contextual` fused tokens, drawn on the host from `generator`."""
    from PIL import Image

    device, dtype = checkpoint.embedding.device, checkpoint.embedding.dtype
    for start in range(0, len(examples), batch):
        part = examples[start : start + batch]
        images = [Image.open(example.image).convert("RGB") for example in part]
        pixels = checkpoint.image_processor(images, return_tensors="pt")["pixel_values"].to(device, dtype)
        hidden = visual_tokens(checkpoint, pixels, dominant, contextual).cpu()
        if fuse_std:  # the fused tokens are the last
            shape = (len(part), contextual, hidden.shape[-1])
            noise = torch.randn(shape, generator=generator, dtype=torch.float32)
            hidden[:, -contextual:] += (fuse_std * noise).to(hidden.dtype)
        for example, own in zip(part, hidden, strict=True):
            yield _record(checkpoint, example, own)


def visual_tokens(checkpoint: Checkpoint, pixels: Tensor, dominant: int | None, contextual: int) -> Tensor:
    """Rows of H that go to the projector: all patches, or mechanism 1's; CLS only scores them."""
    with torch.no_grad():
        out = checkpoint.tower(pixels, output_hidden_states=True, output_attentions=True)
        hidden, attention = out.hidden_states[-2], out.attentions[-2].mean(1)[:, 0, 1:]
        if dominant is not None:
            hidden = prune(hidden, attention, dominant, contextual)
    return hidden[:, 1:]


def embedded(checkpoint: Checkpoint, record: Record) -> Tensor:
    """The decoder's input (1, 1, T, d) of one record, on the device."""
    device = checkpoint.embedding.device
    with torch.no_grad():
        visual = checkpoint.project(record.hidden.to(device)[None])[0]
        before, after = (checkpoint.embedding[ids.to(device)] for ids in (record.before, record.after))
        return torch.cat([before, visual, after])[None, None]


def _record(checkpoint: Checkpoint, example: Example, hidden: Tensor) -> Record:
    before, after = example.prompt.split("<image>")
    tokens = checkpoint.tokenizer
    first = tokens(before, return_tensors="pt")["input_ids"][0]
    rest = tokens(after, add_special_tokens=False, return_tensors="pt")["input_ids"][0]
    letters = tuple(tokens(letter, add_special_tokens=False)["input_ids"][-1] for letter in LETTERS[: example.options])
    return Record(hidden, first, rest, letters[example.answer], letters)
