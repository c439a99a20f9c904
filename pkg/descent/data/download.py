"""One file from a URL: never more than the recorded size, never longer than told, and the reason in the server's words."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

UNKNOWN_SIZE = 200_000_000  # bytes that a file may have of which only the publisher's hash is recorded
BLOCK = 1 << 16


class _Failed(Exception):
    """Why a download ended without the file."""


def download(url: str, path: Path, size: int | None, timeout: float, seconds: float) -> str:
    """Write what `url` answers to `path`; returns "" or why not, and then leaves no file.

    size: bytes that are recorded; one byte more ends it. timeout: seconds of silence; seconds: of the whole download.
    """
    host = urllib.parse.urlsplit(url).netloc
    end = time.monotonic() + seconds
    said: list[str] = []

    def work() -> None:
        try:
            with contextlib.closing(_opened(url, host, timeout)) as answer:
                _copy(answer, path, host, size, end)
            said.append("")
        except _Failed as failed:
            said.append(str(failed))
        except Exception as error:  # whatever a server can do to a client is a reason, not a traceback
            said.append(f"{host}: {_words(error)}")

    # In a thread: a server that drips its headers byte by byte keeps every single read within its time-out.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    why = said[0] if said else f"{host} gave no whole answer within {seconds:.0f} seconds"
    if why:
        path.unlink(missing_ok=True)
    return why


def _opened(url: str, host: str, timeout: float):
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise _Failed("only http and https are downloaded: put the file into the mirror's folder")
    context = ssl.create_default_context()
    with contextlib.suppress(ImportError, OSError):  # systems without certificates of their own
        import certifi

        context.load_verify_locations(certifi.where())
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, headers={"User-Agent": "descent", "Accept-Encoding": "identity"})
    try:
        return opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            words = str(error.reason or "").split("\n")[0]
            raise _Failed(f"HTTP {error.code} from {host}" + (f" ({words})" if words else "")) from None


def _copy(answer, path: Path, host: str, size: int | None, end: float) -> None:
    limit = UNKNOWN_SIZE if size is None else size
    allowed = f"{limit} are {'the most of a file without a recorded size' if size is None else 'recorded'}"
    told = answer.headers.get("Content-Length", "")
    if told.isdigit() and int(told) > limit:
        raise _Failed(f"{host} sends {told} bytes where {allowed}: not downloaded")
    got = 0
    with open(path, "wb") as file:
        while block := answer.read1(BLOCK):
            got += len(block)
            if got > limit:
                raise _Failed(f"{host} sends more bytes than the {allowed}: stopped")
            if time.monotonic() > end:
                raise _Failed(f"{host} is too slow: {got} bytes came in time; stopped")
            file.write(block)
    if told.isdigit() and got < int(told):
        raise _Failed(f"{host} broke off after {got} of {told} bytes")


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, (TimeoutError, socket.timeout)):
        return "no answer within the time-out"
    if isinstance(error, http.client.HTTPException):
        return f"no HTTP answer ({type(error).__name__})"
    return str(reason).strip().splitlines()[0] if str(reason).strip() else type(reason).__name__
