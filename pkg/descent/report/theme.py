"""One look for every figure, and one colour, marker and dash for every method of a paper.

`with theme.apply(room):` sets the style; inside it `colour("zo")`, `marker("zo")`, `line("zo")` and the drawing helpers
know the paper's methods. A colour means a method and nothing else: verdicts have colours of their own (`page.VERDICTS`)
and never appear inside a figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from scipy import stats

from descent.core.declare import Room
from descent.core.job import Job

# At least 20 apart (CIELAB) in pairs, as seen with normal vision, deuteranopia, protanopia and tritanopia; contrast on
# white above 2.6. Found by search; tests/report/test_theme.py measures it again.
RED, BLUE, GREEN, PINK, ORANGE = "#D6403B", "#0045BA", "#2EB679", "#D488C2", "#E58B10"
AZURE, PLUM, FOREST, BLACK, GREY = "#057FCC", "#57346D", "#2A6004", "#222222", "#808080"
PALETTE = (RED, BLUE, GREEN, PINK, ORANGE, AZURE, PLUM, FOREST, BLACK, GREY)

# Which colours a role takes first; when they are used up it takes whatever is left.
ROLES: Mapping[str, tuple[str, ...]] = {
    "headline": (RED, ORANGE, PLUM, PINK),
    "baseline": (BLUE, GREEN, AZURE, FOREST, PINK),
    "reference": (BLUE, GREEN, AZURE, FOREST, PINK),
    "control": (BLACK, GREY),
}
DASHES: Mapping[str, tuple[Any, ...]] = {
    "headline": ("-", (0, (7, 1.4)), (0, (4, 1, 4, 1, 1, 1))),
    "baseline": ((0, (5, 1.8)), (0, (5, 1.6, 1.2, 1.6)), (0, (2.4, 1.4))),
    "reference": ((0, (5, 1.6, 1.2, 1.6)), (0, (2.4, 1.4)), (0, (5, 1.8))),
    "control": ((0, (1.2, 1.3)), (0, (1.2, 2.6)), (0, (3, 2.6))),
}
MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "*")
DPI = 160
FEWEST = 5  # seeds that a band of an interval needs: over two it is twelve standard errors wide


class Frames(Protocol):
    """What a figure function is given to read: the paper's results at one scale."""

    @property
    def scale(self) -> str:
        """The scale of the run: smoke, study or paper."""
        ...

    @property
    def room(self) -> Room:
        """What the paper's room declares: its methods, its metrics."""
        ...

    def has(self, experiment: str) -> bool:
        """Whether anything of the experiment was run."""
        ...

    def records(self, experiment: str) -> pd.DataFrame:
        """All records of an experiment; ends the figure in a panel that says why when nothing of it was run."""
        ...

    def select(self, experiment: str, metric: str, method: str | None = None, **axes: Any) -> pd.DataFrame:
        """The rows of one metric, of one method and of these axis values; empty where that was not run."""
        ...

    def why(self, experiment: str, method: str | None = None, **axes: Any) -> str:
        """The reason why a configuration was not run."""
        ...

    def arrays(self, experiment: str) -> dict[str, np.ndarray]:
        """The named arrays of all jobs of an experiment."""
        ...

    def chosen(self, experiment: str) -> list[dict[str, Any]]:
        """What a `select` experiment chose, with its seeds and its grid."""
        ...

    def jobs(self, experiment: str | None = None) -> list[Job]:
        """The jobs of this run, measured time left out."""
        ...


@dataclass(frozen=True)
class Look:
    """How a method is drawn."""

    label: str
    colour: str
    marker: str
    dash: Any
    width: float


_current: ContextVar[Mapping[str, Look] | None] = ContextVar("looks", default=None)


def looks(room: Room) -> dict[str, Look]:
    """The look of every method of a room, from the order in which it declares them and their roles.

    Up to ten methods differ in colour; beyond that a colour comes again with another marker and dash.
    """
    found: dict[str, Look] = {}
    taken: list[str] = []
    rank = {"headline": 0, "control": 2}
    order = sorted(room.methods, key=lambda name: rank.get(room.methods[name].role, 1))  # stable: as declared
    for name in order:
        card = room.methods[name]
        wishes = [*ROLES[card.role], *(c for c in PALETTE[:8] if c not in ROLES[card.role]), BLACK, GREY]
        fewest = min(taken.count(c) for c in wishes)
        colour = next(c for c in wishes if taken.count(c) == fewest)
        taken.append(colour)
        same_role = sum(room.methods[other].role == card.role for other in found)
        dashes = DASHES[card.role]
        dash = dashes[(same_role + fewest) % len(dashes)]
        others = [(look.colour, look.marker) for look in found.values()]
        free = [m for m in MARKERS if (colour, m) not in others] or MARKERS
        mark = min(free, key=lambda m: sum(m == other for _, other in others))
        found[name] = Look(card.label, colour, mark, dash, _WIDTH[card.role])
    return {name: found[name] for name in room.methods}


_WIDTH = {"headline": 1.9, "baseline": 1.6, "reference": 1.3, "control": 1.3}


@contextmanager
def apply(room: Room | None = None) -> Iterator[None]:
    """The study's style while the block runs, from matplotlib's defaults and not from the user's settings; with a room,
    its methods' looks as well."""
    import seaborn as sns

    token = _current.set(looks(room) if room is not None else _current.get())
    try:
        with mpl.rc_context():
            mpl.rcdefaults()
            style: dict[Any, Any] = {**sns.plotting_context("paper"), **sns.axes_style("whitegrid"), **_STYLE}
            mpl.rcParams.update(style)
            yield
    finally:
        _current.reset(token)


_STYLE = {
    "font.family": "DejaVu Sans", "font.sans-serif": ["DejaVu Sans"], "mathtext.fontset": "dejavusans",
    "font.size": 9, "axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "legend.fontsize": 8, "figure.titlesize": 10,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.edgecolor": "#555555", "axes.linewidth": 0.8,
    "axes.labelcolor": "#222222", "text.color": "#222222", "xtick.color": "#333333", "ytick.color": "#333333",
    "axes.spines.top": False, "axes.spines.right": False, "grid.color": "#E3E3E3", "grid.linewidth": 0.6,
    "xtick.bottom": True, "ytick.left": True, "xtick.major.size": 3, "ytick.major.size": 3,
    "xtick.minor.size": 1.5, "ytick.minor.size": 1.5, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
    "legend.frameon": False, "legend.handlelength": 2.6, "lines.markersize": 4.5, "figure.dpi": DPI,
    "figure.facecolor": "white", "savefig.facecolor": "white", "axes.formatter.useoffset": False,
    "svg.fonttype": "path", "svg.hashsalt": "descent", "path.simplify": True, "figure.constrained_layout.use": True,
}  # fmt: skip


def look(method: str) -> Look:
    """The look of a method of the paper being drawn. Raises LookupError outside `apply(room)` or for a stranger."""
    table = _current.get()
    if table is None:
        raise LookupError("no paper is being drawn: use `with theme.apply(room):` around the figure")
    if method not in table:
        raise LookupError(f"the room declares no method `{method}`; it has {', '.join(table)}")
    return table[method]


def colour(method: str) -> str:
    """The method's colour, `#rrggbb`."""
    return look(method).colour


def marker(method: str) -> str:
    """The method's marker."""
    return look(method).marker


def label(method: str) -> str:
    """The method's name as the reader meets it."""
    return look(method).label


def line(method: str, **changes: Any) -> dict[str, Any]:
    """Keyword arguments for `ax.plot`: colour, dash, width and label of the method, with `changes` on top."""
    this = look(method)
    return {"color": this.colour, "linestyle": this.dash, "linewidth": this.width, "label": this.label} | changes


def shades(method: str, count: int) -> list[str]:
    """`count` shades of the method's colour, light to dark: for a sweep over one of its settings."""
    base = np.array(to_rgb(colour(method)))
    light = base + (1 - base) * 0.55
    dark = base * 0.55
    points = np.linspace(0, 1, count) if count > 1 else np.array([0.5])
    mixed = [light + (base - light) * 2 * t if t < 0.5 else base + (dark - base) * (2 * t - 1) for t in points]
    return [to_hex(c) for c in mixed]


def grid(rows: int, columns: int, *, width: float = 7.2, height: float | None = None, **options: Any):
    """A figure and its axes, (rows, columns) array always two-dimensional. Sizes in inches; height a row 2.3 in."""
    figure = Figure(figsize=(width, height or 0.4 + 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def summary(frame: pd.DataFrame, x: str = "step", y: str = "value", *, spread: str = "t95", log: bool = False):
    """Mean and band of `y` over the rows at each `x`: a table with x, mean, low, high, n, not_ok.

    spread: `t95` (Student-t 95 % interval of the mean; over fewer than five seeds, where it says nothing, `range`), `sd`
    (one standard deviation either way), `range` (least to largest). log: of logarithms, so the mean is geometric. Where a row is not ok the mean is NaN: it is not averaged
    away. `n` counts all rows.
    """
    rows = []
    for at, part in frame.groupby(x, sort=True):
        values = part[y].to_numpy(float)
        bad = int((part.loc[:, "status"] != "ok").sum()) if "status" in part else int((~np.isfinite(values)).sum())
        if log:
            bad = max(bad, int((values <= 0).sum()))
        rows.append((at, *(_spread(np.log(values) if log else values, spread, log) if not bad else (np.nan,) * 3),
                     len(values), bad))  # fmt: skip
    return pd.DataFrame(rows, columns=[x, "mean", "low", "high", "n", "not_ok"])


def _spread(values: np.ndarray, spread: str, log: bool) -> tuple[float, float, float]:
    mean, n = values.mean(), len(values)
    sd = values.std(ddof=1) if n > 1 else 0.0
    if spread == "range" or (spread == "t95" and n < FEWEST):
        low, high = values.min(), values.max()
    elif spread == "sd":
        low, high = mean - sd, mean + sd
    elif spread == "t95":
        half = stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
        low, high = mean - half, mean + half
    else:
        raise ValueError(f"spread must be t95, sd or range, got {spread!r}")
    return tuple(np.exp([mean, low, high])) if log else (mean, low, high)


def band(
    ax: Axes,
    frame: pd.DataFrame,
    x: str = "step",
    y: str = "value",
    method: str = "",
    *,
    spread: str = "t95",
    log: bool = False,
    alpha: float = 0.18,
    **changes: Any,
) -> pd.DataFrame:
    """Draw mean and band over seeds of one method's rows (already of one metric and setting); returns `summary`.

    An empty frame draws nothing. Where a seed is not ok the line ends with a cross: divergence stays visible.
    """
    table = summary(frame, x, y, spread=spread, log=log)
    if table.empty:
        return table
    style = line(method, **changes)
    ax.plot(table[x], table["mean"], **style)
    ax.fill_between(table[x], table["low"], table["high"], color=style["color"], alpha=alpha, linewidth=0)
    good, bad = table[table["not_ok"] == 0], table[table["not_ok"] > 0]
    if len(good) and len(bad):
        end = good.iloc[-1]
        ax.plot([end[x]], [end["mean"]], marker="x", markersize=7, markeredgewidth=1.8, color=style["color"])
    return table


def seeds(ax: Axes, frame: pd.DataFrame, x: str = "step", y: str = "value", method: str = "", **changes: Any) -> None:
    """Draw every seed's own line, thin; only the first carries the label."""
    style = line(method, **({"linewidth": 0.8, "alpha": 0.75} | changes))
    for i, (_, rows) in enumerate(frame.sort_values([x]).groupby("seed", sort=True)):
        label: dict[str, Any] = {} if i == 0 else {"label": "_seed"}
        ax.plot(rows[x], rows[y], **(style | label))


def points(
    ax: Axes, at: float, values: Any, method: str, *, spread: float = 0.16, interval: bool = False, **changes: Any
) -> None:
    """Draw one point a seed around the position `at`, side by side in the order given, and the mean as a bar.

    interval: also the 95 % interval of the mean, over at least five seeds.
    """
    values = np.asarray(values, float)
    offsets = np.linspace(-spread, spread, len(values)) if len(values) > 1 else np.zeros(len(values))
    style = {"marker": marker(method), "linestyle": "none", "color": colour(method), "alpha": 0.8, "markersize": 4}
    style |= {"markeredgecolor": "white", "markeredgewidth": 0.4} | changes
    ax.plot(at + offsets, values, **style)
    if np.isfinite(values).all() and len(values):
        ax.hlines(values.mean(), at - spread * 1.6, at + spread * 1.6, color=style["color"], linewidth=1.6)
        if interval and len(values) >= FEWEST:
            _, low, high = _spread(values, "t95", log=False)
            ax.vlines(at, low, high, color=style["color"], linewidth=1.2)


def legend(figure: Figure, axes: Sequence[Axes] | np.ndarray, *, columns: int | None = None, **options: Any) -> None:
    """One legend below all axes, every label once, in the order in which they first appear."""
    handles: dict[str, Any] = {}
    for ax in np.ravel(np.asarray(axes)):
        for handle, text in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(text, handle)
    if handles:
        count = columns or _columns([len(text) for text in handles], figure.get_figwidth())
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=count, **options)


def _columns(lengths: list[int], width: float) -> int:
    """The most legend columns whose entries, filled downwards, fit into `width` inches."""
    for count in range(len(lengths), 1, -1):
        rows, more = divmod(len(lengths), count)  # matplotlib gives the first `more` columns a row more
        ends = np.cumsum([rows + 1] * more + [rows] * (count - more))
        widest = [max(lengths[end - size : end]) for end, size in zip(ends, np.diff([0, *ends]), strict=True)]
        if sum(0.62 + 0.066 * n for n in widest) <= width:  # inches: handle and gaps, text of 8 points
            return count
    return 1


def absent(ax: Axes, reason: str, *, width: int = 34) -> None:
    """Write in an empty panel why it is empty."""
    ax.set_axis_off()
    text = "\n".join(textwrap.wrap(f"not run: {reason}", width))
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="#555555", fontsize=8)


def plain(title: str, reason: str) -> Figure:
    """A figure that was not drawn, and why."""
    lines = textwrap.wrap(title, 96)
    figure = Figure(figsize=(7.2, 1.3 + 0.2 * len(lines)), layout="constrained")
    ax = figure.subplots()
    ax.set_title("\n".join(lines), fontsize=8)
    absent(ax, reason, width=90)
    return figure
