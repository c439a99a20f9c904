"""Drawing a paper's figures: the room says what is in them, this module makes files of them, the same bytes each time.

A room's `figures.py` holds `FIGURES: dict[str, Callable[[Frames], Figure]]`. A function's docstring is its caption; a
paragraph that begins with `Alt:` is the text for those who do not see it.
"""

from __future__ import annotations

import importlib
import inspect
import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from descent.core.files import write_atomically, write_json
from descent.core.records import AFTER, BEFORE
from descent.report import theme
from descent.report.theme import Frames
from descent.results.stored import Results

FIGURES = "figures.json"
THUMBNAIL_WIDTH = 320  # pixels
COLOURS = 160  # of a PNG's palette: lines, bands and text need no more, and files are a third of the size


class NotRun(Exception):
    """A figure asked for an experiment of which nothing was run; str() is the reason."""


class ResultFrames(Results):
    """What a figure function may read: `Results`, with empty experiments turned into a reason."""

    def __init__(self, results: Results):
        super().__init__(results.plan, results.slug, results.folder, results.bench)
        self._cache: dict[str, pd.DataFrame] = {}

    def has(self, experiment: str) -> bool:
        """Whether anything of the experiment was run."""
        return experiment in self.experiments()

    def records(self, experiment: str) -> pd.DataFrame:
        """All records of an experiment. Raises NotRun (which ends the figure in a plain panel) when there are none."""
        if experiment not in self._cache:
            self._cache[experiment] = super().records(experiment) if self.has(experiment) else pd.DataFrame()
        if self._cache[experiment].empty:
            raise NotRun(self.why(experiment))
        return self._cache[experiment]

    def select(self, experiment: str, metric: str, method: str | None = None, **axes: Any) -> pd.DataFrame:
        """The rows of one metric, of one method and of these axis values; empty where that was not run."""
        rows = self.records(experiment)
        keep = rows["metric"] == metric
        for name, value in {"method": method, **axes}.items():
            if value is not None:
                keep &= rows[name] == value
        return rows.loc[keep]

    def why(self, experiment: str, method: str | None = None, **axes: Any) -> str:
        """The reason why a configuration was not run, in the words of the plan."""
        for cell in self.missing():
            if cell.experiment != experiment:
                continue
            same = method in (None, cell.method) and all(
                cell.setting.get(name) == value for name, value in axes.items()
            )
            if cell.method is None or same:
                return cell.reason
        if experiment not in self.config.experiments:
            raise KeyError(f"the paper has no experiment `{experiment}`")
        return f"nothing of `{experiment}` was run at scale {self.scale}"


def figures_of(results: Results) -> Mapping[str, Callable[[Frames], Figure]]:
    """The room's figure functions, in its order; none when the room has no `figures` module."""
    package = results.config.package or f"descent.papers.{results.slug}"
    try:
        return importlib.import_module(f"{package}.figures").FIGURES
    except ModuleNotFoundError as error:
        if error.name == f"{package}.figures":
            return {}
        raise


def draw(results: Results, folder: Path) -> list[dict[str, Any]]:
    """Draw every figure of the paper as <name>.svg and <name>.png (and <name>.thumb.png), and describe them in figures.json.

    Returns what figures.json holds: name, caption, alt, not_run (the reason, or None), width and height in points.
    A figure of an experiment that was not run becomes a panel that says why. Any other failure is an error.
    """
    mpl.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    frames = ResultFrames(results)
    described = []
    with theme.apply(results.room):
        for name, function in figures_of(results).items():
            caption, alt = texts(function)
            reason = None
            try:
                figure = function(frames)  # pyright: ignore[reportArgumentType]: it misses that `room` is cached
            except NotRun as why:
                reason = str(why)
                figure = theme.plain(f"{name}: {_first_sentence(caption)}", reason)
            figure.align_ylabels()
            width, height = (round(float(inches) * 72) for inches in figure.get_size_inches())
            write_figure(figure, folder, name)
            described.append({"name": name, "caption": caption, "alt": alt, "not_run": reason,
                              "width": width, "height": height})  # fmt: skip
            _forget(figure)
    write_json(folder / FIGURES, described)
    return described


def texts(function: Callable) -> tuple[str, str]:
    """The caption and the alternative text in a figure function's docstring."""
    paragraphs = [" ".join(p.split()) for p in re.split(r"\n\s*\n", inspect.getdoc(function) or "") if p.strip()]
    alt = next((p.removeprefix("Alt:").strip() for p in paragraphs if p.startswith("Alt:")), "")
    caption = " ".join(p for p in paragraphs if not p.startswith("Alt:"))
    return caption, alt or _first_sentence(caption)


def write_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write the three files of a figure. The same figure gives the same bytes: no date, no version, no random ids."""
    svg, png = io.BytesIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(png, format="png", dpi=theme.DPI, metadata={"Software": None})
    write_atomically(
        folder / f"{name}.svg", lambda path: path.write_text(slim(svg.getvalue().decode()), encoding="utf-8")
    )
    for suffix, width in (("", None), (".thumb", THUMBNAIL_WIDTH)):
        content = _smaller(png, width)
        write_atomically(folder / f"{name}{suffix}.png", lambda path, content=content: path.write_bytes(content))


def slim(svg: str) -> str:
    """An SVG without comments, metadata and indentation, coordinates rounded to a hundredth of a point."""
    svg = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' (?:d|x|y|points)="[^"]*"', lambda m: re.sub(r"-?\d+\.\d{3,}", _two_digits, m[0]), svg)
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


def _two_digits(number: re.Match) -> str:
    text = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _smaller(png: io.BytesIO, width: int | None) -> bytes:
    """A PNG with a palette, scaled down to `width` pixels where given."""
    from PIL import Image

    picture = Image.open(io.BytesIO(png.getvalue())).convert("RGB")
    if width is not None and picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.;:])\s(?![^(]*\))", text, maxsplit=1)[0].rstrip(".;:") if text else ""


def _forget(figure: Figure) -> None:
    """A room may have used pyplot, which keeps every figure alive."""
    import sys

    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(figure)


COLUMNS = frozenset((*BEFORE, *AFTER))


def axes_of(frame: pd.DataFrame) -> list[str]:
    """The setting axes among a frame's columns."""
    return [name for name in frame.columns if name not in COLUMNS]
