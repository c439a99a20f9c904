"""Figure of the gradients' spread. `theme` is descent.report.theme, handed over by figures.py."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from descent.papers.kpgsivi.titles import GREY, TARGETS, TITLES

MARKS = ("o", "s", "^", "D", "v")


def ratios(frames, experiment: str = "variance") -> pd.DataFrame:
    """KPG's gradient variance over amortised SVGD's, a row for each target, step and seed, with sigma / h."""
    keys = ["target", "step", "seed"]
    kpg, asvgd = (frames.select(experiment, "gradient_variance", m).set_index(keys)["value"] for m in ("kpg", "asvgd"))
    scale = frames.select(experiment, "scale_over_bandwidth", "kpg").set_index(keys)["value"]
    table = pd.DataFrame({"value": kpg / asvgd, "scale": scale}).reset_index()
    return table.assign(status=np.where(np.isfinite(table["value"]), "ok", "diverged"))


def limit(scale_over_bandwidth: np.ndarray) -> np.ndarray:
    """Ratio of the two variances at the optimum in one dimension as h goes to 0: 2 (h / sigma)^2; docs/papers/kpgsivi.md."""
    return 2 / scale_over_bandwidth**2


def closed(sigma: np.ndarray, h: float) -> np.ndarray:
    """The same for q = p = N(0, 1) and any bandwidth."""
    v = 1 / (0.5 + 2 / h**2)
    return ((1 - sigma**2) / sigma**2) / (v * (1 / h**2 + 0.5) ** 2 + 0.5)


def variance(frames, theme) -> Figure:
    """Total variance of KPG's gradient over that of amortised SVGD's, on the same points; below the line at 1 KPG's is the smaller.
    Left, along a KPG run: geometric mean and 95 % t interval over seeds. Right, the same against sigma over the bandwidth (one point
    a seed and step; hollow: along runs with larger step sizes, where sigma falls further), with closed forms for a Gaussian in one dimension at the optimum: for h = .6, and in the limit of small h, where
    the two are equal at sigma = sqrt(2) h. The conditional score has the size 1 / sigma: where sigma is much smaller than h it is
    noisier than the kernel's gradient.

    Alt: Left, five curves of ratios over steps around a line at 1. Right, points with a falling closed-form curve.
    """
    table = ratios(frames)
    late = ratios(frames, "variance_late") if frames.has("variance_late") else None
    figure, axes = theme.grid(1, 2, height=3.6, sharey=True)
    left, right = axes[0]
    targets = [t for t in TARGETS if t in set(table["target"])]
    for target, shade, mark in zip(targets, theme.shades("kpg", len(targets)), MARKS, strict=False):
        rows = table[table["target"] == target]
        style = {"color": shade, "label": TITLES[target], "marker": mark, "linestyle": "-"}
        theme.band(left, rows, method="kpg", log=True, **style)
        right.plot(rows["scale"], rows["value"], linestyle="none", markersize=3, alpha=0.7, color=shade, marker=mark)
        if late is not None and len(rows := late[late["target"] == target]):
            dots = {"linestyle": "none", "markersize": 3.5, "color": shade, "marker": mark, "markerfacecolor": "none"}
            right.plot(rows["scale"], rows["value"], **dots)
    grid = np.geomspace(max(table["scale"].min() / 2, 1e-3), table["scale"].max() * 2, 100)
    right.plot(grid, limit(grid), color=GREY, linewidth=1, label="closed form, h → 0")
    inside = grid[grid * 0.6 < 1]
    right.plot(inside, closed(0.6 * inside, 0.6), color=GREY, linewidth=1, linestyle="--", label="closed form, h = .6")
    for ax in (left, right):
        ax.axhline(1, color="#222222", linewidth=0.8, linestyle=":")
        ax.set(yscale="log")
    shown = np.concatenate([table["value"], late["value"] if late is not None else []])
    shown = shown[np.isfinite(shown)]
    if len(shown):
        left.set_ylim(min(shown.min(), 0.5) / 2, max(shown.max(), 2) * 2)
    left.set(xlabel="steps of KPG", ylabel="variance, KPG over amortised SVGD", title="along a run")
    right.set(xscale="log", xlabel="sigma over bandwidth h", title="against sigma / h", ylim=left.get_ylim())
    theme.legend(figure, axes)
    return figure
