"""Where runs go: which store, whether it can be used, and every failure of it as one sentence.

A URI may hold a user's name and password: nothing here prints, logs or stores more of it than `shown` leaves.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from descent.config.model import StudyConfig
from descent.core.errors import StudyError
from descent.core.files import write_text

TIMEOUT = 10  # seconds that one answer of a server is waited for
PATIENCE = 300  # seconds that a server may take in all, and that a lock is waited for
AGAIN = "records and report are done, only the copy in MLflow has to be run again"
SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")

# MLflow reports its use over the network unless it is told not to, before it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def store(root: Path, study: StudyConfig) -> str:
    """Where runs go: `tracking.uri`, else MLFLOW_TRACKING_URI, else an SQLite file below the results folder."""
    given = study.tracking.uri or os.environ.get("MLFLOW_TRACKING_URI")
    return given or f"sqlite:///{(root / study.results / 'mlflow.db').resolve()}"


def database(uri: str) -> Path | None:
    """The file of an SQLite store, else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///")).resolve()


def shown(uri: str) -> str:
    """A URI without the name, password and query that may be in it."""
    if uri.startswith("sqlite:"):
        return uri
    parts = urllib.parse.urlsplit(uri)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def opened(uri: str) -> str:
    """The URI that MLflow is given. SQLAlchemy takes everything after a `?` for options, whatever it quotes: a database
    below a folder with that sign is named from the working folder, which `prepare` therefore sets."""
    path = database(uri)
    if path is None or "?" not in str(path):
        return uri
    relative = os.path.relpath(path)
    if "?" in relative:
        raise StudyError(
            f"MLflow cannot open {path}: the folder's name holds a `?`; set `results` in config/config.yaml to another"
        )
    return f"sqlite:///./{relative}"


def prepare(uri: str) -> None:
    """Make the store ready: once, alone, before anything logs. A server is only asked whether it is there.

    Parallel first use of an SQLite store races its migrations; a lock beside the file keeps others waiting.
    Raises StudyError, in one sentence and within seconds, when the store cannot be used.
    """
    scheme = _scheme(uri)
    if scheme in SERVERS:
        _ask(uri)
        return
    if scheme in ("file", ""):
        raise StudyError(f"`tracking.uri` {shown(uri)} is a folder of files, which MLflow no longer writes to: use "
                         f"sqlite:////path/to/mlflow.db or a server; {AGAIN}")  # fmt: skip
    if scheme not in DATABASES:
        return  # databricks and what else MLflow knows: it says itself what is missing
    path = database(uri)
    if path is None:
        return
    with told(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            import mlflow

            marker = path.with_suffix(".version")
            if path.is_file() and marker.is_file() and marker.read_text(encoding="utf-8") == mlflow.__version__:
                return
            command = [sys.executable, "-m", "mlflow", "db", "upgrade", opened(uri)]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
            if done.returncode:
                raise StudyError(f"MLflow cannot prepare {path}: {_reason(done.stderr)}; move the file away, "
                                 "it can be made again from the records")  # fmt: skip
            write_text(marker, mlflow.__version__)


@contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Alone on this machine while the block runs. Raises StudyError when another keeps the lock longer than `patience`."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows: nothing to lock with, and no workflow that would run in parallel
        yield
        return
    began = time.monotonic()
    with open(path, "w", encoding="utf-8") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - began > patience:
                    raise StudyError(
                        f"{path} has been locked by another process for {patience:.0f} s: wait for it or end it"
                    ) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks: as good as it can be
                break
        yield


def _scheme(uri: str) -> str:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", uri)
    return found[1].lower().partition("+")[0] if found else "databricks" if uri == "databricks" else ""


def _ask(uri: str) -> None:
    """Whether a server answers at all; an error page counts as an answer, a gateway's and a refusal do not."""
    parts = urllib.parse.urlsplit(uri)
    request = urllib.request.Request(shown(uri).rstrip("/") + "/health")
    name, password = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME"), parts.password
    password = password or os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if name and password:
        import base64

        pair = f"{urllib.parse.unquote(name)}:{urllib.parse.unquote(password)}"
        request.add_header("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            raise _refused(uri, error.code) from None
        if error.code in (502, 503, 504):
            raise _down(uri, f"HTTP {error.code}") from None
    except (OSError, ValueError) as error:
        raise _down(uri, str(getattr(error, "reason", error))) from None


def _refused(uri: str, code: int | str) -> StudyError:
    return StudyError(f"the MLflow server at {shown(uri)} refuses (HTTP {code}): give MLFLOW_TRACKING_USERNAME and "
                      f"MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; {AGAIN}")  # fmt: skip


def _down(uri: str, reason: str) -> StudyError:
    return StudyError(f"the MLflow server at {shown(uri)} does not answer ({reason}): start it, or set `tracking.uri` in "
                      f"config/config.yaml to another; {AGAIN}")  # fmt: skip


@contextmanager
def told(uri: str) -> Iterator[None]:
    """Every failure of the store as one StudyError, without a traceback."""
    try:
        yield
    except StudyError:
        raise
    except ModuleNotFoundError as error:
        raise StudyError(f"the store {shown(uri)} needs the Python package {error.name}, which is not installed: "
                         f"pip install it; {AGAIN}") from None  # fmt: skip
    except Exception as error:
        kinds = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
        ours = {"mlflow", "sqlalchemy", "sqlite3", "alembic", "requests", "urllib3"}
        if not kinds & ours and not isinstance(error, OSError):
            raise
        reason = _without(_reason(str(error)), uri)
        if _scheme(uri) in SERVERS:
            if found := re.search(r"\b(401|403)\b", reason):
                raise _refused(uri, found[1]) from None
            if "JSON" in reason or "Expecting value" in reason:
                reason = "it answers with a page, not with data: a login in between, or no MLflow there"
            raise _down(uri, reason) from None
        if database(uri) is None:
            raise StudyError(f"MLflow's store {shown(uri)} cannot be used ({reason}); {AGAIN}") from None
        if "locked" in str(error):
            reason = "the database is locked by another process"
        raise StudyError(f"MLflow's store {database(uri)} cannot be used ({reason}): check that its folder is "
                         "writable and its disk not full, or move the file away: it can be made again from the records") from None  # fmt: skip


def _without(text: str, uri: str) -> str:
    """A message without what a URI may hold of secrets."""
    parts = urllib.parse.urlsplit(uri)
    for secret in (parts.password, parts.query, parts.netloc.rpartition("@")[0]):
        if secret:
            text = text.replace(secret, "...")
    return text


@contextmanager
def patient(uri: str, seconds: float = PATIENCE) -> Iterator[None]:
    """MLflow's own patience (two minutes a request, seven times) cut down, and the whole block's limited: also where a
    server sends its answers drop by drop."""
    wanted = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }
    set_here = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ |= set_here

    def over(*_: object) -> None:
        raise StudyError(f"the MLflow store {shown(uri)} is too slow: it took more than {seconds:.0f} s; {AGAIN}")

    alarmed = (
        hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread() and database(uri) is None
    )
    before = signal.signal(signal.SIGALRM, over) if alarmed else None
    if alarmed:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if alarmed:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        for name in set_here:
            del os.environ[name]


def _reason(text: str) -> str:
    """The line of an error that says what happened: not the last one, where that is a link."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and "sqlalche.me" not in line]
    told = [line for line in lines if "Error" in line] or lines
    return (told[0] if len(told) == 1 else told[-1])[:300] if told else "no reason given"
