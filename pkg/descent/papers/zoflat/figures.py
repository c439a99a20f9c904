"""The figures of the report. A function's docstring is its caption."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from descent.report import theme

PAIRS = [(model, data) for model in ("svm", "logistic") for data in ("a5a", "w5a")]
NAMES = {"svm": "SVM", "logistic": "logistic regression"}
SMOOTHINGS = (0.1, 0.05, 0.01)
FLOOR = 1e-33  # of losses on a logarithmic axis: below it a float64 residual is zero


def log_steps(ax: Axes, last: int) -> None:
    """A logarithmic axis of steps that begins at 0."""
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    ax.set_xlim(0, last)
    ax.set_xticks([0, *(10**k for k in range(int(np.log10(max(last, 1))) + 1))])


def title(frames, model: str, data: str) -> str:
    """The panel's title; where a stand-in took the dataset's place, its name."""
    names = {name: other for job in frames.jobs("convex") for name, other in job.stand_ins.items()}
    return f"{NAMES[model]}, {f'{names[data]} (stand-in)' if data in names else data}"


def plain_log(axis: Axis) -> None:
    """A logarithmic axis of few decades: 1, 3, 10, 30 (or, of less than 1.5 decades, 1, 2, 5, 10), written out."""
    low, high = axis.get_data_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def spaced(rows: pd.DataFrame) -> pd.DataFrame:
    """Of the densely recorded first steps, those that a logarithmic axis can show apart."""
    steps = sorted(rows["step"].unique())
    kept = steps[-1:]
    last = 0
    for step in steps:
        if step < 2 or step >= 1.08 * last:
            kept.append(step)
            last = step
    return rows.loc[rows["step"].isin(kept), :]


def _means(rows: Any, column: str) -> np.ndarray:
    """The mean value of a table's rows at each of a column's, in their order."""
    return rows.groupby(column)["value"].mean().to_numpy()


def _centre(values: pd.Series, log: bool) -> float:
    """The mean, or the geometric one: NaN unless all are positive."""
    if not log:
        return values.mean()
    return float(np.exp(np.log(values).mean())) if (values > 0).all() else np.nan


def test_function(frames) -> Figure:
    """Test function: training loss and trace of the Hessian. Geometric mean and 95 % interval over seeds. Above, ZO with smoothing
    λ = 0.1, its control without smoothing (DD) and gradient descent (5000 steps; then it is stopped). Below, ZO with three
    smoothings; dashed grey, the decay exp(−2ηλ²t) that the smoothed loss predicts from step 1000 on.

    Alt: Four panels over steps on a logarithmic axis: training loss left, trace right; methods above, ZO's three smoothings below,
    their traces beside the predicted decay.
    """
    figure, axes = theme.grid(2, 2, sharex=True, sharey="col")
    records = frames.records("toy")
    last = int(records["step"].max())
    # The loss is recorded at every one of the last steps; the curve is drawn where the trace is.
    curve = set(records.loc[records["metric"] == "trace", "step"])
    shades = dict(zip(SMOOTHINGS, reversed(theme.shades("zo", 3)), strict=True))

    def drawn(ax: Axes, metric: str, method: str, smoothing: float | None = None) -> pd.DataFrame:
        style: dict[str, Any] = {"color": shades[smoothing], "label": f"ZO, λ = {smoothing:g}"} if smoothing else {}
        rows = frames.select("toy", metric, method, **({"smoothing": smoothing} if smoothing else {}))
        rows = rows[rows["step"].isin(curve)]
        return theme.band(ax, rows.assign(value=rows["value"].clip(lower=FLOOR)), method=method, log=True, **style)

    for column, metric in enumerate(("train_loss", "trace")):
        drawn(axes[0, column], metric, "gd")
        drawn(axes[0, column], metric, "dd")
        drawn(axes[0, column], metric, "zo", SMOOTHINGS[0])
        for smoothing in SMOOTHINGS:
            start = drawn(axes[1, column], metric, "zo", smoothing).query("step == 1000")
            if metric == "trace" and len(start):
                steps = np.geomspace(1000, last, 50)
                decay = start["mean"].item() * np.exp(-2 * 1e-3 * smoothing**2 * (steps - 1000))
                axes[1, column].plot(
                    steps, decay, color="#808080", linestyle="--", linewidth=1, label="predicted decay"
                )
    names = ("Training loss", "Trace", "Training loss by smoothing", "Trace by smoothing")
    for ax, name in zip(axes.ravel(), names, strict=True):
        log_steps(ax, last)
        ax.set_title(name)
    for row in axes:
        row[0].set(yscale="log", ylabel="training loss f")
        row[1].set(ylabel="trace of the Hessian")
    for ax in axes[1]:
        ax.set_xlabel("step")
    theme.legend(figure, axes)
    return figure


def linear_models(frames) -> Figure:
    """Over-parameterised linear models: training loss, trace and test accuracy. Mean (geometric for losses and traces) and 95 %
    interval over seeds, the range where there are fewer than five. DD is ZO without smoothing. A method that is missing in a column was
    not run there.

    Alt: A column for each model and dataset; in it training loss, trace and test accuracy over steps, a line a method.
    """
    figure, axes = theme.grid(3, 4, width=9.6, sharex=True)
    last = int(frames.records("convex")["step"].max())
    for column, (model, data) in enumerate(PAIRS):
        for panel, (metric, log) in enumerate((("train_loss", True), ("trace", True), ("test_accuracy", False))):
            ax = axes[panel, column]
            if frames.select("convex", metric, model=model, data=data).empty:
                theme.absent(ax, frames.why("convex", "gd", model=model, data=data), width=24)
                continue
            for method in ("gd", "zo", "dd", "sam"):
                rows = spaced(frames.select("convex", metric, method, model=model, data=data))
                theme.band(ax, rows, method=method, log=log)
            if log:
                ax.set_yscale("log")
                plain_log(ax.yaxis)
            log_steps(ax, last)
            if panel == 2:
                ax.set_xlabel("step")
        axes[0, column].set_title(title(frames, model, data), fontsize=8)
    for row, text in enumerate(("training loss", "trace of the Hessian", "test accuracy")):
        axes[row, 0].set_ylabel(text)
    theme.legend(figure, axes)
    return figure


def trace_against_loss(frames) -> Figure:
    """The same runs as trajectories: trace against training loss, means over seeds; a marker ends each. Read downwards at one loss,
    a lower curve is flatter at matched training loss (the table of x1 has the numbers).

    Alt: A panel for each model and dataset; each method's run is a curve from high to low training loss, the trace its height.
    """
    figure, axes = theme.grid(1, 4, width=9.6)
    for ax, (model, data) in zip(axes[0], PAIRS, strict=True):
        ax.set_title(title(frames, model, data), fontsize=8)
        if frames.select("convex", "trace", model=model, data=data).empty:
            theme.absent(ax, frames.why("convex", "gd", model=model, data=data), width=24)
            continue
        for method in ("gd", "zo", "dd", "sam"):
            loss, trace = (
                _means(spaced(frames.select("convex", metric, method, model=model, data=data)), "step")
                for metric in ("train_loss", "trace")
            )
            if len(loss):
                ax.plot(loss, trace, **theme.line(method))
                ax.plot(loss[-1:], trace[-1:], marker=theme.marker(method), color=theme.colour(method))
        ax.set(xscale="log", yscale="log", xlabel="training loss")
        plain_log(ax.xaxis)
        plain_log(ax.yaxis)
    axes[0, 0].set_ylabel("trace of the Hessian")
    theme.legend(figure, axes)
    return figure


def language_model(frames) -> Figure:
    """Language model: training loss, trace (Hutchinson, with its standard error) and test accuracy; a thin line a seed, the
    thick one their mean (geometric for loss and trace, over the seeds where all are positive).

    Alt: Three panels over steps: training loss and trace on logarithmic axes, test accuracy; thin lines of seeds around each method's mean.
    """
    figure, axes = theme.grid(1, 3, width=9.6)
    last = int(frames.records("language")["step"].max())
    for ax, metric in zip(axes[0], ("train_loss", "trace", "test_accuracy"), strict=True):
        for method in ("gd", "zo"):
            rows = frames.select("language", metric, method)
            theme.seeds(ax, rows, method=method, label="_seed", alpha=0.45)
            means = rows.groupby("step")["value"].apply(_centre, log=metric != "test_accuracy")
            ax.plot(means.index, means, **theme.line(method, linewidth=2))
            if metric == "trace":
                errors = frames.select("language", "trace_stderr", method)
                both = rows.merge(errors, on=["seed", "step"], suffixes=("", "_error"))
                ax.errorbar(both["step"], both["value"], both["value_error"], fmt="none", ecolor=theme.colour(method), alpha=0.5, elinewidth=0.8)  # fmt: skip
        ax.set(xlabel="step", yscale="linear" if metric == "test_accuracy" else "log")
        log_steps(ax, last)
    for ax, text in zip(axes[0], ("training loss", "trace of the Hessian", "test accuracy"), strict=True):
        ax.set_ylabel(text)
    theme.legend(figure, axes)
    return figure


def final_traces(frames) -> Figure:
    """Final trace of every method, a point a seed and their mean. ZO's on the linear models is its mean over the last 5 % of the
    steps; on the test function it is that of λ = 0.1.

    Alt: A panel for each problem; in each, the seeds' final traces by method on a logarithmic axis.
    """
    panels = [
        ("test function", "toy", {}),
        *((f"{NAMES[m]}, {d}", "convex", {"model": m, "data": d}) for m, d in PAIRS),
    ]
    panels.append(("language model", "language", {}))
    figure, axes = theme.grid(2, 3, width=8.4)
    for ax, (name, experiment, setting) in zip(axes.ravel(), panels, strict=True):
        ax.set_title(name, fontsize=8)
        rows = frames.select(experiment, "trace", **setting) if frames.has(experiment) else pd.DataFrame()
        if rows.empty:
            theme.absent(ax, frames.why(experiment, **setting))
            continue
        if experiment == "toy":  # one smoothing stands for ZO
            rows = rows.loc[(rows["method"] != "zo") | (rows["smoothing"] == SMOOTHINGS[0]), :]
        methods = [m for m in ("gd", "zo", "dd", "sam") if m in set(rows["method"])]
        for at, method in enumerate(methods):
            own = rows.loc[rows["method"] == method, :]
            kept = own["step"] >= (0.95 if experiment == "convex" else 1) * own["step"].max()
            theme.points(ax, at, _means(own.loc[kept, :], "seed"), method)
        ax.set(yscale="log", xticks=range(len(methods)), xlim=(-0.5, len(methods) - 0.5))
        plain_log(ax.yaxis)
        ax.set_xticklabels([theme.label(m) for m in methods])
    for row in axes:
        row[0].set_ylabel("final trace")
    return figure


def estimators(frames) -> Figure:
    """How far two estimates of the trace by differences of losses lie from Hutchinson's, on the same checkpoints of the language
    model (a point each), against Hutchinson's. On the grey line the deviation is as large as the trace itself: above it an estimate
    says nothing, far below it the two agree.

    Alt: Two panels, the official one-sided difference and its symmetric version; deviations on a logarithmic axis around or below a
    diagonal on which deviation and trace are equal.
    """
    figure, axes = theme.grid(1, 2, width=8.4, sharey=True)
    exact = frames.select("language", "trace")
    exact = exact[exact["value"] > 0]
    keys = ["method", "seed", "step"]
    for ax, (metric, name) in zip(
        axes[0], (("trace_official", "official, one-sided"), ("trace_symmetric", "symmetric")), strict=True
    ):
        for method in ("gd", "zo"):
            own = exact[exact["method"] == method]
            both = own.merge(frames.select("language", metric), on=keys, suffixes=("", "_by"))
            away = (both["value_by"] - both["value"]).abs()
            style = {"marker": theme.marker(method), "color": theme.colour(method), "label": theme.label(method)}
            ax.plot(both["value"], away, linestyle="none", alpha=0.8, markersize=4, **style)
        if len(exact):
            ends = exact["value"].min(), exact["value"].max()
            ax.plot(ends, ends, color="#808080", linewidth=1, label="as large as the trace")
        ax.set(title=name, xscale="log", yscale="log", xlabel="Hutchinson's estimate of the trace")
    axes[0, 0].set_ylabel("deviation from it")
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "F1": test_function,
    "F2": linear_models,
    "F3": trace_against_loss,
    "F4": language_model,
    "F5": final_traces,
    "F6": estimators,
}
