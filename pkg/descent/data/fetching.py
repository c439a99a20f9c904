"""Brings every dataset into place: the embedded ones by one `dvc pull`, the imports from cache, mirror or network.

Whatever the way, the recorded hash decides: a file that does not match is named with both hashes and never moved into
place. Nothing waits long for a network that is not there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from descent.core.errors import DataError
from descent.core.files import write_atomically
from descent.core.leftovers import sweep
from descent.data.cards import Card, FileRecord, card, cards
from descent.data.convert import convert
from descent.data.download import UNKNOWN_SIZE, download
from descent.data.places import IMPORTS, TRACKED, Import, find_root, path_of, read_import
from descent.data.store import blob, cache_folder, clear_damaged_cache, pull, store_faults

TIMEOUT = 10.0  # seconds
SLOWEST = 256 * 1024  # bytes a second: a download slower than this is given up


class Outcome(NamedTuple):
    """What became of a dataset: at hand, not available (its jobs are then not run), or refused as not the recorded one.

    ours: the refused file is one that the user can mend here (in the repository's store or the mirror), not a server's.
    """

    name: str
    state: Literal["ready", "unavailable", "refused"]
    text: str
    ours: bool = False


def fetch(
    embedded: bool = True,
    imports: Iterable[str] | bool = True,
    mirror: str | os.PathLike | None = None,
    retry: bool = False,
    timeout: float | None = None,
    root: str | os.PathLike | None = None,
    say: Callable[[str], None] = print,
) -> list[Outcome]:
    """Bring the datasets into place and print a line for each.

    embedded: pull those of data.dvc (nothing is run when all are right already).
    imports: names; True means all but those that only the paper scale needs, False none.
    mirror: a folder that holds downloads named as in imports/ (default: `data.mirror` in config/config.yaml, else the
    environment variable DESCENT_MIRROR).
    retry: try the network for imports that neither cache nor mirror has; False never opens a connection.
    timeout: seconds that a host may take to answer (default: `data.timeout` in config/config.yaml, else 10).

    An import that is not available is no error, and one whose URL gives another file than the recorded one is refused
    like it: its jobs are not run. Raises DataError, naming every fault at once, when an embedded dataset cannot be made
    right or a file of the mirror is not the recorded one and no other source had it.
    """
    folder = find_root(root)
    sweep(folder / IMPORTS)
    wanted = _default_imports() if imports is True else [_import_card(name) for name in imports or ()]
    settings = _settings(folder)
    source = _mirror(mirror, settings, folder)
    timeout = timeout or settings.get("timeout") or TIMEOUT
    outcomes, faults = _fetch_embedded(folder, say) if embedded else ([], [])
    fetched = _fetch_imports(wanted, folder, source, retry, timeout)
    outcomes += fetched
    faults += [f"{outcome.name}: {outcome.text}" for outcome in fetched if outcome.ours]
    width = max((len(outcome.name) for outcome in outcomes), default=0)
    for outcome in outcomes:
        say(f"{outcome.name:<{width}}  {outcome.text}")
    if faults:
        raise DataError("\n".join(faults))
    return outcomes


# ---- embedded


def _fetch_embedded(root: Path, say: Callable[[str], None]) -> tuple[list[Outcome], list[str]]:
    """A line a dataset, and what went wrong, a sentence each."""
    mine = [found for found in cards().values() if found.embedded]
    before = {found.name: file_faults(found, root) for found in mine}
    pulled = ""
    if any(before.values()):
        _refuse_strangers(mine, root)
        for found in mine:
            for path, fault in before[found.name].items():
                if path.exists():  # DVC would stop at a file that it does not know
                    say(f"{found.name}: {fault}; replaced from the store")
                    path.unlink()
        for sentence in clear_damaged_cache(root):
            say(sentence)
        pulled = pull(root)
    after = {found.name: file_faults(found, root) for found in mine} if any(before.values()) else before
    for path in (path for faults in after.values() for path in faults):
        path.unlink(missing_ok=True)  # nothing wrong stays in place
    outcomes = [_embedded_outcome(found, before[found.name], after[found.name]) for found in mine]
    if not any(after.values()):
        return outcomes, []
    # The cause, said once: damaged blobs, else files that are wrong although the store is sound, else DVC's own words.
    wrong = [fault for faults in after.values() for fault in faults.values() if "got no file" not in fault]
    return outcomes, store_faults(root) or wrong or [f"`dvc pull {TRACKED}` failed in {root}: {pulled or 'no message'}"]


def _embedded_outcome(found: Card, before: dict, after: dict) -> Outcome:
    if after:
        return Outcome(found.name, "refused", f"not fetched: {next(iter(after.values()))}")
    size = sum(file.size or 0 for file in found.files)
    return Outcome(found.name, "ready", f"{'fetched' if before else 'ready'} ({_megabytes(size)})")


def file_faults(found: Card, root: Path) -> dict[Path, str]:
    """What is wrong with the files of a dataset below `root`, by their whole content: file -> a sentence with both hashes."""
    faults = {}
    for file in found.files:
        path = path_of(found, file, root)
        if path is not None and (fault := _fault(path, file)):
            faults[path] = f"{file.path}: {fault}"
    return faults


def _fault(path: Path, file: FileRecord) -> str:
    try:
        with open(path, "rb") as opened:
            got = hashlib.file_digest(opened, file.algorithm).hexdigest()
    except FileNotFoundError:
        return f"expected {file.algorithm} {file.hash}, got no file"
    return "" if got == file.hash else file.mismatch(got, path.stat().st_size)


def _refuse_strangers(mine: list[Card], root: Path) -> None:
    """DVC deletes what it does not know in a folder that it checks out, or refuses to work: say which files."""
    known = {root / file.path for found in mine for file in found.files}
    strangers = [path for path in sorted((root / "data").rglob("*")) if path.is_file() and path not in known]
    if strangers:
        names = ", ".join(str(path.relative_to(root)) for path in strangers[:5])
        raise DataError(f"data/ belongs to DVC and holds files that are not the study's ({names}): move them elsewhere")


# ---- imports


class _Found(NamedTuple):
    """A download: good when `path` holds it, else why not.

    wrong: something came that is not the recorded file. own: and it lies in the user's own mirror.
    """

    path: Path | None
    text: str
    wrong: bool = False
    own: bool = False


def _default_imports() -> list[Card]:
    return [found for found in cards().values() if found.kind == "import" and not found.on_request]


def _import_card(name: str) -> Card:
    found = card(name)
    if found.kind != "import":
        raise DataError(
            f"`{name}` is not an import: those are {', '.join(n for n, c in cards().items() if c.kind == 'import')}"
        )
    return found


def _settings(root: Path) -> dict:
    """`data` in config/config.yaml, where there is one. The workflow passes what it resolved; this is for the command."""
    path = root / "config" / "config.yaml"
    try:
        settings = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("data") if path.is_file() else None
    except (yaml.YAMLError, AttributeError):
        raise DataError(f"{path} is not a YAML mapping: mend it before data can be fetched") from None
    return settings or {}


def _mirror(mirror: str | os.PathLike | None, settings: dict, root: Path) -> Path | None:
    places = (
        (mirror, "the mirror"),
        (settings.get("mirror"), "data.mirror in config/config.yaml"),
        (os.environ.get("DESCENT_MIRROR"), "the environment variable DESCENT_MIRROR"),
    )
    named, by = next(((named, by) for named, by in places if named), (None, ""))
    if named is None:
        return None
    folder = (root / Path(named).expanduser()).absolute()
    if not folder.is_dir():
        raise DataError(
            f"{by} names {folder}, which is not a folder: name one that holds the downloads, or leave it empty"
        )
    return folder


def _fetch_imports(wanted: list[Card], root: Path, mirror: Path | None, retry: bool, timeout: float) -> list[Outcome]:
    missing = [found for found in wanted if file_faults(found, root)]
    files = list(dict.fromkeys(file for found in missing for file in _raw(found)))
    records = [read_import(root, file) for file in files]
    reachable: dict[str, bool] = {}
    if retry:
        hosts = {_host(record.url): record.url for record in records}
        with ThreadPoolExecutor(max(1, len(hosts))) as pool:
            answers = pool.map(lambda url: _answers(url, timeout), hosts.values())
            reachable = dict(zip(hosts, answers, strict=True))
    # In parallel, so that several hosts that do not answer cost no more time than one.
    with ThreadPoolExecutor(max(1, len(records))) as pool:
        got = dict(zip(files, pool.map(lambda r: _obtain(r, root, mirror, reachable, timeout), records), strict=True))
    return [_import_outcome(found, found in missing, got, root) for found in wanted]


def _raw(found: Card) -> tuple[str, ...]:
    return found.raw or tuple(Path(file.path).name for file in found.files)


def _import_outcome(found: Card, was_missing: bool, got: dict[str, _Found], root: Path) -> Outcome:
    if not was_missing:
        return Outcome(found.name, "ready", "ready")
    downloads = [got[file] for file in _raw(found)]
    failed = [one for one in downloads if one.path is None]
    if failed:
        why = "; ".join(one.text for one in failed)
        if any(one.wrong for one in failed):
            return Outcome(found.name, "refused", f"refused: {why}", any(one.own for one in failed))
        return Outcome(found.name, "unavailable", f"not available: {why}")
    if found.raw:
        try:
            _convert(found, got, root)
        except DataError as error:
            return Outcome(found.name, "refused", f"refused: {error}", True)
    return Outcome(found.name, "ready", "fetched " + ", ".join(one.text for one in downloads))


def _convert(found: Card, got: dict[str, _Found], root: Path) -> None:
    (record,) = found.files
    paths = {file: path for file in found.raw if (path := got[file].path)}
    content = convert(found, {file: path.read_bytes() for file, path in paths.items()})
    if (made := record.hash_of(content)) != record.hash:
        raise DataError(f"{record.path}, converted from {', '.join(found.raw)}: {record.mismatch(made, len(content))}")
    write_atomically(root / record.path, lambda temporary: temporary.write_bytes(content))


def _obtain(record: Import, root: Path, mirror: Path | None, reachable: dict[str, bool], timeout: float) -> _Found:
    """The download in imports/, from there, the cache, the mirror or its URL, in this order."""
    target = root / IMPORTS / record.file
    cache = cache_folder(root)
    sources = [(f"{IMPORTS}/{record.file}", target)]
    if cache is not None:
        sources.append(("the cache", blob(cache, record.md5)))
    if mirror is not None:
        sources.append((str(mirror / record.file), mirror / record.file))
    wrong = []
    for name, path in sources:
        if not path.is_file():
            continue
        got = _take(path, target, record.md5)
        if got == record.md5:
            _remember(target, cache, record.md5)
            return _Found(target, f"from {name}")
        wrong.append(f"{name}: {_both(record, got, path.stat().st_size)}")
    in_mirror = mirror is not None and any(text.startswith(str(mirror)) for text in wrong)
    came = _download(record, target, reachable, timeout)
    if came.path is not None:
        _remember(target, cache, record.md5)
        return came
    return _Found(None, "; ".join([*wrong, came.text]), came.wrong or in_mirror, in_mirror)


def _download(record: Import, target: Path, reachable: dict[str, bool], timeout: float) -> _Found:
    """Download to a temporary name, check, move into place."""
    host = _host(record.url)
    if host not in reachable:
        return _Found(None, f"{record.url} was not tried (no network was asked for)")
    if not reachable[host]:
        return _Found(None, f"{record.url}: {host} does not answer")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        seconds = timeout + (record.size or UNKNOWN_SIZE) / SLOWEST
        if said := download(record.url, part, record.size, timeout, seconds):
            return _Found(None, f"{record.url}: {said}")
        size = part.stat().st_size
        got = _take(part, target, record.md5)
        if got == record.md5:
            return _Found(target, f"from {record.url}")
        return _Found(None, f"{record.url}: {_both(record, got, size)}", wrong=True)
    finally:
        part.unlink(missing_ok=True)


def _both(record: Import, got: str, size: int) -> str:
    return FileRecord(record.file, size=record.size, md5=record.md5).mismatch(got, size)


def _take(path: Path, target: Path, md5: str) -> str:
    """Copy `path` to `target` if its md5 is the right one; returns its md5. What is hashed is what is moved in place."""
    with open(path, "rb") as file:
        if path == target:
            return hashlib.file_digest(file, "md5").hexdigest()
        digest = hashlib.md5()
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}.copy")
        try:
            with open(part, "wb") as copy:
                while block := file.read(1 << 20):
                    digest.update(block)
                    copy.write(block)
            if digest.hexdigest() == md5:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return digest.hexdigest()


def _remember(target: Path, cache: Path | None, md5: str) -> None:
    """Put a verified download into DVC's cache, where `dvc checkout` finds it as well."""
    if cache is None or blob(cache, md5).exists():
        return
    kept = blob(cache, md5)
    write_atomically(kept, lambda temporary: shutil.copyfile(target, temporary))
    kept.chmod(0o444)


# ---- the network


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).netloc


def _answers(url: str, timeout: float) -> bool:
    """Whether the URL's host, or the proxy in front of it, takes a connection within `timeout` seconds.

    Asked once a host, so that several files of one that is silent cost no more time than one. In a thread, since a
    look-up of a name has no time-out of its own.
    """
    parts = urllib.parse.urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.netloc):
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, port), timeout=timeout).close()
            answered.set()
        except OSError:
            pass

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
