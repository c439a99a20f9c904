"""Checkouts to work in, a small import of our own with a server for it, and the optional mirror of the real imports."""

from __future__ import annotations

import hashlib
import importlib
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml

from descent.core.errors import DataError
from descent.data import fetch
from descent.data.formats import npz_bytes

ROOT = Path(__file__).resolve().parents[2]
# By this way, since `descent.data.cards` is also the name of a function of the package.
cards_module = importlib.import_module("descent.data.cards")


@pytest.fixture(autouse=True)
def _no_mirror_of_the_users(monkeypatch):
    for name in ("DESCENT_MIRROR", "DESCENT_ROOT", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def make_checkout(folder: Path) -> Path:
    """What the data layer needs of a checkout: DVC's settings, the store and the records. No .git, no data."""
    for name in (".dvcignore", "data.dvc"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder)
    (folder / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", folder / ".dvc")
    shutil.copytree(ROOT / "dvc-store", folder / "dvc-store", copy_function=copy_or_link)
    (folder / "imports").mkdir()
    for record in (ROOT / "imports").glob("*.dvc"):
        shutil.copy(record, folder / "imports")
    return folder


def copy_or_link(source: str, target: str) -> None:
    """The two large blobs are never written to by a test: linked where the file system can, which saves seconds."""
    if Path(source).stat().st_size > 4e6:
        try:
            os.link(source, target)
            return
        except OSError:
            pass
    shutil.copyfile(source, target)


@pytest.fixture
def checkout(tmp_path):
    """A checkout of one's own, nothing fetched yet."""
    yield make_checkout(tmp_path / "checkout")
    shutil.rmtree(tmp_path / "checkout")  # 100 MB each: pytest would keep them


@pytest.fixture(scope="session")
def pulled(tmp_path_factory) -> Path:
    """A checkout with the embedded datasets in place: not to be written to."""
    folder = make_checkout(tmp_path_factory.mktemp("pulled") / "checkout")
    fetch(imports=False, root=folder, say=lambda text: None)
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    """The mirror of the real files beside the repository, where there is one."""
    folder = ROOT / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the repository to compare with")
    return folder


@pytest.fixture(scope="session")
def fetched(tmp_path_factory, shared) -> Path:
    """A checkout with the real imports from that mirror: not to be written to."""
    folder = make_checkout(tmp_path_factory.mktemp("fetched") / "checkout")
    fetch(embedded=False, mirror=shared / "imports", root=folder, say=lambda text: None)
    return folder


class Server:
    """An HTTP server on loopback that answers every request with `content` and counts the requests."""

    def __init__(self, content: bytes):
        self.content, self.asked, outer = content, 0, self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += self.command == "GET"
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.send_header("ETag", '"1"')
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(outer.content)

            do_HEAD = do_GET

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/toy.npz"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Toy:
    """A checkout whose one dataset, `toy`, is an import of a few bytes from a server on loopback."""

    def __init__(self, folder: Path, content: bytes):
        self.root, self.content = folder, content
        self.md5 = hashlib.md5(content).hexdigest()
        self.server = Server(content)
        self.target = folder / "imports" / "toy.npz"
        for name in (".dvc", "imports", "mirror"):
            (folder / name).mkdir(parents=True)
        self.mirror = folder / "mirror"
        self.record(self.server.url)

    def record(self, url: str) -> None:
        out = {"md5": self.md5, "size": len(self.content), "hash": "md5"}
        record = {"frozen": True, "deps": [{**out, "path": url}], "outs": [{**out, "path": "toy.npz"}]}
        (self.root / "imports" / "toy.npz.dvc").write_text(yaml.safe_dump(record))

    def fetch(self, **options):
        """`fetch`, its outcome for toy and everything that it said."""
        said: list[str] = []
        options = {"mirror": self.mirror, "retry": True, "timeout": 3.0, **options}
        try:
            (outcome,) = fetch(embedded=False, root=self.root, say=said.append, **options)
        except DataError as error:
            return "DataError", str(error)
        return outcome.state, "\n".join(said)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    content = npz_bytes({"x": np.arange(6.0).reshape(2, 3)})
    text = {key: "text" for key in ("title", "source", "licence", "citation", "made")}
    card = {
        **text, "kind": "import", "format": "npz", "used_by": ["nobody"],
        "files": {"imports/toy.npz": {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}},
        "arrays": {"x": {"dtype": "float64", "shape": [2, 3], "about": "numbers"}},
    }  # fmt: skip
    (tmp_path / "cards.yaml").write_text(yaml.safe_dump({"toy": card}))
    monkeypatch.setattr(cards_module, "CARDS", tmp_path / "cards.yaml")
    cards_module.cards.cache_clear()
    made = Toy(tmp_path / "checkout", content)
    yield made
    made.server.server.shutdown()
    made.server.server.server_close()
    cards_module.cards.cache_clear()
