"""records.py and files.py: tidy rows, honest statuses, equal bytes for equal content."""

import numpy as np
import pytest
import torch

from descent.core.files import read_npz, write_atomically, write_npz
from descent.core.job import Job, Variant
from descent.core.records import Records, read_records, write_records

VARIANT = Variant("zo", {"model": "svm", "smoothing": 0.1}, {}, (7, 8))
JOB = Job("p", "e", "b", "smoke", "train", "m", ("model", "smoothing"), (VARIANT,))


def frame(records):
    return records.frame(JOB)


def test_a_row_a_step_seed_and_metric_in_the_order_added():
    records = Records()
    records.add(VARIANT, "loss", torch.tensor([[1.0, 2.0], [3.0, 4.0]]), step=[0, 10])
    got = frame(records)
    assert list(got.columns) == [
        "paper",
        "experiment",
        "method",
        "model",
        "smoothing",
        "seed",
        "step",
        "metric",
        "value",
        "status",
    ]
    assert got[["seed", "step", "value"]].values.tolist() == [[7, 0, 1], [8, 0, 2], [7, 10, 3], [8, 10, 4]]
    assert set(got["status"]) == {"ok"}


def test_a_value_that_is_not_finite_is_never_ok_and_never_dropped():
    records = Records()
    records.add(VARIANT, "loss", [np.nan, 1.0])
    records.add(VARIANT, "crossing", [np.inf, 3.0], status=["censored", "ok"])
    assert frame(records)["status"].tolist() == ["diverged", "ok", "censored", "ok"]
    with pytest.raises(ValueError, match="cannot be ok"):
        records.add(VARIANT, "loss", [np.nan, 1.0], status="ok")
    with pytest.raises(ValueError, match="status must be one of"):
        records.add(VARIANT, "loss", [1.0, 1.0], status="fine")


@pytest.mark.parametrize(("value", "step"), [([1.0], 0), ([1.0, 2.0, 3.0], 0), ([[1.0], [2.0]], [0, 1]), (1.0, 0)])
def test_nothing_is_broadcast_over_seeds_by_accident(value, step):
    with pytest.raises(ValueError, match="2 seeds"):
        Records().add(VARIANT, "loss", value, step=step)


def test_equal_records_are_equal_bytes_and_come_back_unchanged(tmp_path):
    records = Records()
    records.add(VARIANT, "loss", [0.1, np.nan])
    for name in ("a", "b"):
        write_records(tmp_path / name, frame(records))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = read_records([tmp_path / "a"])
    assert back["smoothing"].tolist() == [0.1, 0.1] and back["value"].tolist()[0] == 0.1


def test_reading_experiments_with_different_axes_leaves_the_absent_ones_missing(tmp_path):
    one, other = Records(), Records()
    one.add(VARIANT, "loss", [1.0, 2.0])
    plain = Variant("gd", {}, {}, (7,))
    other.add(plain, "loss", [3.0])
    write_records(tmp_path / "a", one.frame(JOB))
    write_records(tmp_path / "b", other.frame(Job("p", "f", "b", "smoke", "train", "m", (), (plain,))))
    both = read_records([tmp_path / "a", tmp_path / "b"])
    assert both["model"].isna().tolist() == [False, False, True]


def test_named_arrays_have_no_clock_and_no_order(tmp_path, monkeypatch):
    arrays = {"b": np.arange(3), "a": np.eye(2, dtype=np.float32)}
    write_npz(tmp_path / "x.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_npz(tmp_path / "y.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "x.npz").read_bytes() == (tmp_path / "y.npz").read_bytes()
    assert np.array_equal(read_npz(tmp_path / "x.npz")["a"], arrays["a"])


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")

    def broken(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, broken)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
