"""Making HTML: one environment for all pages, style and script inside each page, images as data, no outside request."""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from descent.report import words

FOLDER = Path(__file__).parent


@cache
def environment() -> Environment:
    """Templates with everything they share: words, numbers, shapes, style, script. A missing name is an error."""
    env = Environment(
        loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    env.globals.update(
        style=Markup(_palette() + (FOLDER / "style.css").read_text(encoding="utf-8")),
        script=Markup((FOLDER / "script.js").read_text(encoding="utf-8")),
        VERDICTS=words.VERDICTS, STATES=words.STATES, ORIGINS=words.ORIGINS, TAGS=words.TAGS,
        PROVENANCE=words.PROVENANCE, spark=words.spark, slug=slug,
    )  # fmt: skip
    env.filters.update(
        number=words.number, interval=words.interval, plural=words.plural, prose=prose, arxiv=arxiv, slug=slug, criterion=criterion,
        sentence=words.sentence,
    )  # fmt: skip
    return env


def render(template: str, **context: Any) -> str:
    """A page, its lines stripped of trailing blanks."""
    text = environment().get_template(template).render(**context)
    return re.sub(r"[ \t]+\n", "\n", re.sub(r"\n\s*\n+", "\n", text))


def slug(word: str) -> str:
    """A word as a class name or anchor: `not reproduced` -> `not-reproduced`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", word).strip("-")


def prose(text: Any) -> Markup:
    """Text of the configuration: `code` between back-ticks, blank lines as paragraphs; everything else escaped."""
    safe = str(escape("" if text is None else str(text).strip()))
    safe = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", safe)
    safe = re.sub(r"-&gt;", "→", safe)
    return Markup("<br><br>".join(" ".join(p.split()) for p in re.split(r"\n\s*\n", safe)))


def criterion(threshold: str) -> Markup:
    """A criterion in short, with real signs: `>= -0.22` -> `≥ −0.22`."""
    text = re.sub(r"(?<![\w.])-(?=[\d.])", "−", threshold).replace("<=", "≤").replace(">=", "≥").replace("+-", "±")
    return escape(re.sub(r"([<>≤≥=]) ", "\\1\N{NO-BREAK SPACE}", text))


def arxiv(source: str) -> Markup:
    """A paper's source with its arXiv number as a link (the only kind of outside link there is)."""
    link = r'<a href="https://arxiv.org/abs/\1" rel="noopener">arXiv \1</a>'
    return Markup(re.sub(r"arXiv[: ](\d{4}\.\d{4,5})", link, str(escape(source))))


def image(folder: Path, name: str) -> str:
    """A figure as a data URI: its SVG or its PNG, whichever makes the page smaller."""
    svg = "data:image/svg+xml," + quote((folder / f"{name}.svg").read_text(encoding="utf-8"), safe=" =:/,;.()#'-_~!*+")
    svg = svg.replace("#", "%23")
    png = data_png(folder / f"{name}.png")
    return svg if len(svg) <= len(png) else png


def data_png(path: Path) -> str:
    """A PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _palette() -> str:
    """The verdicts' and states' colours as CSS, from the one place that defines them."""
    rules = [f".v-{slug(key)}{{--tone:{word.colour}}}" for key, word in words.VERDICTS.items()]
    rules += [f".s-{slug(key)}{{--tone:{word.colour}}}" for key, word in words.STATES.items()]
    return "".join(rules) + "\n"
