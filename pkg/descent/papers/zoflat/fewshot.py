"""The prompts of Fig. 3 at the paper's own scale: LM-BFF's few-shot tasks, tokenised for RoBERTa.

Reads LM-BFF's `original/` folder (SST-2/{train,dev}.tsv, sst-5/{train,test}.csv, trec/{train,test}.csv) and samples as its
generate_k_shot_data.py does with MeZO's 1,000-test mode: numpy's legacy generator with the data seed shuffles the
training lines, the first K of each label train; a test set above 1,000 rows is sampled with seed 42.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from descent.core.errors import DataError

MOST_TESTS, TEST_SEED = 1000, 42


class Task(NamedTuple):
    """A task: its files, the words that stand for its labels, and on which side of the mask the sentence is."""

    folder: str
    files: tuple[str, str]
    words: tuple[str, ...]  # label words, by label
    mask_first: bool = False
    sentence_tokens: int = 10_000  # longest sentence kept


TASKS = {
    "sst2": Task("SST-2", ("train.tsv", "dev.tsv"), ("terrible", "great")),
    "sst5": Task("sst-5", ("train.csv", "test.csv"), ("terrible", "bad", "okay", "good", "great"), sentence_tokens=110),
    "trec": Task(
        "trec", ("train.csv", "test.csv"), ("Description", "Entity", "Expression", "Human", "Location", "Number"),
        mask_first=True, sentence_tokens=110,
    ),
}  # fmt: skip


class Example(NamedTuple):
    text: str
    label: int


def read_task(folder: Path, task: Task) -> tuple[list[Example], list[Example]]:
    """Training and test examples as they stand in the files. Raises DataError when one is missing or malformed."""
    parts = []
    for name in task.files:
        path = folder / task.folder / name
        try:
            if name.endswith(".tsv"):
                lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
                rows = [line.split("\t") for line in lines]
                parts.append([Example(row[0], int(row[-1])) for row in rows])
            else:
                frame = pd.read_csv(path, header=None)
                parts.append([Example(str(text), int(label)) for label, text in zip(frame[0], frame[1], strict=True)])
        except FileNotFoundError:
            raise DataError(
                f"{path} is missing: `text_dir` must be the folder `original` of LM-BFF's datasets"
            ) from None
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(f"{path} is not the file that LM-BFF publishes ({error})") from None
    return parts[0], parts[1]


def sample(
    train: Sequence[Example], test: Sequence[Example], shots: int, seed: int
) -> tuple[list[Example], list[Example]]:
    """K examples a label, and at most 1,000 tests."""
    order = list(range(len(train)))  # a list: the legacy shuffle takes the same swaps for it as for the script's lines
    np.random.RandomState(seed).shuffle(order)
    shuffled = [train[i] for i in order]
    labels = dict.fromkeys(example.label for example in shuffled)
    chosen = [e for label in labels for e in [e for e in shuffled if e.label == label][:shots]]
    tests = list(test)
    if len(tests) > MOST_TESTS:
        kept = pd.Series(range(len(tests))).sample(n=MOST_TESTS, random_state=TEST_SEED)
        tests = [tests[i] for i in kept]
    return chosen, tests


def tokenised_prompts(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of a task: for train and test `ids` (n, T), `mask` (n, T), `at` (n,) the mask's place and `labels` (n,);
    and the ids of the label `words` (classes,).

    params: task, shots, data_seed, tokens (longest prompt), text_dir, checkpoint_dir (vocab.json and merges.txt).
    """
    task = TASKS[params["task"]]
    tokenizer = byte_level_bpe(Path(params["checkpoint_dir"]))
    splits = sample(*read_task(Path(params["text_dir"]), task), params["shots"], params["data_seed"])
    arrays = {"words": np.array([single(tokenizer, f" {word}") for word in task.words])}
    for split, examples in zip(("train", "test"), splits, strict=True):
        prompts = [prompt(tokenizer, task, e.text, params["tokens"]) for e in examples]
        length = max(map(len, prompts))
        pad, mask = tokenizer.token_to_id("<pad>"), tokenizer.token_to_id("<mask>")
        ids = np.array([[*p, *[pad] * (length - len(p))] for p in prompts], dtype=np.int64)
        arrays |= {
            f"{split}_ids": ids,
            f"{split}_mask": np.array([[i < len(p) for i in range(length)] for p in prompts]),
            f"{split}_at": np.array([p.index(mask) for p in prompts], dtype=np.int64),
            f"{split}_labels": np.array([e.label for e in examples], dtype=np.int64),
        }
    return arrays


def prompt(tokenizer: Any, task: Task, text: str, longest: int) -> list[int]:
    """`<s> text It was <mask>. </s>`, or `<s> <mask>: text </s>`."""
    begin, end, mask = (tokenizer.token_to_id(t) for t in ("<s>", "</s>", "<mask>"))

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    if task.mask_first:
        head, tail = [begin, mask, *ids(":")], [end]
        sentence = ids(f" {text}")
    else:
        head, tail = [begin], [*ids(" It was"), mask, *ids("."), end]
        sentence = ids(text)
    # The sentence is cut, never the prompt: without its mask an example has no answer.
    return [*head, *sentence[: min(task.sentence_tokens, longest - len(head) - len(tail))], *tail]


def single(tokenizer: Any, word: str) -> int:
    """The id of a word that is one token."""
    ids = tokenizer.encode(word, add_special_tokens=False).ids
    if len(ids) != 1:
        raise DataError(f"the label word {word!r} is {len(ids)} tokens in this vocabulary, it must be one")
    return ids[0]


def byte_level_bpe(folder: Path) -> Any:
    """RoBERTa's tokenizer from its vocab.json and merges.txt. Raises DataError when they are missing."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    try:
        model = models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # tokenizers raises plain Exceptions
        raise DataError(
            f"{folder} has no usable vocab.json and merges.txt ({error}); `checkpoint_dir` must be a roberta-large folder"
        ) from None
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    missing = [t for t in ("<s>", "<pad>", "</s>", "<mask>") if tokenizer.token_to_id(t) is None]
    if missing:
        raise DataError(
            f"{folder}/vocab.json lacks the token {missing[0]}; `checkpoint_dir` must be a roberta-large folder"
        )
    return tokenizer
