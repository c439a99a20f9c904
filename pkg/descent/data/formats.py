"""The file formats of the datasets: svmlight text, stored .npz, idx, safetensors. Needs numpy alone.

Sparse binary rows are kept as `Rows`: indptr (n + 1,), indices (nnz,), labels (n,), as in a CSR matrix of ones.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """n sparse rows of a binary matrix with their labels."""

    indptr: np.ndarray  # (n + 1,) int32: row i owns indices[indptr[i]:indptr[i + 1]]
    indices: np.ndarray  # (nnz,) int32, 0-based columns, ascending within a row
    labels: np.ndarray  # (n,) int8, -1 or +1


def rows_from(present: np.ndarray, labels: np.ndarray) -> Rows:
    """`Rows` of a dense boolean matrix (n, p) and its labels (n,)."""
    counts = present.sum(axis=1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return Rows(indptr, np.nonzero(present)[1].astype(np.int32), labels.astype(np.int8))


def svmlight_lines(rows: Rows) -> list[bytes]:
    """Each row as `+1 3:1 11:1` (columns 1-based, every value 1), without a line end."""
    names = [b" %d:1" % (column + 1) for column in range(int(rows.indices.max(initial=-1)) + 1)]
    lines = []
    for i, label in enumerate(rows.labels.tolist()):
        columns = rows.indices[rows.indptr[i] : rows.indptr[i + 1]].tolist()
        lines.append((b"+1" if label > 0 else b"-1") + b"".join([names[column] for column in columns]))
    return lines


def svmlight(lines: list[bytes]) -> bytes:
    """The lines as a file."""
    return b"\n".join(lines) + b"\n"


def read_svmlight(content: bytes) -> Rows:
    """`Rows` of svmlight text in which every value is 1. Raises ValueError where the text is anything else."""
    lines = content.splitlines()
    counts = np.array([line.count(b":") for line in lines], dtype=np.int64)
    pairs = content.count(b":1 ") + content.count(b":1\n") + content.endswith(b":1")
    if pairs != counts.sum():
        raise ValueError("a value other than 1")
    # With the values gone, a row is its label followed by its columns, all of them plain integers.
    numbers = np.array(
        content.replace(b":1 ", b" ").replace(b":1\n", b"\n").removesuffix(b":1").split(), dtype=np.int64
    )
    starts = np.concatenate([[0], np.cumsum(counts + 1)])
    if len(numbers) != starts[-1]:
        raise ValueError("a line that is not a label and its columns")
    is_label = np.zeros(len(numbers), dtype=bool)
    is_label[starts[:-1]] = True
    labels, columns = numbers[is_label], numbers[~is_label] - 1
    if not np.isin(labels, (-1, 1)).all() or columns.min(initial=0) < 0:
        raise ValueError("a label other than -1 or +1, or a column below 1")
    return Rows(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), columns.astype(np.int32), labels.astype(np.int8)
    )


def order_free_sha256(lines: list[bytes]) -> str:
    """SHA-256 of the lines with single spaces, sorted bytewise: the same for any order of the rows."""
    tidy = sorted(b" ".join(line.split()) for line in lines)
    return hashlib.sha256(svmlight(tidy)).hexdigest()


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An .npz in name order, without a clock and uncompressed.

    Stored, not deflated: another zlib may deflate the same arrays to other bytes, and these files are known by hash.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            array = io.BytesIO()
            np.lib.format.write_array(array, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.create_system = 3  # as on Unix, whatever wrote it
            archive.writestr(entry, array.getvalue())
    return content.getvalue()


def read_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of `npz_bytes`."""
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_idx(content: bytes) -> np.ndarray:
    """The unsigned bytes of a gzipped idx file (the format of MNIST): big-endian sizes, then the values."""
    raw = gzip.decompress(content)
    if raw[:3] != b"\0\0\x08":
        raise ValueError("not an idx file of unsigned bytes")
    shape = tuple(np.frombuffer(raw, dtype=">u4", count=raw[3], offset=4).tolist())
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * raw[3]).reshape(shape)


def read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, sharing its memory: a length, a JSON table, then the values."""
    length = int.from_bytes(content[:8], "little")
    kinds = {"F32": "<f4", "I64": "<i8"}
    tensors = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__":
            start, _ = entry["data_offsets"]
            flat = np.frombuffer(content, kinds[entry["dtype"]], int(np.prod(entry["shape"])), 8 + length + start)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def read_cifar(content: bytes, labels: Mapping[str, str]) -> dict[str, np.ndarray]:
    """CIFAR's tar.gz of pickles: {train,test}_images (n, 32, 32, 3) uint8 and one array for each of `labels`.

    labels: our name -> the key in the pickles. Unpickling runs what the file says: call this only with bytes whose
    hash matched the recorded one.
    """
    parts: dict[str, list[dict]] = {"train": [], "test": []}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            file = Path(member.name).name
            split = "test" if file in ("test", "test_batch") else "train"
            if member.isfile() and (file in ("train", "test") or re.fullmatch(r"data_batch_\d|test_batch", file)):
                parts[split].append(pickle.load(archive.extractfile(member), encoding="bytes"))  # pyright: ignore[reportArgumentType]: a regular file
    arrays = {}
    for split, batches in parts.items():
        pixels = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
        arrays[f"{split}_images"] = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        for name, key in labels.items():
            arrays[f"{split}_{name}"] = np.concatenate([batch[key.encode()] for batch in batches]).astype(np.uint8)
    return arrays
