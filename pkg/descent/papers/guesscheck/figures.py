"""The page's figures. A docstring is the caption. The paper's own numbers are unknown to us: nothing of the paper's is drawn."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from descent.report import theme

ACTIVATIONS = ("linear", "tanh", "leaky")
SERIES = ("guess_check", "prior", "gd")
OFFSETS = {"guess_check": -0.12, "prior": 0.0, "gd": 0.12}
GREY = "#555555"


def last(rows: pd.DataFrame) -> pd.DataFrame:
    """Every seed's row of its last step."""
    return rows.sort_values("step").groupby(["seed"], as_index=False).tail(1) if len(rows) else rows


def swept(
    ax,
    frames,
    experiment: str,
    axis: str,
    metric: str,
    method: str,
    offset: float = 0.0,
    label=None,
    color=None,
    **where,
) -> None:
    """Median over seeds with bars between the quartiles and a point a seed, at evenly spaced places of the axis' values."""
    values = sorted(frames.records(experiment)[axis].dropna().unique())
    style = {"color": color or theme.colour(method), "marker": theme.marker(method)}
    middles = []
    for place, value in enumerate(values):
        rows = last(frames.select(experiment, metric, method, **{axis: value}, **where))
        good = rows.loc[rows["status"] == "ok", "value"].to_numpy(float)
        if len(good):
            low, middle, high = np.quantile(good, [0.25, 0.5, 0.75])
            middles.append((place + offset, middle))
            ax.vlines(place + offset, low, high, color=style["color"], linewidth=1.4)
            spread = np.linspace(-0.04, 0.04, len(good)) if len(good) > 1 else np.zeros(1)
            ax.plot(
                place + offset + spread,
                good,
                linestyle="none",
                marker=".",
                markersize=2.5,
                color=style["color"],
                alpha=0.45,
            )
        if len(rows) > len(good):
            here = sum(abs(text.xy[0] - place) < 0.5 for text in ax.texts)  # other methods' counts: one above the other
            ax.annotate(f"{len(rows) - len(good)}×", (place + offset, 0.0), xycoords=("data", "axes fraction"), xytext=(0, 2 + 8 * here),
                        textcoords="offset points", ha="center", fontsize=7, color=style["color"])  # fmt: skip
    if middles:
        line = theme.line(method, **({"color": color} if color else {}), **({"label": label} if label else {}))
        ax.plot(*zip(*middles, strict=True), **line, marker=style["marker"], markersize=4)
    ax.set_xticks(range(len(values)), [f"{int(v)}" for v in values])


def _activations(frames, experiment: str) -> list[str]:
    present = set(frames.records(experiment)["activation"])
    return [name for name in ACTIVATIONS if name in present]


def _losses(frames, experiment: str, axis: str, label: str, methods, scale: str) -> Figure:
    names = _activations(frames, experiment)
    figure, axes = theme.grid(1, len(names), height=3.0, sharey=True)
    for ax, name in zip(axes[0], names, strict=True):
        for method in methods:
            swept(ax, frames, experiment, axis, "error", method, OFFSETS[method], activation=name)
        ax.set(yscale=scale, xlabel=label, title=name)
    axes[0, 0].set_ylabel("test loss $L_{gen}$")
    theme.legend(figure, axes)
    return figure


def width(frames) -> Figure:
    """Test loss over widths, two layers, products not normalised (the paper's Fig 1): Guess & Check's mean over accepted guesses,
    the mean over all guesses (prior), and gradient descent at its last step. Median over seeds, bars from the lower to the upper
    quartile, a dot a seed; a number with a cross below counts seeds whose estimate is undefined.

    Alt: One panel for each activation; test loss on a logarithmic axis against six widths, one line for each of three methods.
    """
    return _losses(frames, "width", "width", "width k", SERIES, "log")


def width_linear(frames) -> Figure:
    """The same without gradient descent, on a linear axis: how far Guess & Check is from guessing alone.

    Alt: One panel for each activation; test loss on a linear axis against widths for Guess & Check and the prior.
    """
    return _losses(frames, "width", "width", "width k", SERIES[:2], "linear")


def depth(frames) -> Figure:
    """Test loss over depths, width five, guesses normalised (the paper's Fig 2), as in the figure over widths. Gradient descent
    starts from the official code's scales; a high dot of its is a run that fits the measurements with another matrix.

    Alt: One panel for each activation; test loss on a logarithmic axis against depths for Guess & Check, prior and gradient descent.
    """
    return _losses(frames, "depth", "depth", "depth d", SERIES, "log")


def depth_linear(frames) -> Figure:
    """Guess & Check and the prior over depths on a linear axis.

    Alt: One panel for each activation; test loss on a linear axis against depths for Guess & Check and the prior.
    """
    return _losses(frames, "depth", "depth", "depth d", SERIES[:2], "linear")


def ratio(frames) -> Figure:
    """Guess & Check's test loss over the prior's, the ratio of each seed: mean over seeds with its 95 % t interval of the logarithm
    (from least to largest where there are fewer than five seeds). At the dotted line a network that fits knows no more than a guess,
    which theory gives for a linear network of infinite width.

    Alt: One line for each activation of a ratio against width, below a dotted line at one.
    """
    figure, axes = theme.grid(1, 1, width=4.8, height=3.2)
    ax, names = axes[0, 0], _activations(frames, "width")
    for name, shade in zip(names, theme.shades("guess_check", len(names)), strict=True):
        ours, prior = (frames.select("width", "error", m, activation=name) for m in SERIES[:2])
        both = ours.merge(prior[["width", "seed", "value"]], on=["width", "seed"], suffixes=("", "_prior"))
        both["value"] = both["value"] / both["value_prior"]
        both["place"] = np.log2(both["width"])
        theme.band(ax, both, "place", method="guess_check", log=True, color=shade, label=name, marker="o", markersize=4)
    widths = sorted(frames.records("width")["width"].unique())
    ax.set_xticks(np.log2(widths), [f"{int(w)}" for w in widths])
    ax.axhline(1, color=GREY, linewidth=0.9, linestyle=":")
    ax.set(xlabel="width k", ylabel="Guess & Check / prior")
    theme.legend(figure, axes)
    return figure


def acceptance(frames) -> Figure:
    """How rare a guess is that fits: log10 of the acceptance probability, median over seeds, bars between quartiles, a dot a seed.
    Literal guessing needs one over this probability for every guess it accepts; a number with a cross counts undefined seeds.

    Alt: Two panels, over widths and over depths, with one line for each activation.
    """
    figure, axes = theme.grid(1, 2, height=3.0)
    for ax, axis in zip(axes[0], ("width", "depth"), strict=True):
        names = _activations(frames, axis)
        for i, (name, shade) in enumerate(zip(names, theme.shades("guess_check", len(names)), strict=True)):
            swept(
                ax, frames, axis, axis, "log10_acceptance", "guess_check", 0.12 * (i - 1), name, shade, activation=name
            )
        ax.set(xlabel=f"{axis} {(axis == 'width' and 'k') or 'd'}", ylabel="log10 of the acceptance probability")
    theme.legend(figure, axes)
    return figure


def rank_one(frames) -> Figure:
    """The largest singular value of accepted products over their Frobenius norm, mean within a seed; median over seeds, bars between
    quartiles, a dot a seed. At 1 every accepted matrix has rank one, as the target has.

    Alt: One line for each activation against depth.
    """
    figure, axes = theme.grid(1, 1, width=4.8, height=3.0)
    ax, names = axes[0, 0], _activations(frames, "depth")
    for i, (name, shade) in enumerate(zip(names, theme.shades("guess_check", len(names)), strict=True)):
        swept(ax, frames, "depth", "depth", "top_share", "guess_check", 0.1 * (i - 1), name, shade, activation=name)
    ax.axhline(1, color=GREY, linewidth=0.9, linestyle=":")
    ax.set(xlabel="depth d", ylabel="top singular value / norm")
    theme.legend(figure, axes)
    return figure


WAYS = ("official", "plain", "literal", "importance", "subset")


def throughput(frames) -> Figure:
    """Measured on one thread. Left: guesses made in a CPU-second by the official code's way, by the same done well, and by our literal
    sampler. Right: independent accepted guesses a CPU-second: guesses times the acceptance probability, or the effective size of
    importance sampling or subset simulation over its time; medians over seeds. Bars from the lower to the upper quartile of repeats.

    Alt: Two panels of bars on logarithmic axes, one bar for each way and setting.
    """
    times = frames.records("cost")
    times = times[times["metric"] == "step_cpu_seconds"]
    figure, axes = theme.grid(1, 2, height=3.2)
    left, right = axes[0]
    settings = times[["width", "depth"]].drop_duplicates().sort_values(["depth", "width"]).to_numpy(int)
    shades = theme.shades("guess_check", len(settings))
    for i, ((k, d), shade) in enumerate(zip(settings, shades, strict=True)):
        for place, way in enumerate(WAYS):
            own = times[(times["width"] == k) & (times["depth"] == d) & (times["way"] == way)]["value"].to_numpy(float)
            if not len(own):
                continue
            at = place + 0.22 * (i - (len(settings) - 1) / 2)
            spread = np.quantile(own, [0.25, 0.5, 0.75])
            label = f"k = {k}, d = {d}"
            if place < 3:
                made = times["batch"].iloc[0] / spread
                left.vlines(at, made[2], made[0], color=shade)
                left.plot(at, made[1], "o", color=shade, label=label)
            size = _worth(frames, way, k, d, times["batch"].iloc[0])
            if size is not None:
                each = size / spread
                right.vlines(at, each[2], each[0], color=shade)
                right.plot(at, each[1], "o", color=shade, label=label)
    left.set(yscale="log", ylabel="guesses a CPU-second")
    right.set(yscale="log", ylabel="accepted guesses' worth a CPU-second")
    left.set_xticks(range(3), WAYS[:3])
    right.set_xticks(range(5), WAYS, rotation=20)
    theme.legend(figure, axes)
    return figure


def _worth(frames, way: str, k: int, d: int, batch: float) -> float | None:
    """Accepted guesses that one measured call is worth on the median seed, from the records of the sweeps."""
    experiment, where = (
        ("width", {"width": k}) if d == 2 and k != 5 else ("depth", {"depth": d}) if d != 2 else ("width", {"width": k})
    )
    metric = "log10_acceptance" if way in WAYS[:3] else "effective_size"
    rows = frames.select(experiment, metric, "guess_check", activation="linear", **where)
    rows = rows[rows["status"] == "ok"]
    if rows.empty:
        return None
    middle = float(rows["value"].median())
    return batch * 10**middle if way in WAYS[:3] else middle


def variants(frames) -> Figure:
    """The same sweeps on other tasks and priors, linear networks: rank 2 with 22 measurements, a uniform prior, completion instead of
    sensing. Guess & Check and the prior; median over seeds, bars between quartiles, a dot a seed.

    Alt: Two rows of panels, over widths above and over depths below, one column for each variant.
    """
    names = [n for n in ("rank2", "uniform", "completion", "unnormalised")
             if any(frames.has(f"{axis}_{n}") for axis in ("width", "depth"))]  # fmt: skip
    if not names:
        frames.records("width_rank2")  # says why there is nothing
    figure, axes = theme.grid(2, len(names), height=5.0)
    for row, axis in enumerate(("width", "depth")):
        for column, name in enumerate(names):
            ax, experiment = axes[row, column], f"{axis}_{name}"
            if not frames.has(experiment):
                reason = (
                    frames.why(experiment) if experiment in frames.room.experiments else "the paper has no such figure"
                )
                theme.absent(ax, reason, width=22)
                continue
            for method in SERIES[:2]:
                if len(frames.select(experiment, "error", method)):
                    swept(ax, frames, experiment, axis, "error", method, OFFSETS[method])
            ax.set(xlabel=axis, title=name)
    for row in (0, 1):
        axes[row, 0].set_ylabel("test loss $L_{gen}$")
    theme.legend(figure, axes)
    return figure


def curves(frames) -> Figure:
    """Gradient descent along its steps, a line a seed: test loss (full) at the smallest and the largest width above, at the smallest
    and the largest depth below, linear networks; dotted, the training loss of the same runs.

    Alt: Four panels of falling curves on logarithmic axes, one line for each seed.
    """
    figure, axes = theme.grid(2, 2, height=4.8, sharey=True)
    for row, axis in enumerate(("width", "depth")):
        values = sorted(frames.select(axis, "error", "gd")[axis].unique())
        for column, value in enumerate((values[0], values[-1])):
            ax = axes[row, column]
            for metric, style in (
                ("error", {}),
                ("training_loss", {"linestyle": ":", "label": "_training", "alpha": 0.45}),
            ):
                rows = frames.select(axis, metric, "gd", activation="linear", **{axis: value})
                theme.seeds(ax, rows[rows["step"] > 0], method="gd", **style)
            ax.set(xscale="log", yscale="log", title=f"{axis} {int(value)}")
    for ax in axes[1]:
        ax.set_xlabel("gradient steps")
    for ax in axes[:, 0]:
        ax.set_ylabel("loss")
    theme.legend(figure, axes)
    return figure


def law(frames) -> Figure:
    """The samplers on the same seeds at tolerances that literal guesses can afford: test loss by importance sampling or subset
    simulation against that by literal guesses, a point a seed with bars of one standard error either way. On the diagonal they agree.

    Alt: Points along the diagonal of a square plot, one marker for each sampler.
    """
    figure, axes = theme.grid(1, 2, height=3.3)
    for ax, experiment, title in zip(
        axes[0], ("law_wide", "law_deep"), ("two layers", "four layers, normalised"), strict=True
    ):
        records = frames.records(experiment)
        samplers = ("importance", "subset")
        others = [s for s in samplers if s in set(records["sampler"])]
        shade: dict[str, str] = dict(zip(samplers, theme.shades("guess_check", 2), strict=True))
        keys = ["seed", *(name for name in ("width",) if name in records)]
        table = lambda m, s, e=experiment, k=keys: frames.select(e, m, "guess_check", sampler=s).set_index(k)["value"]  # noqa: E731
        x, dx = table("error", "literal"), table("standard_error", "literal")
        for sampler in others:
            y, dy = table("error", sampler).reindex(x.index), table("standard_error", sampler).reindex(x.index)
            ax.errorbar(x, y, dy, dx.reindex(x.index), linestyle="none", marker="o" if sampler == "subset" else "s",
                        markersize=4, color=shade[sampler], label=sampler, linewidth=0.9)  # fmt: skip
        if len(x):
            ends = [0.95 * x.min(), 1.05 * x.max()]
            ax.plot(ends, ends, color=GREY, linewidth=0.8, linestyle=":")
        ax.set(xlabel="literal guesses", ylabel="other sampler", title=title)
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "width": width,
    "width_linear": width_linear,
    "depth": depth,
    "depth_linear": depth_linear,
    "ratio": ratio,
    "acceptance": acceptance,
    "rank_one": rank_one,
    "throughput": throughput,
    "variants": variants,
    "curves": curves,
    "law": law,
}
