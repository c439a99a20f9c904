"""make soak: a server that answers a download in a random wrong way is refused in a sentence, and leaves nothing."""

import random
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from soak import tally, tries

pytestmark = pytest.mark.soak


def send(handler, body, length=None, status=200):
    handler.send_response(status)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(body)


def cut(handler, content, chance):
    send(handler, content[: chance.randrange(len(content))], len(content))


def flip(handler, content, chance):
    at = chance.randrange(len(content))
    send(handler, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :], len(content))


def longer(handler, content, chance):
    send(handler, content + bytes(chance.randrange(1, 5000)))


def endless(handler, content, chance):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1 << 12):
        handler.wfile.write(bytes(1 << 16))


def drip(handler, content, chance):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    for byte in content:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.4)


def status(handler, content, chance):
    send(handler, b"<html>no</html>", 15, chance.choice([204, 400, 401, 403, 404, 429, 500, 502, 503]))


def page(handler, content, chance):
    send(handler, b"<html>log in first</html>", 25)


def circle(handler, content, chance):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def nonsense(handler, content, chance):
    handler.wfile.write(chance.randbytes(chance.randrange(1, 300)))


def silent(handler, content, chance):
    time.sleep(6)


FAULTS = (cut, flip, longer, endless, drip, status, page, circle, nonsense, silent)


def test_a_hostile_server_is_refused_and_leaves_nothing(toy):
    chance, fault = random.Random(1), [cut]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with suppress(OSError):
                fault[0](self, toy.content, chance)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    toy.record(f"http://127.0.0.1:{server.server_port}/toy.npz")
    with tally(
        "a download whose server cuts, garbles, drips, redirects in a circle, never ends or never answers"
    ) as told:
        for i in range(tries(60)):
            fault[0] = FAULTS[i % len(FAULTS)]
            began = time.monotonic()
            state, said = toy.fetch(timeout=1.0)
            name = fault[0].__name__
            if state not in ("unavailable", "refused"):
                told(f"{name}: {state} ({said})")
            elif list(toy.target.parent.iterdir()) != [toy.target.with_name("toy.npz.dvc")]:
                told(f"{name}: files were left: {list(toy.target.parent.iterdir())}")
            else:
                took = time.monotonic() - began
                told(f"{name}: it took {took:.0f} s" if took > 30 else None if len(said) < 900 else f"{name}: {said}")
    server.shutdown()
    server.server_close()
