"""Imports: cache, then mirror, then network; the recorded hash decides; no network costs seconds."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from descent.data import cards, load, present
from descent.data.__main__ import main
from descent.data.convert import w5a_lines
from descent.data.formats import svmlight
from descent.data.places import read_import
from descent.data.store import blob

ROOT = Path(__file__).resolve().parents[2]


def test_the_url_is_tried_last_and_its_file_is_kept_in_the_cache(toy):
    state, said = toy.fetch()
    assert state == "ready" and toy.server.url in said and toy.target.read_bytes() == toy.content
    cached = blob(toy.root / ".dvc" / "cache", toy.md5)
    assert cached.read_bytes() == toy.content
    asked = toy.server.asked
    toy.target.unlink()
    state, said = toy.fetch()
    assert state == "ready" and "from the cache" in said and toy.server.asked == asked


def test_a_mirror_comes_before_the_network(toy):
    (toy.mirror / "toy.npz").write_bytes(toy.content)
    state, said = toy.fetch()
    assert state == "ready" and str(toy.mirror) in said and toy.server.asked == 0
    assert load("toy", toy.root)["x"].shape == (2, 3)


@pytest.mark.parametrize("how", ["environment", "config"])
def test_the_mirror_may_be_named_by_environment_or_config(toy, how, monkeypatch):
    (toy.mirror / "toy.npz").write_bytes(toy.content)
    if how == "environment":
        monkeypatch.setenv("DESCENT_MIRROR", str(toy.mirror))
    else:
        (toy.root / "config").mkdir()
        (toy.root / "config" / "config.yaml").write_text("data: {mirror: mirror}\n")
    state, said = toy.fetch(mirror=None, retry=False)
    assert state == "ready" and str(toy.mirror) in said


def test_a_mirror_that_is_no_folder_is_refused_at_the_door(toy):
    state, said = toy.fetch(mirror=toy.root / "nowhere")
    assert state == "DataError" and "nowhere" in said and "not a folder" in said


def test_a_wrong_file_in_the_mirror_is_named_with_both_hashes_and_never_moved_in_place(toy):
    (toy.mirror / "toy.npz").write_bytes(b"something else")
    state, said = toy.fetch(retry=False)
    assert state == "DataError"
    assert toy.md5 in said and hashlib.md5(b"something else").hexdigest() in said and str(toy.mirror) in said
    assert not toy.target.exists() and list(toy.target.parent.iterdir()) == [toy.target.with_name("toy.npz.dvc")]


def test_a_wrong_file_in_the_mirror_does_not_keep_the_url_from_being_tried(toy):
    (toy.mirror / "toy.npz").write_bytes(b"something else")
    assert toy.fetch()[0] == "ready" and toy.target.read_bytes() == toy.content


@pytest.mark.parametrize("change", [lambda content: content[:-7], lambda content: b"<html>log in</html>"])
def test_a_truncated_or_changed_download_is_named_with_both_hashes_and_never_moved_in_place(toy, change):
    toy.server.content = change(toy.content)
    state, said = toy.fetch()
    assert state == "refused"
    assert toy.md5 in said and hashlib.md5(toy.server.content).hexdigest() in said and toy.server.url in said
    assert list(toy.target.parent.iterdir()) == [toy.target.with_name("toy.npz.dvc")]


def test_a_truncated_file_in_place_is_replaced(toy):
    toy.target.write_bytes(toy.content[:20])
    assert toy.fetch()[0] == "ready" and toy.target.read_bytes() == toy.content


def test_a_damaged_cache_is_passed_over(toy):
    cached = blob(toy.root / ".dvc" / "cache", toy.md5)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"damaged")
    (toy.mirror / "toy.npz").write_bytes(toy.content)
    assert toy.fetch(retry=False)[0] == "ready" and toy.target.read_bytes() == toy.content


def test_without_a_network_nothing_waits_more_than_seconds(toy):
    toy.server.server.shutdown()
    toy.server.server.server_close()  # from here on the connection is refused
    start = time.perf_counter()
    state, said = toy.fetch()
    assert state == "unavailable" and "does not answer" in said
    assert time.perf_counter() - start < 3


def test_a_name_that_does_not_resolve_waits_no_longer_than_the_time_out(toy):
    toy.record("http://no-such-host.invalid/toy.npz")
    start = time.perf_counter()
    assert toy.fetch(timeout=2.0)[0] == "unavailable"
    assert time.perf_counter() - start < 4


def test_a_host_that_takes_the_connection_and_is_silent_is_given_up(toy):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        toy.record(f"http://127.0.0.1:{silent.getsockname()[1]}/toy.npz")
        start = time.perf_counter()
        state, said = toy.fetch(timeout=2.0)
        assert state == "unavailable" and re.search("no (whole )?answer within", said)
        assert time.perf_counter() - start < 8


@pytest.fixture
def answering(toy):
    """Have the toy's URL answer with what a handler's `do_GET` does; returns a function."""
    servers = []

    def serve(get):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

        Handler.do_GET = get
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        toy.record(f"http://127.0.0.1:{server.server_port}/toy.npz")
        return f"127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def alone(toy):
    """Nothing but the record lies in imports/."""
    return list(toy.target.parent.iterdir()) == [toy.target.with_name("toy.npz.dvc")]


def test_an_endless_stream_ends_at_the_recorded_size(toy, answering):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while sum(sent) < 1 << 28:
                handler.wfile.write(bytes(1 << 16))
                sent.append(1 << 16)
        except OSError:
            pass

    host = answering(endless)
    state, said = toy.fetch()
    assert state == "unavailable" and f"{host} sends more bytes than the {len(toy.content)} are recorded" in said
    assert sum(sent) < 1 << 26 and alone(toy)


def test_a_file_that_says_it_is_far_too_long_is_not_even_begun(toy, answering):
    def long(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**10))
        handler.end_headers()

    host = answering(long)
    state, said = toy.fetch()
    assert state == "unavailable" and f"{host} sends 10000000000 bytes where {len(toy.content)} are recorded" in said
    assert alone(toy)


@pytest.mark.parametrize("code", [403, 404, 500])
def test_the_http_status_is_the_reason(toy, answering, code):
    host = answering(lambda handler: handler.send_error(code))
    state, said = toy.fetch()
    assert state == "unavailable" and f"HTTP {code} from {host}" in said and "\n" not in said and alone(toy)


def test_a_server_that_breaks_off_or_talks_nonsense_is_named(toy, answering):
    def broken(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(toy.content)))
        handler.end_headers()
        handler.wfile.write(toy.content[:10])

    host = answering(broken)
    assert f"{host} broke off after 10 of {len(toy.content)} bytes" in toy.fetch()[1]
    host = answering(lambda handler: handler.wfile.write(b"hit us up\r\n\r\n"))
    assert f"{host}: no HTTP answer" in toy.fetch()[1]
    assert alone(toy)


def test_a_wrong_file_from_a_url_is_an_error_of_the_command_and_keeps_no_study_from_running(toy, capsys):
    toy.server.content = b"<html>log in</html>"
    assert main(["fetch", "toy", "--root", str(toy.root)]) == 1
    assert hashlib.md5(toy.server.content).hexdigest() in capsys.readouterr().out
    assert toy.fetch()[0] == "refused"  # told, not raised


def test_what_a_killed_download_left_is_removed_at_the_next_start(toy):
    left = toy.target.with_name(".toy.npz.2147483646.part")
    mine = toy.target.with_name(f".toy.npz.{os.getpid()}.copy")
    fresh = toy.target.with_name(".toy.npz.2147483645.part")
    for path in (left, mine, fresh):
        path.write_bytes(b"half")
    for path in (left, mine):
        os.utime(path, (1e9, 1e9))
    toy.fetch(retry=False)
    assert not left.exists() and mine.exists() and fresh.exists()


def test_offline_opens_no_connection(toy, monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("a connection was opened"))
    state, said = toy.fetch(retry=False)
    assert state == "unavailable" and "was not tried" in said


def test_the_command_line_takes_a_missing_import_for_no_error_and_a_wrong_file_for_one(toy, capsys):
    arguments = ["fetch", "toy", "--offline", "--mirror", str(toy.mirror), "--root", str(toy.root)]
    assert main(arguments) == 0
    (toy.mirror / "toy.npz").write_bytes(b"something else")
    assert main(arguments) == 2
    assert toy.md5 in capsys.readouterr().err


def test_presence_says_how_to_get_what_is_missing(toy):
    missing = present("toy", toy.root)
    assert not missing.available and missing.hash is None
    assert toy.server.url in missing.reason and "data.mirror" in missing.reason and "toy.npz" in missing.reason
    toy.target.write_bytes(toy.content[:-1])
    cut = present("toy", toy.root)
    assert not cut.available and str(len(toy.content) - 1) in cut.reason
    toy.target.write_bytes(toy.content)
    assert present("toy", toy.root) == (True, cards()["toy"].hash, "", True)


# ---- the study's own imports


class Marker:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_nothing_is_unpickled_before_its_hash_matched(checkout, tmp_path):
    ran = tmp_path / "unpickled"
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    np.save(mirror / "x.npy", np.array(Marker(ran), dtype=object), allow_pickle=True)
    (mirror / "x.npy").rename(mirror / "hatsopoulos2007_rates.npy")
    arguments = ["fetch", "hatsopoulos2007", "--offline", "--mirror", str(mirror), "--root", str(checkout)]
    assert main(arguments) == 2 and not ran.exists()
    content = pickle.dumps(Marker(ran))
    (checkout / "imports" / "cifar-10-python.tar.gz").write_bytes(content)
    with pytest.raises(Exception, match="cifar10 is corrupt"):
        load("cifar10", checkout)
    assert not ran.exists()


def test_every_import_has_a_record_with_url_and_md5():
    names = {name for card in cards().values() for name in card.raw}
    names |= {file.path.removeprefix("imports/") for c in cards().values() if c.on_request for file in c.files}
    assert names == {path.name.removesuffix(".dvc") for path in (ROOT / "imports").glob("*.dvc")}
    for name in names:
        record = read_import(ROOT, name)
        assert record.file == name and record.url.startswith("https://") and len(record.md5) == 32


def test_every_import_of_the_study_scale_has_a_stand_in_of_the_same_form():
    for card in cards().values():
        if card.kind == "import" and not card.on_request:
            other = cards()[card.stand_in]
            assert other.kind == "stand-in" and other.embedded
            assert {k: (a.dtype, len(a.shape)) for k, a in card.arrays.items()} == {
                k: (a.dtype, len(a.shape)) for k, a in other.arrays.items()
            }
            assert (card.n_features is None) == (other.n_features is None)


def test_w5a_equals_libsvms_files(fetched, shared):
    raw = {name: (shared / "imports" / name).read_bytes() for name in ("w5a.mat", "w8a")}
    for file, lines in zip(("w5a", "w5a.t"), w5a_lines(raw), strict=True):
        assert svmlight(lines) == (shared / "libsvm" / file).read_bytes()
    data = load("w5a", fetched)
    assert int((data["train_labels"] > 0).sum()) == 281 and int((data["test_labels"] > 0).sum()) == 1198
    assert data.n_features == 300 and data["train_indices"].max() == 299 and not data.stand_in


def test_waveform_equals_the_published_tables(fetched, shared):
    data = load("waveform", fetched)
    for split in ("train", "test"):
        table = np.loadtxt(shared / "waveform" / f"waveform_{split}.csv", delimiter=",", skiprows=1)
        assert np.array_equal(data[f"{split}_labels"], table[:, 0])
        assert np.allclose(data[f"{split}_features"], table[:, 1:], rtol=1e-9, atol=0)


def test_recordings_are_repacked_without_a_change_of_values(fetched, shared):
    data = load("hatsopoulos2007", fetched)
    with np.load(shared / "eprop" / "hatsopoulos2007.npz") as expected:
        assert set(expected.files) == set(data.arrays)
        for name in expected.files:
            assert np.array_equal(data[name], expected[name])


def test_dvc_agrees_that_fetched_imports_are_the_recorded_ones(fetched):
    from descent.data.store import _work_without_git, run_dvc

    _work_without_git(fetched)
    assert run_dvc(["status", "--quiet", "imports/w8a.dvc", "imports/w5a.mat.dvc"], fetched, 60) == ""
