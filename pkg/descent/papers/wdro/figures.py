"""The page's figures. A docstring is the caption. All problems are ours; the paper's figures, if any, could not be read."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.colors import LogNorm

from descent.report import theme

PROBLEMS = {
    "diabetes": "least squares, 10 features",
    "diabetes2": "least squares, 2 features",
    "cancer": "logistic, labels fixed",
    "cancer_mixed": "logistic, labels may flip",
    "wells": "wells, several minima",
}
MARKERS = dict(zip(PROBLEMS, "osD^v", strict=True))
DASHES = dict(zip(PROBLEMS, ["-", (0, (6, 2)), (0, (3, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5))], strict=True))
GUIDE = {"color": "#555555", "linewidth": 0.9, "linestyle": ":"}
EPSILON, THETA = r"regularisation $\varepsilon$", r"$\theta$"


def _curves(ax, frames, experiment, metric, problems=None):
    """One line a problem against epsilon: exact numbers, the first seed's."""
    rows = frames.select(experiment, metric, "smoothed")
    for name in PROBLEMS:
        if problems and name not in problems:
            continue
        own = rows[rows["problem"] == name]
        line = own[own["seed"] == own["seed"].min()].sort_values("epsilon")
        if len(line):
            style = theme.line("smoothed", linestyle=DASHES[name], label=PROBLEMS[name], linewidth=1.3)
            ax.plot(line["epsilon"], line["value"], marker=MARKERS[name], **style)
    ax.set(xscale="log", yscale="log", xlabel=EPSILON)


def gradients(frames):
    """How far gradient and value of the regularised objective are from those of the unregularised one, no sampling: the worst of
    a fixed set of points of the compact set. Dotted: a line of slope one. Exact numbers, so no intervals.

    Alt: Two panels on logarithmic axes, error of the gradient and of the value against epsilon, one line for each problem.
    """
    figure, axes = theme.grid(1, 2, height=3.3)
    for ax, metric, label in zip(
        axes[0], ("gradient_error", "value_error"), ("error of the gradient", "error of the value"), strict=True
    ):
        _curves(ax, frames, "gradients", metric)
        low, high = ax.get_xlim()
        at = np.array([max(low, 1e-6), min(high, 1e-1)])
        bottom = ax.get_ylim()[0]
        ax.plot(at, bottom * 1.5 * at / at[0], label="slope one", **GUIDE)
        ax.set(ylabel=label)
    theme.legend(figure, axes)
    return figure


def sampling(frames):
    """Distance of the sampled gradient to the gradient of the unregularised objective, geometric mean over seeds, for draws a datum m
    and regularisation: plain draws above, shifted below. Down a column sampling gets better, along a row the bias does.

    Alt: Four coloured grids of the error over epsilon and m: two samplers in two and in ten dimensions, one colour scale.
    """
    rows = frames.select("sampling", "total_error", "gradient")
    names = [n for n in PROBLEMS if n in set(rows["problem"])]
    figure, axes = theme.grid(2, max(len(names), 1), width=7.2, height=5.2)
    logs = (
        rows.assign(value=np.log(rows["value"])).groupby(["problem", "sampler", "samples", "epsilon"])["value"].mean()
    )
    values = np.exp(logs)
    norm = LogNorm(values.min(), values.max())
    image = None
    for i, sampler in enumerate(("plain", "shifted")):
        for ax, name in zip(axes[i], names, strict=True):
            table = values[name][sampler].unstack("epsilon").sort_index(axis=1, ascending=False)
            image = ax.imshow(table.to_numpy(), norm=norm, cmap="viridis", aspect="auto")
            for (y, x), value in np.ndenumerate(table.to_numpy()):
                shade = "white" if norm(value) < 0.6 else "black"
                ax.text(x, y, f"{value:.2g}", ha="center", va="center", fontsize=7, color=shade)
            ax.set_xticks(range(table.shape[1]), [f"{e:g}" for e in table.columns])
            ax.set_yticks(range(table.shape[0]), [str(m) for m in table.index])
            ax.set(xlabel=EPSILON, ylabel="draws a datum m", title=f"{sampler}, {PROBLEMS[name]}")
            ax.grid(visible=False)
    assert image is not None, "rows name a problem at least"
    figure.colorbar(image, ax=axes, label=r"$|g^{\varepsilon,m} - \nabla F|$")
    return figure


def critical(frames):
    """Left: distance between the minimisers of the regularised and the unregularised problem (wells: the farthest critical point found
    from the nearest of the original). Right: the wells, contours of the unregularised objective, data (label +1 filled, -1 open),
    and the critical points: small for large epsilon, a cross for the original's. Exact numbers, so no intervals.

    Alt: Distances against epsilon on logarithmic axes; a plane with contours, data points and critical points.
    """
    figure, axes = theme.grid(1, 2, height=3.7)
    left, right = axes[0]
    _curves(left, frames, "critical", "distance")
    left.set(ylabel="distance of critical points")
    arrays = frames.arrays("critical")
    if "wells_surface" not in arrays:
        theme.absent(right, frames.why("critical", problem="wells"))
    else:
        side, surface = arrays["wells_side"], arrays["wells_surface"].T
        lines = right.contour(side, side, surface, levels=14, cmap="Greys_r", linewidths=0.6)
        x, y = arrays["wells_features"], arrays["wells_labels"]
        right.plot(*x[y > 0].T, "o", markersize=2.2, color="#777777", label="label +1")
        right.plot(*x[y < 0].T, "o", markersize=2.6, markerfacecolor="white", color="#777777", label="label -1")
        found = {float(n.rsplit("_", 1)[1]): v for n, v in arrays.items() if n.startswith("wells_minima_")}
        for size, (epsilon, shade) in enumerate(
            zip(sorted(found, reverse=True), theme.shades("smoothed", len(found)), strict=True)
        ):
            right.plot(
                *found[epsilon].T, "o", markersize=2.5 + 0.6 * size, color=shade, label=rf"$\varepsilon$ = {epsilon:g}"
            )
        right.plot(*arrays["wells_minima"].T, "x", markersize=8, color="#222222", label="original")
        right.set(xlabel="$w_1$", ylabel="$w_2$", aspect="equal", title="the wells")
        figure.colorbar(lines, ax=right, label="$F(w)$", shrink=0.8)
    theme.legend(figure, axes)
    return figure


def _formula(schedule: str) -> str:
    """`constant 1e-1` and `0.1 (k+1)^-1/2` as mathtext."""
    text = schedule.removeprefix("constant ").replace(" ", r"\,")
    return re.sub(r"\^(-[\d/]+)", r"^{\1}", re.sub(r"\b1e(-\d+)", r"10^{\1}", text))


def _schedules(ax, frames, experiment, metric, plateaus=True, **axes):
    """One line a schedule: constant epsilon in shades, falling ones dashed; levels of the constant ones dotted."""
    rows = frames.select(experiment, metric, "psgd", **axes)
    names = list(dict.fromkeys(rows["schedule"]))
    constant = [n for n in names if n.startswith("constant")]
    falling = [n for n in names if n not in constant]
    shades = dict(zip(constant, theme.shades("psgd", len(constant)), strict=True))
    dark = theme.shades("psgd", 5)[-1]
    dashes = dict(zip(falling, ((0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.6, 1.2, 1.6))), strict=False))
    positive = metric != "lam"
    for name in (*constant, *falling):
        style = {"color": shades.get(name, dark), "linestyle": dashes.get(name, "-")}
        own = rows[rows["schedule"] == name]
        theme.band(ax, own, method="psgd", log=positive, label=rf"$\varepsilon_k = {_formula(name)}$", **style)
        level = frames.select(experiment, "plateau", "psgd", schedule=name, **axes)
        if plateaus and positive and len(level):
            ax.axhline(
                level["value"].iloc[0],
                color=shades[name],
                linewidth=0.9,
                linestyle=":",
                label="where a constant one ends",
            )
    ax.set(xscale="log", xlabel="step k")
    if positive:
        ax.set(yscale="log")


def descent(frames):
    """Exact unregularised gap of the projected method, shifted draws, ten features: at the iterate and at its step-weighted average.
    Solid: constant epsilon, darker for smaller; dashed: falling. Dotted: the exact level at which a constant epsilon must end.
    Geometric mean over seeds, band: 95 % t interval.

    Alt: Two panels of the gap against the step on logarithmic axes, one line for each schedule of epsilon, dotted levels.
    """
    figure, axes = theme.grid(1, 2, height=3.5, sharey=True)
    for ax, metric, title in zip(axes[0], ("gap", "mean_gap"), ("iterate", "average"), strict=True):
        _schedules(ax, frames, "shifted", metric)
        ax.set(title=title)
    axes[0, 0].set(ylabel=r"$F(\theta_k, \lambda_k) - F^*$")
    theme.legend(figure, axes)
    return figure


def dual(frames):
    """The dual variable. Left: along the projected method, shifted draws, ten features; mean over seeds, band: 95 % t interval; dotted:
    the unregularised optimum's. Right: at the exact minimisers of the regularised problems against epsilon, dotted: without
    regularisation. Right panel exact, so no intervals.

    Alt: Two panels: lam against the step for every schedule; lam of the exact minimisers against epsilon for four problems.
    """
    figure, axes = theme.grid(1, 2, height=3.6)
    left, right = axes[0]
    _schedules(left, frames, "shifted", "lam")
    best = frames.select("critical", "lam_optimum", "smoothed", problem="diabetes")
    if len(best):
        left.axhline(best["value"].iloc[0], label="without regularisation", **GUIDE)
    left.set(ylabel=r"$\lambda_k$", yscale="log")
    _curves(right, frames, "critical", "lam_smoothed")
    for _, row in frames.select("critical", "lam_optimum", "smoothed").groupby("problem"):
        right.axhline(row["value"].iloc[0], label="without regularisation", **GUIDE)
    right.set(ylabel=r"$\lambda_\varepsilon$")
    theme.legend(figure, axes)
    return figure


def flips(frames):
    """Mixed data: whose label the worst case flips at the unregularised optimum. Margins y (w.x + b) of all data; flipped are those
    where flipping gains more than it costs, tied those within 1e-4 of it. Exact, so no intervals.

    Alt: Stacked histogram of margins: kept, tied and flipped labels.
    """
    figure, axes = theme.grid(1, 1, width=5.0, height=2.9)
    ax, arrays = axes[0, 0], frames.arrays("critical")
    if "cancer_mixed_margin" not in arrays:
        theme.absent(ax, frames.why("critical", problem="cancer_mixed"))
        return figure
    margin, gain = arrays["cancer_mixed_margin"], arrays["cancer_mixed_gain"]
    kinds = {"kept": gain < -1e-4, "tied": abs(gain) <= 1e-4, "flipped": gain > 1e-4}
    ax.hist(
        [margin[which] for which in kinds.values()], bins=40, stacked=True, color=["#C9C9C9", "#808080", "#222222"],
        label=[f"{name} ({which.sum()})" for name, which in kinds.items()],
    )  # fmt: skip
    ax.set(xlabel="margin y (w.x + b)", ylabel="data")
    theme.legend(figure, axes)
    return figure


def plain(frames):
    """Plain draws: exact gap (above) and lam (below) of the projected method in ten dimensions and in two, with 16 draws a datum and with
    a number that grows to 256 (thin lines); solid: constant epsilon, dashed: falling. Mean over seeds (gap: geometric), band: 95 % t interval. Dotted: the upper limit of lam.

    Alt: Four panels, gap and lam against the step, ten dimensions on the left and two on the right.
    """
    figure, axes = theme.grid(2, 2, height=4.8, sharex=True)
    for j, problem in enumerate(("diabetes", "diabetes2")):
        for i, metric in enumerate(("gap", "lam")):
            ax, rows = axes[i, j], frames.select("plain", metric, "psgd", problem=problem)
            for (schedule, growth), own in rows.groupby(["schedule", "samples_growth"]):
                words = rf"$\varepsilon_k = {_formula(schedule)}$, " + ("m = 16" if growth == 0 else "m growing")
                style = {
                    "linewidth": 1.8 if growth == 0 else 0.9,
                    "linestyle": "-" if schedule.startswith("constant") else (0, (5, 1.6)),
                }
                theme.band(ax, own, method="psgd", log=metric == "gap", label=words, **style)
            ax.set(
                xscale="log",
                title=PROBLEMS[problem] if i == 0 else "",
                ylabel="exact gap" if metric == "gap" else r"$\lambda_k$",
            )
            if metric == "gap":
                ax.set(yscale="log")
            else:
                ax.axhline(50, label="upper limit", **GUIDE)
                ax.set(xlabel="step k")
    theme.legend(figure, axes)
    return figure


def mixed(frames):
    """Labels that may flip: exact unregularised gap and lam of the projected method for constant (solid) and falling (dashed) epsilon.
    Dotted: the exact level at which a constant epsilon must end. Mean over seeds (gap: geometric), band: 95 % t interval.

    Alt: Two panels, gap and lam against the step, one line for each schedule.
    """
    figure, axes = theme.grid(1, 2, height=3.4)
    for ax, metric in zip(axes[0], ("gap", "lam"), strict=True):
        _schedules(ax, frames, "mixed", metric)
    axes[0, 0].set(ylabel=r"$F(\theta_k, \lambda_k) - F^*$")
    axes[0, 1].set(ylabel=r"$\lambda_k$")
    theme.legend(figure, axes)
    return figure


def baselines(frames):
    """Exact worst-case risk above the least possible against evaluations of the loss, every method at the same budget; level: least
    squares. Geometric mean over seeds, band: 95 % t interval.

    Alt: Two panels, ten features and two, of the excess worst-case risk against evaluations on logarithmic axes.
    """
    figure, axes = theme.grid(1, 2, height=3.3)
    for ax, problem in zip(axes[0], ("diabetes", "diabetes2"), strict=True):
        for method in ("psgd", "saa", "library"):
            theme.band(ax, frames.select("baselines", "risk_gap", method, problem=problem), method=method, log=True)
        erm = frames.select("baselines", "risk_gap", "erm", problem=problem)
        if len(erm):
            ax.axhline(erm["value"].iloc[0], **theme.line("erm"))
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="evaluations of the loss",
            ylabel="worst-case risk above the least",
            title=PROBLEMS[problem],
        )
    theme.legend(figure, axes)
    return figure


LEVELS = (1e-2, 1e-3)


def time_to_gap(frames):
    """CPU time a run needs until its exact worst-case risk lies within 1e-2 (left) and 1e-3 (right) of the least: the evaluations until
    then, from the runs of the figure before, times what an evaluation was measured to cost with all seeds in one batch. Median over seeds,
    bars between quartiles, a dot a seed; a number with a cross counts seeds that did not get there within the budget. The first phase of
    the library is counted at what an evaluation of its second costs. Filled marks: ten
    features; open marks: two.

    Alt: Two panels of dots on a logarithmic time axis, one column for each method, filled and open marks for the two problems.
    """
    times = frames.records("cost")
    times = times[times["metric"] == "step_cpu_seconds"]
    rows = frames.select("baselines", "risk_gap")
    seeds = rows["seed"].nunique()
    figure, axes = theme.grid(1, len(LEVELS), height=3.2, sharey=True)
    methods = [m for m in ("psgd", "saa", "library") if m in set(times["method"])]
    for ax, level in zip(axes[0], LEVELS, strict=True):
        for place, method in enumerate(methods):
            for shift, problem in ((-0.13, "diabetes"), (0.13, "diabetes2")):
                cost = times[(times["method"] == method) & (times["problem"] == problem)]
                own = rows[(rows["method"] == method) & (rows["problem"] == problem)]
                if cost.empty or own.empty:
                    continue
                each = cost["value"].median() / cost["evaluations"].iloc[0] / seeds
                first = own[own["value"] <= level].groupby("seed")["step"].min() * each
                at, colour = place + shift, theme.colour(method)
                late = own["seed"].nunique() - len(first)
                if late:
                    ax.annotate(
                        f"{late}×",
                        (at, 0.02),
                        xycoords=("data", "axes fraction"),
                        ha="center",
                        fontsize=7,
                        color=colour,
                    )
                if len(first):
                    low, middle, high = np.quantile(first, [0.25, 0.5, 0.75])
                    ax.vlines(at, low, high, color=colour)
                    ax.plot(np.full(len(first), at), first, ".", color=colour, markersize=3, alpha=0.5)
                    ax.plot(at, middle, theme.marker(method), color=colour, markerfacecolor=colour if problem == "diabetes" else "white",
                            label=f"{theme.line(method)['label']}, {PROBLEMS[problem].split(', ')[1]}")  # fmt: skip
        ax.set(yscale="log", title=f"within {level:g} of the least", xlabel="method")
        ax.set_xticks(range(len(methods)), [theme.label(method) for method in methods], fontsize=7)
    axes[0, 0].set_ylabel("CPU-seconds a run")
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "gradients": gradients,
    "sampling": sampling,
    "critical": critical,
    "descent": descent,
    "dual": dual,
    "flips": flips,
    "mixed": mixed,
    "plain": plain,
    "baselines": baselines,
    "time_to_gap": time_to_gap,
}
