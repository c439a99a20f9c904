"""The figures of the report. A function's docstring is its caption."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from descent.report import theme

SPAN = 100  # collected trajectories that a moving average covers
REACHED = 150
POINTS = 100
DASHES = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (5, 1.6, 1.2, 1.6)),
    (0, (8, 1.6)),
    (0, (5, 1.6, 1.2, 1.6, 1.2, 1.6)),
)
BASELINES = ("gpomdp", "svrpg", "srvrpg", "storm", "page", "def")


def smooth(returns: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """(U,) trailing moving average over SPAN collected trajectories, shorter at the start."""
    width = max(1, round(SPAN / fresh.mean()))
    total = np.concatenate([[0.0], returns.cumsum()])
    ends = np.arange(1, len(returns) + 1)
    starts = np.maximum(ends - width, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def runs(frames, experiment: str, method: str, **axes) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """seed -> (collected trajectories, smoothed return), both (U,)."""
    parts = [frames.select(experiment, m, method, **axes) for m in ("mean_return", "fresh")]
    fresh = {seed: rows for seed, rows in parts[1].groupby("seed")}
    return {
        int(seed): (rows["step"].to_numpy(), smooth(rows["value"].to_numpy(), fresh[seed]["value"].to_numpy()))
        for seed, rows in parts[0].groupby("seed")
    }


def on_a_grid(curves: dict[int, tuple[np.ndarray, np.ndarray]], factor: float = 1.0) -> pd.DataFrame:
    """The runs at common numbers of trajectories, as records: the last value reached by then. factor stretches the axis."""
    if not curves:
        return pd.DataFrame(columns=["step", "seed", "value", "status"])
    first = max(steps[0] for steps, _ in curves.values())
    last = min(steps[-1] for steps, _ in curves.values())
    grid = np.unique(np.linspace(first, last, POINTS).round().astype(int))
    parts = []
    for seed, (steps, values) in curves.items():
        value = values[np.searchsorted(steps, grid, side="right") - 1]
        status = np.where(np.isfinite(value), "ok", "diverged")
        parts.append(pd.DataFrame({"step": grid * factor, "seed": seed, "value": value, "status": status}))
    return pd.concat(parts, ignore_index=True)


def draw_return(
    ax: Axes, frames, experiment: str, method: str, factor: float = 1.0, look: dict | None = None, **axes
) -> None:
    """One line: mean and 95 % interval of the smoothed return."""
    theme.band(ax, on_a_grid(runs(frames, experiment, method, **axes), factor), method=method, **(look or {}))


def windows(frames, experiment: str) -> list[int]:
    """The windows of RPG in an experiment."""
    rows = frames.records(experiment)
    return sorted(int(w) for w in rows.loc[rows["method"] == "rpg", "window"].unique())


def sweep(sizes: list[int]) -> list[dict]:
    """A look a window: a shade of RPG's colour, darker for larger windows, and a dash, so that neighbours differ in both."""
    shades = theme.shades("rpg", len(sizes))
    return [
        {"color": shade, "linestyle": DASHES[i % len(DASHES)], "label": f"window {size}"}
        for i, (size, shade) in enumerate(zip(sizes, shades, strict=True))
    ]


def return_axes(ax: Axes, title: str, x: str = "trajectories collected") -> None:
    ax.set(title=title, xlabel=x, ylabel="return")
    ax.set_xlim(left=0)


def window_sensitivity(frames) -> Figure:
    """Return against collected trajectories on Cart Pole, N = 5: GPOMDP (a window of 1) and RPG with growing windows (darker
    is larger; neighbours differ in dash). Mean and 95 % t interval over seeds of a moving average over 100 trajectories; dotted, the
    optimum 200.

    Alt: A line for each window, return from about 40 at the start towards 200, against the trajectories collected.
    """
    figure, axes = theme.grid(1, 1, width=6, height=3.4)
    ax = axes[0, 0]
    draw_return(ax, frames, "window", "gpomdp", look={"label": "window 1 (GPOMDP)"})
    sizes = windows(frames, "window")
    for size, look in zip(sizes, sweep(sizes), strict=True):
        draw_return(ax, frames, "window", "rpg", look=look, window=size)
    ax.axhline(200, color="#808080", linestyle=":", linewidth=1, label="optimum")
    return_axes(ax, "Cart Pole, window sensitivity")
    theme.legend(figure, axes)
    return figure


def comparison(frames) -> Figure:
    """RPG (N = 10, window 8) against the plain policy gradient and the gradient-reuse methods on Cart Pole, ten collected
    trajectories an update for all. Left, nobody has a baseline. Right, the others subtract the batch's mean reward (`avg`)
    and RPG, whose official code has no baseline, does not. Mean and 95 % t interval over seeds, moving average over 100
    trajectories.

    Alt: Two panels of return against trajectories collected, a line a method; RPG's line is the same in both.
    """
    figure, axes = theme.grid(1, 2, height=3.4, sharey=True)
    for ax, baseline, title in zip(
        axes[0], ("zero", "avg"), ("No baselines", "Others with a baseline (`avg`)"), strict=True
    ):
        for method in BASELINES:
            draw_return(ax, frames, "base", method, baseline=baseline)
        draw_return(ax, frames, "base", "rpg")
        return_axes(ax, title)
    axes[0, 1].set_ylabel("")
    theme.legend(figure, axes)
    return figure


def window_for_batch(frames) -> Figure:
    """RPG with a window of 4 and N fresh trajectories against GPOMDP with 4 N. Left, by trajectories used (updates x N x window):
    where a window stands in for a batch, the curves of a pair coincide. Right, by trajectories collected. Mean and 95 % t
    interval over seeds, moving average over 100 trajectories.

    Alt: Two panels of the same curves, two of RPG and two of GPOMDP, against trajectories used and against trajectories collected.
    """
    figure, axes = theme.grid(1, 2, height=3.4, sharey=True)
    rows = frames.records("equal")
    for ax, used in zip(axes[0], (True, False), strict=True):
        for method, window in (("gpomdp", 1), ("rpg", 4)):
            batches = sorted(int(b) for b in rows.loc[rows["method"] == method, "batch"].unique())
            for batch, shade in zip(batches, theme.shades(method, len(batches)), strict=True):
                look = {
                    "color": shade,
                    "label": f"{theme.label(method)}, N = {batch}" + (f", window {window}" if window > 1 else ""),
                }
                draw_return(ax, frames, "equal", method, window if used else 1, look, batch=batch)
        return_axes(
            ax, f"Trajectories {'used' if used else 'collected'}", f"trajectories {'used' if used else 'collected'}"
        )
    axes[0, 1].set_ylabel("")
    theme.legend(figure, axes)
    return figure


def reached(curves: dict[int, tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """T_150 of each seed: collected trajectories when the moving average first reaches 150, infinite if never."""
    found = [
        steps[hits[0]] if len(hits := np.flatnonzero(values >= REACHED)) else np.inf
        for steps, values in curves.values()
    ]
    return np.array(found, float)


def speed_up(frames) -> Figure:
    """Trajectories that Cart Pole takes to a return of 150 against the window, N = 5, a point a seed and the median as a bar (a seed that
    never gets there has no point and counts as beyond all); both axes logarithmic. Dashed, the line fitted to the logarithms of the
    medians over windows 1 to 16; dotted, a slope of -1, which the rate of the theory would give: it speaks of small eps and tuned
    steps, not of Adam's fixed step.

    Alt: Points of each seed for windows 1 to 64, with medians, a fitted line and a line of slope -1.
    """
    figure, axes = theme.grid(1, 1, width=5, height=3.4)
    ax = axes[0, 0]
    times = {1: reached(runs(frames, "window", "gpomdp", window=1))}
    times |= {size: reached(runs(frames, "window", "rpg", window=size)) for size in windows(frames, "window")}
    if not any(np.isfinite(values).any() for values in times.values()):
        theme.absent(ax, "no seed reached a return of 150 within the budget")
        return figure
    for size, values in times.items():
        method = "gpomdp" if size == 1 else "rpg"
        ok = np.isfinite(values)
        spread = size * np.exp(np.linspace(-0.12, 0.12, len(values)))
        style = {
            "marker": theme.marker(method),
            "color": theme.colour(method),
            "linestyle": "none",
            "markersize": 3,
            "alpha": 0.6,
        }
        ax.plot(spread[ok], values[ok], **style, label=theme.label(method) if size <= 2 else "_")
        if np.isfinite(middle := float(np.median(values))):
            ax.hlines(middle, size * 0.84, size * 1.19, color=theme.colour(method), linewidth=1.8)
    medians = {size: float(np.median(values)) for size, values in times.items() if size <= 16}
    if len(medians) > 2 and np.isfinite(list(medians.values())).all():
        x, y = np.log(list(medians)), np.log(list(medians.values()))
        slope, start = np.polyfit(x, y, 1)
        line = np.array([1.0, 16.0])
        ax.plot(
            line,
            np.exp(start) * line**slope,
            "--",
            color="#222222",
            linewidth=1,
            label=rf"fit, $\omega^{{{slope:.2f}}}$",
        )
        ax.plot(line, np.exp(y[0]) / line, ":", color="#808080", linewidth=1, label=r"$\omega^{-1}$")
    ax.set(
        xscale="log",
        yscale="log",
        xlabel=r"window $\omega$",
        ylabel="trajectories to a return of 150",
        title="Cart Pole, speed-up",
    )
    ax.set_xticks(list(times), [str(size) for size in times])
    ax.set_yticks(ticks := [250 * 2**k for k in range(6)], [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    theme.legend(figure, axes)
    return figure


def estimators(frames) -> Figure:
    """The same loop with three weights, N = 5, at two windows: power-mean corrected (RPG), plain (MIS) and balance heuristic (BH).
    Mean and 95 % t interval over seeds, moving average over 100 trajectories. The paper offers BH as an ablation; how it
    compares is reported without a verdict.

    Alt: A panel for each window, return against trajectories collected, a line for each of the three weights.
    """
    rows = frames.records("window")
    sizes = sorted(int(w) for w in rows.loc[rows["method"] == "bh", "window"].unique())
    figure, axes = theme.grid(1, len(sizes), height=3.2, sharey=True)
    for ax, size in zip(axes[0], sizes, strict=True):
        for method in ("mis", "bh", "rpg"):
            draw_return(ax, frames, "window", method, window=size)
        return_axes(ax, f"Window {size}")
    theme.legend(figure, axes)
    return figure


def gradient_error(frames) -> Figure:
    """Error of the estimated gradient on the LQR, whose gradient is known exactly, for windows of policies that drift by known
    steps (columns). Above, the mean squared error over a seed's replications, both axes logarithmic; dotted, 1 / window from
    RPG's error at a window of 1. Below, the largest weight among a seed's replications: RPG's are bounded by construction, plain
    ones (MIS) are not. Geometric mean and 95 % t interval over seeds; where errors are heavy-tailed the interval says little
    about their mean.

    Alt: Two rows of panels, a column for each drift: mean squared error and largest weight against the window, for RPG, MIS and BH.
    """
    rows = frames.records("lqr_error")
    drifts = sorted(rows["drift"].unique())
    sizes = np.array(sorted(rows["window"].unique()), float)
    figure, axes = theme.grid(2, len(drifts), sharex=True, sharey="row")
    for column, drift in enumerate(drifts):
        top, bottom = axes[:, column]
        for method in ("mis", "bh", "rpg"):
            for ax, metric in ((top, "mean_squared_error"), (bottom, "largest_weight")):
                part = frames.select("lqr_error", metric, method, drift=drift)
                theme.band(ax, part, x="window", method=method, log=True, marker=theme.marker(method))
        start = frames.select("lqr_error", "mean_squared_error", "rpg", drift=drift, window=1)["value"]
        top.plot(sizes, np.exp(np.log(start).mean()) / sizes, ":", color="#808080", linewidth=1, label=r"$1 / \omega$")
        top.set(title=f"drift {drift:g}", xscale="log", yscale="log")
        bottom.set(yscale="log", xlabel=r"window $\omega$")
        bottom.set_xticks(sizes, [f"{size:g}" for size in sizes])
        for ax in (top, bottom):
            ax.xaxis.set_minor_locator(NullLocator())
        top.yaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
        top.yaxis.set_major_formatter("{x:g}")
    axes[0, 0].set_ylabel("mean squared error")
    axes[1, 0].set_ylabel("largest weight W")
    theme.legend(figure, axes)
    return figure


def regret(frames) -> Figure:
    """Exact regret J* - J while learning on the LQR, N = 5: GPOMDP (a window of 1) and RPG with growing windows (darker is larger;
    neighbours differ in dash). Geometric mean and 95 % t interval over seeds.

    Alt: Regret on a logarithmic axis against trajectories collected, a line for each window.
    """
    rows = frames.records("lqr_train")
    rules = list(dict.fromkeys(rows["ascent"]))
    figure, axes = theme.grid(1, len(rules), width=5 if len(rules) == 1 else 7.2, height=3.4, sharey=True)
    for ax, rule in zip(axes[0], rules, strict=True):
        theme.band(ax, thinned(frames.select("lqr_train", "regret", "gpomdp", ascent=rule)), method="gpomdp", log=True,
                   label="window 1 (GPOMDP)")  # fmt: skip
        sizes = windows(frames, "lqr_train")
        for size, look in zip(sizes, sweep(sizes), strict=True):
            part = thinned(frames.select("lqr_train", "regret", "rpg", ascent=rule, window=size))
            theme.band(ax, part, method="rpg", log=True, **look)
        ax.set(yscale="log", xlabel="trajectories collected", title=f"LQR, {rule} steps")
    axes[0, 0].set_ylabel(r"regret $J^* - J$")
    theme.legend(figure, axes)
    return figure


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows at about POINTS of the recorded steps, the first and the last among them."""
    steps = np.array(sorted(rows["step"].unique()))
    if len(steps) <= POINTS:
        return rows
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, POINTS).round().astype(int))]
    return rows.loc[rows["step"].isin(kept.tolist()), :]


def networks(frames) -> Figure:
    """Swimmer and HalfCheetah (MuJoCo) with a network policy, one step size for all methods. Mean and 95 % t interval over seeds,
    moving average over 100 trajectories. The official Swimmer scripts gave GPOMDP a step size ten times smaller than RPG's.

    Alt: Two panels of return against trajectories collected, a line for each method; a panel that was not run says why.
    """
    tasks = {"swimmer": "Swimmer", "cheetah": "HalfCheetah"}
    if not frames.has("cheetah"):
        frames.records("swimmer")  # neither was run: the reason takes the figure's place
    figure, axes = theme.grid(1, 2, height=3.4)
    for ax, (experiment, title) in zip(axes[0], tasks.items(), strict=True):
        if not frames.has(experiment):
            theme.absent(ax, frames.why(experiment))
            continue
        methods = list(dict.fromkeys(frames.records(experiment)["method"]))
        for method in [*(m for m in methods if m != "rpg"), "rpg"]:
            draw_return(ax, frames, experiment, method)
        return_axes(ax, title)
    theme.legend(figure, axes)
    return figure


def pendulum(frames) -> Figure:
    """InvertedPendulum (MuJoCo). Left, windows from 1 (GPOMDP) up with N = 5. Right, RPG with a window of 4 and N fresh trajectories
    against GPOMDP with 4 N. Mean and 95 % t interval over seeds (over fewer than five the range), moving average over 100 trajectories.

    Alt: Two panels of return against trajectories collected; a panel that was not run says why.
    """
    if not frames.has("pendulum_equal"):
        frames.records("pendulum")  # neither was run: the reason takes the figure's place
    figure, axes = theme.grid(1, 2, height=3.4)
    left, right = axes[0]
    if frames.has("pendulum"):
        sizes = windows(frames, "pendulum")
        draw_return(left, frames, "pendulum", "gpomdp", look={"label": "window 1 (GPOMDP)"})
        for size, look in zip(sizes, sweep(sizes), strict=True):
            draw_return(left, frames, "pendulum", "rpg", look=look, window=size)
        return_axes(left, "InvertedPendulum, windows")
    else:
        theme.absent(left, frames.why("pendulum"))
    if frames.has("pendulum_equal"):
        rows = frames.records("pendulum_equal")
        for method, what in (("gpomdp", ""), ("rpg", ", window 4")):
            batches = sorted(int(b) for b in rows.loc[rows["method"] == method, "batch"].unique())
            for batch, shade in zip(batches, theme.shades(method, len(batches)), strict=True):
                look = {"color": shade, "label": f"{theme.label(method)}, N = {batch}{what}"}
                draw_return(right, frames, "pendulum_equal", method, look=look, batch=batch)
        return_axes(right, "InvertedPendulum, a window for a batch")
    else:
        theme.absent(right, frames.why("pendulum_equal"))
    theme.legend(figure, axes)
    return figure


FIGURES = {
    "F1": window_sensitivity,
    "F2": comparison,
    "F3": window_for_batch,
    "F4": speed_up,
    "F5": estimators,
    "F6": gradient_error,
    "F7": regret,
    "F8": networks,
    "F9": pendulum,
}
