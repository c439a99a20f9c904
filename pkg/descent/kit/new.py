"""`descent new`: a complete small paper to start from. Its files are those of kit/template, under the paper's own name."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from descent.core.errors import ConfigError
from descent.core.files import write_text

TEMPLATE = Path(__file__).with_name("template")
PACKAGE = Path(__file__).parents[1]
ENGINE = {"new", "run", "list", "check", "study", "all"}  # and the names of its packages
NAME = "mypaper"  # how the template calls itself
FILES = {
    "room": "pkg/descent/papers/{slug}",
    "tests": "tests/papers/{slug}",
    "paper.yaml": "config/papers/{slug}.yaml",
    "page.md": "docs/papers/{slug}.md",
}


def new(root: Path, slug: str, *, title: str, authors: str = "its authors") -> list[Path]:
    """Write the paper `slug` into the checkout `root`; returns its files. Raises ConfigError, and then has written none."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,19}", slug) or keyword.iskeyword(slug):
        raise ConfigError(
            f"new: the paper's name must be 2 to 20 lower-case letters, digits and _, beginning with a letter, got `{slug}`"
        )
    if slug in ENGINE or (PACKAGE / slug).exists():
        raise ConfigError(f"new: `{slug}` is a name of the engine's own; choose another")
    texts = {}
    for source in sorted(path for path in TEMPLATE.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        texts[root / _target(source, slug)] = _filled(source, slug, title, authors)
    if there := [path for path in texts if path.exists()]:
        raise ConfigError(f"new: {there[0].relative_to(root)} is there already; choose another name or remove it")
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)


def _target(source: Path, slug: str) -> Path:
    first, *rest = source.relative_to(TEMPLATE).parts
    return Path(FILES[first].format(slug=slug), *(part.replace(NAME, slug) for part in rest))


def _filled(source: Path, slug: str, title: str, authors: str) -> str:
    text = source.read_text(encoding="utf-8")
    quoted = (lambda words: f'"{words}"') if source.suffix == ".yaml" else str
    return text.replace(NAME, slug).replace("TITLE", quoted(title)).replace("AUTHORS", quoted(authors))
