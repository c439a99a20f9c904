"""The figures of the report. A function's docstring is its caption."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from descent.papers.kpgsivi.pictures import correlations, paths, samples, weights
from descent.report import theme

TOYS = ("multimodal", "banana", "x_shaped")
TARGETS = (*TOYS, "logistic", "diffusion")
TITLES = {
    "multimodal": "two modes", "banana": "banana", "x_shaped": "cross", "logistic": "logistic regression", "diffusion": "diffusion",
}  # fmt: skip
CURVES = ("ksivi", "asvgd", "sivi", "kpg", "kpgis")
MARKS = ("o", "s", "^", "D", "v")
GREY = "#555555"


def experiment_of(target: str) -> str:
    """Where a target's curves are."""
    return "toys" if target in TOYS else target


def log_axis(ax) -> None:
    """A logarithmic y axis, labelled between the powers of ten where there are few of them."""
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    if high > 300 * low:
        return
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())


def step_seconds(frames, target: str, method: str) -> float:
    """Median measured seconds of a step a seed; NaN where nothing was measured."""
    if not frames.has("cost"):
        return np.nan
    rows = frames.select("cost", "step_cpu_seconds", method, target="banana" if target in TOYS else target)
    if rows.empty:
        return np.nan
    rows = rows[rows["rows"] == rows["rows"].max()]
    return float(rows["value"].median() / rows["rows"].iloc[0])


def convergence(frames) -> Figure:
    """Sliced Wasserstein-2 distance to the target while training: above by steps, below by seconds of CPU time (steps times the
    median measured time of a step, a seed's share of eight side by side). Geometric mean and 95 % t interval over seeds of the
    logarithm (over fewer than five seeds their range); a line that ends in a cross has seeds that diverged. Dotted: the floor, the distance of two equal samples of the
    target.

    Alt: Two rows of five panels, one for each target, with falling curves of five methods on logarithmic axes.
    """
    figure, axes = theme.grid(2, len(TARGETS), width=11.0, height=5.6, sharey="col")
    for column, target in enumerate(TARGETS):
        experiment = experiment_of(target)
        above, below = axes[:, column]
        if not frames.has(experiment):
            for ax in (above, below):
                theme.absent(ax, frames.why(experiment))
            continue
        for method in CURVES:
            rows = frames.select(experiment, "sliced", method, target=target)
            theme.band(above, rows, method=method, log=True)
            seconds = step_seconds(frames, target, method)
            if np.isfinite(seconds) and not rows.empty:
                theme.band(below, rows.assign(step=rows["step"] * seconds), method=method, log=True)
        floor = frames.select(experiment, "floor", target=target)["value"]
        for ax in (above, below):
            if len(floor):
                ax.axhline(floor.mean(), color=GREY, linestyle=":", linewidth=1, label="floor")
            log_axis(ax)
        above.set(title=TITLES[target], xlabel="steps")
        below.set(xlabel="CPU seconds a seed")
        if not frames.has("cost"):
            below.clear()
            theme.absent(below, "step times were not measured (--config bench=true)")
    for ax in axes[:, 0]:
        ax.set_ylabel("sliced W2")
    theme.legend(figure, axes)
    return figure


def final_distances(frames) -> Figure:
    """Sliced Wasserstein-2 distance at the end of every run, a point a seed, bar: their mean; dotted: the floor of equal samples of
    the target. Seeds that diverged are counted as crosses at the top.

    Alt: Five panels, one for each target, with a column of points for each method on a logarithmic axis.
    """
    figure, axes = theme.grid(1, len(TARGETS), width=11.0, height=3.4)
    for ax, target in zip(axes[0], TARGETS, strict=True):
        experiment = experiment_of(target)
        if not frames.has(experiment):
            theme.absent(ax, frames.why(experiment))
            continue
        present = [m for m in frames.room.methods if len(frames.select(experiment, "sliced", m, target=target))]
        for at, method in enumerate(present):
            rows = frames.select(experiment, "sliced", method, target=target)
            last = rows[rows["step"] == rows["step"].max()]
            good = last[last["status"] == "ok"]
            theme.points(ax, at, good["value"], method)
            if len(last) > len(good):
                ax.plot(
                    at,
                    0.97,
                    marker="x",
                    color=theme.colour(method),
                    transform=ax.get_xaxis_transform(),
                    linestyle="none",
                )
        floor = frames.select(experiment, "floor", target=target)["value"]
        ax.axhline(floor.mean(), color=GREY, linestyle=":", linewidth=1)
        ax.set(title=TITLES[target])
        log_axis(ax)
        ax.set_xticks(range(len(present)), [theme.label(m) for m in present], rotation=60, ha="right")
    axes[0, 0].set_ylabel("sliced W2 at the last step")
    return figure


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


def variance(frames) -> Figure:
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
    left.set(xlabel="steps of KPG", ylabel="variance, KPG over amortised SVGD", title="along a run")
    right.set(xscale="log", xlabel="sigma over bandwidth h", title="against sigma / h", ylim=left.get_ylim())
    theme.legend(figure, axes)
    return figure


def blindness(frames) -> Figure:
    """Weight of the left mode while training on weights .8 and .2 (grey line: .8), modes at -a and a; all methods start from the same
    parameters, which give both modes about half. Mean and 95 % t interval over seeds.

    Alt: Two panels, for a = 2 and a = 3, with one curve for each of five methods and a line at .8.
    """
    rows = frames.records("blindness")
    distances = sorted(rows["distance"].dropna().unique())
    figure, axes = theme.grid(1, len(distances), height=3.4, sharey=True)
    for ax, distance in zip(axes[0], distances, strict=True):
        for method in ("ksivi", "asvgd", "bsivi", "kpg", "kpgis"):
            theme.band(ax, frames.select("blindness", "left_share", method, distance=distance), method=method)
        ax.axhline(0.8, color=GREY, linewidth=1)
        ax.set(title=f"a = {distance:g}", xlabel="steps")
    axes[0, 0].set_ylabel("weight of the left mode")
    theme.legend(figure, axes)
    return figure


INTERNALS = {
    "share": "mean a(z)",
    "bandwidth": "bandwidth h",
    "effective": "effective latents / K",
    "overflow": "pairs without a slot",
}


def internals(frames) -> Figure:
    """Inside KPG-IS: the proposal's mean weight of the standard normal a(z), the bandwidth (dashed: KPG's on the same target), the
    effective share of the K latents, and the share of pairs with a latent of their own that found no slot. Mean and 95 % t
    interval over seeds.

    Alt: Four panels over steps on a logarithmic axis, one line for each target.
    """
    figure, axes = theme.grid(1, 4, width=11.0, height=3.2)
    present = [
        t
        for t in TARGETS
        if frames.has(experiment_of(t)) and len(frames.select(experiment_of(t), "share", "kpgis", target=t))
    ]
    if not present:
        frames.records("toys")  # says why there is nothing
    for target, shade in zip(present, theme.shades("kpgis", len(present)), strict=True):
        experiment = experiment_of(target)
        count = max(
            v.params["batch"]
            for job in frames.jobs(experiment)
            for v in job.variants
            if v.setting.get("target") == target
        )
        for ax, (metric, label) in zip(axes[0], INTERNALS.items(), strict=True):
            rows = frames.select(experiment, metric, "kpgis", target=target)
            if metric == "effective":
                rows = rows.assign(value=rows["value"] / count)
            theme.band(ax, rows, method="kpgis", color=shade, linestyle="-", label=TITLES[target])
            if metric == "bandwidth":
                other = theme.summary(frames.select(experiment, metric, "kpg", target=target))
                ax.plot(other["step"], other["mean"], color=shade, linestyle="--", linewidth=1)
            ax.set(title=label, xlabel="steps", xscale="log")
    axes[0, 1].set_yscale("log")
    theme.legend(figure, axes)
    return figure


def cost(frames) -> Figure:
    """Measured CPU time of a step a seed, eight seeds side by side, random numbers included; median over interleaved blocks.

    Alt: A group of bars for each of three targets, a bar for each method.
    """
    rows = frames.records("cost")
    targets = [t for t in ("banana", "logistic", "diffusion") if t in set(rows["target"])]
    methods = [m for m in frames.room.methods if m in set(rows["method"])]
    figure, axes = theme.grid(1, 1, height=3.2)
    ax, width = axes[0, 0], 0.8 / max(1, len(methods))
    for i, method in enumerate(methods):
        heights = [1e3 * step_seconds(frames, target, method) for target in targets]
        at = np.arange(len(targets)) + (i - (len(methods) - 1) / 2) * width
        ax.bar(at, heights, width, color=theme.colour(method), label=theme.label(method))
    ax.set(yscale="log", ylabel="ms a step and seed")
    ax.set_xticks(range(len(targets)), [f"{'plane' if t == 'banana' else TITLES[t]}" for t in targets])
    theme.legend(figure, axes)
    return figure


def themed(picture: Callable[[Any, Any], Figure]) -> Callable[[Any], Figure]:
    """A figure of pictures.py, which is handed the theme."""

    @wraps(picture)
    def draw(frames: Any) -> Figure:
        return picture(frames, theme)

    return draw


FIGURES = {
    "convergence": convergence,
    "distances": final_distances,
    "samples": themed(samples),
    "weights": themed(weights),
    "correlations": themed(correlations),
    "paths": themed(paths),
    "variance": variance,
    "blindness": blindness,
    "internals": internals,
    "cost": cost,
}
