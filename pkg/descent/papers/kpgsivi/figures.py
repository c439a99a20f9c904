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
from descent.papers.kpgsivi.spreads import variance
from descent.papers.kpgsivi.titles import GREY, TARGETS, TITLES, TOYS
from descent.report import theme

CURVES = ("ksivi", "asvgd", "sivi", "kpg", "kpgis")


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
    """Sliced Wasserstein-2 distance to the target while training: by steps and, where step times were measured (`--config bench=true`),
    in a second row by seconds of CPU time (steps times the median measured time of a step, a seed's share of eight side by side). Geometric mean and 95 % t interval over seeds of the
    logarithm (over fewer than five seeds their range); a line that ends in a cross has seeds that diverged. Dotted: the floor, the distance of two equal samples of the
    target.

    Alt: Panels, one for each of five targets, with falling curves of five methods on logarithmic axes.
    """
    timed = frames.has("cost")
    figure, axes = theme.grid(1 + timed, len(TARGETS), width=11.0, height=5.6 if timed else 3.2, sharey="col")
    for column, target in enumerate(TARGETS):
        experiment = experiment_of(target)
        above, below = axes[0, column], axes[-1, column]
        if not frames.has(experiment):
            for ax in axes[:, column]:
                theme.absent(ax, frames.why(experiment))
            continue
        for method in CURVES:
            rows = frames.select(experiment, "sliced", method, target=target)
            theme.band(above, rows, method=method, log=True)
            seconds = step_seconds(frames, target, method)
            if timed and np.isfinite(seconds) and not rows.empty:
                theme.band(below, rows.assign(step=rows["step"] * seconds), method=method, log=True)
        floor = frames.select(experiment, "floor", target=target)["value"]
        for ax in axes[:, column]:
            if len(floor):
                ax.axhline(floor.mean(), color=GREY, linestyle=":", linewidth=1, label="floor")
            log_axis(ax)
        below.set(xlabel="CPU seconds a seed")
        above.set(title=TITLES[target], xlabel="steps")
    for ax in axes[:, 0]:
        ax.set_ylabel("sliced W2")
    theme.legend(figure, axes)
    return figure


def final_distances(frames) -> Figure:
    """Sliced Wasserstein-2 distance at the end of every run, a point a seed, bar: their mean; dotted: the floor of equal samples of
    the target. Arrows at the top: a method whose every seed ended more than 100 times as far as the nearest method, with the median of its
    seeds; crosses at the top: seeds that diverged.

    Alt: Five panels, one for each target, with a column of points for each method on a logarithmic axis.
    """
    figure, axes = theme.grid(1, len(TARGETS), width=11.0, height=3.4)
    for ax, target in zip(axes[0], TARGETS, strict=True):
        experiment = experiment_of(target)
        if not frames.has(experiment):
            theme.absent(ax, frames.why(experiment))
            continue
        present = [m for m in frames.room.methods if len(frames.select(experiment, "sliced", m, target=target))]
        nearest = min(
            (float(np.nanmedian(last_of(frames, experiment, m, target)["value"])) for m in present), default=np.nan
        )
        for at, method in enumerate(present):
            last = last_of(frames, experiment, method, target)
            good = last.loc[last["status"] == "ok", :]
            if len(good) and good["value"].min() > 100 * nearest:
                top = {"transform": ax.get_xaxis_transform(), "color": theme.colour(method)}
                ax.plot(at, 0.97, marker="^", linestyle="none", **top)
                said = f"{len(good)} seeds,\nmedian {good['value'].median():.1e}"
                ax.text(at + 0.3, 0.92, said, ha="right", va="top", fontsize=7, **top)
            else:
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


def last_of(frames, experiment: str, method: str, target: str) -> pd.DataFrame:
    """The sliced distances at the end of a run, a row a seed."""
    rows = frames.select(experiment, "sliced", method, target=target)
    return rows[rows["step"] == rows["step"].max()]


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

    Alt: Four panels over steps, one line for each target.
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
            ax.set(title=label, xlabel="steps")
    log_axis(axes[0, 1])
    axes[0, 3].set_ylim(0, max(0.02, axes[0, 3].get_ylim()[1]))
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
    "variance": themed(variance),
    "blindness": blindness,
    "internals": internals,
    "cost": cost,
}
